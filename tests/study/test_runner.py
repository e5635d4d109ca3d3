"""A whole small study in this process."""

from dataclasses import replace

import pytest

from gradscope.errors import RunError
from gradscope.study.running.runner import Setup, run_study
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.study_spec import StudySpec
from gradscope.study.training.outcome import read_outcome


def _spec(**parts):
    raw = {
        "name": "small",
        "title": "A small study",
        "question": "Does it run?",
        "task": {"adding": {"length": 8}},
        "model": {"hidden": 4},
        "training": {"iterations": 6, "batch": 3},
        "watch": {"every": 2},
        "grid": [{"task": ["adding"], "cell": ["rnn_tanh", "lstm"], "initialisation": ["default"], "seed": [0, 1]}],
    }
    return StudySpec.model_validate(raw | parts)


@pytest.fixture
def setup(tmp_path):
    """In this process, into a folder that is not there yet."""
    return Setup(tmp_path / "out" / "deep", workers=0, command="gradscope study small")


def test_study_trains_compares_and_says_how_it_was_made(setup, console):
    """Every trial is in the comparison, finished, with the baseline of its task."""
    comparison = run_study(_spec(), setup, console)

    assert comparison.trials["status"].tolist() == ["finished"] * 4
    assert comparison.trials["baseline"].tolist() == pytest.approx([1 / 6] * 4)
    assert sorted(comparison.settings["cell"]) == ["lstm", "rnn_tanh"]
    made = comparison.provenance
    assert (made["trials"], made["reused"], made["failed"], made["seeds"]) == (4, 0, 0, [0, 1])
    assert (made["command"], made["mode"]) == ("gradscope study small", "default")
    assert console.file.getvalue().splitlines() == [
        "small: 4 trials, 4 to train in this process",
        *[line for line in console.file.getvalue().splitlines() if " of 4 trials done" in line],
    ]


def test_trials_train_together_where_the_study_says_so(setup, console):
    """Those of the plain cell; a block may want it otherwise. Nobody knows what one of their iterations takes."""
    block = {"task": ["adding"], "cell": ["rnn_tanh", "lstm"], "initialisation": ["default"], "seed": [0, 1, 2]}
    spec = _spec(
        training={"iterations": 6, "batch": 3, "together": True},
        grid=[block, block | {"cell": ["rnn_tanh"], "clipping": ["agc"], "together": False}],
    )

    found = run_study(spec, setup, console)

    outcomes = [read_outcome(setup.folder(spec) / trial) for trial in found.trials["trial"]]
    assert [outcome.together for outcome in outcomes] == [3] * 3 + [1] * 6
    assert found.trials["seconds_per_iteration"].isna().tolist() == [True] * 3 + [False] * 6
    assert "9 of 9 trials done, 0 failed, in" in console.file.getvalue()


def test_second_run_takes_what_is_finished_from_disk(setup, console):
    """Only what is new in the grid is trained, and the number taken from disk is said."""
    run_study(_spec(), setup, console)
    larger = [{"task": ["adding"], "cell": ["rnn_tanh", "lstm"], "initialisation": ["default"], "seed": [0, 1, 2]}]

    comparison = run_study(_spec(grid=larger), setup, console)

    assert "small: 6 trials, 4 taken from disk, 2 to train in this process" in console.file.getvalue()
    assert comparison.provenance["reused"] == 4
    assert len(comparison.trials) == 6


def test_a_study_read_from_disk_says_how_it_was_trained(setup, console):
    """Its wall time is that of the training, not of the reading; without a note of it there is none."""
    trained = run_study(_spec(), setup, console).provenance
    read = run_study(_spec(), replace(setup, workers=2), console).provenance

    assert read["reused"] == 4
    assert [read[key] for key in ("started", "seconds", "workers")] == [
        trained[key] for key in ("started", "seconds", "workers")
    ]
    assert read["seconds"] > 0
    (setup.out / "runs" / "small" / "sessions.json").unlink()
    assert not {"started", "seconds", "workers"} & set(run_study(_spec(), setup, console).provenance)


def test_fresh_trains_everything_again(setup, console):
    """With --fresh nothing is taken from disk."""
    run_study(_spec(), setup, console)
    comparison = run_study(_spec(), replace(setup, fresh=True), console)

    assert comparison.provenance["reused"] == 0
    assert "taken from disk" not in console.file.getvalue()


def test_failed_and_diverged_trials_are_results(setup, console):
    """One trial whose folder is blocked fails, those with an absurd learning rate diverge; the study goes on."""
    spec = _spec(
        training={"iterations": 40, "batch": 3, "optimizer": "sgd", "learning_rate": 1e30},
        grid=[{"task": ["adding"], "cell": ["rnn_relu"], "initialisation": ["default"], "seed": [0, 1]}],
    )
    first = run_study(spec, setup, console).trials.set_index("seed").loc[0, "trial"]
    blocked = setup.out / "runs" / "small" / first
    for path in blocked.iterdir():
        path.unlink()
    (blocked / "diary.txt").write_text("mine", encoding="utf-8")

    comparison = run_study(spec, setup, console)

    found = comparison.trials.set_index("seed")
    assert found["status"].to_dict() == {0: "failed", 1: "diverged"}
    assert "RunError" in found.loc[0, "reason"]
    assert "at iteration" in found.loc[1, "reason"]
    assert comparison.provenance["failed"] == 1
    assert read_outcome(blocked).status == "failed"


def test_exhibits_that_come_too_late_are_told(setup, console):
    """Those that no trial reaches, before anything trains."""
    iterations = expand_grid(_spec())[0].iterations

    run_study(_spec(watch={"exhibits": [0, iterations, iterations + 1]}), setup, console)

    late = f"nothing is shown after {iterations + 1} iterations, since no trial has more than {iterations}"
    assert late in console.file.getvalue().splitlines()[1]


def test_a_trial_that_cannot_leave_how_it_ended_is_a_result_too(setup, console):
    """Where its folder should be lies a file: it stands among the trials, with that reason."""
    blocked = next(iter(expand_grid(_spec()))).id
    (setup.out / "runs" / "small").mkdir(parents=True)
    (setup.out / "runs" / "small" / blocked).write_text("mine", encoding="utf-8")

    comparison = run_study(_spec(), setup, console)

    found = comparison.trials.set_index("trial")
    assert sorted(found["status"]) == ["failed", "finished", "finished", "finished"]
    assert "File exists" in found.loc[blocked, "reason"]
    assert comparison.provenance["failed"] == 1


def test_study_whose_trials_all_fail_is_a_failure(setup, console):
    """With nothing to compare there is no comparison, and so no report in place of an earlier one."""
    for trial in expand_grid(_spec()):
        folder = setup.out / "runs" / "small" / trial.id
        folder.mkdir(parents=True)
        (folder / "diary.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(RunError, match=r"all 4 trials failed, so there is nothing to compare\. RunError: "):
        run_study(_spec(), setup, console)


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/gradscope"])
def test_folder_that_cannot_be_written_is_refused_before_training(tmp_path, console, place):
    """A file in the way, or a place where nobody may write: one message, nothing trained."""
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(RunError, match=r"cannot write into .*--out"):
        run_study(_spec(), Setup(tmp_path / place, workers=0), console)

    assert console.file.getvalue() == ""
