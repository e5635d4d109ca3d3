"""The list of all studies' pages: what each asks and what it found, read from the pages themselves."""

from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import quote

from gradscope.errors import RunError
from gradscope.runs.places import Place, read, sizes, write

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


def write_list(folder: Place) -> Place:
    """Write README.md beside the pages.

    Args:
        folder: that holds them; what else is in it is left out.

    Returns:
        The path of the list.

    Raises:
        RunError: there is no page, or the list cannot be written.
    """
    entries = [entry for name in _pages(folder) if (entry := _entry(folder / name)) and entry.finding]
    if not entries:
        raise RunError(f"There is no study's page in {folder}: run `gradscope study NAME --out {folder}` first.")
    target = folder / LIST
    try:
        write(target, list_of(entries).encode())
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
        link = f"[{_safe(entry.title)}]({quote(entry.name)}.html)"
        lines += [f"- {link}: {_safe(entry.question)}", f"  {_safe(entry.finding)}"]
    return "\n".join(lines) + "\n"


def _pages(folder: Place) -> list[str]:
    """Return the names of what may be pages, in order; none in a folder that is not there.

    Raises:
        RunError: it is no folder, or cannot be read.
    """
    try:
        return sorted(name for name in sizes(folder) if name.endswith(".html"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"The pages in {folder} cannot be read: {error.strerror or error}.") from error


def _entry(page: Place) -> Entry | None:
    try:
        return read_entry(page)
    except OSError:  # A folder of that name, or nobody's to read.
        return None


def read_entry(page: Place) -> Entry:
    """Read what a page says of itself.

    Args:
        page: an HTML file.

    Returns:
        Its entry; without a finding if it is no study's page.
    """
    reader = _Reader()
    reader.feed(read(page).decode(errors="replace"))
    return Entry(
        page.name.removesuffix(".html"), reader.texts["title"].strip(), reader.texts["question"].strip(), reader.finding
    )


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
    for sign in "\\*_<>|[]":
        text = text.replace(sign, f"\\{sign}")
    return text
