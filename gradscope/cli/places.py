"""Words of a command line that say where something lies."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradscope.runs.places import Place


def typed_place(text: str) -> "Place":
    """Return what a user typed as a place: a path, or the URL of an object store such as s3://bucket/folder."""
    from gradscope.runs.places import as_place

    return as_place(text)
