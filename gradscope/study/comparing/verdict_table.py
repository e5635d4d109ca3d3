"""The settings of a study and their verdicts, for the terminal."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from gradscope.study.comparing.comparison import Comparison

_STYLE = {"vanishing": "yellow", "exploding": "red", "marginal": "green", "failed": "red", "diverged": "red"}
_LARGE = 1e6
"""From here on a power of ten is read more easily than a row of digits."""


def verdict_tables(comparison: "Comparison") -> Iterator[Table]:
    """Lay out one table a task, one line a setting; the verdict is never cut off, however narrow the terminal is.

    Args:
        comparison: what the study found.

    Yields:
        A table of at most 80 characters a line where the terminal has no more.
    """
    for task, settings in comparison.settings.groupby("task", sort=False):
        yield _table(str(task), settings)


def _table(task: str, settings: "pd.DataFrame") -> Table:
    lag = settings["lag"].max()
    needed = f"{task}: must reach {lag:.0f} times back; left: what the decay leaves there"
    title = task if math.isnan(lag) else needed
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
    table.add_column("Verdict", no_wrap=True)
    for heading in ("Cell", "Initialisation", "Clipping"):
        table.add_column(heading, overflow="fold")
    for heading in ("Half-life", "Left", "Loss"):
        table.add_column(heading, justify="right", overflow="fold")
    for row in settings.to_dict("records"):
        table.add_row(*_cells(row))
    return table


def _cells(row: dict[Any, Any]) -> Iterator[str]:
    verdict = str(row["verdict"])
    yield f"[{_STYLE.get(verdict, 'default')}]{verdict}[/]"
    yield from (row["cell"], row["initialisation"], row["clipping"])
    yield _half_life(row["half_life"], row["rate"])
    yield _share(row["growth"])
    yield "diverged" if row["loss_final_mean"] == math.inf else _number(row["loss_final_mean"], 3)


def _half_life(half_life: float, rate: float) -> str:
    """Return the times until half is left, or until it has doubled, marked with a plus sign."""
    if half_life is None or math.isnan(half_life):
        return "-"
    if math.isinf(half_life):
        return "none"
    return f"{'+' if rate > 0 else ''}{_number(half_life, 1)}"


def _share(share: float) -> str:
    """Return which part of the gradient the fitted decay, by which a setting is judged, leaves at the task's lag."""
    if math.isnan(share):
        return "-"
    if math.isinf(share):
        return ">x1e308"
    if 0 < share < 1e-4:
        return "<0.01 %"
    return f"x{share:.3g}" if share >= 10 else f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _number(value: float | None, digits: int) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2e}" if abs(value) >= _LARGE else f"{value:.{digits}f}"
