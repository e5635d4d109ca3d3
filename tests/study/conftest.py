"""Small trials, and a console that can be read."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from gradscope.study.spec.trial import Trial


@pytest.fixture
def make_trial():
    """Make a trial that trains in a blink; any setting can be given."""

    def make(**settings):
        small = {
            "task": "adding",
            "kind": "adding",
            "length": 8,
            "cell": "rnn_tanh",
            "initialisation": "default",
            "clipping": "none",
            "seed": 0,
            "hidden": 4,
            "iterations": 6,
            "batch": 3,
            "optimizer": "adam",
            "learning_rate": 0.01,
            "every": 2,
        }
        trial = Trial(**small | settings)
        return trial if trial.options or trial.kind != "adding" else replace(trial, options={"length": trial.length})

    return make


@pytest.fixture
def console():
    """A console like a pipe; what was printed is in `console.file`."""
    return Console(file=io.StringIO(), width=80)
