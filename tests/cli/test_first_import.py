"""Being told of a module's first import, by whoever imports it."""

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

from gradscope.cli.first_import import when_imported


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that nobody has imported yet."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    path = tmp_path / "late_module.py"
    path.write_text("number = 1\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "late_module", None)
    del sys.modules["late_module"]
    return path


def test_it_is_told_when_all_of_it_is_there(module: Path) -> None:
    """Once, and not when somebody only asks whether there is such a module; nothing stays behind."""
    before, told = list(sys.meta_path), list[int]()
    when_imported("late_module", lambda: told.append(sys.modules["late_module"].number))
    assert importlib.util.find_spec("late_module") is not None
    assert told == []
    late = importlib.import_module("late_module")
    assert told == [1]
    assert sys.meta_path == before
    assert "exec_module" not in vars(late.__spec__.loader)
    importlib.reload(late)
    assert told == [1]


def test_one_that_is_there_already() -> None:
    """At once."""
    told: list[bool] = []
    when_imported("sys", lambda: told.append(True))
    assert told == [True]


def test_an_import_that_fails_is_not_the_first(module: Path) -> None:
    """The next one may succeed."""
    told: list[bool] = []
    module.write_text("raise ValueError('not yet')\n", encoding="utf-8")
    when_imported("late_module", lambda: told.append(True))
    with pytest.raises(ValueError, match="not yet"):
        importlib.import_module("late_module")
    assert told == []
    module.write_text("number = 2222\n", encoding="utf-8")
    importlib.invalidate_caches()
    importlib.import_module("late_module")
    assert told == [True]


def test_waiting_can_end_before(module: Path) -> None:
    """Nothing is told then."""
    before, told = list(sys.meta_path), list[bool]()
    when_imported("late_module", lambda: told.append(True))()
    assert sys.meta_path == before
    importlib.import_module("late_module")
    assert told == []
