"""Words of a command line that say where something lies."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradscope.runs.places import Place


def typed_place(text: str) -> "Place":
    """Return what a user typed as a place: a path, or the URL of an object store such as s3://bucket/folder."""
    from gradscope.runs.places import as_place

    return as_place(text)


def page_in(out: "Place", name: str) -> "Place":
    """Return where the page of that name goes, having made sure that no folder or device is in its place.

    Before the training, not after it. A folder that is not there yet has nothing in it, and is made by whoever trains.

    Raises:
        UsageError: there is one.
        RunError: nothing may be written there.
    """
    from gradscope.reporting.page import check_target

    page = out / f"{name}.html"
    if isinstance(out, Path) and not out.is_dir():
        return page
    return check_target(page)
