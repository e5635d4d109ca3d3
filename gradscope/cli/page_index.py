"""The page that a folder of pages begins with: its README.md, and whatever that does not link to."""

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote, unquote

_README = "README.md"
_LINK = re.compile(r"\[((?:\\.|[^\]\\])*)\]\(([^()\s]+)\)")
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    '<link rel="icon" href="data:,">'
    "<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}}"
    "li{{margin:.5rem 0}}</style>"
)


def index_page(folder: Path, pages: Sequence[str]) -> str:
    """Return the HTML that leads to every page.

    Args:
        folder: that holds them, perhaps with a README.md.
        pages: names of files.
    """
    text = _text_of(folder / _README)
    told = {unquote(address).removeprefix("./") for _, address in _LINK.findall(text)}
    others = [page for page in pages if page not in told]
    readme = "".join(_blocks(text)) if len(others) < len(pages) else ""  # One that leads to no page is about others.
    heading = "<h2>Other pages</h2>" if readme else f"<h1>{escape(folder.name)}</h1>"
    listed = "".join(f'<li><a href="{quote(page)}">{escape(page)}</a></li>' for page in others)
    return _HEAD.format(title=escape(folder.name)) + readme + (f"{heading}<ul>{listed}</ul>" if others else "")


def _text_of(readme: Path) -> str:
    try:
        inside = readme.resolve().is_relative_to(readme.parent.resolve())
        return readme.read_text(encoding="utf-8", errors="replace") if inside else ""
    except (OSError, RuntimeError):
        return ""


def _blocks(text: str) -> Iterator[str]:
    """Go through the little of Markdown that such lists are written in: headings, lists, paragraphs.

    Yields:
        HTML.
    """
    for block in re.split(r"\n\s*\n", text.strip()):
        heading = _HEADING.fullmatch(block)
        if heading is not None:
            yield f"<h{len(heading[1])}>{_inline(heading[2])}</h{len(heading[1])}>"
        elif block.startswith("- "):
            items = re.split(r"\n(?=- )", block)
            yield "<ul>" + "".join(f"<li>{_lines(item.removeprefix('- '))}</li>" for item in items) + "</ul>"
        else:
            yield f"<p>{_inline(block)}</p>"


def _lines(item: str) -> str:
    return "<br>".join(_inline(line.strip()) for line in item.splitlines())


def _inline(text: str) -> str:
    parts, end = [], 0
    for link in _LINK.finditer(text):
        parts.append(_plain(text[end : link.start()]))
        address = link[2] if link[2].startswith(("https://", "http://")) else quote(unquote(link[2]))
        parts.append(f'<a href="{escape(address)}">{_plain(link[1])}</a>')
        end = link.end()
    return "".join(parts) + _plain(text[end:])


def _plain(text: str) -> str:
    shown = escape(re.sub(r"\\([\\*_<>|\[\]])", r"\1", text))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", shown)
