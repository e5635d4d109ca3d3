"""Each time's part in dL/dW_hh against autograd, with a copy of the matrix for every time."""

import copy

import pytest
import torch
from hypothesis import given
from torch import nn

from gradscope.dynamics import (
    gradient_horizon,
    layer_step,
    preactivation_gradients,
    roll_out,
    total_gradient,
    weight_gradient_gram,
    weight_gradient_shares,
)
from gradscope.errors import UsageError
from tests.dynamics.cells import TOLERANCE, call, cases, double, full


def _fused(cell):
    """The fused one-layer module with the weights of a cell."""
    kind = {nn.RNNCell: nn.RNN, nn.GRUCell: nn.GRU, nn.LSTMCell: nn.LSTM}[type(cell)]
    options = {"nonlinearity": cell.nonlinearity} if isinstance(cell, nn.RNNCell) else {}
    module = kind(cell.input_size, cell.hidden_size, **options).to(cell.weight_hh.dtype)
    module.load_state_dict({name + "_l0": value for name, value in cell.state_dict().items()})
    return module


@given(cases())
def test_the_gram_matrix_is_that_of_autograds_contributions(case):
    """<g_t, g_s> of all pairs, g_t read off a copy of the cell that only time t runs through."""
    cell, x, state = case.make()
    module = _fused(cell)

    def loss(states):
        hidden = states if isinstance(states, torch.Tensor) else states[0]
        return hidden.square().sum()

    states = roll_out(module, x, state)
    before = torch.cat([full([state] if case.kind != "lstm" else list(state))[None], states[:-1]])
    delta = preactivation_gradients(module, x, before, total_gradient(module, x, state, loss))
    gram = weight_gradient_gram(delta, before[..., : case.hidden])

    cell, x, parts = double(cell, x, state)
    copies = [copy.deepcopy(cell) for _ in x]
    z, hidden = full(parts), []
    for each, xt in zip(copies, x, strict=True):
        z = call(each, xt, z)
        hidden.append(z[:, : case.hidden])
    torch.stack(hidden).square().sum().backward()
    parts = torch.stack([each.weight_hh.grad for each in copies]).flatten(1)
    tolerance = TOLERANCE[case.dtype]["rtol"] * float((parts @ parts.T).abs().max())
    torch.testing.assert_close(gram, parts @ parts.T, rtol=0, atol=tolerance)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_layer_a_direction_and_a_projection_can_be_chosen():
    """The Gram matrix of the reverse direction of a projected LSTM's second layer sums to |dL/dW_hh|^2."""
    torch.manual_seed(0)
    module = nn.LSTM(2, 5, num_layers=2, bidirectional=True, proj_size=3, bias=False).double()
    x = torch.randn(6, 2, 2, dtype=torch.float64)
    first = nn.LSTM(2, 5, bidirectional=True, proj_size=3, bias=False).double()
    first.load_state_dict({name: value for name, value in module.state_dict().items() if "_l0" in name})
    inputs = first(x)[0].detach().flip(0)
    module(x)[0][:, :, 3:].square().sum().backward()
    state = (torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.float64))
    step = layer_step(module, 1, reverse=True)

    total = total_gradient(step, inputs, state, lambda states: states[0].square().sum())
    before = torch.cat([torch.zeros(1, 2, 8, dtype=torch.float64), roll_out(step, inputs, state)[:-1]])
    delta = preactivation_gradients(module, inputs, before, total, layer=1, reverse=True)

    gradient = module.weight_hh_l1_reverse.grad
    torch.testing.assert_close(delta.flatten(0, 1).T @ before.flatten(0, 1)[:, :3], gradient)
    torch.testing.assert_close(weight_gradient_gram(delta, before[..., :3]).sum(), gradient.square().sum())


def test_both_ways_to_the_gram_matrix_agree():
    """Forming the matrices pays with a large batch, the identity with a small one; einsum is neither."""
    for batch in (1, 2, 40):
        delta, h = torch.randn(6, batch, 5, dtype=torch.float64), torch.randn(6, batch, 4, dtype=torch.float64)
        expected = torch.einsum("tbr,tbh,smr,smh->ts", delta, h, delta, h)
        torch.testing.assert_close(weight_gradient_gram(delta, h), expected, rtol=1e-10, atol=1e-10)


def test_shares_are_signed_and_sum_to_one():
    """g_1 = 3, g_2 = -1 along one axis: shares 3/2 and -1/2."""
    delta, h = torch.tensor([3.0, -1.0]).view(2, 1, 1), torch.ones(2, 1, 1)
    shares = weight_gradient_shares(weight_gradient_gram(delta, h))
    torch.testing.assert_close(shares, torch.tensor([1.5, -0.5], dtype=torch.float64))


def test_a_geometric_gradient_has_the_horizon_of_its_series():
    """g_t = f^(T-1-t): what K times leave is f^K of an (almost) infinite series, so K = ceil(ln 0.01 / ln f)."""
    factor, time = 0.8, 200
    delta = (factor ** torch.arange(time - 1, -1, -1, dtype=torch.float64)).view(time, 1, 1)
    gram = weight_gradient_gram(delta, torch.ones(time, 1, 1, dtype=torch.float64))

    assert gradient_horizon(gram) == 21  # ln 0.01 / ln 0.8 = 20.6
    assert gradient_horizon(gram, tolerance=0.5) == 4  # 3.1


def test_the_horizon_of_a_brute_force_search():
    """The smallest K that leaves at most the tolerance, searched for over random contributions."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        parts = torch.randn(8, 6, generator=generator, dtype=torch.float64) * 0.3 ** torch.arange(7, -1, -1)[:, None]
        whole = parts.sum(0).norm()
        expected = next(k for k in range(9) if parts[: 8 - k].sum(0).norm() <= 0.01 * whole)
        assert gradient_horizon(parts @ parts.T) == expected


def test_a_horizon_needs_a_share_and_finite_numbers():
    """The messages say what was given."""
    with pytest.raises(UsageError, match="between 0 and 1, got 2"):
        gradient_horizon(torch.eye(2, dtype=torch.float64), tolerance=2.0)
    with pytest.raises(UsageError, match="not finite"):
        gradient_horizon(torch.full((2, 2), torch.nan, dtype=torch.float64))
    assert gradient_horizon(torch.zeros(3, 3, dtype=torch.float64)) == 0
