"""The proof of growth under many losses holds for real linear recurrences."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gradscope
from gradscope.analysis.amplification import amplification
from gradscope.diagnosis import examine


def _table(direct, total, iteration=0):
    return pd.DataFrame({
        "iteration": iteration, "call": 0, "time": np.arange(len(direct)),
        "direct_gradient_norm": direct, "total_gradient_norm": total,
    })  # fmt: skip


def _adjoint(factor, direct):
    total = np.zeros_like(direct)
    carried = np.zeros(direct.shape[1:])
    for time in reversed(range(len(direct))):
        carried = direct[time] + factor * carried
        total[time] = carried
    return total


@settings(deadline=None)
@given(factor=st.floats(0.0, 1.0), seed=st.integers(0, 1000))
def test_no_contracting_recurrence_is_said_to_amplify(factor, seed):
    """With a factor of at most 1 a step the ratio never exceeds 1, whatever the direct gradients are."""
    direct = np.random.default_rng(seed).normal(size=(20, 6, 3))
    norms = [np.linalg.norm(x, axis=2).mean(axis=1) for x in (direct, _adjoint(factor, direct))]
    assert amplification(_table(*norms)) <= 1 + 1e-9
    assert amplification(_table(*(x[::-1] for x in norms)), reverse=True) <= 1 + 1e-9


def test_growth_is_measured_from_below():
    """A scalar recurrence with factor 1.5 and one loss at the end grows by 1.5 to the 19."""
    direct = np.zeros((20, 1, 1))
    direct[-1] = 1.0
    norms = [np.linalg.norm(x, axis=2).mean(axis=1) for x in (direct, _adjoint(1.5, direct))]
    assert amplification(_table(*norms)) == pytest.approx(1.5**19)


def test_one_long_packed_sequence_that_is_left_does_not_explode(tmp_path):
    """Read backwards, its loss at the first two times is a mean over 32 sequences, and from the fifth on its own alone.

    The gates are open, so that the gradient neither shrinks nor grows.
    """
    torch.manual_seed(0)
    layer, lengths = torch.nn.GRU(3, 8, bidirectional=True), torch.tensor([30] + [4] * 31)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.zero_()
            if name == "bias_ih_l0_reverse":
                parameter[8:16] = 8.0
            if name == "weight_ih_l0_reverse":
                parameter[-8:] = 0.1
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        for _ in range(4):
            packed = torch.nn.utils.rnn.pack_padded_sequence(torch.randn(30, 32, 3), lengths)
            output = torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0])[0]
            output[:2, 0].sum().backward()
            recorder.end_iteration()
            layer.zero_grad()
    run = gradscope.open_run(tmp_path / "run")
    assert amplification(run.timesteps[run.timesteps["layer"] == "l0_reverse"], reverse=True) > 8
    assert "exploding-gradient" not in {finding.code for finding in gradscope.diagnose(run)}
    (backwards,) = [one for one in examine(run).layers if one.reverse]
    assert backwards.verdict.kind == "mixed"
    assert backwards.amplification <= 1 + 1e-6


def test_nothing_recorded_has_no_amplification():
    """No rows, or no direct gradient: NaN."""
    assert np.isnan(amplification(_table([], [])))
    assert np.isnan(amplification(_table([0.0, 0.0], [0.0, 0.0])))
