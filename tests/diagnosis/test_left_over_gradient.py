"""A gradient of earlier iterations is told from all else that one iteration may add up."""

import pytest
import torch
from torch import nn

import gradscope


class _Twice(nn.Module):
    """A stack in two directions, called twice an iteration."""

    def __init__(self, kind):
        super().__init__()
        self.rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](2, 8, num_layers=2, bidirectional=True)
        self.head = nn.Linear(16, 1)

    def forward(self, inputs):
        return self.head(self.rnn(inputs)[0][-1] + self.rnn(inputs.flip(0))[0][-1])


class _Loop(nn.Module):
    """A loop over a cell."""

    def __init__(self, kind):
        super().__init__()
        self.cell = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[kind](2, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, inputs):
        state = None
        for one in inputs:
            state = self.cell(one, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


def _found(folder, model, *, zero="optimizer", micro_batches=1, penalty=0.0):
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with gradscope.watch(model, optimizer, run=folder, schedule=1) as recorder:
        for _ in range(24):
            if zero == "optimizer":
                optimizer.zero_grad()
            for _ in range(micro_batches):
                inputs = torch.randn(6, 8, 2)
                loss = (model(inputs) - inputs[0].sum(1, keepdim=True)).square().mean()
                loss = loss + penalty * sum(weight.square().sum() for weight in model.parameters())
                loss.backward()
            recorder.log(loss=loss)
            optimizer.step()
    return [finding for finding in gradscope.diagnose(folder) if finding.code == "left-over-gradient"]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("build", [_Twice, _Loop])
@pytest.mark.parametrize(
    "settings",
    [{}, {"micro_batches": 4}, {"penalty": 1e-4}, {"penalty": 1.0}],
    ids=["plain", "accumulated", "a weak penalty", "a strong penalty"],
)
def test_what_one_iteration_adds_up_is_not_left_over(tmp_path, build, kind, settings):
    """Calls, directions, micro-batches; and a penalty from the first iteration on."""
    torch.manual_seed(0)
    assert _found(tmp_path / "run", build(kind), **settings) == []


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("build", [_Twice, _Loop])
def test_a_gradient_that_is_never_cleared_is_found(tmp_path, build, kind):
    """By the second iteration at the earliest."""
    torch.manual_seed(0)
    (finding,) = _found(tmp_path / "run", build(kind), zero="forgotten")
    assert (finding.severity, finding.layer) == ("warning", None)
    assert finding.iteration >= 1
    assert finding.evidence["median_excess"] > 1.1
    assert "zero_grad()" in finding.advice[0]
