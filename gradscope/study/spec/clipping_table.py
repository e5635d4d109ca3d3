"""Which clippings there are, what each does to the gradient and who proposed it.

No torch here: a study file is checked against this table before anything heavy loads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from gradscope.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    Clip = Callable[[nn.Module], object]
    MakeClip = Callable[[float | None], Clip]

Argument = Literal["none", "required", "optional"]


@dataclass(frozen=True)
class ClippingEntry:
    """One row of the table.

    Attributes:
        make: a function that takes the number in brackets (None without) and returns what is called with the network
            after each backward pass; or where it is, as `module:name`. If what it returns has a method `attach`, that
            is called with the network before the training.
        argument: whether the name takes a number in brackets.
        argument_meaning: what that number is.
        above: the number has to be larger than this; None for any number.
        meaning: what it does.
        reference: where it comes from.
    """

    make: "str | MakeClip"
    argument: Argument
    argument_meaning: str
    above: float | None
    meaning: str
    reference: str


OMEGA = "omega"
"""The one that needs to see the recurrence itself."""

CLIPPING_TABLE = {
    "none": ClippingEntry("gradscope.study.training.clippings:none", "none", "", None, "the gradient as it is", "-"),
    "norm": ClippingEntry(
        "gradscope.study.training.clippings:norm",
        "required",
        "longest norm",
        0.0,
        "the whole gradient scaled down to this norm where it is longer; its direction stays",
        "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063",
    ),
    "value": ClippingEntry(
        "gradscope.study.training.clippings:value",
        "required",
        "largest component",
        0.0,
        "each component of the gradient cut to +- this value; its direction bends",
        "Mikolov 2012, Statistical language models based on neural networks",
    ),
    "autoclip": ClippingEntry(
        "gradscope.study.training.clippings:autoclip",
        "optional",
        "percentile, 10 if left out",
        0.0,
        "by norm, at this percentile of all gradient norms so far",
        "Seetharaman et al. 2020, arXiv:2007.14469",
    ),
    "zclip": ClippingEntry(
        "gradscope.study.training.clippings:zclip",
        "optional",
        "z score, 2.5 if left out",
        0.0,
        "by norm, where it lies so many deviations above its moving average; the first 25 iterations only measure",
        "Kumar et al. 2025, arXiv:2504.02507",
    ),
    "agc": ClippingEntry(
        "gradscope.study.training.clippings:agc",
        "optional",
        "largest ratio, 0.01 if left out",
        0.0,
        "each unit's gradient to at most this ratio of the unit's own weights; the read-out is left alone",
        "Brock, De, Smith & Simonyan 2021, arXiv:2102.06171",
    ),
    OMEGA: ClippingEntry(
        "gradscope.study.training.omega:AddedOmega",
        "required",
        "strength",
        0.0,
        "clips nothing: adds the gradient of Omega, which pushes the gradient through time to keep its length; for "
        "rnn_tanh and rnn_relu, mostly as omega(2)+norm(1.0)",
        "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063",
    ),
}
"""Name -> what it is. Several act one after the other if they are written with a plus: `omega(2)+norm(1.0)`."""

Made = TypeVar("Made", bound="MakeClip")


def add_clipping(
    name: str, *, argument: Argument = "none", meaning: str = "", reference: str = ""
) -> Callable[[Made], Made]:
    """Add a clipping of your own to the table, as a decorator of the function that makes it.

    Args:
        name: what study files call it.
        argument: whether they may give a number in brackets.
        meaning: what it does.
        reference: where it comes from.

    Returns:
        The decorator; it gives the function back unchanged.

    Raises:
        UsageError: the name is taken.
    """
    if name in CLIPPING_TABLE:
        raise UsageError(f"there is a clipping {name!r} already: give yours another name")

    def decorate(make: Made) -> Made:
        CLIPPING_TABLE[name] = ClippingEntry(make, argument, "number", None, meaning, reference)
        return make

    return decorate
