"""The study's numbers as rows of words: what the verdict tables of the page hold."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradscope.reporting.numbers import TIMES, counted, half_life, half_life_interval, number, share

SYMBOLS = {"vanishing": "↓", "exploding": "↑", "marginal": "→", "unclear": "?", "mixed": "≈"}
"""One for each tone, so that colour is never the only sign."""

REACHED = 0.01
"""Share of the gradient at the task's lag from which it counts as having arrived: the horizon's own bound."""


JUDGED = ("vanishing", "exploding", "marginal")
"""The verdicts proper; any other says that there is nothing to judge."""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: what is read.
        sort: what the column is sorted by; the text if None.
        kind: how it is drawn: "", "number", "verdict", "bar".
        extra: a second line, small.
        tone: the verdict that colours it; for a bar, its length in percent.
        detail: what unfolds from it, for instance the reason of a verdict.
        spoken: what readers who see neither colour nor place are told before the text.
    """

    text: str
    sort: float | str | None = None
    kind: str = ""
    extra: str = ""
    tone: str = ""
    detail: str = ""
    spoken: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        heads: (name, what it means in a few words) of each column.
        rows: (topic, cells) of each row; the topic is the task that the row is about.
        caption: what it is, for readers who jump to it.
    """

    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    caption: str


def tone(kind: str, share_at_lag: float) -> str:
    """Return how a verdict is shown: marginal is good news only where the gradient was measured to arrive."""
    return "unclear" if kind == "marginal" and not share_at_lag >= REACHED else kind


def verdict_cell(kind: str, share_at_lag: float, reason: str) -> Cell:
    """Return a verdict with its symbol and colour, its reason to unfold."""
    return Cell(kind, sort=kind, kind="verdict", tone=tone(kind, share_at_lag), detail=reason)


def number_cell(text: str, value: float, extra: str = "") -> Cell:
    """Return a number that sorts by its value, a missing one last; a second line that repeats it is left out."""
    return Cell(
        text,
        sort=math.inf if math.isnan(value) else float(value),
        kind="number",
        extra="" if text.endswith(extra) else extra,
    )


def underflow_cell(everywhere: float, somewhere: float) -> Cell:
    """Return from which lag the gradient is exactly 0: in all sequences, else in some; NaN where it is in none."""
    if not math.isnan(everywhere):
        return number_cell(f"lag {everywhere:.0f}", everywhere)
    if not math.isnan(somewhere):
        return number_cell(f"lag {somewhere:.0f}", somewhere, "in some sequences")
    return number_cell("none", somewhere)


def growth_half_life(rate: float, words: str) -> str:
    """Return a half-life in words, marked as a doubling time where the rate is above 0."""
    return f"{TIMES}2 in {words}" if rate > 0 else words


def verdict_table(settings: pd.DataFrame) -> Table:
    """Return the table of verdicts, one row a setting.

    Args:
        settings: `Comparison.settings`.

    Returns:
        The table.
    """
    heads = (
        ("Task", ""),
        ("Cell", ""),
        ("Initialisation", ""),
        ("Clipping", ""),
        ("At the start", "verdict over the first quarter of training"),
        ("At the end", "verdict over the last quarter of training"),
        ("Half-life", "times, at the end, with the span of the seeds' 95 % intervals; doubling time where it explodes"),
        ("Left at the task's lag", "share of the gradient at the end of training"),
        ("Underflow", "lag from which the gradient is exactly 0, in all sequences or in some"),
        ("Final loss", "mean of the last tenth; lowest and highest seed"),
        ("Loss / baseline", "below 1 it learnt more than the trivial answer"),
        ("Seeds", "trials that count, of those that were tried"),
    )
    rows = tuple((str(row["task"]), _verdict_row(row)) for _, row in settings.iterrows())
    return Table(heads, rows, "Verdict, half-life and loss of every setting")


def _verdict_row(row: pd.Series) -> tuple[Cell, ...]:
    growing = row["rate"] > 0
    lag = f"lag {row['lag']:.0f}" if pd.notna(row["lag"]) else ""
    ratio = row["loss_final_mean"] / row["baseline"]
    seeds = (
        counted(int(row["seeds"]), "seed") if row["seeds"] == row["trials"] else f"{row['seeds']} of {row['trials']}"
    )
    half_life_sort = -row["half_life"] if growing else row["half_life"]
    interval = half_life_interval(row["rate_low"], row["rate_high"])
    return (
        Cell(str(row["task"])),
        Cell(str(row["cell"])),
        Cell(str(row["initialisation"])),
        Cell(str(row["clipping"])),
        verdict_cell(row["start_verdict"], row["start_share_at_lag"], row["start_verdict_reason"]),
        verdict_cell(row["verdict"], row["share_at_lag"], row["verdict_reason"]),
        number_cell(growth_half_life(row["rate"], half_life(row["half_life"])), half_life_sort, interval),
        number_cell(share(row["share_at_lag"]), row["share_at_lag"], lag),
        underflow_cell(row["all_zero_lag"], row["first_zero_lag"]),
        number_cell(
            number(row["loss_final_mean"]),
            row["loss_final_mean"],
            f"{number(row['loss_final_low'])} to {number(row['loss_final_high'])}" if row["seeds"] > 1 else "",
        ),
        number_cell(number(ratio, 2), ratio),
        number_cell(seeds.removesuffix(" seeds").removesuffix(" seed"), row["seeds"]),
    )


@dataclass(frozen=True)
class Glance:
    """Verdicts of one task at a glance: initialisations down, cells across.

    Attributes:
        task: its name.
        lag: the lag that it needs, in words.
        cells: the columns.
        rows: (initialisation, one Cell a column; None where the study has no such setting).
        grows: whether any gradient grows on its way back, so that it has a doubling time.
    """

    task: str
    lag: str
    cells: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    grows: bool


def glances(settings: pd.DataFrame) -> tuple[Glance, ...]:
    """Return one table of verdicts a task, of settings that share their clipping.

    Args:
        settings: rows of `Comparison.settings`, one a (task, cell, initialisation).

    Returns:
        The tables.
    """
    return tuple(_glance(str(task), rows) for task, rows in settings.groupby("task", sort=False))


def _glance(task: str, rows: pd.DataFrame) -> Glance:
    cells = tuple(str(cell) for cell in rows["cell"].unique())
    by = {(row["initialisation"], row["cell"]): _glance_cell(row) for _, row in rows.iterrows()}
    lag = rows["lag"].max()
    return Glance(
        task=task,
        lag=f"needs lag {lag:.0f}" if pd.notna(lag) else "its lag is unknown",
        cells=cells,
        rows=tuple(
            (str(name), tuple(by.get((name, cell)) for cell in cells)) for name in rows["initialisation"].unique()
        ),
        grows=bool((rows["rate"] > 0).any()),
    )


def _glance_cell(row: pd.Series) -> Cell:
    shown, verdict = tone(row["verdict"], row["share_at_lag"]), row["verdict"]
    if verdict not in JUDGED or pd.isna(row["half_life"]):
        return Cell(verdict, kind="verdict", tone=shown, extra=share(row["share_at_lag"]))
    return Cell(
        growth_half_life(row["rate"], half_life(row["half_life"])),
        kind="verdict",
        tone=shown,
        extra=share(row["share_at_lag"]),
        spoken=f"{shown}, {'doubling time' if row['rate'] > 0 else 'half-life'} ",
    )


def clipping_table(clipping: pd.DataFrame, settings: pd.DataFrame) -> Table:
    """Return what clipping did, one row a setting that clips.

    Args:
        clipping: `Comparison.clipping`.
        settings: `Comparison.settings`, for the losses.

    Returns:
        The table; without rows if no trial clipped.
    """
    keys = ["task", "cell", "initialisation", "clipping"]
    heads = (
        ("Task", ""),
        ("Cell", ""),
        ("Initialisation", ""),
        ("Clipping", ""),
        ("Fired", "share of the recorded iterations in which it shortened the gradient"),
        ("Coefficient", "length after / before: median, and 10 % to 90 %"),
        ("Direction kept", "cosine between the clipped gradient and the unclipped one; 1 means unbent"),
        ("Norm before", "median, and 90 % quantile"),
        ("Final loss", "mean over seeds"),
        ("Without clipping", "final loss of the same setting unclipped"),
    )
    clipped = clipping[clipping["clipping"] != "none"]
    if clipped.empty:
        return Table(heads, (), "What clipping did")
    losses = settings.set_index(keys)["loss_final_mean"].to_dict()
    means = clipped.drop(columns="seed").groupby(keys, sort=False).mean().reset_index()
    rows = tuple((str(row["task"]), _clipping_row(row, losses)) for _, row in means.iterrows())
    return Table(heads, rows, "What clipping did")


def _clipping_row(row: pd.Series, losses: Mapping[Any, float]) -> tuple[Cell, ...]:
    names = (row["task"], row["cell"], row["initialisation"], row["clipping"])
    loss, unclipped = losses.get(names, float("nan")), losses.get((*names[:3], "none"), float("nan"))
    fired = row["clipped_share"]
    return (
        *(Cell(str(name)) for name in names),
        Cell(
            share(fired) if fired else "never",
            sort=fired,
            kind="bar",
            tone=f"{100 * fired:.0f}" if fired == fired else "0",
        ),
        number_cell(
            number(row["coefficient_median"], 2),
            row["coefficient_median"],
            f"{number(row['coefficient_q10'], 2)} to {number(row['coefficient_q90'], 2)}",
        ),
        number_cell(number(row["cosine_median"], 3), row["cosine_median"]),
        number_cell(number(row["norm_median"], 2), row["norm_median"], number(row["norm_q90"], 2)),
        number_cell(number(loss), loss),
        number_cell(number(unclipped), unclipped),
    )


def failure_table(trials: pd.DataFrame) -> Table:
    """Return the trials that failed or diverged, with their reasons.

    Args:
        trials: `Comparison.trials`.

    Returns:
        The table; without rows if all finished.
    """
    heads = (
        ("Task", ""),
        ("Cell", ""),
        ("Initialisation", ""),
        ("Clipping", ""),
        ("Seed", ""),
        ("What", ""),
        ("Why", ""),
    )
    bad = trials[trials["status"] != "finished"]
    columns = ["task", "cell", "initialisation", "clipping", "seed", "status", "reason"]
    rows = tuple((str(row["task"]), tuple(_plain(row[columns]))) for _, row in bad.iterrows())
    return Table(heads, rows, "Trials that did not finish")


def _plain(values: Iterable[object]) -> list[Cell]:
    return [Cell(str(value)) for value in values]
