"""Colours of the reports, in light and in dark, and how matplotlib draws with them.

A figure is drawn once, in sentinel colours; `SvgInliner` makes each sentinel a CSS variable, so that the same figure
follows the reader's theme. The series colours keep at least 3:1 against the page and stay apart for protanopes and
deuteranopes in both themes (a test measures it).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

LIGHT: Final[Mapping[str, str]] = {
    "page": "#fcfcfa",
    "raised": "#f3f3ef",
    "ink": "#1c1e21",
    "muted": "#5f646b",
    "line": "#dfdfda",
    "link": "#1d4fd1",
    "vanishing": "#1d4fd1",
    "exploding": "#b8430b",
    "marginal": "#1f7a66",
    "series-0": "#1d4fd1",
    "series-1": "#e2611c",
    "series-2": "#3d9a86",
    "series-3": "#6d1f6b",
    "series-4": "#5b4010",
    "series-5": "#4a91d6",
}
DARK: Final[Mapping[str, str]] = {
    "page": "#16181b",
    "raised": "#1f2226",
    "ink": "#e9e9e5",
    "muted": "#a3a8ae",
    "line": "#33373d",
    "link": "#8fb0ff",
    "vanishing": "#8fb0ff",
    "exploding": "#ff9a6b",
    "marginal": "#5fdcb0",
    "series-0": "#4a7dff",
    "series-1": "#f2603c",
    "series-2": "#45dba0",
    "series-3": "#c86cc4",
    "series-4": "#efd84a",
    "series-5": "#c4ecf5",
}
SERIES: Final = 6
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
DASHES: Final[tuple[tuple[float, ...], ...]] = ((), (4, 1.5, 1, 1.5), (1, 1.2), (4, 1.5, 1, 1.5, 1, 1.5))
"""Line styles, one each time the colours begin again, in widths of the line; no plain dashes, which mean the start."""

INK: Final = "#010203"
MUTED: Final = "#010204"
GRID: Final = "#010205"
ZERO: Final = "#d6336c"
"""Exact zeros in a heatmap: a hue that the colour map does not have, legible on both pages."""

_SERIES_SENTINELS: Final = tuple(f"#0102{16 + i:02x}" for i in range(SERIES))
SENTINELS: Final[Mapping[str, str]] = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    **{sentinel: f"var(--series-{i})" for i, sentinel in enumerate(_SERIES_SENTINELS)},
}
"""What each sentinel becomes in the page."""


def series(index: int) -> str:
    """Return the sentinel colour of the line with this index; more lines than colours begin again, in another style.

    Returns:
        A colour for matplotlib.
    """
    return _SERIES_SENTINELS[index % SERIES]


def marker(index: int) -> str:
    """Return the marker of the line with this index: lines are told apart without colour too.

    Past the last colour both begin again, the marker one further, so that 36 pairs differ.

    Returns:
        A marker for matplotlib.
    """
    return MARKERS[(index + index // SERIES) % len(MARKERS)]


def dashes(index: int) -> tuple[float, ...]:
    """Return the dashes and gaps of the line with this index, in widths of the line; lines of one colour differ.

    Returns:
        An empty tuple, a solid line, for as many lines as there are colours.
    """
    return DASHES[index // SERIES % len(DASHES)]


def line_style(index: int) -> str | tuple[float, tuple[float, ...]]:
    """Return the style of the line with this index, as matplotlib takes it.

    Returns:
        Solid for as many lines as there are colours.
    """
    return (0, found) if (found := dashes(index)) else "-"


@contextmanager
def style() -> Iterator[None]:
    """Draw in sentinel ink on a transparent page, text as text, the same bytes each time."""
    import matplotlib as mpl

    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "gradscope",
            "font.family": "DejaVu Sans",
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.labelsize": 11,
            "xtick.labelsize": 10.5,
            "ytick.labelsize": 10.5,
            "text.color": INK,
            "axes.labelcolor": MUTED,
            "axes.edgecolor": MUTED,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "xtick.minor.size": 0,
            "ytick.minor.size": 0,
            "axes.linewidth": 0.7,
            "xtick.major.width": 0.7,
            "ytick.major.width": 0.7,
            "axes.facecolor": "none",
            "figure.facecolor": "none",
            "savefig.facecolor": "none",
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 1.6,
            "lines.solid_capstyle": "round",
            "path.simplify": True,
            "path.simplify_threshold": 0.3,
            "hatch.color": MUTED,
            "hatch.linewidth": 0.6,
        }
    ):
        yield
