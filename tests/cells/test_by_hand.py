"""Cells written by hand, held against PyTorch's own; and the networks around PyTorch's layers."""

import pytest
import torch
from torch import nn

from gradscope.cells.attention import AttendingGRU
from gradscope.cells.by_hand import GRUCellByHand, LSTMCellByHand, RNNByHand
from gradscope.cells.embedding import EmbeddingGRU
from gradscope.cells.factors import Factors
from gradscope.cells.loop import CellLoop

INPUTS, HIDDEN = 3, 5


def _stacked(cell, kind, gates):
    return torch.cat([getattr(cell, f"{kind}_{gate}").T for gate in gates])


def _biases(cell, gates):
    return torch.cat([getattr(cell, f"b_{gate}") for gate in gates])


def _fused(make, cell, gates):
    """Return PyTorch's layer with the cell's weights: gates in PyTorch's order, the second bias 0."""
    fused = make(INPUTS, HIDDEN).double()
    with torch.no_grad():
        fused.weight_ih_l0.copy_(_stacked(cell, "w", gates))
        fused.weight_hh_l0.copy_(_stacked(cell, "u", gates))
        fused.bias_ih_l0.copy_(_biases(cell, gates))
        fused.bias_hh_l0.zero_()
    return fused


def _gradient(read, inputs):
    inputs = inputs.clone().requires_grad_()
    outputs = read(inputs)
    outputs[-1].square().sum().backward()
    return outputs.detach(), inputs.grad


def _assert_same(ours, theirs):
    inputs = torch.randn(9, 2, INPUTS, dtype=torch.float64)
    for mine, known in zip(_gradient(ours, inputs), _gradient(theirs, inputs), strict=True):
        torch.testing.assert_close(mine, known)


def test_rnn_by_hand_is_nn_rnn():
    """The same outputs and the same gradient of the inputs."""
    torch.manual_seed(0)
    ours, fused = RNNByHand(INPUTS, HIDDEN).double(), nn.RNN(INPUTS, HIDDEN).double()
    with torch.no_grad():
        fused.weight_ih_l0.copy_(ours.w_xh.T)
        fused.weight_hh_l0.copy_(ours.w_hh.T)
        fused.bias_ih_l0.copy_(ours.b_h)
        fused.bias_hh_l0.zero_()

    _assert_same(lambda x: ours(x)[0], lambda x: fused(x)[0])


def test_lstm_by_hand_is_nn_lstm():
    """Gates i, f, g, o in PyTorch's order."""
    torch.manual_seed(0)
    cell = LSTMCellByHand(INPUTS, HIDDEN).double()
    fused = _fused(nn.LSTM, cell, "ifgo")

    _assert_same(lambda x: CellLoop(cell, HIDDEN)(x)[0], lambda x: fused(x)[0])


def test_gru_by_hand_is_nn_gru():
    """Gates r, z, n in PyTorch's order; the candidate's second bias inside the reset gate."""
    torch.manual_seed(0)
    cell = GRUCellByHand(INPUTS, HIDDEN).double()
    fused = _fused(nn.GRU, cell, "rzn")
    with torch.no_grad():
        fused.bias_hh_l0[2 * HIDDEN :].copy_(cell.b_hn)

    _assert_same(lambda x: CellLoop(cell, HIDDEN)(x)[0], lambda x: fused(x)[0])


@pytest.mark.parametrize(("make", "state"), [(LSTMCellByHand, 2), (GRUCellByHand, 1)])
def test_gates_of_a_cell_without_weights_are_half_open(make, state):
    """The sigmoid of 0."""
    cell = make(INPUTS, HIDDEN)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    zeros = torch.zeros(1, HIDDEN)

    gates = cell.gates(torch.ones(1, INPUTS), (zeros, zeros) if state == 2 else zeros)

    assert len(gates) == state + 1
    assert all(torch.equal(gate, torch.full((1, HIDDEN), 0.5)) for gate in gates.values())


def test_every_state_is_handed_to_the_tap():
    """In order, with its time; what the tap returns is what goes on."""
    seen = []
    module = RNNByHand(INPUTS, HIDDEN)
    module.tap = lambda name, tensor, time: (seen.append((name, time)), tensor * 0)[1]

    outputs, _ = module(torch.randn(3, 2, INPUTS))

    assert seen == [("by_hand", 0), ("by_hand", 1), ("by_hand", 2)]
    assert not outputs.any()


def test_embedding_is_nn_embedding_for_one_hot_inputs():
    """A matrix times a one-hot vector is a column of it."""
    torch.manual_seed(0)
    module = EmbeddingGRU(7, HIDDEN)
    known = nn.Embedding(7, 32, _weight=module.embedding.weight.T.detach().clone())
    codes = torch.randint(7, (4, 2))

    outputs, state = module(nn.functional.one_hot(codes, 7).float())

    torch.testing.assert_close(outputs, module.gru(known(codes))[0])
    assert state.shape == (1, 2, HIDDEN)


def test_attention_without_preference_is_the_mean_of_all_outputs():
    """With a score of 0 everywhere the context is the mean; the last output stands beside it."""
    torch.manual_seed(0)
    module = AttendingGRU(INPUTS, HIDDEN)
    nn.init.zeros_(module.score.weight)
    inputs = torch.randn(6, 2, INPUTS)
    outputs, _ = module.gru(inputs)

    answer, _ = module(inputs)

    torch.testing.assert_close(answer[0], torch.cat([outputs.mean(0), outputs[-1]], dim=1))


def test_attention_reaches_the_first_output_without_the_way_through_time():
    """With recurrent weights of 0 and an update gate of 0 a GRU forgets at once: what arrives is the context alone."""
    torch.manual_seed(0)
    module = AttendingGRU(INPUTS, HIDDEN).double()
    with torch.no_grad():
        module.gru.weight_hh_l0.zero_()
        module.gru.bias_ih_l0[HIDDEN : 2 * HIDDEN] = -1000
        module.score.weight.zero_()
    inputs = torch.randn(6, 1, INPUTS, dtype=torch.float64, requires_grad=True)
    own = inputs.detach().clone().requires_grad_()

    module(inputs)[0][0, :, :HIDDEN].sum().backward()
    (module.gru(own)[0][0].sum() / 6).backward()

    assert inputs.grad[0].abs().max() > 1e-3
    torch.testing.assert_close(inputs.grad[0], own.grad[0])


def test_factors_multiply():
    """An impulse comes out as w^n."""
    cell = Factors(1, 2).double()
    with torch.no_grad():
        cell.factor.copy_(torch.tensor([0.5, -2.0]))
    inputs = torch.zeros(4, 1, 1, dtype=torch.float64)
    inputs[0] = 1

    outputs, _ = CellLoop(cell, 2)(inputs)

    assert outputs[:, 0].tolist() == [[1, 1], [0.5, -2], [0.25, 4], [0.125, -8]]
