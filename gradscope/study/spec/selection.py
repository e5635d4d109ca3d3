"""Part of a study's grid: `--only cell=lstm`."""

from collections.abc import Sequence

from gradscope.errors import UsageError
from gradscope.study.spec.near_names import did_you_mean
from gradscope.study.spec.trial import Trial

FIELDS = ("task", "cell", "initialisation", "clipping", "seed")
"""What a trial can be chosen by."""


def select_trials(trials: Sequence[Trial], only: Sequence[str]) -> list[Trial]:
    """Keep the trials that satisfy every condition.

    Args:
        trials: of a study's whole grid.
        only: conditions such as `cell=lstm` or `seed=0,1`; values separated by commas are alternatives.

    Returns:
        The trials that are left, in their order.

    Raises:
        UsageError: a condition has another form, names something that no trial has, or nothing is left.
    """
    wanted = [_condition(text) for text in only]
    for field, values in wanted:
        _check(field, values, trials)
    kept = [trial for trial in trials if _satisfies(trial, wanted)]
    if not kept:
        raise UsageError(
            f"--only {' --only '.join(only)}: no trial of the grid is all of this. See --dry-run; several values "
            "of one field are written with commas: --only cell=lstm,gru"
        )
    return kept


def _condition(text: str) -> tuple[str, list[str]]:
    field, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not values:
        raise UsageError(f"--only expects field=value, got {text!r}: for example --only cell=lstm")
    if field not in FIELDS:
        near = did_you_mean(field, FIELDS) or "."
        raise UsageError(f"--only {text}: there is no field {field!r}{near} Accepted: {', '.join(FIELDS)}")
    return field, [value.strip() for value in values.split(",")]


def _check(field: str, values: Sequence[str], trials: Sequence[Trial]) -> None:
    there = list(dict.fromkeys(str(getattr(trial, field)) for trial in trials))
    for value in values:
        if value not in there:
            near = did_you_mean(value, there) or "."
            raise UsageError(f"--only {field}={value}: no trial has it{near} There are: {', '.join(there)}")


def _satisfies(trial: Trial, wanted: Sequence[tuple[str, Sequence[str]]]) -> bool:
    return all(str(getattr(trial, field)) in values for field, values in wanted)
