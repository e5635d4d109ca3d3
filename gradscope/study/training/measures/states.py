"""What is inside a cell at each time: the states of its units, and how open its gates are."""

from typing import Any

import numpy as np
import torch

from gradscope.cells.loop import CellLoop
from gradscope.study.spec.trial import Trial
from gradscope.study.training.network import Network
from gradscope.tasks import Lines, Task

_UNITS = 6
_SEQUENCES = 64


@torch.no_grad()
def states(network: Network, task: Task, trial: Trial) -> list[Lines]:
    """Read one sequence and keep each unit's state.

    Args:
        network: of the trial.
        task: that the sequence is drawn from.
        trial: its seed decides which.

    Returns:
        One line a unit, of the first six.
    """
    batch = task.batch(np.random.default_rng([trial.seed, 1]), 1)
    found = network.recurrent(torch.from_numpy(batch.inputs))
    outputs = (found[0] if isinstance(found, tuple) else found)[:, 0]
    lines = {f"unit {unit}": outputs[:, unit].numpy() for unit in range(min(_UNITS, outputs.shape[1]))}
    return [Lines("the state of each unit", "time", "state", np.arange(len(outputs)), lines)]


@torch.no_grad()
def gates(network: Network, task: Task, trial: Trial) -> list[Lines]:
    """Read 64 sequences and keep how open each gate is, in the mean over units and sequences.

    Args:
        network: of the trial.
        task: that the sequences are drawn from.
        trial: its seed decides which.

    Returns:
        One line a gate; nothing for a cell that does not tell its gates.
    """
    recurrent = network.recurrent
    cell: Any = recurrent.cell if isinstance(recurrent, CellLoop) else None
    if not hasattr(cell, "gates"):
        return []
    inputs = torch.from_numpy(task.batch(np.random.default_rng([trial.seed, 1]), _SEQUENCES).inputs)
    state: Any = cell.initial_state(inputs[0]) if hasattr(cell, "initial_state") else _zeros(inputs, trial.hidden)
    opened: dict[str, list[float]] = {}
    for now in inputs:
        for name, values in cell.gates(now, state).items():
            opened.setdefault(name, []).append(float(values.mean()))
        state = cell(now, state)
    means = {name: np.array(values) for name, values in opened.items()}
    told = ", ".join(f"{name} {values.mean():.2f}" for name, values in means.items())
    return [
        Lines(
            "how open each gate is",
            "time",
            "mean over units",
            np.arange(len(inputs)),
            means,
            told=f"gates are open, in the mean over all times: {told}",
            limits=(0.0, 1.0),
        )
    ]


def _zeros(inputs: torch.Tensor, hidden: int) -> torch.Tensor:
    return inputs.new_zeros(inputs.shape[1], hidden)
