"""From a matplotlib figure to SVG that lives inside a page: own ids, the page's ink, the page's font."""

import io
import re
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from gradscope.reporting.theme import SENTINELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GEOMETRY = re.compile(r'\b(?:d|x|y|transform|points|width|height)="[^"]*"')
_DECIMALS = re.compile(r"(\.\d{2})\d+")
_REFERENCE = re.compile(r'(?:url\(#|href="#)([^)"]+)')
_ID = re.compile(r'\s+id="([^"]+)"')
_FONT = re.compile(r"font: (?:[\w ]*?)([\d.]+)px [^;\"]*")
_GLOBAL_STYLE = re.compile(r"\s*<defs>\s*<style[^>]*>.*?</style>\s*</defs>", re.DOTALL)
_HEAD = re.compile(r"^.*?<svg[^>]*viewBox=\"([^\"]+)\"[^>]*>", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_SENTINEL = re.compile("|".join(SENTINELS))


class SvgInliner:
    """Makes the figures of one page: counts them, so that no two share an id."""

    def __init__(self) -> None:
        self._made = 0

    def inline(self, figure: "Figure", label: str) -> Markup:
        """Return the figure as an `<svg>` element.

        Args:
            figure: drawn inside `theme.style()`.
            label: one sentence that says what the figure shows, for readers who do not see it.

        Returns:
            Safe markup; the label is escaped.
        """
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        self._made += 1
        return _adopt(buffer.getvalue(), f"f{self._made}-", label)


def _adopt(svg: str, prefix: str, label: str) -> Markup:
    """Return the SVG file's text as an element that shares nothing with its neighbours.

    Raises:
        ValueError: it is not what matplotlib writes.
    """
    view_box = _HEAD.match(svg)
    if view_box is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox; expected one on its <svg> element")
    body = svg[view_box.end() :]
    # matplotlib styles `*`, which would reach the whole page; style.css says the same for figures alone.
    body = _METADATA.sub("", _GLOBAL_STYLE.sub("", body, count=1))
    body = _own_ids(body, prefix)
    body = _SENTINEL.sub(lambda match: SENTINELS[match.group()], body)
    body = _FONT.sub(r"font-size: \1px", body)
    body = _GEOMETRY.sub(lambda match: _DECIMALS.sub(r"\1", match.group()), body)
    body = re.sub(r"\n\s*", "\n", body)
    head = f'<svg class="plot" role="img" aria-label="{escape(label)}" viewBox="{view_box.group(1)}">'
    return Markup(head + body.strip())  # matplotlib escapes its text; the label is escaped above


def _own_ids(body: str, prefix: str) -> str:
    """Return the body with those ids alone that something refers to, made this figure's own."""
    used = {name: f"{prefix}{i}" for i, name in enumerate(dict.fromkeys(_REFERENCE.findall(body)))}
    body = _ID.sub(lambda match: f' id="{used[match.group(1)]}"' if match.group(1) in used else "", body)
    return _REFERENCE.sub(lambda match: match.group().replace(match.group(1), used[match.group(1)]), body)
