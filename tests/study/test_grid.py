"""From a spec to trials, and a trial's name."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from gradscope.errors import UsageError
from gradscope.study.spec.catalogue import find_study
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.loading import load_study
from gradscope.study.spec.study_spec import StudySpec
from gradscope.study.spec.trial import Trial


def _spec(*blocks, **parts):
    raw = {"name": "small", "title": "t", "question": "q", "training": {"iterations": 5}, "grid": list(blocks)}
    return StudySpec.model_validate(raw | parts)


def _block(**lists):
    return {"task": ["adding"], "cell": ["lstm"], "initialisation": ["default"], "seed": [0]} | lists


def test_blocks_are_products_and_their_union_has_no_doubles():
    """Two overlapping blocks give each trial once, in the order of the file."""
    spec = _spec(
        _block(cell=["lstm", "gru"], seed=[0, 1]),
        _block(clipping=["none", "norm(1.0)"]),
    )

    found = [(trial.cell, trial.seed, trial.clipping) for trial in expand_grid(spec)]

    assert found == [
        ("lstm", 0, "none"),
        ("lstm", 1, "none"),
        ("gru", 0, "none"),
        ("gru", 1, "none"),
        ("lstm", 0, "norm(1.0)"),
    ]


def test_id_follows_from_the_settings():
    """The same settings give the same 16 digits; each changed setting gives others."""
    (trial,) = expand_grid(_spec(_block()))
    (again,) = expand_grid(_spec(_block()))
    changes = {
        "length": 7,
        "kind": "text",
        "options": {"length": 7},
        "exhibits": (3,),
        "measures": ("states",),
        "rate_schedule": "cosine",
        "together": True,
        "modules": ("mine",),
        "data_digest": "0",
        "code_digest": "0",
        "cell": "gru",
        "initialisation": "orthogonal",
        "clipping": "norm(1.0)",
        "seed": 1,
        "hidden": 8,
        "iterations": 6,
        "batch": 2,
        "optimizer": "sgd",
        "learning_rate": 0.5,
        "every": 2,
        "task": "text",
    }

    ids = {replace(trial, **{name: value}).id for name, value in changes.items()}

    assert trial.id == again.id
    assert len(trial.id) == 16
    assert set(trial.id) <= set("0123456789abcdef")
    assert len(ids | {trial.id}) == len(changes) + 1
    assert replace(trial, folder="/elsewhere").id == trial.id
    assert set(changes) | {"folder"} == set(trial.settings)


def test_id_depends_on_the_text_and_not_on_where_it_lies(tmp_path):
    """The same text under another name is the same trial; a changed text is another."""
    ids = []
    for name, text in (("a.txt", "some text. " * 200), ("b.txt", "some text. " * 200), ("c.txt", "new text. " * 200)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (trial,) = expand_grid(_spec(_block(task=["text"]), task={"text": {"path": str(tmp_path / name)}}))
        ids.append(trial.id)

    assert ids[0] == ids[1] != ids[2]


def test_unusable_text_is_refused_only_where_it_is_used(tmp_path):
    """A missing file stops a study with the text task, and no other."""
    task = {"text": {"path": str(tmp_path / "none.txt")}}

    assert len(expand_grid(_spec(_block(), task=task))) == 1
    with pytest.raises(UsageError, match="cannot read the text"):
        expand_grid(_spec(_block(task=["text"]), task=task))


def test_window_that_does_not_fit_the_text_is_refused(tmp_path):
    """A window longer than the user's text is found before anything trains."""
    (tmp_path / "own.txt").write_text("some text. " * 100, encoding="utf-8")

    with pytest.raises(UsageError, match="windows of 2 to 1099"):
        expand_grid(_spec(_block(task=["text"]), task={"text": {"path": str(tmp_path / "own.txt"), "length": 2000}}))


def test_task_may_have_a_name_of_its_own():
    """Two tasks of one kind differ in what is set of them, and stand in the grid by their names."""
    tasks = {"short": {"kind": "adding", "length": 10}, "long": {"kind": "adding", "length": 40}}

    found = expand_grid(_spec(_block(task=["short", "long"]), task=tasks))

    assert [(trial.task, trial.kind, trial.length) for trial in found] == [
        ("short", "adding", 10),
        ("long", "adding", 40),
    ]


def test_block_may_train_in_its_own_way():
    """What a block says itself wins over the study's training."""
    first, second = expand_grid(_spec(_block(), _block(cell=["gru"], iterations=9, optimizer="sgd", hidden=3)))

    assert (first.iterations, first.optimizer, first.hidden) == (5, "adam", 32)
    assert (second.iterations, second.optimizer, second.hidden) == (9, "sgd", 3)


def test_one_setting_cannot_be_trained_in_two_ways():
    """They would be taken for seeds of one another."""
    with pytest.raises(
        UsageError, match=r"two \[\[grid\]\] blocks train 'adding, lstm, default, clipping none, seed 0'"
    ):
        expand_grid(_spec(_block(), _block(iterations=9)))


def test_lag_has_to_fit():
    """An answer cannot look back further than the sequence is long."""
    with pytest.raises(UsageError, match=r"task.adding: lag 10 does not fit into 10 times: expected 1 to 9"):
        expand_grid(_spec(_block(), task={"adding": {"length": 10, "lag": 10}}))


def test_vanishing_covers_what_it_promises():
    """All cells and initialisations, three clippings, both tasks, at least three seeds of every setting."""
    trials = expand_grid(load_study(find_study("vanishing")))
    settings = {}
    for trial in trials:
        settings.setdefault((trial.task, trial.cell, trial.initialisation, trial.clipping), set()).add(trial.seed)

    assert {trial.cell for trial in trials} == {"rnn_tanh", "rnn_relu", "lstm", "gru"}
    for cell in ("rnn_tanh", "rnn_relu", "lstm", "gru"):
        gated = {"forget-bias(1)", "chrono"} if cell in {"lstm", "gru"} else set()
        found = {trial.initialisation for trial in trials if trial.cell == cell}
        assert found == {"default", "normal(0.001)", "orthogonal", "identity"} | gated
    assert {trial.clipping.partition("(")[0] for trial in trials} == {"none", "norm", "value"}
    assert {trial.task for trial in trials} == {"adding", "text"}
    assert min(map(len, settings.values())) >= 3


def test_reading_a_study_never_imports_torch():
    """The spec, the grid and the runner load without torch: mistakes are told at once."""
    code = "import sys, gradscope.study.spec.grid, gradscope.study.spec.loading; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_that_came_later_change_no_id_while_they_are_left_alone():
    """What was trained before there were measures and schedules is found again: the id of a trial of that time."""
    trial = Trial("adding", "adding", 6, "lstm", "default", "none", 0, 4, 5, 3, "adam", 0.01, 1)

    settings = {name: getattr(trial, name) for name in trial.settings}
    before = {
        name: value
        for name, value in settings.items()
        if name not in ("measures", "rate_schedule", "together", "folder")
    }
    canonical = json.dumps(
        before | {"exhibits": [], "modules": [], "options": {}, "meaning": 2}, sort_keys=True, separators=(",", ":")
    )
    assert trial.id == hashlib.sha256(canonical.encode()).hexdigest()[:16]
