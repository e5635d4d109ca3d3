"""Which cells there are, what each is and who proposed it.

No torch here: a study file is checked against this table before anything heavy loads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from gradscope.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    MakeCell = Callable[[int, int], nn.Module]


@dataclass(frozen=True)
class CellEntry:
    """One row of the table.

    Attributes:
        make: a function or class that takes (input_size, hidden_size), or where it is, as `module:name`.
        meaning: what it is.
        reference: where it comes from.
        stock: it is PyTorch's own fused layer, so that every initialisation of the table applies.
        gated: it has a gate whose bias can be set.
    """

    make: "str | MakeCell"
    meaning: str
    reference: str
    stock: bool = False
    gated: bool = False


CELL_TABLE = {
    "rnn_tanh": CellEntry(
        "gradscope.cells.stock:rnn_tanh", "nn.RNN with tanh", "Elman 1990, Finding structure in time", stock=True
    ),
    "rnn_relu": CellEntry(
        "gradscope.cells.stock:rnn_relu", "nn.RNN with relu", "Le, Jaitly & Hinton 2015, arXiv:1504.00941", stock=True
    ),
    "lstm": CellEntry(
        "gradscope.cells.stock:lstm",
        "nn.LSTM",
        "Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000",
        stock=True,
        gated=True,
    ),
    "gru": CellEntry("gradscope.cells.stock:gru", "nn.GRU", "Cho et al. 2014, arXiv:1406.1078", stock=True, gated=True),
    "rnn_relu_both_ways": CellEntry(
        "gradscope.cells.stock:rnn_relu_both_ways",
        "nn.RNN with relu, reading in both directions",
        "Schuster & Paliwal 1997, Bidirectional recurrent neural networks",
        stock=True,
    ),
    "residual_rnn": CellEntry(
        "gradscope.cells.residual_rnn:ResidualRNNCell",
        "a tanh recurrence with a way around it, both weighted",
        "Kusupati et al. 2018, arXiv:1901.02358 (FastRNN)",
    ),
    "min_gru": CellEntry(
        "gradscope.cells.min_gru:MinGRUCell",
        "a GRU whose gates look at the input alone",
        "Feng et al. 2024, arXiv:2410.01201",
    ),
    "janet": CellEntry(
        "gradscope.cells.janet:JANETCell",
        "an LSTM with nothing but its forget gate",
        "van der Westhuizen & Lasenby 2018, arXiv:1804.04849",
    ),
    "lru": CellEntry(
        "gradscope.cells.lru:LRUCell",
        "a linear recurrence with a complex diagonal",
        "Orvieto et al. 2023, arXiv:2303.06349",
    ),
    "exp_rnn": CellEntry(
        "gradscope.cells.exp_rnn:ExpRNNCell",
        "a recurrence whose matrix stays orthogonal",
        "Lezcano-Casado & Martinez-Rubio 2019, arXiv:1901.08428",
    ),
}
"""Name -> what it is."""

CellClass = TypeVar("CellClass", bound="MakeCell")


def add_cell(name: str, *, meaning: str = "", reference: str = "") -> Callable[[CellClass], CellClass]:
    """Add a cell of your own to the table, as a decorator of its class.

    Its forward takes either the input at one time and the state, and returns the state (a tensor (batch, hidden) or a
    tuple of them, the output first); or a whole sequence (time, batch, input), and returns all outputs.

    Args:
        name: what study files call it.
        meaning: what it is.
        reference: where it comes from.

    Returns:
        The decorator; it gives the class back unchanged.

    Raises:
        UsageError: the name is taken.
    """
    if name in CELL_TABLE:
        raise UsageError(f"there is a cell {name!r} already: give yours another name")

    def decorate(make: CellClass) -> CellClass:
        CELL_TABLE[name] = CellEntry(make, meaning, reference)
        return make

    return decorate
