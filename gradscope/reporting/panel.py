"""What a page shows as a figure: small panels of one kind, with one legend and one caption."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup

from gradscope.reporting import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 300.0
"""Width of a panel in points; the page shows it at 280 to 420 pixels, so that its text stays 9 to 14 pixels high."""
SWATCH = 2
"""Width of a line in a legend in pixels."""


@dataclass(frozen=True)
class Panel:
    """One small figure.

    Attributes:
        title: what it is of: a cell, a layer.
        svg: the drawing.
        note: a short remark under it, for instance that something is missing.
    """

    title: str
    svg: Markup
    note: str = ""


@dataclass(frozen=True)
class Key:
    """One entry of a legend.

    Attributes:
        label: what the line is of.
        index: index of its colour and marker in the theme; None for one in ink.
        dashed: whether its line is dashed.
        marked: whether its line carries markers.
    """

    label: str
    index: int | None
    dashed: bool = False
    marked: bool = True

    @property
    def colour(self) -> str:
        """The CSS colour of the line."""
        return "currentColor" if self.index is None else f"var(--series-{self.index % theme.SERIES})"

    @property
    def dashes(self) -> str:
        """The dashes of the line in pixels, empty if it is solid."""
        if self.dashed:
            return "5 3"
        return "" if self.index is None else " ".join(f"{SWATCH * length:g}" for length in theme.dashes(self.index))

    @property
    def marker(self) -> str:
        """The marker of the line, empty if it has none."""
        return theme.marker(self.index) if self.marked and self.index is not None else ""


@dataclass(frozen=True)
class Scale:
    """A colour scale, drawn by the page itself.

    Attributes:
        colours: colours at equal distances, from low to high.
        ticks: (position in percent, label).
        label: what the colours mean.
        zero: whether exact zeros are in the figure.
        missing: whether values that are not finite are in the figure.
    """

    colours: Sequence[str]
    ticks: Sequence[tuple[float, str]]
    label: str
    zero: bool = False
    missing: bool = False


@dataclass(frozen=True)
class Plate:
    """Panels that are read together.

    Attributes:
        title: heading of the figure.
        caption: how to read it.
        panels: the drawings.
        keys: the legend.
        scale: the colour scale of a heatmap.
        topic: the task that it is about; the page can show the plates of one task alone.
    """

    title: str
    caption: str
    panels: Sequence[Panel]
    keys: Sequence[Key] = field(default_factory=tuple)
    scale: Scale | None = None
    topic: str = ""


@contextmanager
def panel_axes(height: float = 200.0, left: float = 40.0) -> Iterator[tuple["Figure", "Axes"]]:
    """Give the axes of one panel, placed alike in every panel so that neighbours line up.

    Args:
        height: in points.
        left: room for what stands beside the y axis, in points.

    Yields:
        The figure and its axes, inside the theme's style.
    """
    from matplotlib.figure import Figure

    with theme.style():
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        right, top, bottom = 8.0, 20.0, 34.0
        axes = figure.add_axes(
            (
                left / WIDTH,
                bottom / height,
                (WIDTH - left - right) / WIDTH,
                (height - top - bottom) / height,
            )
        )
        yield figure, axes


def y_title(axes: "Axes", text: str) -> None:
    """Name the y axis above it, horizontally: no head has to tilt."""
    axes.set_ylabel("")
    axes.annotate(
        text,
        xy=(0, 1),
        xytext=(-32, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        color=theme.MUTED,
        annotation_clip=False,
    )
