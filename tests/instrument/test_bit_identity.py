"""Watching changes nothing: parameters, losses, gradients, optimiser state and random numbers, bit for bit."""

from pathlib import Path

import pytest
import torch

import gradscope
from tests.instrument.training import assert_identical, make_model, norm_clipping, train, value_clipping
from tests.strategies import KINDS

SCHEDULES = {
    "every": lambda: gradscope.Every(1),
    "every third": lambda: 3,
    "at": lambda: gradscope.At([0, 4, 5]),
    "budget": lambda: gradscope.Budget(0.5),
}


@pytest.mark.parametrize("keep", ["norms", "states", "full"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_schedule_and_keep(kind: str, schedule: str, keep: str, tmp_path: Path) -> None:
    """Twenty watched iterations equal twenty unwatched ones, whatever is recorded and kept."""
    expected, _ = train(make_model(kind), watched=False)
    got, recorder = train(make_model(kind), run=tmp_path / "run", schedule=SCHEDULES[schedule](), keep=keep)
    assert_identical(got, expected)
    assert recorder is not None
    assert recorder.latest != {}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clip", [None, norm_clipping, value_clipping])
@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_dtype_and_clipping(kind: str, clip: object, dtype: torch.dtype, batch_first: bool) -> None:
    """The same in both batch layouts, both dtypes, under each kind of clipping, with SGD and momentum-free steps."""
    options = {"dtype": dtype, "batch_first": batch_first}
    expected, _ = train(make_model(kind, **options), watched=False, clip=clip, optimizer=torch.optim.SGD)
    got, _ = train(make_model(kind, **options), schedule=1, clip=clip, optimizer=torch.optim.SGD)
    assert_identical(got, expected)
