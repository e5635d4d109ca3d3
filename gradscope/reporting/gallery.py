"""The list of all studies' pages: what each asks and what it found, read from the pages themselves."""

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from gradscope.errors import RunError

LIST = "README.md"


@dataclass(frozen=True)
class Entry:
    """One page.

    Attributes:
        name: of its file, without ending.
        title: of the study.
        question: that it asks.
        finding: the sentence that it wrote of itself.
    """

    name: str
    title: str
    question: str
    finding: str


def write_list(folder: Path) -> Path:
    """Write README.md beside the pages.

    Args:
        folder: that holds them.

    Returns:
        The path of the list.

    Raises:
        RunError: there is no page, or the list cannot be written.
    """
    entries = [read_entry(path) for path in sorted(folder.glob("*.html"))]
    entries = [entry for entry in entries if entry.finding]
    if not entries:
        raise RunError(f"There is no study's page in {folder}: run `gradscope study NAME --out {folder}` first.")
    target = folder / LIST
    try:
        target.write_text(list_of(entries), encoding="utf-8")
    except OSError as error:
        raise RunError(f"The list cannot be written to {target}: {error.strerror or error}.") from error
    return target


def list_of(entries: list[Entry]) -> str:
    """Return the list as Markdown.

    Args:
        entries: of the pages.

    Returns:
        The text.
    """
    lines = [
        "# What the studies found",
        "",
        "Each page is one self-contained file, as `gradscope study NAME` writes it. `gradscope gallery` writes this",
        "list from the pages; every number in it stands in its study's tables.",
        "",
    ]
    for entry in entries:
        lines += [f"- [{entry.title}]({entry.name}.html): {_safe(entry.question)}", f"  {_safe(entry.finding)}"]
    return "\n".join(lines) + "\n"


def read_entry(page: Path) -> Entry:
    """Read what a page says of itself.

    Args:
        page: an HTML file.

    Returns:
        Its entry; without a finding if it is no study's page.
    """
    reader = _Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return Entry(page.stem, reader.texts["title"].strip(), reader.texts["question"].strip(), reader.finding)


class _Reader(HTMLParser):
    """Keeps the title, the question and the description of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = {"title": "", "question": ""}
        self.finding = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "meta" and given.get("name") == "description":
            self.finding = given.get("content") or ""
        elif tag == "title":
            self._inside = "title"
        elif tag == "p" and given.get("class") == "question":
            self._inside = "question"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("title", "p"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] += data


def _safe(text: str) -> str:
    """Return text that Markdown shows as it is."""
    for sign in "\\*_<>|":
        text = text.replace(sign, f"\\{sign}")
    return text
