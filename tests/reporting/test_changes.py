"""Intervals of remedies, drawn."""

import re

import pytest

from gradscope.reporting.figures.changes import change_panel
from gradscope.reporting.panel import WIDTH
from gradscope.reporting.svg import SvgInliner

LONG = "a-remedy-of-your-own-with-a-very-long-name(0.123, 4.567)"


def _drawn(name: str) -> tuple[str, float]:
    """Return what is drawn of one remedy, and where its y axis stands: the second path is the frame of the axes."""
    svg = str(change_panel("Gradient", "change", [(name, 0.1, -0.2, 0.4)], SvgInliner()).svg)
    return svg.split(">", 1)[1], float(re.findall(r'd="M ([\d.]+) ', svg)[1])


@pytest.mark.parametrize("name", ["gru", "clip-norm(0.1)", "forget-bias(1)"])
def test_names_stand_beside_the_axis(name: str) -> None:
    """A name ends before the axis, and the margin leaves it at least 4 points a letter."""
    svg, axis = _drawn(name)
    anchor, end = re.findall(rf'text-anchor: (\w+)[^>]*x="([\d.]+)"[^>]*>{re.escape(name)}<', svg)[0]
    assert anchor == "end"
    assert float(end) < axis
    assert axis > 4 * len(name)


def test_a_name_that_is_too_long_is_cut() -> None:
    """Half of the panel at least is left to the interval; readers who do not see the figure are told the whole."""
    svg, axis = _drawn(LONG)
    assert axis < WIDTH / 2
    assert "a-remedy-of-your" in svg
    assert LONG not in svg
    assert LONG in change_panel("Gradient", "change", [(LONG, 0.1, -0.2, 0.4)], SvgInliner()).svg


def test_panels_of_the_same_remedies_line_up() -> None:
    """A remedy whose interval is unknown takes its part of the margin all the same."""
    short = ("gru", 0.1, -0.2, 0.4)
    unknown = ("clip-norm(0.1)", float("nan"), float("nan"), float("nan"))
    known = ("clip-norm(0.1)", 0.1, 0.0, 0.2)
    panels = [change_panel("Gradient", "change", [short, other], SvgInliner()) for other in (unknown, known)]
    assert len({re.findall(r'd="M ([\d.]+) ', panel.svg)[1] for panel in panels}) == 1
