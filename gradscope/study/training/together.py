"""Training of several trials as one program; what is recorded is trained trial by trial all the same."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from gradscope.cells.side_by_side import LOOPS, Weights
from gradscope.runs.places import Place
from gradscope.study.spec.trial import Trial
from gradscope.study.training.attempt import keep_outcome
from gradscope.study.training.outcome import forget_outcome
from gradscope.study.training.task_loss import task_loss
from gradscope.study.training.training import Training, begun, complaints_raised


def train_together(jobs: Sequence[tuple[Trial, Place]]) -> None:
    """Train trials of one group (`groups_of`), recording each into its folder, and keep how each ended.

    Every trial has its own network, clipping, optimiser and recorder, and goes forward and back through its own network
    where the iteration is recorded. Only the forward and the backward passes between are those of all at once.

    Args:
        jobs: the trials and their run folders. One that cannot even begin is left out.

    Raises:
        RunError: one could not be recorded. Those that have ended are kept.
        Exception: whatever went wrong, likewise.
    """
    share, since = 0.0, time.perf_counter()
    with complaints_raised() as check, ExitStack() as all_begun:
        training: dict[Place, Training] = {}
        for trial, folder in jobs:
            with suppress(Exception):  # It fails by itself again, and says why.
                forget_outcome(folder)
                training[folder] = all_begun.enter_context(begun(trial, folder))
        count = len(training)
        while training:
            iterate([*training.values()])
            check()
            now = time.perf_counter()
            share, since = share + (now - since) / len(training), now
            for folder, one in [*training.items()]:
                if one.ended:
                    one.recorder.close()
                    check()
                    keep_outcome(one.trial, folder, one.outcome(share, count))
                    del training[folder]


def iterate(training: Sequence[Training]) -> None:
    """Go one iteration on with all of them, which are equally far."""
    for one in training:
        one.draw()
    # What is recorded is PyTorch's own module, as its user trains it. A single one has nobody to share with.
    alone = training[0].recorded or len(training) == 1
    losses = [one.learn() for one in training] if alone else _learn(training)
    for one, loss in zip(training, losses, strict=True):
        one.update(loss)


def _learn(training: Sequence[Training]) -> list[Tensor]:
    """Go forward and back with all at once.

    Returns:
        Each one's loss; its gradients are with its own parameters.
    """
    task, networks = training[0].task, [one.network for one in training]
    # Anew each time, since each network's own optimiser has changed them; the gradients find their way back by it.
    layer = Weights(
        *(torch.stack(same) for same in zip(*(each.recurrent.parameters() for each in networks), strict=True))
    )
    weight, bias = (torch.stack(same) for same in zip(*(each.readout.parameters() for each in networks), strict=True))
    inputs = torch.from_numpy(np.stack([one.batch.inputs for one in training]))
    states = LOOPS[training[0].trial.cell](inputs, layer)[-task.answered :]
    # (network, answered * batch, output)
    flat = torch.baddbmm(bias[:, None], torch.cat(states, dim=1), weight.mT)
    answers = flat.view(len(networks), task.answered, -1, task.output_size)
    losses = [task_loss(each, one.batch, one.task) for each, one in zip(answers.unbind(), training, strict=True)]
    # No network is in another's loss, so that each gets the gradient of its own out of the sum.
    torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
    # The two biases of a plain recurrence are given one and the same memory, which clipping would scale twice.
    for parameter in chain.from_iterable(each.parameters() for each in networks):
        parameter.grad = None if parameter.grad is None else parameter.grad.clone()
    return [loss.detach() for loss in losses]
