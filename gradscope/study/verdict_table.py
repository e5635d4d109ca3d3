"""The settings of a study and their verdicts, for the terminal."""

import math
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from gradscope.study.comparison import Comparison

_STYLE = {"vanishing": "yellow", "exploding": "red", "marginal": "green", "failed": "red", "diverged": "red"}
_WORST_FIRST = {"exploding": 0, "vanishing": 1, "marginal": 2}


def verdict_table(comparison: "Comparison") -> Table:
    """Lay out one line a setting; the verdict is never cut off, however narrow the terminal is.

    Args:
        comparison: what the study found.

    Returns:
        A table of at most 80 characters a line where the terminal has no more.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Verdict", no_wrap=True)
    for heading in ("Task", "Cell", "Initialisation", "Clipping"):
        table.add_column(heading, overflow="fold")
    for heading in ("Half-life", "Loss"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in comparison.settings.to_dict("records"):
        verdict = str(row["verdict"])
        table.add_row(
            f"[{_STYLE.get(verdict, 'default')}]{verdict}[/]",
            row["task"],
            row["cell"],
            row["initialisation"],
            row["clipping"],
            _half_life(row["half_life"], row["rate"]),
            _number(row["loss_final_mean"], 3),
        )
    return table


def _half_life(half_life: float, rate: float) -> str:
    """Return the times until half is left, or until it has doubled, marked with a plus sign."""
    if half_life is None or math.isnan(half_life):
        return "-"
    if math.isinf(half_life):
        return "inf"
    return f"{'+' if rate > 0 else ''}{_number(half_life, 1)}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
