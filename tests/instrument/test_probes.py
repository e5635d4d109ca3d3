"""Probes at chosen iterations of a training."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradscope
from gradscope.errors import UsageError
from tests.instrument.training import assert_identical, make_model, train

BATCH = torch.randn((3, 9, 3), generator=torch.Generator().manual_seed(5))


def _at(*iterations: int, **settings: object) -> gradscope.ProbeAt:
    return gradscope.ProbeAt(iterations, BATCH, lambda output: output.square().mean(), **settings)


class Noisy(nn.Module):
    """Everything that a forward pass can leave behind: dropout, running statistics, draws, a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.encoder = nn.LSTM(3, 8, num_layers=2, dropout=0.3, batch_first=True)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return one number a sequence."""
        normal = self.norm(inputs.transpose(1, 2)).transpose(1, 2)
        sequence = self.encoder(normal + 0.1 * torch.randn_like(normal))[0]
        return self.head(self.drop(sequence[:, -1]))


def test_probing_changes_nothing_of_a_training() -> None:
    """Weights, statistics, gradients, optimiser and random numbers are those of the training without."""

    def noisy() -> Noisy:
        torch.manual_seed(0)
        return Noisy()

    probed, recorder = train(noisy(), iterations=6, schedule=2, probe=_at(0, 1, 4))
    plain, _ = train(noisy(), iterations=6, watched=False)

    assert_identical(probed, plain)
    assert list(recorder.probes) == [0, 1, 4]


def test_modes_and_hooks_are_left_alone() -> None:
    """A part that the user froze in evaluation mode stays there, the rest in training; no hook stays, no gradient."""
    model = Noisy()
    model.norm.eval()
    with gradscope.watch(model, schedule=1000, probe=_at(0)) as recorder:
        modes = {name: module.training for name, module in model.named_modules()}
        assert list(recorder.probes) == [0]
    assert modes == {name: not name.startswith("norm") for name in modes}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_probe_sees_the_weights_of_its_iteration(tmp_path: Path) -> None:
    """The same as a probe of the model itself before its first update and after its last."""
    model = make_model("rnn_tanh")
    loss = lambda output: output.square().mean()  # noqa: E731
    before = gradscope.probe(model, BATCH, loss).summary.iloc[0]
    _, recorder = train(model, iterations=5, run=tmp_path / "run", schedule=2, probe=_at(0, 5))
    after = gradscope.probe(model, BATCH, loss).summary.iloc[0]

    for name in ("decay_rate", "largest_exponent"):
        assert recorder.probes[0].summary.iloc[0][name] == before[name]
        assert recorder.probes[5].summary.iloc[0][name] == after[name]
        assert before[name] != after[name]
        logged = gradscope.open_run(tmp_path / "run").iterations.set_index("iteration")[f"probe.encoder.l0.{name}"]
        np.testing.assert_allclose([logged[0], logged[5]], [before[name], after[name]])
        assert logged.drop([0, 5]).isna().all()


def test_the_exponent_of_a_linear_network_is_known(tmp_path: Path) -> None:
    """A relu network that stays above 0 with 0.5 on the diagonal: ln 0.5 from its first probe on."""
    model = make_model("rnn_relu")
    with torch.no_grad():
        model.encoder.weight_hh_l0.copy_(0.5 * torch.eye(8))
        model.encoder.weight_ih_l0.zero_()
        model.encoder.bias_ih_l0.fill_(1.0)
        model.encoder.bias_hh_l0.zero_()
    _, recorder = train(model, iterations=1, schedule=1, probe=_at(0))
    assert recorder.probes[0].exponents["exponent"].tolist() == pytest.approx([math.log(0.5)] * 8, abs=1e-6)


def test_a_probe_that_fails_is_said_once_and_training_goes_on() -> None:
    """Here the batch does not fit the model."""
    wrong = gradscope.ProbeAt([0, 1, 2], torch.randn(3, 9, 4), lambda output: output.mean())
    with pytest.warns(UserWarning, match="gradscope did not probe at iteration 0, and will not again") as said:
        probed, recorder = train(make_model("gru"), iterations=4, schedule=1, probe=wrong)
    plain, _ = train(make_model("gru"), iterations=4, watched=False)

    assert len(said) == 1
    assert recorder.probes == {}
    assert set(recorder.latest) == {"encoder.l0"}
    assert_identical(probed, plain)


def test_what_is_no_probe_is_refused() -> None:
    """With what is."""
    with pytest.raises(UsageError, match=r"probe expects a gradscope\.ProbeAt"):
        gradscope.watch(make_model("gru"), probe=gradscope.At([0]))
