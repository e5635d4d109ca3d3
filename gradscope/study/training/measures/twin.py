"""A cell written by hand beside PyTorch's own layer with the same weights: are their gradients the same?"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.by_hand import GRUCellByHand, LSTMCellByHand, RNNByHand
from gradscope.cells.loop import CellLoop
from gradscope.study.spec.trial import Trial
from gradscope.study.training.network import Network
from gradscope.study.training.task_loss import task_loss
from gradscope.tasks import Batch, Lines, Task

_SEQUENCES = 64
# PyTorch's order of the gates.
_LSTM = ("i", "f", "g", "o")
_GRU = ("r", "z", "n")


class _Gradients(NamedTuple):
    inputs: Float[Tensor, "time batch input"]
    recurrent: Float[Tensor, "rows hidden"]


def twin(network: Network, task: Task, trial: Trial) -> list[Lines]:
    """Send the same loss back through a hand-written cell and through PyTorch's layer, on a batch of 64 sequences.

    Args:
        network: of the trial; it is not touched.
        task: that the batch is drawn from.
        trial: its seed decides the batch.

    Returns:
        The gradient of the inputs at each time, both ways; nothing for a cell that is not written by hand.
    """
    cell = network.recurrent.cell if isinstance(network.recurrent, CellLoop) else network.recurrent
    if not isinstance(cell, RNNByHand | LSTMCellByHand | GRUCellByHand):
        return []
    batch = task.batch(np.random.default_rng([trial.seed, 1]), _SEQUENCES)
    # Making modules draws weights, and what a measure draws must not be missing in the training.
    with torch.random.fork_rng(devices=[]):
        hand, layer = _copy(cell, task.input_size, trial.hidden), _layer(cell, task.input_size, trial.hidden)
    own = hand.cell if isinstance(hand, CellLoop) else hand
    ours = _gradients(network, hand, _matrices(own), batch, task)
    known = _gradients(network, layer, [layer.get_parameter("weight_hh_l0")], batch, task)
    sizes = {"by hand": ours.inputs.norm(dim=(1, 2)), "PyTorch's own": known.inputs.norm(dim=(1, 2))}
    return [
        Lines(
            "the gradient of the inputs, beside PyTorch's own layer",
            "time",
            "norm",
            np.arange(len(ours.inputs)),
            {name: norms.numpy() for name, norms in sizes.items()},
            log_y=True,
            told=(
                "largest relative difference between its gradients and those of PyTorch's own layer with the same "
                f"weights: {_apart(ours, known):.1e}"
            ),
        )
    ]


def _copy(cell: RNNByHand | LSTMCellByHand | GRUCellByHand, inputs: int, hidden: int) -> nn.Module:
    """Return the cell again, its tap connected to nothing, looped where it takes one time."""
    made = type(cell)(inputs, hidden)
    made.load_state_dict(cell.state_dict())
    return made if isinstance(made, RNNByHand) else CellLoop(made, hidden)


def _layer(cell: RNNByHand | LSTMCellByHand | GRUCellByHand, inputs: int, hidden: int) -> nn.RNNBase:
    """Return PyTorch's layer with the cell's weights: gates in PyTorch's order, the second bias 0 but in a GRU."""
    layer: nn.RNNBase
    layer = {RNNByHand: nn.RNN, LSTMCellByHand: nn.LSTM, GRUCellByHand: nn.GRU}[type(cell)](inputs, hidden)
    named = dict(cell.named_parameters())
    gates = _gates(cell)
    with torch.no_grad():
        layer.get_parameter("weight_ih_l0").copy_(
            torch.cat([named[f"w_{gate}" if gate else "w_xh"].T for gate in gates])
        )
        layer.get_parameter("weight_hh_l0").copy_(torch.cat([matrix.T for matrix in _matrices(cell)]))
        layer.get_parameter("bias_ih_l0").copy_(torch.cat([named[f"b_{gate}" if gate else "b_h"] for gate in gates]))
        layer.get_parameter("bias_hh_l0").zero_()
        if isinstance(cell, GRUCellByHand):
            layer.get_parameter("bias_hh_l0")[2 * hidden :] = cell.b_hn
    return layer


def _gates(cell: nn.Module) -> tuple[str, ...]:
    """Return the names of a cell's gates in PyTorch's order; a single empty one for a cell without."""
    if isinstance(cell, RNNByHand):
        return ("",)
    return _LSTM if isinstance(cell, LSTMCellByHand) else _GRU


def _matrices(cell: nn.Module) -> list[Tensor]:
    return [cell.get_parameter(f"u_{gate}" if gate else "w_hh") for gate in _gates(cell)]


def _gradients(network: Network, recurrent: nn.Module, matrices: list[Tensor], batch: Batch, task: Task) -> _Gradients:
    """Return the gradient of the inputs and of the recurrent matrices, as PyTorch stacks them."""
    inputs = torch.from_numpy(batch.inputs).requires_grad_()
    outputs, _ = recurrent(inputs)
    loss = task_loss(network.readout(outputs[-task.answered :]), batch, task)
    of_inputs, *of_matrices = torch.autograd.grad(loss, [inputs, *matrices])
    by_hand = not isinstance(recurrent, nn.RNNBase)
    return _Gradients(of_inputs, torch.cat([each.T if by_hand else each for each in of_matrices]))


def _apart(ours: _Gradients, known: _Gradients) -> float:
    """Return the largest difference: of the inputs at any time, or of the recurrent weights, as a share of its norm."""
    differences = (ours.inputs - known.inputs).norm(dim=(1, 2))
    sizes = known.inputs.norm(dim=(1, 2))
    of_weights = (ours.recurrent - known.recurrent).norm() / known.recurrent.norm()
    return float(torch.cat([differences[sizes > 0] / sizes[sizes > 0], of_weights[None]]).max())
