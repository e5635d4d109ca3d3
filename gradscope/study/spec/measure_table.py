"""What can be measured of a network while it trains, besides what is recorded: which measures there are.

No torch here: a study file is checked against this table before anything heavy loads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from gradscope.errors import UsageError
from gradscope.study.spec.dotted import is_dotted, resolve
from gradscope.study.spec.near_names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradscope.study.spec.trial import Trial
    from gradscope.study.training.network import Network
    from gradscope.tasks import Shown, Task

    Measure = Callable[[Network, Task, Trial], Sequence[Shown]]


@dataclass(frozen=True)
class MeasureEntry:
    """One row of the table.

    Attributes:
        make: a function of the network, its task and its trial that returns what to show; or where it is, as
            `module:name`.
        meaning: what it measures.
        reference: where it comes from.
    """

    make: "str | Measure"
    meaning: str
    reference: str


MEASURE_TABLE = {
    "truncation": MeasureEntry(
        "gradscope.study.training.measures.truncation:truncation",
        "how far a truncated gradient of the recurrent weights lies from the full one, at every truncation length",
        "Williams & Peng 1990; Tallec & Ollivier 2017, arXiv:1705.08209, for random truncation",
    ),
    "two-time": MeasureEntry(
        "gradscope.study.training.measures.two_time:two_time",
        "how much of the loss at each time reaches each earlier time, in the state and in the weights' gradient",
        "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, equations 3 to 5",
    ),
    "states": MeasureEntry(
        "gradscope.study.training.measures.states:states",
        "the state of each unit at each time of one sequence",
        "-",
    ),
    "gates": MeasureEntry(
        "gradscope.study.training.measures.states:gates",
        "how open each gate of a hand-written cell is at each time",
        "-",
    ),
    "twin": MeasureEntry(
        "gradscope.study.training.measures.twin:twin",
        "how far the gradients of a hand-written cell lie from those of PyTorch's own layer with the same weights",
        "-",
    ),
    "products": MeasureEntry(
        "gradscope.study.training.measures.products:products",
        "the gradient through a chain of equal random factors, and its known distribution",
        "-",
    ),
}
"""Name -> what it is."""

Made = TypeVar("Made", bound="Measure")


def add_measure(name: str, *, meaning: str = "", reference: str = "") -> Callable[[Made], Made]:
    """Add a measure of your own to the table, as a decorator of a function of the network, its task and its trial.

    Args:
        name: what study files call it.
        meaning: what it measures.
        reference: where it comes from.

    Returns:
        The decorator; it gives the function back unchanged.

    Raises:
        UsageError: the name is taken.
    """
    if name in MEASURE_TABLE:
        raise UsageError(f"there is a measure {name!r} already: give yours another name")

    def decorate(make: Made) -> Made:
        MEASURE_TABLE[name] = MeasureEntry(make, meaning, reference)
        return make

    return decorate


def check_measure(text: str) -> str:
    """Refuse what is no measure.

    Returns:
        The text, unchanged.

    Raises:
        ValueError: with what was got, what is accepted and near names.
    """
    if is_dotted(text):
        try:
            resolve(text)
        except UsageError as error:
            raise ValueError(str(error)) from error
    elif text not in MEASURE_TABLE:
        near = did_you_mean(text, MEASURE_TABLE) or "."
        raise ValueError(f"got {text!r}{near} Accepted: {', '.join(MEASURE_TABLE)}")
    return text
