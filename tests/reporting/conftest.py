"""A comparison and runs, and their pages."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from gradscope.reporting import report, study_page
from gradscope.study.comparing.comparison import Comparison
from tests.reporting.made import COMPARED, made_comparison
from tests.reporting.made_run import write_run


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    """Two tasks, four cells, known rates."""
    return made_comparison()


@pytest.fixture(scope="session")
def one_cell(comparison: Comparison) -> Comparison:
    """The same of one cell and one task alone, which is drawn in a fraction of the time."""

    def of_it(table: pd.DataFrame) -> pd.DataFrame:
        return table[(table["task"] == "adding") & (table["cell"] == "lstm")].reset_index(drop=True)

    tables = {name: of_it(getattr(comparison, name)) for name in COMPARED}
    return replace(comparison, **tables)


@pytest.fixture(scope="session")
def study(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that comparison."""
    return study_page(comparison, tmp_path_factory.mktemp("study") / "study.html")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: plain, hostile, killed, empty, mixed."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "plain", metadata={"lag": 20})
    hostile = {"<script>alert(1)</script>.l0": -0.1, "<img src=x onerror=alert(1)>": -0.2}
    write_run(root / "hostile", rates=hostile, metadata={"note": "<script>alert(2)</script>"})
    write_run(root / "killed", close=False, bad_iteration=3)
    write_run(root / "empty", iterations=0)
    write_run(root / "mixed", everywhere=True)
    return root


@pytest.fixture(scope="session")
def run_page(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the plain run."""
    return report(runs / "plain", tmp_path_factory.mktemp("run") / "run.html")
