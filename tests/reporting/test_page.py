"""Writing a page: whole or not at all."""

import os
from pathlib import Path

import pytest

from gradscope.errors import RunError, UsageError
from gradscope.reporting.page import check_target, render, write_page


def test_a_page_is_written(tmp_path: Path) -> None:
    """The text arrives as it is, and no draft is left."""
    target = write_page("<p>§</p>\n", check_target(tmp_path / "page.html"))
    assert target.read_bytes() == "<p>§</p>\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_failure_keeps_the_earlier_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system refuses half way, the earlier page is untouched and the draft is gone."""
    target = tmp_path / "page.html"
    target.write_text("earlier")

    def refuse(draft: Path, other: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradscope.runs.places.os.replace", refuse)
    with pytest.raises(RunError, match=r"page\.html: No space left on device"):
        write_page("new", target)
    assert target.read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """The message offers a file inside it."""
    with pytest.raises(UsageError, match=r"is a folder; try .*report\.html"):
        check_target(tmp_path)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    """The message names the folder that has to be made."""
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        check_target(tmp_path / "nowhere" / "page.html")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_closed_folder_is_said(tmp_path: Path) -> None:
    """A folder without permission is refused before any work."""
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match=r"no permission to write"):
        check_target(tmp_path / "page.html")


def test_a_template_that_misspells_a_name_is_an_error() -> None:
    """Nothing is silently left out of a page."""
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render("run.html", title="only this")
