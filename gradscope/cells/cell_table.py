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
        gates: names of its gates.
    """

    make: "str | MakeCell"
    meaning: str
    reference: str
    stock: bool = False
    gated: bool = False
    gates: tuple[str, ...] = ()


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
        gates=("input", "forget", "output"),
    ),
    "gru": CellEntry(
        "gradscope.cells.stock:gru",
        "nn.GRU",
        "Cho et al. 2014, arXiv:1406.1078",
        stock=True,
        gated=True,
        gates=("reset", "update"),
    ),
    "rnn_relu_both_ways": CellEntry(
        "gradscope.cells.stock:rnn_relu_both_ways",
        "nn.RNN with relu, reading in both directions",
        "Schuster & Paliwal 1997, Bidirectional recurrent neural networks",
        stock=True,
    ),
    "rnn_tanh_both_ways": CellEntry(
        "gradscope.cells.stock:rnn_tanh_both_ways",
        "nn.RNN with tanh, reading in both directions",
        "Schuster & Paliwal 1997, Bidirectional recurrent neural networks",
        stock=True,
    ),
    "rnn_tanh_deep": CellEntry(
        "gradscope.cells.stock:rnn_tanh_deep",
        "nn.RNN with tanh, three layers; judged is the first",
        "El Hihi & Bengio 1995; Graves, Mohamed & Hinton 2013, arXiv:1303.5778",
        stock=True,
    ),
    "gru_attention": CellEntry(
        "gradscope.cells.attention:AttendingGRU",
        "nn.GRU whose answer looks at all of its outputs, each scored together with the last",
        "Bahdanau, Cho & Bengio 2015, arXiv:1409.0473",
        gates=("reset", "update"),
    ),
    "gru_embedding": CellEntry(
        "gradscope.cells.embedding:EmbeddingGRU",
        "nn.GRU behind an embedding of 32 numbers",
        "Cho et al. 2014, arXiv:1406.1078; Bengio, Ducharme & Vincent 2003 for the embedding",
        gates=("reset", "update"),
    ),
    "rnn_by_hand": CellEntry(
        "gradscope.cells.by_hand:RNNByHand",
        "a tanh recurrence written out in plain tensors, watched by taps",
        "Elman 1990, Finding structure in time",
    ),
    "lstm_by_hand": CellEntry(
        "gradscope.cells.by_hand:LSTMCellByHand",
        "an LSTM cell with a matrix of its own for every gate",
        "Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000",
        gates=("input", "forget", "output"),
    ),
    "gru_by_hand": CellEntry(
        "gradscope.cells.by_hand:GRUCellByHand",
        "a GRU cell with a matrix of its own for every gate",
        "Cho et al. 2014, arXiv:1406.1078",
        gates=("reset", "update"),
    ),
    "factors": CellEntry(
        "gradscope.cells.factors:Factors",
        "every unit by itself, multiplied by its own factor each time",
        "-",
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
        gates=("update",),
    ),
    "janet": CellEntry(
        "gradscope.cells.janet:JANETCell",
        "an LSTM with nothing but its forget gate",
        "van der Westhuizen & Lasenby 2018, arXiv:1804.04849",
        gates=("forget",),
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
