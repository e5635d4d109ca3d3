"""The wheel: built from a source distribution, installed outside the checkout, and used from there."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gradscope

ROOT = Path(gradscope.__file__).parents[1]
# .gitignore too: hatchling leaves out what it names.
SOURCES = ("gradscope", "studies", "tests", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", ".gitignore")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the tree; nothing is downloaded."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree)
    (tree / "reports").mkdir()
    (tree / "reports" / "vanishing.html").write_text("a page of the gallery", encoding="utf-8")
    # Without --wheel it builds the source distribution, and the wheel from that.
    _run(sys.executable, "-m", "build", "--no-isolation", cwd=tree)
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is installed into; what gradscope depends on stays where it is."""
    target = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel, cwd=target)
    return target


def _run(*words, cwd, **environment):
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _gradscope(installed, cwd, *words):
    return _run(installed / "bin" / "gradscope", *words, cwd=cwd, PYTHONPATH=str(installed))


def test_wheel_holds_the_package_and_its_studies_and_nothing_else(wheel):
    """Every file of the package, the studies inside it, the licence; no tests, no reports."""
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "gradscope").rglob("*") if path.is_file()}
    package = {name for name in package if "__pycache__" not in name}
    studies = {f"gradscope/studies/{path.name}" for path in (ROOT / "studies").glob("*.toml")}

    assert {"gradscope/py.typed", "gradscope/studies/vanishing.toml"} <= package | studies
    assert {name for name in names if ".dist-info/" not in name} == package | studies
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_installed_command_is_the_installed_package(installed, tmp_path):
    """What the next tests call is not the checkout."""
    where = _run(
        sys.executable, "-c", "import gradscope; print(gradscope.__file__)", cwd=tmp_path, PYTHONPATH=str(installed)
    )

    assert Path(where.strip()) == installed / "gradscope" / "__init__.py"


def test_installed_command_lists_its_studies(installed, tmp_path):
    """From another folder, without the checkout."""
    listed = _gradscope(installed, tmp_path, "studies").splitlines()

    named = [line.split()[0] for line in listed if line and not line.startswith(" ")]
    files = sorted(path.stem for path in (ROOT / "studies").glob("*.toml"))
    assert named == [*files, "truth", "what-if"]


def test_installed_command_finds_a_study(installed, tmp_path):
    """Its grid is that of the checkout."""
    inside = _gradscope(installed, tmp_path, "study", "vanishing", "--dry-run")
    outside = _run(
        sys.executable, "-m", "gradscope", "study", ROOT / "studies" / "vanishing.toml", "--dry-run", cwd=ROOT
    )

    # The last line says how long it will take, which depends on how busy the machine is.
    assert inside.splitlines()[:-1] == outside.splitlines()[:-1]
    assert len(inside.splitlines()) == 139
    assert list(tmp_path.iterdir()) == []


def test_installed_command_writes_a_report(installed, tmp_path):
    """Style sheet, script and templates came along."""
    from tests.planted import exponential, plant

    plant(tmp_path / "demo", lambda iteration: exponential(-0.2, seed=iteration))

    assert _gradscope(installed, tmp_path, "report", "demo").strip() == "demo.html"
    assert (tmp_path / "demo.html").read_text(encoding="utf-8").startswith("<!doctype html>")
