"""Which initialisations there are, what each does and who proposed it.

No torch here: a study file is checked against this table before anything heavy loads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from gradscope.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    Initialise = Callable[[nn.Module, float | None], object]

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
        apply: a user's own function of the recurrent module and the number; None for those of this package.
        any_cell: it looks at no gate and no matrix, so that it fits every cell.
    """

    argument: Argument
    argument_meaning: str
    above: float | None
    gated_only: bool
    meaning: str
    reference: str
    apply: "Initialise | None" = None
    any_cell: bool = False


INITIALISATION_TABLE = {
    "default": InitialisationEntry(
        "none",
        "",
        None,
        False,
        "every parameter uniform in +-1/sqrt(hidden), as PyTorch leaves it",
        "torch.nn.RNN, LSTM, GRU",
        any_cell=True,
    ),
    "normal": InitialisationEntry(
        "required",
        "standard deviation",
        0.0,
        False,
        "every parameter of the recurrent layer, biases too, from a normal distribution around 0",
        "habit of many tutorials, with 0.001 to 0.1",
        any_cell=True,
    ),
    "uniform": InitialisationEntry(
        "required",
        "largest absolute value",
        0.0,
        False,
        "every parameter of the recurrent layer, biases too, uniform between minus and plus this value",
        "Sutskever, Vinyals & Le 2014, arXiv:1409.3215, there with 0.08",
        any_cell=True,
    ),
    "xavier": InitialisationEntry(
        "none",
        "",
        None,
        False,
        "every matrix of each gate uniform with variance 2 / (rows + columns), all biases 0",
        "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks",
    ),
    "kaiming": InitialisationEntry(
        "none",
        "",
        None,
        False,
        "every matrix of each gate normal with variance 2 / columns, all biases 0",
        "He, Zhang, Ren & Sun 2015, arXiv:1502.01852",
    ),
    "orthogonal": InitialisationEntry(
        "optional",
        "gain, 1 if left out",
        0.0,
        False,
        "a random orthogonal recurrent matrix, times the gain, for each gate; the rest stays as it is",
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

Made = TypeVar("Made", bound="Initialise")


def add_initialisation(
    name: str, *, argument: Argument = "none", meaning: str = "", reference: str = ""
) -> Callable[[Made], Made]:
    """Add an initialisation of your own to the table, as a decorator of a function of the recurrent module.

    Args:
        name: what study files call it.
        argument: whether they may give a number in brackets; the function gets it second, None without.
        meaning: what it does.
        reference: where it comes from.

    Returns:
        The decorator; it gives the function back unchanged.

    Raises:
        UsageError: the name is taken.
    """
    if name in INITIALISATION_TABLE:
        raise UsageError(f"there is an initialisation {name!r} already: give yours another name")

    def decorate(apply: Made) -> Made:
        INITIALISATION_TABLE[name] = InitialisationEntry(argument, "number", None, False, meaning, reference, apply)
        return apply

    return decorate
