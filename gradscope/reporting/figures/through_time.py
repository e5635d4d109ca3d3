"""Quantities against time inside a sequence: total beside direct gradient, gates."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks, log_y
from gradscope.reporting.figures.lines import indices, median_lines
from gradscope.reporting.numbers import number, share
from gradscope.reporting.panel import Key, Panel, Plate, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

if TYPE_CHECKING:
    from numpy.typing import NDArray

PHASE_KEYS = (Key("end of training", None), Key("start", None, dashed=True))
_QUANTITIES = {"total_gradient_norm": "total gradient", "direct_gradient_norm": "direct gradient"}
_SPAN = 1e-12
"""Smallest norm drawn, as a share of the largest."""


def gradient_plate(tables: Mapping[str, pd.DataFrame], inliner: SvgInliner) -> Plate:
    """Draw total against direct gradient, one panel a layer.

    Args:
        tables: layer -> `phase`, `iteration`, `lag`, `total_gradient_norm`, `direct_gradient_norm`; NaN where a direct
            gradient is not known.
        inliner: of the page.

    Returns:
        The figure.
    """
    panels = [panel for name, table in tables.items() if (panel := _gradients(name, table, inliner)) is not None]
    direct = np.concatenate([table["direct_gradient_norm"].to_numpy(float) for table in tables.values()])
    phases = {phase for table in tables.values() for phase in table["phase"]}
    keys = [Key(label, index, marked=index == 1) for index, label in enumerate(_QUANTITIES.values())]
    return Plate(
        title="Total and direct gradient",
        caption=_caption(direct, phases),
        panels=panels,
        keys=[*(keys if (direct > 0).any() else keys[:1]), *(PHASE_KEYS if len(phases) > 1 else ())],
    )


def _caption(direct: "NDArray[np.float64]", phases: Collection[str]) -> str:
    """Return how to read the figure, of the direct gradient only what holds here."""
    parts = [
        "Norm of the gradient of the loss with respect to the hidden state at each time, counted back from the last. "
        "The total gradient comes from the loss at that time and through all later times."
    ]
    unknown = np.isnan(direct)
    if unknown.all():
        parts.append("What of it the loss sends to a time by itself, the direct gradient, is not known here.")
    else:
        parts.append(
            "The direct gradient is what the loss sends to a time by itself, and what a hook on a layer's output shows."
        )
    if (direct == 0).any():
        parts.append("Where it is 0 it is not drawn: there the total gradient has come through time alone.")
    if unknown.any() and not unknown.all():
        parts.append("Where it is not known it is not drawn either.")
    several = len(phases) > 1
    parts.append(f"{'Medians over the first and' if several else 'Over'} the last quarter of the recorded iterations.")
    return " ".join(parts)


def _gradients(name: str, table: pd.DataFrame, inliner: SvgInliner) -> Panel | None:
    melted = table.melt(["phase", "lag"], list(_QUANTITIES), "line", "norm").replace({"line": _QUANTITIES})
    # Medians first, zeros among them: without its zeros a gradient that underflows would seem to come back.
    rows = melted.groupby(["phase", "line", "lag"], sort=False)["norm"].median().reset_index()
    positive = rows[np.isfinite(rows["norm"].to_numpy(float)) & (rows["norm"] > 0)]
    if positive.empty:
        return None
    high = float(positive["norm"].max())
    low = max(float(positive["norm"].min()), high * _SPAN)
    names = list(_QUANTITIES.values())
    with panel_axes() as (figure, axes):
        log_y(axes, low / 2, high * 2)
        for phase, line in (("start", (0, (4, 2))), ("end", "-")):
            part = positive[positive["phase"] == phase]
            part = part.assign(norm=part["norm"].clip(lower=low / 100))
            width = 1.0 if phase == "start" else 1.6
            colours = indices(names)
            median_lines(axes, part, "lag", "norm", "line", colours, band=False, linestyle=line, linewidth=width)
        _dots(axes, positive, names[1])
        axes.set_xlim(-0.02 * rows["lag"].max() - 0.1, max(1, rows["lag"].max()) * 1.02)
        axes.set_xlabel("lag (times back from the last)")
        linear_ticks(axes)
        y_title(axes, "norm")
        return Panel(name, inliner.inline(figure, _gradient_label(name, rows)), note=_zero_note(rows))


def _dots(axes: object, positive: pd.DataFrame, name: str) -> None:
    """Draw the direct gradient as dots where it stands at few times, where a line would hardly be seen."""
    ended = positive[(positive["line"] == name) & (positive["phase"] == "end")].groupby("lag")["norm"].median()
    if 0 < len(ended) <= 3:
        axes.plot(ended.index, ended, theme.marker(1), markersize=6, color=theme.series(1))  # type: ignore[attr-defined]


def _zero_note(rows: pd.DataFrame) -> str:
    ended = rows[(rows["phase"] == "end") & (rows["line"] == "total gradient")]
    dead = ended.groupby("lag")["norm"].max()
    zero = dead.index[dead == 0]
    return f"The total gradient is exactly 0 from lag {zero[0]} on." if len(zero) else ""


def _gradient_label(name: str, rows: pd.DataFrame) -> str:
    """Return a sentence that says what the panel shows."""
    ended = rows[rows["phase"] == "end"].set_index(["line", "lag"])["norm"]
    total, direct = ended["total gradient"].sort_index(), ended["direct gradient"]
    left = share(float(total.iloc[-1] / total.iloc[0])) if total.iloc[0] > 0 else "an unknown share"
    stands = f"a direct gradient stands at {(direct > 0).sum()} of {len(total)} times"
    return (
        f"{name}: at the end of training the total gradient is {number(float(total.iloc[0]))} at lag 0, of which "
        f"{left} is left at lag {total.index[-1]}; {'the direct one is unknown' if direct.isna().all() else stands}."
    )


def gate_plate(layer: str, gates: Sequence[tuple[str, pd.DataFrame]], inliner: SvgInliner) -> Plate:
    """Draw how open the gates of a layer are, one panel a gate.

    Args:
        layer: its name.
        gates: (gate, rows with `phase`, `time`, `mean`, `low`, `high`).
        inliner: of the page.

    Returns:
        The figure.
    """
    names = ["mean", "share below 0.1", "share above 0.9"]
    panels = [_gate(name, table, names, inliner) for name, table in gates]
    return Plate(
        title=f"Gates of {layer}",
        caption=(
            "How open each gate is at each time: its mean over units and sequences, the share that is nearly closed "
            "(below 0.1) and nearly open (above 0.9). A forget gate near 1 keeps the cell's memory, and its "
            "gradient, alive; a gate that is nearly closed or open everywhere hardly learns."
        ),
        panels=panels,
        keys=[*(Key(name, index, marked=False) for index, name in enumerate(names)), *PHASE_KEYS],
    )


def _gate(name: str, table: pd.DataFrame, names: Sequence[str], inliner: SvgInliner) -> Panel:
    named = dict(zip(("mean", "low", "high"), names, strict=True))
    rows = table.melt(["phase", "time"], list(named), "line", "value").replace({"line": named})
    with panel_axes(170) as (figure, axes):
        for phase, line in (("start", (0, (4, 2))), ("end", "-")):
            part = rows[rows["phase"] == phase]
            width = 1.0 if phase == "start" else 1.6
            medians = median_lines(
                axes, part, "time", "value", "line", indices(names), band=False, linestyle=line, linewidth=width
            )
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("time")
        linear_ticks(axes, y=True)
        y_title(axes, "value, share")
        last = medians.groupby("line")["value"].mean()
        parts = ", ".join(f"{line} {number(float(last[line]), 2)}" for line in names if line in last)
        return Panel(name, inliner.inline(figure, f"{name}: averaged over time, at the end of training: {parts}."))
