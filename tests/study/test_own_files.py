"""What a user wrote in Python, and the data that it reads, are part of a trial's name."""

import pytest

from gradscope.errors import UsageError
from gradscope.study.spec.dotted import source_digest
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.loading import load_study

STUDY = """
name = "own"
title = "My own"
question = "Is it trained again?"
[task.short]
kind = "MODULE:OwnTask"
[training]
iterations = 6
[watch]
exhibits = [6]
[[grid]]
task = ["short"]
cell = ["gru"]
initialisation = ["default"]
seed = [0]
"""

MODULE = """
from pathlib import Path

from gradscope.tasks import Batch, Task

class OwnTask(Task):
    kind = "regression"
    input_size = output_size = 1
    baseline = 1.0
    baseline_meaning = "always answering 0"
    length, lag = 12, 11

    def __init__(self, path: str = "", **options):
        self.text = Path(path).read_text() if path else ""

    def batch(self, rng, size): ...
"""


@pytest.fixture
def ids_of(tmp_path):
    """Return the ids of a study with another text in it, whose modules are named as nowhere else."""

    def find(module, old="", new=""):
        path = tmp_path / "own.toml"
        path.write_text(STUDY.replace("MODULE", module).replace(old, new), encoding="utf-8")
        return [trial.id for trial in expand_grid(load_study(path))]

    return find


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file into the folder of the study, from which modules are imported."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return put


def test_a_change_in_what_a_module_imports_from_beside_it_counts(write):
    """Directly, by way of another module, and inside a package; a module that nobody imports does not."""
    write("helped.py", "import math\nfrom gradscope.tasks import Task\nimport helping_package.parts")
    write("helping_package/__init__.py", "")
    write("helping_package/parts.py", "from . import inner")
    files = [write(f"helping_package/{name}.py", "") for name in ("inner", "unused")]
    before = source_digest(["helped:Cell"])

    changed = []
    for file in files:
        file.write_text("changed = True", encoding="utf-8")
        changed.append(source_digest(["helped:Cell"]) != before)
        file.write_text("", encoding="utf-8")

    assert changed == [True, False]
    assert source_digest(["helped:Cell"]) == before


@pytest.mark.parametrize("module", ["math", "torch.nn"])
def test_modules_that_were_installed_are_no_code_of_the_user(module):
    """Built into Python or part of a package: they have a digest, and what they import is not followed."""
    assert len(source_digest([module])) == 16


def test_a_changed_measure_of_ones_own_is_measured_again(write, ids_of):
    """Its code is part of the trial's name, as that of a cell is."""
    write("measured_task.py", MODULE)
    code = write("own_measure.py", "def mine(network, task, trial): return []")
    with_measure = ("exhibits = [6]", 'exhibits = [6]\nmeasures = ["own_measure:mine"]')
    before = ids_of("measured_task", *with_measure)

    code.write_text("def mine(network, task, trial): return [] * 2", encoding="utf-8")

    assert ids_of("measured_task", *with_measure) != before


def test_a_task_that_gives_no_digest_of_its_data_is_known_by_its_file(write, ids_of):
    """Other content is another trial, the same content under another name is not."""
    write("reading_task.py", MODULE)
    paths = [write(f"{number}.txt", text) for number, text in enumerate(["some", "other", "some"])]

    kind = 'kind = "reading_task:OwnTask"'
    ids = [ids_of("reading_task", kind, f'{kind}\npath = "{path}"') for path in paths]

    assert ids[0] == ids[2] != ids[1]
    assert ids_of("reading_task") not in ids


def test_a_task_that_cannot_be_made_is_one_message(write, ids_of, tmp_path):
    """What its class raises is said with the task's name, before anything trains."""
    write("raising_task.py", MODULE)
    kind = 'kind = "raising_task:OwnTask"'

    with pytest.raises(
        UsageError, match=r"task\.short: raising_task:OwnTask cannot be made: FileNotFoundError: .*none"
    ):
        ids_of("raising_task", kind, f'{kind}\npath = "{tmp_path / "none.txt"}"')


@pytest.mark.parametrize("signature", ["self, **options", "self, *options", 'self, scale: "Unknown" = 3', "self"])
def test_a_task_may_be_made_in_any_way(write, ids_of, signature):
    """Arguments that gather others are not asked for, types that cannot be found are not checked."""
    name = f"odd_task_{len(signature)}"
    write(
        f"{name}.py",
        MODULE.replace('self, path: str = "", **options', signature).replace(
            "Path(path).read_text() if path else ", ""
        ),
    )

    assert len(ids_of(name)) == 1


def test_settings_that_a_task_gathers_are_accepted(write, ids_of):
    """Of a class that takes any, none is unknown."""
    write("gathering_task.py", MODULE)
    kind = 'kind = "gathering_task:OwnTask"'

    assert ids_of("gathering_task", kind, f"{kind}\nanything = 3") != ids_of("gathering_task")
