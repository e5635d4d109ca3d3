"""Sequences that end at different times, each with its own loss, are judged from their own ends."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gradscope
from gradscope.analysis import loss_times, run_decay, run_loss_times

LENGTHS = torch.tensor([30, 28, 24, 21, 17, 16, 9])


def _recorded(folder, layer, loss, packed=True, lag=None):
    """Three iterations of a layer whose weights stay as they are, on sequences of these lengths."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    with gradscope.watch(layer, optimizer, run=folder, schedule=1, metadata={"lag": lag}) as recorder:
        for _ in range(3):
            inputs = torch.randn(30, len(LENGTHS), 3)
            given = pack_padded_sequence(inputs, LENGTHS) if packed else inputs
            output, state = layer(given)
            output = pad_packed_sequence(output)[0] if packed else output
            loss(output, state[0] if isinstance(state, tuple) else state).backward()
            recorder.log(loss=0.0)
            optimizer.step()
    return gradscope.open_run(folder)


def _last_states(_, state):
    return state.square().sum()


def _own_ends(output, _):
    return output[LENGTHS - 1, torch.arange(len(LENGTHS))].square().sum()


def _every_time(output, _):
    return output.square().sum()


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize(("loss", "packed"), [(_last_states, True), (_own_ends, True), (_own_ends, False)])
def test_a_loss_at_each_own_end_is_one_loss(tmp_path, kind, loss, packed):
    """Packed or padded: the batch has seven times with a loss, each sequence has one, and there is a verdict."""
    run = _recorded(tmp_path / "run", kind(3, 8), loss, packed)
    assert loss_times(run.timesteps) == len(LENGTHS)
    assert run_loss_times(run, "l0") == 1
    codes = {finding.code for finding in gradscope.diagnose(run)}
    assert "vanishing-gradient" in codes
    assert "loss-at-many-times" not in codes


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("packed", [True, False])
def test_a_loss_at_every_time_stays_one(tmp_path, kind, packed):
    """That sequences end there too does not explain what enters."""
    run = _recorded(tmp_path / "run", kind(3, 8), _every_time, packed)
    assert run_loss_times(run, "l0") == 30
    assert "loss-at-many-times" in {finding.code for finding in gradscope.diagnose(run)}


def test_one_more_loss_at_another_sequence_s_end_is_seen(tmp_path):
    """The longest is asked a second time, where a shorter one ends."""

    def twice(output, state):
        return _own_ends(output, state) + output[LENGTHS[2] - 1, 0].square().sum()

    run = _recorded(tmp_path / "run", nn.GRU(3, 8), twice)
    assert run_loss_times(run, "l0") == len(LENGTHS)


def test_lags_count_from_each_own_end(tmp_path):
    """With 0.8 of every unit kept: 0.8 a time, in the verdict and at each iteration."""
    layer = nn.RNN(3, 4, nonlinearity="relu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_hh_l0.copy_(0.8 * torch.eye(4))
        layer.bias_hh_l0.fill_(1.0)
    run = _recorded(tmp_path / "run", layer, _own_ends)
    decay = run_decay(run, "l0")
    assert (decay.lags, decay.longest, decay.rate) == (16, 30, pytest.approx(np.log(0.8)))
    (evidence,) = gradscope.diagnosis.examine(run).layers
    np.testing.assert_allclose(evidence.rates["rate"], np.log(0.8), rtol=1e-5)


@pytest.mark.parametrize(("lag", "fires"), [(29, False), (30, True)])
def test_a_lag_that_the_longest_sequence_has_is_not_too_long(tmp_path, lag, fires):
    """Lags end with the shortest sequence that is judged, but the gradient travels on in the others."""
    run = _recorded(tmp_path / "run", nn.GRU(3, 8), _last_states, lag=lag)
    found = [finding for finding in gradscope.diagnose(run) if finding.code == "truncation-too-short"]
    assert bool(found) == fires
    assert not fires or found[0].evidence["reach"] == 29


def test_the_horizon_of_the_weights_is_not_told_in_lags(tmp_path):
    """Contributions are of the whole batch: their times are no lags where sequences end at different ones."""
    run = _recorded(tmp_path / "run", nn.RNN(3, 8), _last_states, lag=20)
    assert "short-horizon" not in {finding.code for finding in gradscope.diagnose(run)}
