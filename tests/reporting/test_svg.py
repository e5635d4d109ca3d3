"""Figures inside a page."""

import re

from gradscope.reporting import theme
from gradscope.reporting.panel import panel_axes
from gradscope.reporting.svg import SvgInliner


def _drawing(inliner: SvgInliner, label: str = "It shows a line.") -> str:
    with panel_axes() as (figure, axes):
        axes.plot([0, 1], [0, 1], marker="o", color=theme.series(0))
        axes.set_xlabel("0.123456789 of <b>")
        return str(inliner.inline(figure, label))


def test_two_figures_share_no_id() -> None:
    """The same drawing twice has two sets of ids, and each refers to its own."""
    inliner = SvgInliner()
    one, other = _drawing(inliner), _drawing(inliner)
    ids = [set(re.findall(r'id="([^"]+)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])
    for svg, own in zip((one, other), ids, strict=True):
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)) == own


def test_no_sentinel_is_left() -> None:
    """Every sentinel has become a colour of the page."""
    svg = _drawing(SvgInliner())
    assert not set(theme.SENTINELS) & set(re.findall(r"#[0-9a-f]{6}", svg))
    assert "var(--series-0)" in svg
    assert "var(--muted)" in svg


def test_the_drawing_styles_nothing_outside() -> None:
    """Matplotlib's own style element, which would reach the whole page, is gone."""
    assert "<style" not in _drawing(SvgInliner())


def test_text_is_text_and_keeps_its_digits() -> None:
    """Coordinates are rounded, words are not; what looks like markup is escaped."""
    assert "0.123456789 of &lt;b&gt;" in _drawing(SvgInliner())


def test_the_label_is_escaped() -> None:
    """A label cannot break out of its attribute."""
    assert 'aria-label="a &#34;quote&#34; &lt;b&gt;"' in _drawing(SvgInliner(), 'a "quote" <b>')


def test_the_same_figure_is_the_same_bytes() -> None:
    """Nothing in it depends on when or where it was drawn."""
    assert _drawing(SvgInliner()) == _drawing(SvgInliner())
