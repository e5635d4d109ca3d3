"""The horizon from norms is never shorter than the one from the vectors themselves."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradscope
from gradscope.analysis.weight_horizon import horizon_bound, recurrent_weight, run_weight_horizon


def _horizon(vectors, share):
    """Smallest K such that the last K vectors sum to all but a share of the whole, by trying each."""
    whole = vectors.sum(axis=0)
    for last in range(len(vectors) + 1):
        rest = vectors[: len(vectors) - last].sum(axis=0)
        if np.linalg.norm(rest) <= share * np.linalg.norm(whole):
            return last
    raise AssertionError("all of them leave nothing")


@given(seed=st.integers(0, 10**6), rate=st.floats(-1.0, 0.3), share=st.sampled_from([0.01, 0.1]))
def test_the_bound_is_never_below_the_horizon(seed, rate, share):
    """Random vectors whose size decays or grows with the lag."""
    rng = np.random.default_rng(seed)
    lags = np.arange(25)[::-1, None]
    vectors = rng.normal(size=(25, 3)) * np.exp(rate * lags)
    bound = horizon_bound(np.linalg.norm(vectors, axis=1), float(np.linalg.norm(vectors.sum(axis=0))), share)
    assert _horizon(vectors, share) <= bound <= 25


@pytest.mark.parametrize("factor", [0.5, 0.8])
def test_vectors_in_one_direction_meet_the_bound(factor):
    """Without cancellation the bound is the horizon: all but r^K of a geometric series is in its last K terms."""
    sizes = factor ** np.arange(200.0)[::-1]
    assert horizon_bound(sizes, sizes.sum()) == int(np.ceil(np.log(0.01) / np.log(factor)))


@pytest.mark.parametrize(("sizes", "total"), [([1.0, np.nan], 1.0), ([1.0, 1.0], 0.0), ([1.0], np.inf)])
def test_nothing_is_said_where_a_number_is_missing(sizes, total):
    """NaN, infinity, and a gradient of 0."""
    assert horizon_bound(np.array(sizes), total) is None


def test_a_layer_names_its_recurrent_weight():
    """A fused layer inside a model, a model that is the layer, a cell."""
    assert recurrent_weight("encoder.l0_reverse")[0] == "encoder.weight_hh_l0_reverse"
    assert recurrent_weight("l0")[0] == "weight_hh_l0"
    assert recurrent_weight("cell")[1] == "cell.weight_hh"


def test_a_real_run_agrees_with_autograd(tmp_path):
    """A linear-ish RNN: contributions of each time from a separate copy of the weight at each, as autograd has them."""
    torch.manual_seed(0)
    model = torch.nn.RNN(2, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    inputs = torch.randn(15, 3, 2)
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1) as recorder:
        model(inputs)[0][-1].square().sum().backward()
        recorder.log(loss=1.0)
        optimizer.step()
    copies = [model.weight_hh_l0.detach().clone().requires_grad_() for _ in inputs]
    hidden = torch.zeros(3, 6)
    for x, weight in zip(inputs, copies, strict=True):
        hidden = torch.tanh(x @ model.weight_ih_l0.T + model.bias_ih_l0 + hidden @ weight.T + model.bias_hh_l0)
    hidden.square().sum().backward()
    each = np.stack([weight.grad.numpy().ravel() for weight in copies])
    expected = horizon_bound(np.linalg.norm(each, axis=1).astype(float), float(np.linalg.norm(each.sum(axis=0))))
    found = run_weight_horizon(gradscope.open_run(tmp_path / "run"), "l0")
    assert (found.times, found.length, found.iterations) == (expected, 15, 1)
    assert _horizon(each, 0.01) <= found.times
