"""Optimizers that are not as PyTorch's own."""

from pathlib import Path

import pytest
import torch

import gradscope
from tests.instrument.training import make_model


class Unlike(torch.optim.Optimizer):
    """Updates nothing, and keeps as learning rate whatever it is given."""

    def __init__(self, model: torch.nn.Module, rate: object) -> None:
        super().__init__(model.parameters(), {"lr": rate})

    def step(self, closure: object = None) -> None:
        """Do nothing."""


def _recorded(model: torch.nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> gradscope.Run:
    with gradscope.watch(model, optimizer, run=folder, schedule=1):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 5, 3)).sum().backward()
            optimizer.step()
    return gradscope.open_run(folder)


@pytest.mark.parametrize("rate", [lambda: 0.1, "fast", {"start": 0.1}, torch.ones(2), torch.ones(1).to_sparse()])
def test_a_learning_rate_that_is_no_number_is_not_noted(tmp_path: Path, rate: object) -> None:
    """An optimizer may keep under that name what it likes: all is recorded but the rate."""
    model = make_model("gru")
    run = _recorded(model, Unlike(model, rate), tmp_path / "run")
    assert run.iterations["iteration"].tolist() == [0, 1, 2]
    assert run.iterations["learning_rate"].isna().all()
    assert run.complete
