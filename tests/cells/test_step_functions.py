"""Step functions against PyTorch's own modules: the same states, and the same gradients."""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradscope.cells.step_functions import cell_step, known_cells, layer_step, register_cell, step_function_of
from gradscope.errors import UsageError

TOLERANCE = {torch.float32: {"rtol": 1e-4, "atol": 1e-5}, torch.float64: {"rtol": 1e-12, "atol": 1e-12}}
DTYPES = st.sampled_from([torch.float32, torch.float64])
SIZES = st.integers(1, 6)
CELLS = {
    "tanh": lambda *a, **k: nn.RNNCell(*a, **k),
    "relu": lambda *a, **k: nn.RNNCell(*a, nonlinearity="relu", **k),
    "gru": nn.GRUCell,
    "lstm": nn.LSTMCell,
}
LAYERS = {
    "tanh": lambda *a, **k: nn.RNN(*a, **k),
    "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "projected": lambda inputs, hidden, **k: nn.LSTM(inputs, hidden + 1, proj_size=hidden, **k),
}


def _tuple(state):
    return (state,) if isinstance(state, torch.Tensor) else tuple(state)


def _gradients(states, inputs):
    value = sum((state * torch.arange(1, state.numel() + 1).view_as(state)).sum() for state in _tuple(states))
    return torch.autograd.grad(value, inputs)


@given(st.sampled_from(sorted(CELLS)), SIZES, SIZES, SIZES, st.booleans(), DTYPES, st.integers(0, 99))
def test_a_cell_step_is_the_cells_forward(kind, batch, inputs, hidden, bias, dtype, seed):
    """State and gradients with respect to input, state and weights are those of the *Cell module."""
    torch.manual_seed(seed)
    cell = CELLS[kind](inputs, hidden, bias=bias).to(dtype)
    x = torch.randn(batch, inputs, dtype=dtype, requires_grad=True)
    states = [torch.randn(batch, hidden, dtype=dtype, requires_grad=True) for _ in range(1 + (kind == "lstm"))]
    state = tuple(states) if kind == "lstm" else states[0]

    expected, actual = cell(x, state), cell_step(cell)(x, state)

    torch.testing.assert_close(_tuple(actual), _tuple(expected), **TOLERANCE[dtype])
    leaves = [x, *states, *cell.parameters()]
    torch.testing.assert_close(_gradients(actual, leaves), _gradients(expected, leaves), **TOLERANCE[dtype])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@given(st.sampled_from(sorted(LAYERS)), st.integers(1, 3), st.booleans(), st.booleans(), DTYPES, st.integers(0, 99))
def test_a_layer_step_is_that_layer_of_the_fused_module(kind, layers, both, bias, dtype, seed):
    """Stepping every layer and direction by hand gives the fused module's output and final states."""
    torch.manual_seed(seed)
    inputs, hidden, batch, time, directions = 3, 4, 2, 5, 1 + both
    module = LAYERS[kind](inputs, hidden, num_layers=layers, bidirectional=both, bias=bias).to(dtype)
    x = torch.randn(time, batch, inputs, dtype=dtype)
    sizes = [hidden] + ([module.hidden_size] if module.mode == "LSTM" else [])
    initial = tuple(torch.randn(layers * directions, batch, size, dtype=dtype) for size in sizes)

    expected, final = module(x, initial if len(sizes) > 1 else initial[0])

    sequence, finals = x, []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            step = layer_step(module, layer, reverse=direction == 1)
            at = tuple(part[layer * directions + direction] for part in initial)
            state, hs = (at if len(at) > 1 else at[0]), []
            for xt in sequence.flip(0) if direction else sequence:
                state = step(xt, state)
                hs.append(_tuple(state)[0])
            outputs.append(torch.stack(hs[::-1] if direction else hs))
            finals.append(_tuple(state))
        sequence = torch.cat(outputs, -1)
    torch.testing.assert_close(sequence, expected, **TOLERANCE[dtype])
    for part, whole in enumerate(_tuple(final)):
        torch.testing.assert_close(torch.stack([f[part] for f in finals]), whole, **TOLERANCE[dtype])


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_a_cell_step_runs_under_the_transforms_of_torch_func(kind):
    """The Jacobian by vmap and jacrev equals autograd's, sequence by sequence."""
    cell = CELLS[kind](2, 3).double()
    x = torch.randn(4, 2, dtype=torch.float64)
    h = torch.randn(4, 3, dtype=torch.float64)

    def of_h(xt, ht):
        state = (ht[None], ht[None] * 2) if kind == "lstm" else ht[None]
        return _tuple(cell_step(cell)(xt[None], state))[0][0]

    actual = torch.func.vmap(torch.func.jacrev(of_h, argnums=1))(x, h)

    expected = torch.stack(
        [torch.autograd.functional.jacobian(lambda ht, n=n: of_h(x[n], ht), h[n]) for n in range(len(h))]
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def _step(module, x, h):
    return module.leak * h + x


def _without_module(x, h):
    return x + h


def _with_extra(module, x, h, extra):
    return extra(module, x, h)


class Leaky(nn.Module):
    """h_t = leak h_{t-1} + x_t."""

    def __init__(self):
        super().__init__()
        self.leak = nn.Parameter(torch.tensor(0.5))

    def forward(self, x, h):
        """Return the next state."""
        return self.leak * h + x


def test_a_registered_cell_and_its_plain_subclass_are_found():
    """The most derived registered class counts."""

    class Quieter(Leaky):
        pass

    class Own(Leaky):
        pass

    def second(module, x, h):
        return module(x, h)

    register_cell(Leaky, _step)
    register_cell(Own, second)

    assert step_function_of(Quieter()) is _step
    assert step_function_of(Own()) is second
    assert {"Leaky", "Own", "GRUCell", "LSTMCell", "RNNCell"} <= set(known_cells())
    torch.testing.assert_close(cell_step(Quieter())(torch.ones(1, 2), torch.ones(1, 2)), torch.full((1, 2), 1.5))


def test_a_subclass_with_a_forward_of_its_own_is_refused():
    """A cell that computes something else must not be given its parent's equations silently."""

    class Normalised(nn.LSTMCell):
        def forward(self, x, state):
            return super().forward(x / x.norm(), state)

    with pytest.raises(UsageError, match=r"Normalised overrides the forward of LSTMCell.*register_cell\(Normalised"):
        step_function_of(Normalised(2, 3))


def test_an_unknown_cell_says_what_is_known():
    """The message lists the cells and how to teach another."""
    with pytest.raises(UsageError, match=r"no step function for Linear.*GRUCell.*register_cell"):
        step_function_of(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("module_class", "step", "message"),
    [
        (nn.Linear(2, 2), _step, "derived from torch.nn.Module, got a Linear"),
        (dict, _step, "derived from torch.nn.Module, got the class dict"),
        (nn.Bilinear, _without_module, r"callable as step\(module, input, state\), got _without_module\(x, h\)"),
        (nn.Bilinear, _with_extra, "missing a required argument: 'extra'"),
        (nn.Bilinear, "step", "got a str"),
    ],
)
def test_registration_refuses_what_cannot_work(module_class, step, message):
    """Class and signature are checked when the cell is registered, not when it is _step used."""
    unchecked = inspect.unwrap(register_cell)  # the tests' own type check would speak first
    with pytest.raises(UsageError, match=message):
        unchecked(module_class, step)
    assert "Bilinear" not in known_cells()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.GRU(2, 3), 1), "layers 0 to 0, got layer 1"),
        ((nn.GRU(2, 3), 0, True), "one direction"),
        ((nn.GRUCell(2, 3),), "expects an nn.RNN, nn.GRU or nn.LSTM, got a GRUCell: try cell_step"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(arguments, message):
    """The message says what the module has."""
    with pytest.raises(UsageError, match=message):
        inspect.unwrap(layer_step)(*arguments)


@pytest.mark.parametrize(
    ("step", "state", "message"),
    [
        (layer_step(nn.LSTM(2, 3)), torch.zeros(1, 3), r"\(h, c\).*got a Tensor of shape \(1, 3\)"),
        (layer_step(nn.GRU(2, 3)), (torch.zeros(1, 3),), "one Tensor"),
        (cell_step(nn.RNNCell(2, 3)), (torch.zeros(1, 3), torch.zeros(1, 3)), "one Tensor"),
    ],
)
def test_a_state_of_the_wrong_form_is_refused(step, state, message):
    """The message says which form the cell takes."""
    with pytest.raises(UsageError, match=message):
        step(torch.zeros(1, 2), state)
