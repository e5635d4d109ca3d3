"""Every remedy on every seed."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from torch import nn

from gradscope.errors import UsageError
from gradscope.remedies.catalogue import find_remedies
from gradscope.remedies.comparing import NotTried, Trials, compare
from gradscope.remedies.remedy import UNCHANGED, Impossible, Remedy
from gradscope.remedies.training import Plan, TrainFunction, Training, train_once

FINAL = 0.1
"""Share of the iterations at the end whose mean loss counts."""


def try_remedies(
    train: TrainFunction,
    factory: Callable[[], nn.Module],
    remedies: Sequence[str | Remedy] | None,
    *,
    iterations: int,
    seeds: int | Sequence[int],
    lag: int | None,
    said: Callable[[str], object] = lambda _: None,
) -> Trials:
    """Train once for each remedy and seed, and once for each seed without any.

    Args:
        train: the user's training loop.
        factory: makes the user's model.
        remedies: what to try; None for the usual ones.
        iterations: of each training, at most.
        seeds: how many, or which.
        lag: how far back the task looks.
        said: told what is being trained.

    Returns:
        The numbers.

    Raises:
        UsageError: an argument is wrong.
        RunError: a training could not be recorded.
    """
    chosen = find_remedies(remedies)
    _check(train, factory, iterations, lag)
    plan, drawn = Plan(train, factory, iterations, lag), _seeds(seeds)
    found: dict[str, dict[int, Training]] = {}
    not_tried = []
    for remedy in (UNCHANGED, *chosen):
        said(remedy.name)
        try:
            found[remedy.name] = {seed: train_once(plan, remedy, seed) for seed in drawn}
        except Impossible as reason:
            not_tried.append(NotTried(remedy.name, str(reason)))
    rows = [row for name, by_seed in found.items() for row in _rows(name, by_seed, found[UNCHANGED.name])]
    trainings = pd.DataFrame(rows)
    meanings = {remedy.name: (remedy.meaning, remedy.reference) for remedy in (UNCHANGED, *chosen)}
    return Trials(compare(trainings), trainings, _losses(found), meanings, tuple(not_tried), lag)


def _rows(name: str, by_seed: dict[int, Training], unchanged: dict[int, Training]) -> list[dict[str, Any]]:
    rows = []
    for seed, training in by_seed.items():
        common = min(len(training.batches), len(unchanged[seed].batches))
        last = training.losses[-max(1, round(len(training.losses) * FINAL)) :]
        rows += [
            {
                "remedy": name,
                "seed": seed,
                "place": place,
                "layer": layer.layer,
                "rate": layer.rate,
                "half_life": layer.half_life,
                "horizon": layer.horizon,
                "share_at_lag": layer.share_at_lag,
                "mixed": layer.mixed,
                "loss": sum(last) / len(last),
                "diverged": training.diverged,
                "iterations": len(training.losses),
                "seconds": training.seconds,
                "same_batches": training.batches[:common] == unchanged[seed].batches[:common],
            }
            for place, layer in enumerate(training.measured)
        ]
    return rows


def _losses(found: dict[str, dict[int, Training]]) -> pd.DataFrame:
    rows = [
        (name, seed, iteration, loss)
        for name, by_seed in found.items()
        for seed, training in by_seed.items()
        for iteration, loss in enumerate(training.losses)
    ]
    return pd.DataFrame(rows, columns=["remedy", "seed", "iteration", "loss"])


def _check(train: object, factory: object, iterations: object, lag: object) -> None:
    """Refuse what cannot be meant.

    Raises:
        UsageError: what was expected, and what was got.
    """
    if isinstance(factory, nn.Module) or not callable(factory):
        raise UsageError(
            f"what_if expects as model_factory a function that makes a fresh model, got a {type(factory).__name__}: "
            "try lambda: Model(...)"
        )
    if isinstance(train, nn.Module) or not callable(train):
        raise UsageError(
            f"what_if expects as train_function a generator function of the model, got a {type(train).__name__}"
        )
    for name, value, least in (("iterations", iterations, 8), ("lag", lag, 1)):
        if name == "lag" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"what_if expects {name} to be a whole number of at least {least}, got {value!r}")


def _seeds(seeds: object) -> list[int]:
    drawn = list(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds
    if not isinstance(drawn, Sequence) or not all(isinstance(seed, int) for seed in drawn) or len(set(drawn)) < 2:
        raise UsageError(
            f"what_if expects seeds to be a number of at least 2, or a list of different ones, got {seeds!r}: one "
            "training does not tell a remedy from chance"
        )
    return list(dict.fromkeys(drawn))
