"""Loss against iteration, drawn."""

import numpy as np
import pandas as pd

from gradscope.reporting.figures.losses import loss_plate
from gradscope.reporting.panel import Panel
from gradscope.reporting.svg import SvgInliner


def _panels(**levels: float) -> dict[str, Panel]:
    """Return the panels of losses that stay at a level, beside a baseline of 1."""
    at = np.arange(20)
    rows = [
        pd.DataFrame({"panel": name, "series": "default", "seed": 0, "iteration": at, "loss": level})
        for name, level in levels.items()
    ]
    plate = loss_plate(pd.concat(rows), "adding", ["default"], 1.0, "", SvgInliner())
    return {panel.title: panel for panel in plate.panels}


def test_losses_far_above_the_baseline_are_drawn_where_there_are_no_others() -> None:
    """The axis reaches up to them; nothing is said to be missing."""
    panel = _panels(wild=1e18)["wild"]
    assert "10¹⁵" in panel.svg
    assert panel.note == ""


def test_a_loss_that_diverges_does_not_flatten_the_others_and_is_told() -> None:
    """The axis ends at 20 times the baseline, and the panel says what lies above."""
    panels = _panels(calm=0.5, wild=1e18)
    assert "10¹⁵" not in panels["wild"].svg
    assert panels["wild"].note == "Above the frame: default (never below 1.0\u202f×\u202f10¹⁸)."  # noqa: RUF001
    assert panels["calm"].note == ""


def test_more_lines_than_colours_differ_in_figure_and_legend() -> None:
    """The seventh line has the colour of the first, and another style; the legend has the same."""
    names = [f"start {index}" for index in range(7)]
    rows = [
        pd.DataFrame({"panel": "lstm", "series": name, "seed": 0, "iteration": range(20), "loss": 0.5})
        for name in names
    ]
    plate = loss_plate(pd.concat(rows), "adding", names, float("nan"), "", SvgInliner())
    first, last = plate.keys[0], plate.keys[6]
    assert first.colour == last.colour
    assert (first.dashes, last.dashes) == ("", "8 3 2 3")
    assert plate.panels[0].svg.count("stroke-dasharray") == 1
