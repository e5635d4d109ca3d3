"""Small trials, and a console that can be read."""

import io

import pytest
from rich.console import Console

from gradscope.study.trial import Trial


@pytest.fixture
def make_trial():
    """Make a trial that trains in a blink; any setting can be given."""

    def make(**settings):
        small = {
            "task": "adding",
            "length": 8,
            "lag": None,
            "text_path": "",
            "text_digest": "",
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
        return Trial(**small | settings)

    return make


@pytest.fixture
def console():
    """A console like a pipe; what was printed is in `console.file`."""
    return Console(file=io.StringIO(), width=80)
