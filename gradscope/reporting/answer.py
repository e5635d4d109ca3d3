"""The answer of a study in words, each number taken from its tables."""

import math
from collections.abc import Callable

import pandas as pd

from gradscope.reporting.learning import learned
from gradscope.reporting.numbers import FACTOR_ABOVE, counted, half_life, half_life_interval, listed, number, share
from gradscope.reporting.statement import Statement, TaskAnswer
from gradscope.reporting.tables import JUDGED, tone

_BEGAN = {"vanishing": "vanished", "exploding": "exploded", "marginal": "were marginal"}
_LEDE = {
    "vanishing": "vanishes on its way",
    "exploding": "explodes",
    "marginal": "still arrives",
    "unclear": "stays unclear",
}


def reference_clipping(settings: pd.DataFrame) -> str:
    """Return the clipping that most settings share, so that cells and initialisations are compared like with like.

    Args:
        settings: `Comparison.settings`.

    Returns:
        A clipping; `none` where it is among the most frequent.
    """
    counts = settings["clipping"].value_counts()
    if counts.empty or counts.get("none", 0) == counts.max():
        return "none"
    return str(counts.index[0])


def answers(settings: pd.DataFrame) -> tuple[TaskAnswer, ...]:
    """Say for each task which settings lose their gradient, which grow it, which keep it.

    Args:
        settings: `Comparison.settings`.

    Returns:
        One answer a task, in the order of the table.
    """
    clipping = reference_clipping(settings)
    return tuple(_answer(str(task), rows, clipping) for task, rows in settings.groupby("task", sort=False))


def _answer(task: str, rows: pd.DataFrame, clipping: str) -> TaskAnswer:
    reference = rows[rows["clipping"] == clipping]
    judged = reference[reference["verdict"].isin(JUDGED)]
    solving, learning = learned(rows)
    if judged.empty:
        return TaskAnswer(task, solving + _unjudged(reference), tuple(one for one in [learning] if one is not None))
    # Marginal is what the fitted rate leaves open; only what was measured says whether the gradient arrives.
    pairs = zip(judged["verdict"], judged["share_at_lag"], strict=True)
    judged = judged.assign(outcome=[tone(kind, left) for kind, left in pairs])
    groups = {str(outcome): group for outcome, group in judged.groupby("outcome")}
    statements: list[Statement | None] = [
        tell(groups[outcome]) for outcome, tell in _STATEMENTS.items() if outcome in groups
    ]
    statements += [
        learning,
        _without_verdict(reference[~reference.index.isin(judged.index)]),
        _training(judged),
        _loss(judged),
        _clipping(rows, clipping),
    ]
    return TaskAnswer(
        task, solving + _lede(judged, clipping), tuple(found for found in statements if found is not None)
    )


def _unjudged(rows: pd.DataFrame) -> str:
    if len(rows) and (rows["verdict"] == "mixed").all():
        return (
            "The loss enters at many times here, so that the gradient at each time is a sum over many lags: "
            "there is no single lag by which to call it vanishing or exploding."
        )
    return "No setting gave a verdict here: see why in the table."


def _lede(judged: pd.DataFrame, clipping: str) -> str:
    lag = judged["lag"].max()
    need = f"The task needs the gradient to reach {counted(int(lag), 'time')} back. " if pd.notna(lag) else ""
    counts = judged["outcome"].value_counts()
    words = [f"{phrase} in {counts[outcome]}" for outcome, phrase in _LEDE.items() if outcome in counts]
    which = "without clipping" if clipping == "none" else f"with clipping {clipping}"
    return f"{need}At the end of training, of {counted(len(judged), 'setting')} {which}, it {listed(words)}."


def _vanishing(rows: pd.DataFrame) -> Statement:
    most = float(rows["share_at_lag"].max())
    known = not math.isnan(most)
    text = f"{f'At most {share(most)}' if most else 'Nothing'} of the gradient is left {_at_lag(rows)}. " * known
    dead = rows[rows["all_zero_lag"].notna()]
    if len(dead):
        names = listed([f"{_name(row)} from lag {row['all_zero_lag']:.0f} on" for _, row in dead.iterrows()])
        text += f"It is exactly 0 (underflow, or the gradient is cut there) for {names}. "
    text += "Half-lives in times, with the span of the seeds' 95 % intervals:"
    return Statement("vanishing", "Vanishes", text, _by_cell(rows))


def _exploding(rows: pd.DataFrame) -> Statement:
    known = _grown(float(rows["share_at_lag"].max()), _at_lag(rows))
    text = f"{known}Doubling times, with the span of the seeds' 95 % intervals:"
    return Statement("exploding", "Explodes", text, _by_cell(rows))


def _grown(most: float, at_lag: str) -> str:
    """Return how large the gradient was measured to be: it may grow and be small still, after a first fall."""
    if math.isnan(most):
        return ""
    if most < 1:
        return (
            "The gradient grows on its way back, after a fall close to the loss: "
            f"{at_lag} it is at most {share(most)} of what it is at lag 0. "
        )
    return f"The gradient grows on its way back, {at_lag} to up to {number(most, 2)} times what it is at lag 0. "


def _keeping(rows: pd.DataFrame) -> Statement:
    low = float(rows["share_at_lag"].min())
    least = share(low) if low > FACTOR_ABOVE else f"{share(low)} of"
    text = f"At least {least} the gradient arrives {_at_lag(rows)}. {_HALF_LIVES}"
    return Statement("marginal", "Keeps it", text, _by_cell(rows))


def _unclear(rows: pd.DataFrame) -> Statement:
    little = rows["share_at_lag"].notna()
    parts = []
    if little.any():
        which = "" if little.all() else f"For {listed([_name(row) for _, row in rows[little].iterrows()])}: "
        parts.append(
            f"{which}Less than 1 % was measured {_at_lag(rows)}, yet the rule calls it marginal: the seeds disagree so "
            "much that the rate is not sure, or what was fitted is a slow decay after a fast drop close to the loss."
        )
    if not little.all():
        names = listed([_name(row) for _, row in rows[~little].iterrows()])
        parts.append(f"What arrives {_at_lag(rows)} could not be measured for {names}: the reason stands in the table.")
    return Statement("unclear", "Unclear", f"{' '.join(parts)} {_HALF_LIVES}", _by_cell(rows))


_HALF_LIVES = (
    "Half-lives in times, with the span of the seeds' 95 % intervals "
    "(\u201cor more\u201d: not told apart from no decay):"
)
_STATEMENTS: dict[str, Callable[[pd.DataFrame], Statement]] = {
    "vanishing": _vanishing,
    "exploding": _exploding,
    "marginal": _keeping,
    "unclear": _unclear,
}


def _without_verdict(rows: pd.DataFrame) -> Statement | None:
    if rows.empty:
        return None
    names = listed([_name(row) for _, row in rows.iterrows()])
    return Statement("aside", "No verdict", f"{names}: the reason stands in the table.")


def _at_lag(rows: pd.DataFrame) -> str:
    lag = rows["lag"].max()
    return f"at lag {lag:.0f}" if pd.notna(lag) else "at the first time"


def _by_cell(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return a line a cell: the half-lives of its initialisations, the longest first."""
    lines = []
    for cell, group in rows.groupby("cell", sort=False):
        ordered = group.sort_values("half_life", ascending=False)
        lines.append(
            f"{cell}: " + ", ".join(f"{row['initialisation']} {_half_life(row)}" for _, row in ordered.iterrows())
        )
    return tuple(lines)


def _half_life(row: pd.Series) -> str:
    interval = half_life_interval(row["rate_low"], row["rate_high"])
    if row["rate_low"] <= 0 <= row["rate_high"]:
        return interval
    value = half_life(row["half_life"])
    return value if interval == value else f"{value} ({interval})"


def _training(judged: pd.DataFrame) -> Statement | None:
    """Return how training moved the verdicts."""
    known = judged[judged["start_verdict"].isin(JUDGED)]
    changed = known[known["start_verdict"] != known["verdict"]]
    if known.empty:
        return None
    if changed.empty:
        ended = "the one setting ends as it" if len(known) == 1 else f"all {len(known)} settings end as they"
        return Statement("aside", "Training", f"changed no verdict: {ended} began.")
    moves = [f"{_name(row)} from {row['start_verdict']} to {row['verdict']}" for _, row in changed.iterrows()]
    return Statement("aside", "Training", f"changed the verdict of {len(changed)} of {len(known)}: {listed(moves)}.")


def _loss(judged: pd.DataFrame) -> Statement | None:
    """Return whether a gradient that arrives and a loss below the baseline go together here."""
    known = judged[judged["baseline"].notna() & judged["loss_final_high"].notna()]
    if known.empty:
        return None
    learnt = known["loss_final_high"] < known["baseline"]
    parts = [
        f"{(learnt & begun).sum()} of {begun.sum()} that {words} at the start"
        for kind, words in _BEGAN.items()
        if (begun := known["start_verdict"] == kind).any()
    ]
    names = [_name(row) for _, row in known[learnt].iterrows()]
    which = f" These are {listed(names)}." if 0 < len(names) <= 6 else ""
    return Statement(
        "aside",
        "Loss",
        f"ends below the baseline with every seed in {listed(parts)}.{which} A gradient that arrives is needed to "
        "learn a long lag; neither it nor the initialisation alone promises that a model learns in so many "
        "iterations.",
    )


def _clipping(rows: pd.DataFrame, clipping: str) -> Statement | None:
    """Return whether clipping moved any verdict: it acts on weights after the gradient has gone its way."""
    reference = rows[rows["clipping"] == clipping].set_index(["cell", "initialisation"])
    others = rows[rows["clipping"] != clipping]
    pairs = [
        (row, reference.loc[key])
        for _, row in others.iterrows()
        if (key := (row["cell"], row["initialisation"])) in reference.index
    ]
    if not pairs:
        return None
    moved = [f"{_name(a)} with {a['clipping']}" for a, b in pairs if a["verdict"] != b["verdict"]]
    against = "no clipping" if clipping == "none" else f"clipping {clipping}"
    if not moved:
        return Statement(
            "aside", "Clipping", f"changed no verdict: {counted(len(pairs), 'comparison')} with {against}."
        )
    return Statement(
        "aside", "Clipping", f"gave another verdict than {against} in {len(moved)} of {len(pairs)}: {listed(moved)}."
    )


def _name(row: pd.Series) -> str:
    return f"{row['cell']} {row['initialisation']}"


def by_task(settings: pd.DataFrame, column: str) -> dict[str, object]:
    """Return the first value that is known of a column, for each task."""
    tasks = settings.groupby("task", sort=False)
    return {str(task): next(iter(rows[column].dropna()), None) for task, rows in tasks}
