"""The network that every trial trains: one recurrent layer or a loop over a cell, and a linear read-out."""

import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.cell_table import CELL_TABLE
from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.cells.initialisations import initialise
from gradscope.cells.loop import CellLoop, step_by_forward
from gradscope.cells.step_functions import register_cell, step_function_of
from gradscope.errors import UsageError
from gradscope.study.spec.choice import parse_choice
from gradscope.study.spec.dotted import is_dotted, resolve
from gradscope.study.spec.trial import Trial
from gradscope.tasks import Task


class Network(nn.Module):
    """A recurrent module, named `recurrent`, under a linear layer, named `readout`."""

    def __init__(self, recurrent: nn.Module, hidden: int, output_size: int) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.readout = nn.Linear(hidden, output_size)

    def forward(
        self,
        inputs: Float[Tensor, "time batch input"],
        answered: int = 1,
        state: Any = None,  # noqa: ANN401
        truncate: int = 0,
    ) -> tuple[Float[Tensor, "answered batch output"], Any]:
        """Answer at the last times.

        Args:
            inputs: of all times.
            answered: how many times are answered.
            state: to begin from; None for zeros.
            truncate: how many of the last times the gradient goes back through; 0 for all.

        Returns:
            The answers, and the state after the last time (None where the module keeps it to itself).
        """
        if 0 < truncate < len(inputs):
            with torch.no_grad():
                _, state = self._read(inputs[:-truncate], state)
            inputs = inputs[-truncate:]
        outputs, state = self._read(inputs, state)
        return self.readout(outputs[-answered:]), state

    def _read(self, inputs: Float[Tensor, "time batch input"], state: Any) -> tuple[Tensor, Any]:  # noqa: ANN401
        found = self.recurrent(inputs) if state is None else self.recurrent(inputs, state)
        return found if isinstance(found, tuple) else (found, None)


def build_network(trial: Trial, task: Task) -> Network:
    """Return the trial's network; its weights follow from the trial's seed and initialisation alone."""
    torch.manual_seed(trial.seed)
    recurrent = _recurrent(trial.cell, task.input_size, trial.hidden)
    network = Network(recurrent, _width(recurrent, trial.hidden), task.output_size)
    _initialise(recurrent, trial)
    return network


def _recurrent(cell: str, input_size: int, hidden: int) -> nn.Module:
    """Return a cell as a recurrent module; one that takes a single time is called once for each.

    Raises:
        UsageError: what was made is no module.
    """
    made = resolve(cell if is_dotted(cell) else CELL_TABLE[cell].make)(input_size, hidden)
    if not isinstance(made, nn.Module):
        raise UsageError(f"the cell {cell} made a {type(made).__name__}: expected a torch.nn.Module")
    if not _takes_one_time(made):
        return made
    _teach(made)
    return CellLoop(made, hidden)


def _teach(cell: nn.Module) -> None:
    """Let gradscope watch a cell that nobody has taught it: its own forward is its step."""
    try:
        step_function_of(cell)
    except UsageError:
        register_cell(type(cell), step_by_forward)


def _takes_one_time(module: nn.Module) -> bool:
    if isinstance(module, nn.RNNCellBase):
        return True
    parameters = inspect.signature(module.forward).parameters.values()
    return sum(each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters) >= 2


def _width(recurrent: nn.Module, hidden: int) -> int:
    if isinstance(recurrent, nn.RNNBase):
        return (recurrent.proj_size or hidden) * (2 if recurrent.bidirectional else 1)
    return int(getattr(recurrent, "output_size", hidden))


def _initialise(recurrent: nn.Module, trial: Trial) -> None:
    """Give the weights their first values.

    Raises:
        UsageError: the initialisation is made for PyTorch's own layers, and this is another.
    """
    name, argument = parse_choice(trial.initialisation)
    own = resolve(name) if is_dotted(name) else INITIALISATION_TABLE[name].apply
    if own is not None:
        with torch.no_grad():
            own(recurrent, argument)
    elif isinstance(recurrent, nn.RNNBase) or INITIALISATION_TABLE[name].any_cell:
        initialise(recurrent, name, float(trial.length) if name == "chrono" and argument is None else argument)
    else:
        raise UsageError(f"the initialisation {name} is for PyTorch's own layers, and {trial.cell} is none of them")
