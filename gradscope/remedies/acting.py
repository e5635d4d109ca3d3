"""Lets a remedy act in a training that does not know of it."""

from typing import Any, Self

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from gradscope.remedies.remedy import Remedy


class Acting:
    """Clips before, and changes the learning rate around, every step of an optimiser that updates the model.

    Args:
        remedy: what is tried.
        model: whose optimisers are meant.
        iterations: how many there will be.

    Attributes:
        iteration: that the training is in.
        acted: whether an optimiser stepped.
    """

    def __init__(self, remedy: Remedy, model: nn.Module, iterations: int) -> None:
        self.iteration = 0
        self.acted = False
        self._remedy, self._iterations = remedy, iterations
        self._own = {id(parameter) for parameter in model.parameters()}
        self._rates: dict[int, list[Any]] = {}
        self._inside = 0
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        self._hooks = [
            register_optimizer_step_pre_hook(self._before),
            register_optimizer_step_post_hook(self._after),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _before(self, optimizer: Optimizer, *_: object) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if id(p) in self._own]
        if not parameters:
            return
        if id(optimizer) in self._rates:  # a step that calls its parent class's step
            self._inside += 1
            return
        self.acted = True
        self._rates[id(optimizer)] = [group["lr"] for group in optimizer.param_groups]
        with torch.no_grad():
            self._remedy.clip([parameter for parameter in parameters if parameter.grad is not None])
        factor = self._remedy.rate_factor(self.iteration, self._iterations)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor

    def _after(self, optimizer: Optimizer, *_: object) -> None:
        if self._inside:
            self._inside -= 1
            return
        for group, rate in zip(optimizer.param_groups, self._rates.pop(id(optimizer), ()), strict=False):
            group["lr"] = rate
