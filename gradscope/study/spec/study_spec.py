"""What a study file may say. Every field is checked, unknown ones are refused."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from gradscope.cells.cell_table import CELL_TABLE
from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.study.spec.choice import check_cell, check_clipping, check_initialisation, parse_choice, parse_choices
from gradscope.study.spec.clipping_table import OMEGA
from gradscope.study.spec.dotted import is_dotted
from gradscope.study.spec.measure_table import check_measure

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Words = Annotated[str, Field(min_length=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Group = dict[Literal["task", "cell", "initialisation", "clipping"], Words]
Optimizer = Literal["adam", "sgd", "rmsprop", "adagrad"]
PLAIN = ("rnn_tanh", "rnn_relu")
"""Cells of one equation, without gates."""

RateSchedule = Literal["constant", "cosine"]


PAGES_OF_OTHERS = ("truth", "what-if")
"""Studies that are no TOML file; their pages have these names."""


def _leaves_other_pages_alone(name: str) -> str:
    if name in PAGES_OF_OTHERS:
        raise ValueError(f"{name!r} is a study that comes with gradscope, whose page it would replace")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelSettings(_Part):
    """The network: one recurrent layer and a linear read-out of its last output."""

    hidden: Positive = 32


class Training(_Part):
    """How each trial trains.

    With `together`, trials that differ in seed, initialisation or clipping only are trained as one program where that
    is faster. Their numbers are then those of other sums: equal up to rounding, as on another processor.
    """

    iterations: Positive
    batch: Positive = 16
    optimizer: Optimizer = "adam"
    learning_rate: Rate = 1e-3
    rate_schedule: RateSchedule = "constant"
    together: bool = False


class Watch(_Part):
    """What each trial records: one iteration in so many; and after how many its task shows what the network can do.

    After as many iterations the `measures` are taken of the network too; 0 is before the first one.
    """

    every: Positive = 1
    exhibits: list[Annotated[int, Field(ge=0)]] = []
    measures: list[Annotated[str, AfterValidator(check_measure)]] = []

    @model_validator(mode="after")
    def _measures_are_taken(self) -> "Watch":
        if self.measures and not self.exhibits:
            raise ValueError(
                "measures are taken where exhibits says, after so many iterations: add exhibits = [0, 100]"
            )
        return self


class Block(_Part):
    """A part of the grid: the product of its lists; how it trains, where it differs from the rest of the study."""

    task: Annotated[list[Words], Field(min_length=1)]
    cell: Annotated[list[Annotated[str, AfterValidator(check_cell)]], Field(min_length=1)]
    initialisation: Annotated[list[Annotated[str, AfterValidator(check_initialisation)]], Field(min_length=1)]
    clipping: Annotated[list[Annotated[str, AfterValidator(check_clipping)]], Field(min_length=1)] = ["none"]
    seed: Annotated[list[Seed], Field(min_length=1)]
    hidden: Positive | None = None
    iterations: Positive | None = None
    batch: Positive | None = None
    optimizer: Optimizer | None = None
    learning_rate: Rate | None = None
    rate_schedule: RateSchedule | None = None
    together: bool | None = None
    every: Positive | None = None

    @model_validator(mode="after")
    def _initialisations_apply(self) -> "Block":
        names = [name for text in self.initialisation if not is_dotted(name := parse_choice(text).name)]
        entries = {name: INITIALISATION_TABLE[name] for name in names if INITIALISATION_TABLE[name].apply is None}
        cells = {cell: CELL_TABLE[cell] for cell in self.cell if not is_dotted(cell)}
        plain = [cell for cell, entry in cells.items() if entry.stock and not entry.gated]
        gated = [text for text in self.initialisation if (e := entries.get(parse_choice(text).name)) and e.gated_only]
        if plain and gated:
            raise ValueError(
                f"{', '.join(gated)} needs a cell with gates ({', '.join(_with_gates())}), and this block also has "
                f"{', '.join(plain)}: put it into a [[grid]] block of its own"
            )
        own = [cell for cell in self.cell if cell not in cells or not cells[cell].stock]
        special = [name for name, entry in entries.items() if not entry.any_cell]
        if own and special:
            raise ValueError(
                f"{', '.join(special)} is for PyTorch's own layers, and this block also has {', '.join(own)}: give "
                'these a [[grid]] block of their own with initialisation = ["default"]'
            )
        return self

    @model_validator(mode="after")
    def _clippings_apply(self) -> "Block":
        with_omega = [text for text in self.clipping if OMEGA in (choice.name for choice in parse_choices(text))]
        others = [cell for cell in self.cell if cell not in PLAIN]
        if with_omega and others:
            raise ValueError(
                f"{', '.join(with_omega)} is for {' and '.join(PLAIN)}, and this block also has {', '.join(others)}: "
                "put it into a [[grid]] block of its own"
            )
        return self


def _with_gates() -> list[str]:
    return [name for name, entry in CELL_TABLE.items() if entry.gated]


class Expectation(_Part):
    """What was published about some of the settings, to be held against what is measured.

    Either `better` and `worse` name two groups of settings and `measure` what is compared; or `solves` or `fails` names
    one. A group is a table of task, cell, initialisation or clipping; what it leaves out may be anything. `shown-error`
    is the error of what the task showed first at the last of `watch.exhibits`.
    """

    claim: Words
    source: Words
    better: Group = {}
    worse: Group = {}
    measure: Literal["loss", "share", "share-at-start", "half-life", "shown-error"] = "loss"
    solves: Group = {}
    fails: Group = {}

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Expectation":
        given = [name for name in ("better", "worse", "solves", "fails") if getattr(self, name)]
        if given not in (["better", "worse"], ["solves"], ["fails"]):
            raise ValueError(f"expected better and worse, or solves, or fails, got {' and '.join(given) or 'none'}")
        return self


class StudySpec(_Part):
    """A study: its question, its settings and its grid.

    `modules` are imported before the rest is read, for the tasks, cells, initialisations and clippings that they add.
    Each `[task.NAME]` is a task of its own; its `kind` is NAME unless it says otherwise.
    `note` is what a reader has to know before the answer; the page begins with it.
    `quick` and `full` hold what differs in those modes; `gradscope.study.spec.loading` lays them over the rest.
    """

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64), AfterValidator(_leaves_other_pages_alone)
    ]
    title: Words
    question: Words
    note: str = ""
    modules: list[Words] = []
    task: dict[str, dict[str, Any]] = {}
    model: ModelSettings = ModelSettings()
    training: Training
    watch: Watch = Watch()
    grid: Annotated[list[Block], Field(min_length=1)]
    expect: list[Expectation] = []
    quick: dict[str, Any] = {}
    full: dict[str, Any] = {}
    _folder: str = PrivateAttr(default="")

    @property
    def folder(self) -> str:
        """Where the study file lies; empty if there is none."""
        return self._folder

    def lying_in(self, folder: str) -> "StudySpec":
        """Return the same study, remembering where its file lies."""
        copy = self.model_copy()
        copy._folder = folder
        return copy
