"""Cells side by side: what each is made of, what it costs, and how far back it learned to look."""

import math

import pandas as pd

from gradscope.cells.cell_table import CELL_TABLE
from gradscope.reporting.numbers import number
from gradscope.reporting.tables import Cell, Table, number_cell

_ITERATION = (
    "milliseconds in which the fastest tenth of the iterations was over, forward and backward; not known of trials "
    "that were trained together"
)
_KEYS = ["cell", "initialisation", "clipping"]


def side_by_side(settings: pd.DataFrame) -> Table | None:
    """Return one row a cell and start, over all tasks.

    Args:
        settings: `Comparison.settings`.

    Returns:
        None where there is one cell only, or nothing is known of their cost.
    """
    if len(set(settings["cell"])) < 2 or "parameters" not in settings:
        return None
    groups = [group for _, group in settings.groupby(_KEYS, sort=False)]
    # Where some were tried at several lags, those are what can be compared.
    with_span = [group for group in groups if memory_span(group) >= 0]
    spans = bool(with_span)
    scored = bool(settings["score"].notna().any())
    heads = [
        ("Cell", ""),
        ("Initialisation", ""),
        ("Gates", ""),
        ("Parameters", "of the recurrent part"),
        ("Iteration", _ITERATION),
    ]
    heads += [("Memory span", "longest lag up to which every task was solved with every seed")] if spans else []
    heads += [("Accuracy", "on data held out, at the end of training; mean over seeds and tasks")] if scored else []
    heads += [("Loss / baseline", "at the end of training, mean over seeds and tasks")]
    rows = tuple(("", tuple(_row(group, spans=spans, scored=scored))) for group in with_span or groups)
    return Table(tuple(heads), rows, "Cells side by side, over all tasks")


def memory_span(settings: pd.DataFrame) -> float:
    """Return the longest lag up to which every task of a kind was solved with every seed.

    Args:
        settings: rows of `Comparison.settings`, of one cell and start.

    Returns:
        0 if none was; NaN where it was not tried at several lags.
    """
    known = graded(settings).sort_values("lag")
    if known.empty:
        return math.nan
    span = 0.0
    for _, row in known.iterrows():
        if row["solved"] < row["trials"]:
            break
        span = float(row["lag"])
    return span


def graded(settings: pd.DataFrame) -> pd.DataFrame:
    """Return the settings whose cell and start were tried on one kind of task at several lags, so that there is a span.

    Args:
        settings: `Comparison.settings`.

    Returns:
        Of its rows those.
    """
    if not {"kind", "solved_below"} <= set(settings):
        return settings.head(0)
    known = settings[settings["solved_below"].notna() & settings["lag"].notna()]
    if known.empty:
        return known
    lags = known.groupby(["kind", *_KEYS])["lag"].transform(lambda each: len(set(each)))
    return known[lags > 1]


def _row(group: pd.DataFrame, *, spans: bool, scored: bool) -> list[Cell]:
    cell = str(group["cell"].iloc[0])
    pace = 1000 * float(group["seconds_per_iteration"].median())
    ratio = float((group["loss_final_mean"] / group["baseline"]).mean())
    start = str(group["initialisation"].iloc[0])
    clipping = str(group["clipping"].iloc[0])
    cells = [
        Cell(cell),
        Cell(start if clipping == "none" else f"{start}, {clipping}"),
        Cell(_gates(cell)),
        number_cell(f"{group['parameters'].max():,.0f}", float(group["parameters"].max())),
        number_cell(number(pace, 2) if math.isnan(pace) else f"{number(pace, 2)} ms", pace),
    ]
    if spans:
        span = memory_span(group)
        cells.append(number_cell(f"{span:.0f}" if span else "none", span))
    if scored:
        score = float(group["score"].mean())
        cells.append(number_cell(f"{100 * score:.1f}\u202f%", score))
    return [*cells, number_cell(number(ratio, 2), ratio)]


def _gates(cell: str) -> str:
    entry = CELL_TABLE.get(cell)
    return ", ".join(entry.gates) or "none" if entry is not None else "?"
