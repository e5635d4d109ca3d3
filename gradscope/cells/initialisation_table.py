"""Which initialisations there are, what each does and who proposed it.

No torch here: a study file is checked against this table before anything heavy loads.
"""

from dataclasses import dataclass
from typing import Literal

Argument = Literal["none", "required", "optional"]


@dataclass(frozen=True)
class InitialisationEntry:
    """One row of the table.

    Attributes:
        argument: whether the name takes a number in brackets.
        argument_meaning: what that number is.
        above: the number has to be larger than this; None for any number.
        gated_only: it sets a gate's bias, so it means nothing for a plain RNN.
        meaning: what it does.
        reference: where it comes from.
    """

    argument: Argument
    argument_meaning: str
    above: float | None
    gated_only: bool
    meaning: str
    reference: str


INITIALISATION_TABLE = {
    "default": InitialisationEntry(
        "none",
        "",
        None,
        False,
        "every parameter uniform in +-1/sqrt(hidden), as PyTorch leaves it",
        "torch.nn.RNN, LSTM, GRU",
    ),
    "normal": InitialisationEntry(
        "required",
        "standard deviation",
        0.0,
        False,
        "every parameter of the recurrent layer, biases too, from a normal distribution around 0",
        "habit of many tutorials, with 0.001 to 0.1",
    ),
    "orthogonal": InitialisationEntry(
        "none",
        "",
        None,
        False,
        "a random orthogonal recurrent matrix for each gate; the rest stays as it is",
        "Saxe, McClelland & Ganguli 2014, arXiv:1312.6120",
    ),
    "identity": InitialisationEntry(
        "none",
        "",
        None,
        False,
        "the identity as recurrent matrix of each gate, all biases 0; input weights stay as they are",
        "Le, Jaitly & Hinton 2015, arXiv:1504.00941 (there for relu; with gates it is our extension)",
    ),
    "forget-bias": InitialisationEntry(
        "required",
        "the bias b",
        None,
        True,
        "the forget gate's bias is b (GRU: the update gate's); the rest stays as it is",
        "Gers, Schmidhuber & Cummins 2000; Jozefowicz, Zaremba & Sutskever 2015",
    ),
    "chrono": InitialisationEntry(
        "optional",
        "Tmax, the longest memory in times; the task's length if left out",
        2.0,
        True,
        "the forget gate's biases are log U[1, Tmax-1], the input gate's the negative of them (GRU: the update gate's)",
        "Tallec & Ollivier 2018, arXiv:1804.11188",
    ),
}
"""Name -> what it is."""
