"""A trial's network on one batch, ready for sweeps back through time: in float64, away from the training."""

import copy
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.step_functions import State
from gradscope.dynamics import roll_out
from gradscope.dynamics.direct import direct_gradient
from gradscope.dynamics.full_state import StateForm
from gradscope.errors import UsageError
from gradscope.study.spec.trial import Trial
from gradscope.study.training.network import Network
from gradscope.study.training.task_loss import task_loss
from gradscope.tasks import Task


class Swept(NamedTuple):
    """Everything that a sweep needs.

    Attributes:
        module: the recurrent layer, a copy in float64.
        inputs: of one batch.
        zeros: the state before the first time, as the layer takes it.
        before: full states before each time.
        direct: what the loss sends into each full state at its own time.
    """

    module: nn.RNNBase
    inputs: Float[Tensor, "time batch input"]
    zeros: State
    before: Float[Tensor, "time batch full_state"]
    direct: Float[Tensor, "time batch full_state"]

    @property
    def hidden_before(self) -> Float[Tensor, "time batch hidden"]:
        """The part of `before` that the recurrent weights multiply: for an LSTM without c."""
        return self.before[..., : self.module.hidden_size]


def swept(network: Network, task: Task, trial: Trial, sequences: int) -> Swept:
    """Put a network on a batch of its task.

    Args:
        network: of a trial; it is not touched.
        task: that the batch is drawn from.
        trial: its seed decides the batch.
        sequences: in the batch.

    Returns:
        What a sweep needs.

    Raises:
        UsageError: the recurrent layer is not one layer of PyTorch's own, read in one direction.
    """
    found = network.recurrent
    if not isinstance(found, nn.RNNBase) or found.num_layers > 1 or found.bidirectional:
        raise UsageError(
            f"this measure needs nn.RNN, nn.LSTM or nn.GRU with one layer and one direction, and {trial.cell} is none"
        )
    exact = copy.deepcopy(network).double()
    batch = task.batch(np.random.default_rng([trial.seed, sequences]), sequences)
    inputs = torch.from_numpy(batch.inputs).double()
    batch = batch._replace(targets=batch.targets.astype(float) if task.kind == "regression" else batch.targets)
    zeros = _zeros(found, inputs)

    def loss(states: State) -> Tensor:
        hidden = states[0] if isinstance(states, tuple) else states
        return task_loss(exact.readout(hidden[-task.answered :]), batch, task)

    module = exact.recurrent
    assert isinstance(module, nn.RNNBase)
    with torch.no_grad():
        states = roll_out(module, inputs, zeros)
        before = torch.cat([torch.zeros_like(states[:1]), states[:-1]])
    return Swept(module, inputs, zeros, before, direct_gradient(loss, states, StateForm.of(zeros)))


def _zeros(module: nn.RNNBase, inputs: Tensor) -> State:
    hidden = inputs.new_zeros(inputs.shape[1], module.hidden_size)
    return (hidden, hidden.clone()) if module.mode == "LSTM" else hidden
