"""What a study file may say. Every field is checked, unknown ones are refused."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.study.choice import check_clipping, check_initialisation, parse_choice

TaskName = Literal["adding", "text"]
CellName = Literal["rnn_tanh", "rnn_relu", "lstm", "gru"]
_GATED = ("lstm", "gru")

Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Words = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _TaskSettings(_Part):
    lag: Positive | None = None

    @model_validator(mode="after")
    def _lag_fits(self) -> "_TaskSettings":
        length: int = getattr(self, "length")  # noqa: B009 - declared by each child, whose shortest differs
        if self.lag is not None and self.lag >= length:
            raise ValueError(f"lag {self.lag} does not fit into {length} times: expected at most {length - 1}")
        return self


class AddingSettings(_TaskSettings):
    """The adding problem."""

    length: Annotated[int, Field(ge=4)] = 100


class TextSettings(_TaskSettings):
    """Next-character prediction; an empty path is the built-in text."""

    length: Annotated[int, Field(ge=2)] = 50
    path: str = ""


class Tasks(_Part):
    """The settings of each task."""

    adding: AddingSettings = AddingSettings()
    text: TextSettings = TextSettings()


class ModelSettings(_Part):
    """The network: one recurrent layer and a linear read-out of its last output."""

    hidden: Positive = 32


class Training(_Part):
    """How each trial trains."""

    iterations: Positive
    batch: Positive = 16
    optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3


class Watch(_Part):
    """What each trial records: one iteration in so many."""

    every: Positive = 1


class Block(_Part):
    """A part of the grid: the product of its lists."""

    task: Annotated[list[TaskName], Field(min_length=1)]
    cell: Annotated[list[CellName], Field(min_length=1)]
    initialisation: Annotated[list[Annotated[str, AfterValidator(check_initialisation)]], Field(min_length=1)]
    clipping: Annotated[list[Annotated[str, AfterValidator(check_clipping)]], Field(min_length=1)] = ["none"]
    seed: Annotated[list[Seed], Field(min_length=1)]

    @model_validator(mode="after")
    def _gates_are_there(self) -> "Block":
        plain = [cell for cell in self.cell if cell not in _GATED]
        gated = [text for text in self.initialisation if INITIALISATION_TABLE[parse_choice(text).name].gated_only]
        if plain and gated:
            raise ValueError(
                f"{', '.join(gated)} needs a cell with gates ({', '.join(_GATED)}), and this block also has "
                f"{', '.join(plain)}: put it into a [[grid]] block of its own"
            )
        return self


class StudySpec(_Part):
    """A study: its question, its settings and its grid.

    `quick` and `full` hold what differs in those modes; `gradscope.study.loading` lays them over the rest.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
    title: Words
    question: Words
    task: Tasks = Tasks()
    model: ModelSettings = ModelSettings()
    training: Training
    watch: Watch = Watch()
    grid: Annotated[list[Block], Field(min_length=1)]
    quick: dict[str, Any] = {}
    full: dict[str, Any] = {}
