"""Networks side by side do what each does by itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.cells.side_by_side import LOOPS, Weights
from gradscope.cells.stock import gru, rnn_relu, rnn_tanh
from gradscope.study.running.groups import CELLS

MAKE = {"rnn_tanh": rnn_tanh, "rnn_relu": rnn_relu, "gru": gru}


def test_every_loop_can_be_asked_for():
    """The rules of grouping name the cells without importing torch."""
    assert set(LOOPS) == set(CELLS) == set(MAKE)


@pytest.mark.parametrize("cell", LOOPS)
@settings(max_examples=20, deadline=None)
@given(
    networks=st.integers(1, 4),
    times=st.integers(1, 6),
    batch=st.integers(1, 3),
    size=st.integers(1, 3),
    hidden=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_outputs_and_gradients_are_those_of_the_modules(cell, networks, times, batch, size, hidden, seed):
    """In float64, of every network; each output of each time has a weight of its own in the loss."""
    torch.manual_seed(seed)
    modules = [MAKE[cell](size, hidden).double() for _ in range(networks)]
    inputs = torch.randn(networks, times, batch, size, dtype=torch.double)
    wanted = torch.randn(networks, times, batch, hidden, dtype=torch.double)
    alone = torch.stack([module(given)[0] for module, given in zip(modules, inputs, strict=True)])
    (alone * wanted).sum().backward()
    expected = [[parameter.grad for parameter in module.parameters()] for module in modules]
    for module in modules:
        module.zero_grad()

    weights = Weights(*map(torch.stack, zip(*(module.parameters() for module in modules), strict=True)))
    together = torch.stack(LOOPS[cell](inputs, weights), dim=1)
    (together * wanted).sum().backward()

    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-12)
    for module, gradients in zip(modules, expected, strict=True):
        torch.testing.assert_close([one.grad for one in module.parameters()], gradients, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("cell", LOOPS)
def test_a_network_without_numbers_is_nobody_elses_matter(cell):
    """NaN in the first one's weights leaves the outputs and gradients of the second as they are, bit by bit."""
    torch.manual_seed(0)
    inputs = torch.randn(2, 5, 3, 2)
    results = []
    for value in (0.5, torch.nan):
        torch.manual_seed(1)
        modules = [MAKE[cell](2, 4) for _ in range(2)]
        torch.nn.init.constant_(modules[0].weight_hh_l0, value)
        weights = Weights(*map(torch.stack, zip(*(module.parameters() for module in modules), strict=True)))
        last = LOOPS[cell](inputs, weights)[-1]
        last.sum().backward()
        results.append([last[1], *(one.grad for one in modules[1].parameters())])

    torch.testing.assert_close(*results, rtol=0, atol=0)
    assert torch.isfinite(results[1][0]).all()
