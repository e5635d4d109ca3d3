"""What each of the newer cells promises about its state and its gradient."""

import math

import pytest
import torch

from gradscope.cells.cell_table import CELL_TABLE, add_cell
from gradscope.cells.exp_rnn import ExpRNNCell
from gradscope.cells.janet import JANETCell
from gradscope.cells.loop import CellLoop
from gradscope.cells.lru import LRUCell
from gradscope.cells.min_gru import MinGRUCell
from gradscope.cells.residual_rnn import ResidualRNNCell
from gradscope.cells.step_functions import step_function_of
from gradscope.errors import UsageError

CELLS = (ResidualRNNCell, MinGRUCell, JANETCell, LRUCell, ExpRNNCell)


def _made(make, inputs=3, hidden=8):
    torch.manual_seed(0)
    return make(inputs, hidden).double()


def _jacobian(cell, inputs, hidden):
    """Return d h_t / d h_{t-1} of one sequence."""
    return torch.autograd.functional.jacobian(lambda h: cell(inputs, h[None])[0], hidden)


@pytest.mark.parametrize("make", CELLS)
def test_loop_calls_the_cell_once_a_time_and_hands_the_state_on(make):
    """Reading a sequence in two pieces gives what reading it at once gives."""
    loop = CellLoop(_made(make), 8)
    inputs = torch.randn(7, 2, 3, dtype=torch.float64)

    whole, last = loop(inputs)
    first, state = loop(inputs[:4])
    second, _ = loop(inputs[4:], state)

    torch.testing.assert_close(torch.cat((first, second)), whole)
    assert torch.equal(last, whole[-1])


@pytest.mark.parametrize("make", CELLS)
def test_step_function_is_the_forward_and_sequences_do_not_mix(make):
    """What gradscope was taught agrees with the cell, also under vmap."""
    cell = _made(make)
    inputs, hidden = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    step = step_function_of(cell)

    one_by_one = torch.func.vmap(lambda x, h: step(cell, x[None], h[None])[0])(inputs, hidden)

    torch.testing.assert_close(step(cell, inputs, hidden), cell(inputs, hidden))
    torch.testing.assert_close(one_by_one, cell(inputs, hidden))


def test_residual_decays_by_beta_at_most_while_its_weights_are_zero():
    """With U = 0 the Jacobian is sigmoid(3) times the identity."""
    cell = _made(ResidualRNNCell)
    torch.nn.init.zeros_(cell.recurrent.weight)

    found = _jacobian(cell, torch.randn(1, 3, dtype=torch.float64), torch.randn(8, dtype=torch.float64))

    expected = 1 / (1 + math.exp(-3)) * torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_min_gru_jacobian_is_one_minus_the_gate():
    """Diagonal, and a function of the input alone."""
    cell = _made(MinGRUCell)
    inputs = torch.randn(1, 3, dtype=torch.float64)

    found = _jacobian(cell, inputs, torch.randn(8, dtype=torch.float64))

    gate = 1 / (1 + torch.exp(-(inputs @ cell.gate.weight.T + cell.gate.bias)))
    torch.testing.assert_close(found, torch.diag(1 - gate[0]))


def test_janet_follows_its_equations():
    """Written out unit by unit: f h + (1 - sigmoid(s - 1)) tanh(...); the forget bias begins at 1."""
    cell = _made(JANETCell, 2, 3).requires_grad_(False)
    x, h = torch.randn(2, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    inside = [
        float(cell.input.weight[row] @ x + cell.input.bias[row] + cell.recurrent.weight[row] @ h) for row in range(6)
    ]
    expected = [
        h[unit].item() / (1 + math.exp(-inside[unit]))
        + (1 - 1 / (1 + math.exp(1 - inside[unit]))) * math.tanh(inside[unit + 3])
        for unit in range(3)
    ]

    assert cell(x[None], h[None])[0].tolist() == pytest.approx(expected)
    assert cell.input.bias[:3].tolist() == [1.0] * 3


def test_lru_turns_and_shrinks_each_pair_by_its_eigenvalue():
    """Without input the state is lambda times itself, lambda on the ring it was drawn from; gamma normalises."""
    cell = _made(LRUCell)
    state = torch.randn(1, 8, dtype=torch.float64)
    eigenvalues = torch.exp(-torch.exp(cell.log_decay) + 1j * torch.exp(cell.log_phase))

    after = cell(torch.zeros(1, 3, dtype=torch.float64), state)

    expected = eigenvalues * torch.complex(state[0, :4], state[0, 4:])
    torch.testing.assert_close(torch.complex(after[0, :4], after[0, 4:]), expected)
    assert eigenvalues.abs().min() >= 0.9 - 1e-6
    assert eigenvalues.abs().max() <= 0.999 + 1e-6
    torch.testing.assert_close(torch.exp(cell.log_scale) ** 2, 1 - eigenvalues.abs() ** 2)


def test_lru_needs_pairs():
    """An odd number of units has no imaginary part for the last one."""
    with pytest.raises(UsageError, match="expected an even size, got 7"):
        LRUCell(3, 7)


def test_exp_rnn_keeps_its_matrix_orthogonal_and_its_gradient_as_long():
    """After any change of its parameters; with bias 0 the gradient's length is kept to rounding."""
    cell = _made(ExpRNNCell)
    torch.nn.init.normal_(cell.generator, std=3.0)

    recurrent = cell.recurrent()
    jacobian = _jacobian(cell, torch.randn(1, 3, dtype=torch.float64), torch.randn(8, dtype=torch.float64))

    torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.svdvals(jacobian), torch.ones(8, dtype=torch.float64))


def test_every_cell_has_a_meaning_and_a_reference_and_can_be_made():
    """The table and the modules cover the same names."""
    from gradscope.study.spec.dotted import resolve

    for entry in CELL_TABLE.values():
        assert entry.meaning
        assert entry.reference
        assert isinstance(resolve(entry.make)(3, 4), torch.nn.Module)


def test_a_name_that_is_taken_is_refused():
    """Nobody replaces a built-in cell by accident."""
    with pytest.raises(UsageError, match="there is a cell 'lstm' already"):
        add_cell("lstm")
