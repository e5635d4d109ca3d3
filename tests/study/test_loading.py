"""From a study file to a spec, and every way in which it can be wrong."""

from pathlib import Path

import pytest

from gradscope.cells.cell_table import CELL_TABLE
from gradscope.errors import UsageError
from gradscope.study.spec.catalogue import built_in_studies, find_study
from gradscope.study.spec.data_places import with_data_beside
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.loading import load_study

GOOD = """
name = "small"
title = "A small study"
question = "Does it load?"
[training]
iterations = 10
[[grid]]
task = ["adding"]
cell = ["lstm"]
initialisation = ["default"]
seed = [0, 1]
[quick.training]
iterations = 2
[full]
training.iterations = 1000
training.batch = 64
"""


@pytest.fixture
def write(tmp_path):
    """Write a study file and give back its path."""

    def write(text):
        path = tmp_path / "small.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_modes_lay_their_table_over_the_rest(write):
    """Quick and full change what they name and nothing else."""
    path = write(GOOD)

    default, quick, full = (load_study(path, mode) for mode in ("default", "quick", "full"))

    assert [spec.training.iterations for spec in (default, quick, full)] == [10, 2, 1000]
    assert [spec.training.batch for spec in (default, quick, full)] == [16, 16, 64]
    assert default.grid == quick.grid == full.grid


def test_settings_come_last_and_reach_into_lists(write):
    """--set wins over the mode, reads TOML values, and takes what is no TOML as a string."""
    spec = load_study(write(GOOD), "quick", ["training.iterations=3", "grid.0.seed=[7]", "title=some/file.txt"])

    assert spec.training.iterations == 3
    assert spec.grid[0].seed == [7]
    assert spec.title == "some/file.txt"


@pytest.mark.parametrize("setting", ["quick.training.iterations=7", "full.training.iterations=7", "quick=1"])
def test_what_a_mode_lays_over_the_rest_cannot_be_set(write, setting):
    """It has been laid over it by then, so that nothing would come of it."""
    with pytest.raises(UsageError, match=r"comes too late\. Set the field itself: --set training\.iterations="):
        load_study(write(GOOD), "quick", [setting])


def test_measures_that_are_never_taken_are_refused(write):
    """They are taken after so many iterations as the exhibits say."""
    text = GOOD.replace("[training]", '[watch]\nmeasures = ["states"]\n[training]')

    with pytest.raises(UsageError, match=r"watch: measures are taken where exhibits says.*add exhibits ="):
        load_study(write(text))


def test_a_range_goes_into_every_block(write):
    """`grid.seed=0..9` gives each block these ten seeds."""
    two = GOOD + '[[grid]]\ntask = ["text"]\ncell = ["gru"]\ninitialisation = ["default"]\nseed = [5]\n'

    spec = load_study(write(two), "default", ["grid.seed=0..9"])

    assert [block.seed for block in spec.grid] == [list(range(10))] * 2


def test_all_mistakes_are_named_at_once_with_their_paths(write):
    """Unknown and mistyped fields, wrong values and impossible combinations, in one message."""
    wrong = GOOD.replace('cell = ["lstm"]', 'cell = ["gru", "lstmm"]').replace("seed = [0, 1]", 'seed = [0, "one", -1]')
    wrong = wrong.replace("[training]", 'colour = "red"\n[training]\nbatch = 0\nlerning_rate = 0.1')
    wrong += '[[grid]]\ntask = ["adding"]\ncell = ["rnn_tanh", "gru"]\ninitialisation = ["chrono"]\nseed = [0]\n'

    with pytest.raises(UsageError) as caught:
        load_study(write(wrong))

    first, *lines = str(caught.value).splitlines()
    assert first.endswith("small.toml: 7 mistakes")
    assert sorted(line.strip() for line in lines) == sorted(
        [
            "colour: unknown field. "
            "Accepted: name, title, question, note, modules, task, model, training, watch, grid, expect, quick, full",
            "training.batch: expected a number above 0, got 0",
            "training.lerning_rate: unknown field, did you mean learning_rate? "
            "Accepted: iterations, batch, optimizer, learning_rate, rate_schedule, together",
            "grid.0.cell.1: got 'lstmm', did you mean lstm? Accepted: " + ", ".join(CELL_TABLE),
            "grid.0.seed.1: expected a whole number, got 'one'",
            "grid.0.seed.2: expected at least 0, got -1",
            "grid.1: chrono needs a cell with gates (lstm, gru), and this block also has rnn_tanh: "
            "put it into a [[grid]] block of its own",
        ]
    )


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("name =", "nam ="), "name: missing, but required"),
        (('name = "small"', 'name = "../small"'), "name: expected lower-case letters, digits, - and _, got '../small'"),
        (('title = "A small study"', "title = 3"), 'title: expected a string in "quotes", got 3'),
        (("iterations = 10\n", "iterations = 1.5\n"), "training.iterations: expected a whole number, got 1.5"),
        (("iterations = 10\n", "learning_rate = nan\n"), "training.learning_rate: expected a finite number, got nan"),
        (('cell = ["lstm"]', 'cell = "lstm"'), "grid.0.cell: expected a list in [brackets], got 'lstm'"),
        (('cell = ["lstm"]', "cell = []"), "grid.0.cell: expected at least 1 entry, got []"),
        (("[[grid]]", "[grid]"), "grid: expected one table or more, each under [[grid]], got [grid]"),
        (('name = "small"', 'name = "truth"'), "name: 'truth' is a study that comes with gradscope"),
        (('name = "small"', 'name = "what-if"'), "name: 'what-if' is a study that comes with gradscope"),
        (
            ("[training]", "[task.copy]\nwait = 5\n[training]"),
            "task.copy: no block of the grid has this task, so that this would change nothing. Its tasks: adding",
        ),
        (("[training]", "watch = 3\n[training]"), "watch: expected a table, got 3"),
        (
            ("[training]", '[task.adding]\nlength = "ten"\n[training]'),
            "task.adding.length: expected a whole number, got 'ten'",
        ),
        (
            ("[training]", "[task.adding]\nlenght = 10\n[training]"),
            "task.adding.lenght: unknown field, did you mean length? Accepted: length, lag",
        ),
        (
            ("[training]", '[task.mine]\nkind = "ading"\n[training]'),
            "task.mine.kind: got 'ading', did you mean adding? Accepted: adding, text",
        ),
        (
            ('task = ["adding"]', 'task = ["ading"]'),
            "grid.0.task.0: got 'ading', did you mean adding? Accepted: adding",
        ),
        (('cell = ["lstm"]', 'cell = ["nowhere:Cell"]'), "grid.0.cell.0: cannot import 'nowhere'"),
        (('cell = ["lstm"]', 'cell = ["json:Cell"]'), "grid.0.cell.0: json:Cell: json has no 'Cell'"),
        (
            ("[training]", "[task.addin]\n[training]"),
            "task.addin: got 'addin', did you mean adding? Accepted: adding, text",
        ),
        (("iterations = 2", "iteration = 2"), "with [quick]: training.iteration: unknown field, did you mean"),
    ],
)
def test_each_mistake_says_what_is_accepted(write, change, line):
    """One line a mistake: its path, what was expected, what was got."""
    assert change[0] in GOOD

    with pytest.raises(UsageError) as caught:
        load_study(write(GOOD.replace(*change)))

    assert f"\n  {line}" in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("training.iteration=3", "training.iteration: unknown field, did you mean iterations"),
        ("training.iterations=many", "training.iterations: expected a whole number, got 'many'"),
        ("training", "--set expects key.path=value, got 'training'"),
        ("training..batch=3", "--set expects key.path=value"),
        ("name.first=3", "'first' leads into 'small', which is no table"),
        ("grid.5.seed=[1]", "expected a number from 0 to 0 at '5'"),
        ("grid.first.seed=[1]", "grid.0.first: unknown field"),
        ("grid.0.seed.first=[1]", "expected a number from 0 to 1 at 'first'"),
        ("grid.seed=9..0", "expected a range such as 0..9"),
        ("task.text.path=my.txt", "task.text: no block of the grid has this task"),
    ],
)
def test_wrong_settings_are_refused(write, setting, words):
    """A path that does not exist or a value that does not fit."""
    with pytest.raises(UsageError) as caught:
        load_study(write(GOOD), "default", [setting])

    assert words in str(caught.value)


def test_syntax_error_has_line_and_column(write):
    """TOML's own words, behind the file's name."""
    with pytest.raises(UsageError, match=r"small\.toml is no valid TOML: .*line 2, column 9"):
        load_study(write('name = "x"\ntitle = = 3\n'))


def test_file_that_is_not_utf8_is_refused(tmp_path):
    """The first byte that cannot be read is named."""
    path = tmp_path / "latin.toml"
    path.write_bytes(b'name = "caf\xe9"')

    with pytest.raises(UsageError, match="byte 11 is not UTF-8"):
        load_study(path)


def test_a_byte_order_mark_is_no_part_of_the_file(write):
    """Editors on Windows write one."""
    assert load_study(write("\ufeff" + GOOD)) == load_study(write(GOOD))


def test_a_task_may_be_of_one_mode_alone(write):
    """A table that only --full needs is no mistake."""
    path = write(GOOD.replace("training.batch = 64", "training.batch = 64\ntask.copy.wait = 5"))
    with pytest.raises(UsageError, match=r"task\.copy: no block"):
        load_study(path)

    grid = '[[full.grid]]\ntask = ["copy"]\ncell = ["gru"]\ninitialisation = ["default"]\nseed = [0]\n'
    spec = load_study(write(GOOD + "[task.copy]\nwait = 5\n" + grid))

    assert spec.grid[0].task == ["adding"]


def test_unknown_study_suggests_near_names():
    """A mistyped built-in name."""
    with pytest.raises(
        UsageError, match=r"there is no study 'vanishng', did you mean vanishing\? Built in: .*vanishing"
    ):
        find_study("vanishng")


def test_missing_file_and_folder_are_told_apart(tmp_path):
    """A path that ends in .toml is a file, not a name."""
    (tmp_path / "folder.toml").mkdir()

    with pytest.raises(UsageError, match="no such file"):
        find_study(str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="a folder"):
        find_study(str(tmp_path / "folder.toml"))


@pytest.mark.parametrize("name", built_in_studies())
def test_built_in_studies_are_valid_in_every_mode(name):
    """What ships can be run, and its name is its file's."""
    for mode in ("default", "quick", "full"):
        assert load_study(find_study(name), mode).name == name


@pytest.mark.parametrize("mode", ["default", "quick"])
def test_data_lie_beside_the_study_or_in_the_current_folder(tmp_path, monkeypatch, mode):
    """Named in the file: beside it first; named by --set: in the current folder, whatever lies beside the file."""
    beside, here = tmp_path / "beside", tmp_path / "here"
    for folder, names in ((beside, ["both.txt"]), (here, ["both.txt", "here.txt"])):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(f"{folder.name} has a text. " * 60, encoding="utf-8")
    monkeypatch.chdir(here)
    study = GOOD.replace('task = ["adding"]', 'task = ["both", "here"]').replace(
        "[quick.training]",
        """
[task.both]
kind = "text"
path = "both.txt"
[task.here]
kind = "text"
path = "here.txt"
[quick.task.both]
path = "both.txt"
[quick.training]""",
    )
    (beside / "study.toml").write_text(study, encoding="utf-8")

    def paths(*settings: str) -> list[str]:
        trials = expand_grid(load_study(beside / "study.toml", mode, settings))
        return list(dict.fromkeys(str(Path(trial.options["path"]).relative_to(tmp_path)) for trial in trials))

    assert paths() == ["beside/both.txt", "here/here.txt"]
    assert paths("task.both.path=both.txt") == ["here/both.txt", "here/here.txt"]


def test_what_is_no_relative_place_of_data_stays_as_it_is(tmp_path):
    """Nothing, a whole path, more than a name can hold, what is no text, tables that are none: said elsewhere."""
    (tmp_path / "data.txt").touch()
    odd = {"a": "", "b": "/", "c": "n" * 5000, "d": 7, "e": [], "f": "none.txt", "g": "\0"}
    tables = {name: {"path": value, "kind": "data.txt"} for name, value in odd.items()}
    raw = {"task": {**tables, "h": 3, "i": {"folder": "data.txt"}}, "quick": {"task": []}, "full": "data.txt"}

    found = with_data_beside(raw, tmp_path)

    assert found == {**raw, "task": {**raw["task"], "i": {"folder": str(tmp_path / "data.txt")}}}
