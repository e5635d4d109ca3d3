"""What was learned, in words: which settings solve a task, how well they do on data held out, what they showed."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from gradscope.reporting.numbers import after, counted, listed, number
from gradscope.reporting.statement import Statement
from gradscope.tasks.task_table import TASK_TABLE

_MOST_LINES = 8
_KEYS = ("cell", "initialisation", "clipping")


def learned(rows: pd.DataFrame) -> tuple[str, Statement | None]:
    """Say which settings solve a task, and which comes closest.

    Args:
        rows: of `Comparison.settings`, one task.

    Returns:
        A sentence for the lede, empty where there is nothing to say; and the statement with the losses.
    """
    if "solved_below" not in rows:
        return "", None
    known = rows[rows["loss_final_mean"].notna() & (rows["seeds"] > 0)].sort_values("loss_final_mean")
    if known.empty:
        return "", None
    below = known["solved_below"].max()
    best = known.iloc[0]
    closest = f"The lowest loss, {number(best['loss_final_mean'])}, is that of {name(best, rows)}"
    lines = tuple(_loss_line(row, rows) for _, row in known.head(_MOST_LINES).iterrows())
    more = f" The first {_MOST_LINES} of {len(known)}, by mean loss:" if len(known) > _MOST_LINES else " By mean loss:"
    if not np.isfinite(below):
        return "", Statement("aside", "Learning", f"{closest}.{more}", lines)
    every = known[known["solved"] == known["trials"]]
    solving = f"{len(every)} of {counted(len(known), 'setting')} {'solves' if len(every) == 1 else 'solve'} it"
    lede = f"{solving} with every seed (loss below {number(below)}). "
    return lede, Statement(
        "aside", "Learning", f"{closest}; below {number(below)} the task counts as solved.{more}", lines
    )


def costs(rows: pd.DataFrame) -> Statement | None:
    """Say how large each cell is, and how long one of its iterations took.

    Args:
        rows: of `Comparison.settings`, one task.

    Returns:
        None where there is one cell only, or nothing is known.
    """
    if "parameters" not in rows or len(set(rows["cell"])) < 2:
        return None
    known = rows[rows["parameters"] > 0]
    cells = known.groupby("cell", sort=False)[["parameters", "seconds_per_iteration"]].median()
    if cells.empty:
        return None
    # Cells whose trials were trained together have no time of their own.
    lines = tuple(
        f"{cell}: {round(size):,} parameters"
        + ("" if np.isnan(pace) else f", {number(1000 * pace, 2)} ms an iteration")
        for cell, size, pace in cells.itertuples(name=None)
    )
    timed = "" if cells["seconds_per_iteration"].isna().all() else ", and of an iteration (the fastest tenth of them)"
    return Statement("aside", "Cost", f"of the recurrent part{timed}:", lines)


def scored(rows: pd.DataFrame, scores: pd.DataFrame) -> Statement | None:
    """Say how good each setting is on data held out, at first and at last.

    Args:
        rows: of `Comparison.settings`, one task.
        scores: of `Comparison.scores`, the same task.

    Returns:
        None where nothing was scored.
    """
    if scores.empty:
        return None
    what = score_name(rows)
    by_pass = in_passes(rows)
    lines = []
    for _, row in rows.sort_values("score", ascending=False).iterrows():
        own = _of(scores, row)
        if len(own):
            means = own.groupby("iteration")["score"].mean()
            seeds = own[own["iteration"] == means.index[-1]]["score"]
            first, last = (_when(means, at, by_pass=by_pass) for at in (1, len(means)))
            lines.append(
                f"{name(row, rows)}: {percent(means.iloc[0])} after {first}, {percent(means.iloc[-1])} after {last} "
                f"({percent(seeds.min())} to {percent(seeds.max())})"
            )
    return Statement("aside", what[:1].upper() + what[1:], "on data that was never trained on:", tuple(lines))


def in_passes(rows: pd.DataFrame) -> bool:
    """Return whether a task goes over the same data again and again, so that its scores are counted in passes.

    Args:
        rows: of `Comparison.settings`, one task.
    """
    entry = TASK_TABLE.get(str(rows["kind"].iloc[0])) if "kind" in rows and len(rows) else None
    return entry is not None and entry.passes


def score_name(rows: pd.DataFrame) -> str:
    """Return what was scored.

    Args:
        rows: of `Comparison.settings`, one task.
    """
    return str(next((one for one in rows["score_name"] if one), "score"))


def _when(scores: pd.Series, count: int, *, by_pass: bool) -> str:
    """Return when the score of this count, from 1, was taken; the index says after which iteration, from 0."""
    if by_pass:
        return "the first pass" if count == 1 else counted(count, "pass", "passes")
    return counted(int(scores.index[count - 1]) + 1, "iteration")


def course(exhibits: pd.DataFrame) -> str:
    """Say in a sentence how the error of what is shown first moved with training, over all settings.

    Args:
        exhibits: of `Comparison.exhibits`, one task.

    Returns:
        The sentence, with a space after it; empty where there is nothing to say.
    """
    if exhibits.empty:
        return ""
    what, errors = exhibits["name"].iloc[0], errors_at_stops(exhibits)
    trivial = number(trivial_error(exhibits), 2)
    steps = listed([f"{number(error, 2)} {after(at)}" for at, error in errors.items()])
    return f"{what[:1].upper()}{what[1:]}: an error of {steps} (always answering the mean: {trivial}). "


def errors_at_stops(exhibits: pd.DataFrame) -> dict[int, float]:
    """Return the error of what is shown first after so many iterations: the median over settings and seeds.

    Args:
        exhibits: of `Comparison.exhibits`, one task; not empty.
    """
    first = exhibits[exhibits["name"] == exhibits["name"].iloc[0]]
    return {
        int(str(at)): float(np.median([error for _, one in part.groupby(list(_KEYS)) for error in _errors(one)]))
        for at, part in first.groupby("iterations")
    }


def trivial_error(exhibits: pd.DataFrame) -> float:
    """Return the error of always answering the mean of what is right.

    Args:
        exhibits: of `Comparison.exhibits`.
    """
    return float(np.nanstd(exhibits["truth"].to_numpy(float)))


def clipped(rows: pd.DataFrame, clipping: pd.DataFrame) -> Statement | None:
    """Say how each clipping acted.

    Args:
        rows: of `Comparison.settings`, one task.
        clipping: of `Comparison.clipping`, the same task.

    Returns:
        None where no trial clipped, or all did alike.
    """
    acting = clipping[clipping["clipping"] != "none"] if len(clipping) else clipping
    if acting.empty or len(set(rows["clipping"])) < 2:
        return None
    columns = ["clipped_share", "coefficient_median", "cosine_median"]
    means = acting.groupby(list(_KEYS), sort=False)[columns].mean().reset_index()
    lines = tuple(
        f"{row['cell']} {row['initialisation']}, {row['clipping']}: in {percent(row['clipped_share'])} of the "
        f"iterations, to {number(row['coefficient_median'], 2)} of its length, direction kept to "
        f"{number(row['cosine_median'])}"
        for _, row in means.sort_values("clipped_share", ascending=False).head(2 * _MOST_LINES).iterrows()
    )
    return Statement("aside", "Clipping acts", "how often, how strongly (median) and how straight (cosine):", lines)


def shown(rows: pd.DataFrame, exhibits: pd.DataFrame) -> Iterator[Statement]:
    """Say how far what the network showed lies from the truth.

    Args:
        rows: of `Comparison.settings`, one task.
        exhibits: of `Comparison.exhibits`, the same task.

    Yields:
        A statement for each kind of exhibit.
    """
    for what, table in exhibits.groupby("name", sort=False) if len(exhibits) else ():
        lines = []
        for _, row in rows.iterrows():
            own = _of(table, row)
            errors = {int(str(at)): _errors(part) for at, part in own.groupby("iterations")}
            words = [f"{number(float(np.median(found)), 2)} {after(at)}" for at, found in errors.items() if len(found)]
            if words:
                lines.append(f"{name(row, rows)}: {listed(words)}")
        deviation = float(np.nanstd(table["truth"].to_numpy(float)))
        text = f"{what}: error (root of the mean square; always answering the mean has {number(deviation, 2)}):"
        yield Statement("aside", "Shown", text, tuple(lines))


def name(row: pd.Series, rows: pd.DataFrame) -> str:
    """Return a setting's name, with its clipping where settings differ in it."""
    clipping = f", {row['clipping']}" if len(set(rows["clipping"])) > 1 else ""
    return f"{row['cell']} {row['initialisation']}{clipping}"


def percent(share: float) -> str:
    """Return a share in percent, one decimal."""
    return f"{100 * share:.1f}\u202f%"


def _loss_line(row: pd.Series, rows: pd.DataFrame) -> str:
    spread = f" ({number(row['loss_final_low'])} to {number(row['loss_final_high'])})" if row["seeds"] > 1 else ""
    solved = (
        f", solved with {row['solved']:.0f} of {counted(int(row['trials']), 'seed')}"
        if np.isfinite(row["solved_below"])
        else ""
    )
    return f"{name(row, rows)}: {number(row['loss_final_mean'])}{spread}{solved}"


def _of(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    return table[np.logical_and.reduce([table[key] == row[key] for key in _KEYS])]


def _errors(part: pd.DataFrame) -> list[float]:
    """Return each seed's error over the points that were answered and have a truth."""
    both = part[part["answer"].notna() & part["truth"].notna()]
    squares = (both["answer"] - both["truth"]) ** 2
    return [float(np.sqrt(found)) for found in squares.groupby(both["seed"]).mean()]
