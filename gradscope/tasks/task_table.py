"""Which tasks there are, what each asks and who proposed it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gradscope.errors import UsageError
from gradscope.tasks.task import Task


@dataclass(frozen=True)
class TaskEntry:
    """One row of the table.

    Attributes:
        make: the task's class, or where it is, as `module:name`; its parameters are what a study file may set.
        meaning: what it asks.
        reference: where it comes from.
        passes: it goes over the same data again and again, and is scored after each pass.
    """

    make: str | Callable[..., Task]
    meaning: str
    reference: str
    passes: bool = False


TASK_TABLE = {
    "adding": TaskEntry(
        "gradscope.tasks.adding:Adding",
        "remember two marked numbers among many, say their sum",
        "Hochreiter & Schmidhuber 1997, Long short-term memory, experiment 4",
    ),
    "text": TaskEntry(
        "gradscope.tasks.characters:Characters",
        "predict the next character of real text",
        "Elman 1990, Finding structure in time; Shannon 1951 on how far back letters depend",
    ),
    "copy": TaskEntry(
        "gradscope.tasks.copy_memory:CopyMemory",
        "keep ten symbols over a long wait, then say them in order",
        "Hochreiter & Schmidhuber 1997; in this form Arjovsky, Shah & Bengio 2016, arXiv:1511.06464",
    ),
    "temporal-order": TaskEntry(
        "gradscope.tasks.temporal_order:TemporalOrder",
        "say which of two symbols came first and which second, among distractors",
        "Hochreiter & Schmidhuber 1997, experiment 6a; Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063",
    ),
    "recall": TaskEntry(
        "gradscope.tasks.recall:Recall",
        "say at the end which of two symbols stood at the beginning, through noise",
        "Bengio, Simard & Frasconi 1994, the latch problem",
    ),
    "sine": TaskEntry(
        "gradscope.tasks.sine:Sine",
        "predict the next point of a sine wave at every time",
        "habit of many tutorials",
    ),
    "forecast": TaskEntry(
        "gradscope.tasks.forecast:Forecast",
        "predict the next point of a sine wave from a window of the last ones",
        "habit of many tutorials",
    ),
    "lorenz": TaskEntry(
        "gradscope.tasks.lorenz:Lorenz",
        "predict the next point of a chaotic flow from its last ones",
        "Lorenz 1963; as a test of truncation Mikhaeil, Monfared & Durstewitz 2022, arXiv:2110.07238",
    ),
    "rows": TaskEntry(
        "gradscope.tasks.rows:Rows",
        "name a handwritten digit that is read row by row",
        "LeCun, Bottou, Bengio & Haffner 1998; read in pieces by Le, Jaitly & Hinton 2015, arXiv:1504.00941",
        passes=True,
    ),
    "series": TaskEntry(
        "gradscope.tasks.series:Series",
        "predict next year's sunspots from the years before",
        "Wolf's sunspot numbers, 1700 to 2008, as statsmodels ships them",
    ),
    "pieces": TaskEntry(
        "gradscope.tasks.pieces:SinePieces",
        "predict each next point of a long sine, cut into pieces at random or one after the other",
        "habit of many tutorials",
    ),
    "writing": TaskEntry(
        "gradscope.tasks.writing:Writing",
        "predict each next character of a text, and then write by itself",
        "Sutskever, Martens & Hinton 2011, Generating text with recurrent neural networks",
    ),
    "hold": TaskEntry(
        "gradscope.tasks.hold:Hold",
        "say at the end the number that stood at the beginning; nothing in between",
        "-",
    ),
}
"""Name -> what it is."""

TaskClass = TypeVar("TaskClass", bound=Callable[..., Task])


def add_task(name: str, *, meaning: str = "", reference: str = "") -> Callable[[TaskClass], TaskClass]:
    """Add a task of your own to the table, as a decorator of its class.

    Args:
        name: what study files call it.
        meaning: what it asks.
        reference: where it comes from.

    Returns:
        The decorator; it gives the class back unchanged.

    Raises:
        UsageError: the name is taken.
    """
    if name in TASK_TABLE:
        raise UsageError(f"there is a task {name!r} already: give yours another name")

    def decorate(make: TaskClass) -> TaskClass:
        TASK_TABLE[name] = TaskEntry(make, meaning, reference)
        return make

    return decorate
