"""Calling a step function once more, for many times at once, to learn what a state sends back into the one before.

Times and sequences become one batch. The backward pass is then steered: at each part of the new state the gradient is
replaced by the one that the training's own backward pass had there. Nothing needs to be subtracted, however much of
the gradient of one part comes through another, as dL/dc_t does through h_t in an LSTM.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor, nn

from gradscope.cells.step_functions import State, StepFunction
from gradscope.instrument.loops.links import Marks

_ELEMENTS_AT_ONCE = 2**20
_depth = threading.local()


def replaying() -> bool:
    """Return whether a cell is being called by `replay`, and not by the user."""
    return bool(getattr(_depth, "value", 0))


@contextmanager
def _marked_as_replay() -> Iterator[None]:
    _depth.value = getattr(_depth, "value", 0) + 1
    try:
        yield
    finally:
        _depth.value -= 1


@dataclass(frozen=True, eq=False)
class Transitions:
    """What is known of some times.

    Attributes:
        inputs: of each time.
        handed: each part of the state that went in.
        states: each part of the state that came out.
        gradients: of each part that came out, from the training's own backward pass.
        inner: for each part, whether its gradient holds what comes through another part of the same time.
        opaque: for each part, whether its gradient lacks what may come through another part of the same time.
        is_tuple: whether the cell takes its state as a tuple.
        autocast: dtype of autocast, or None where it was off.
    """

    inputs: Shaped[Tensor, "time batch *input"]
    handed: tuple[Shaped[Tensor, "time batch *rest"], ...]
    states: tuple[Shaped[Tensor, "time batch *rest"], ...]
    gradients: tuple[Shaped[Tensor, "time batch *rest"], ...]
    inner: tuple[bool, ...]
    opaque: tuple[bool, ...]
    is_tuple: bool
    autocast: torch.dtype | None

    def blocks(self) -> Iterator["Transitions"]:
        """Cut it up.

        Yields:
            Some times after the other, few enough for memory.
        """
        time = len(self.inputs)
        length = max(1, _ELEMENTS_AT_ONCE // max(1, self.states[0][0].numel()))
        for start in range(0, time, length):
            chosen = slice(start, start + length)
            given = (self.handed, self.states, self.gradients)
            handed, states, gradients = (tuple(part[chosen] for part in parts) for parts in given)
            yield replace(self, inputs=self.inputs[chosen], handed=handed, states=states, gradients=gradients)


class _Step(nn.Module):
    def __init__(self, cell: nn.Module, step: StepFunction) -> None:
        super().__init__()
        self.cell, self._step = cell, step

    def forward(self, x: Tensor, state: State) -> State:
        return self._step(self.cell, x, state)


def replay(
    module: nn.Module, step: StepFunction, transitions: Transitions
) -> tuple[Shaped[Tensor, "time batch *rest"], Bool[Tensor, " time"]]:
    """Return what reaches the first part of each handed state from the state after it, and where that can be trusted.

    It cannot where the step function's state is not the one that the cell had returned, as with a dropout inside.
    Neither buffers nor the random-number state change.

    Args:
        module: the cell.
        step: its step function.
        transitions: what the cell did.
    """
    device = transitions.states[0].device
    held = {f"cell.{name}": parameter.detach() for name, parameter in module.named_parameters()}
    held |= {f"cell.{name}": buffer.detach().clone() for name, buffer in module.named_buffers()}
    generators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=generators), torch.enable_grad(), _marked_as_replay():
        blocks = [_replay_block(_Step(module, step), held, block) for block in transitions.blocks()]
    return torch.cat([sent for sent, _ in blocks]), torch.cat([agrees for _, agrees in blocks])


def _replay_block(step: _Step, held: dict[str, Tensor], block: Transitions) -> tuple[Tensor, Tensor]:
    time = len(block.inputs)
    handed = tuple(_requiring_grad(part.flatten(0, 1)) for part in block.handed)
    given = handed if block.is_tuple else handed[0]
    device = block.states[0].device.type
    with torch.autocast(device, dtype=block.autocast, enabled=block.autocast is not None):
        returned = torch.func.functional_call(step, held, (block.inputs.flatten(0, 1), given))
    made = (returned,) if isinstance(returned, Tensor) else tuple(returned)
    recorded = [part.flatten(0, 1) for part in block.states]
    unknown = torch.zeros(time, dtype=torch.bool, device=recorded[0].device)
    if not _comparable(made, recorded, handed) or not _same_inside(made, block):
        return torch.zeros_like(block.handed[0]), unknown
    agrees = torch.stack([_agree(*pair, time, block.autocast) for pair in zip(made, recorded, strict=True)]).all(0)
    sent = _send_back(made, [part.flatten(0, 1) for part in block.gradients], block.opaque, handed[0])
    return sent.view_as(block.handed[0]), agrees


def _requiring_grad(part: Tensor) -> Tensor:
    part = part.detach()
    return part.requires_grad_() if part.is_floating_point() else part


def _comparable(made: Sequence[Tensor], recorded: Sequence[Tensor], handed: Sequence[Tensor]) -> bool:
    distinct = len({id(part) for part in (*made, *handed)}) == len(made) + len(handed)
    return distinct and [part.shape for part in made] == [part.shape for part in recorded]


def _same_inside(made: Sequence[Tensor], block: Transitions) -> bool:
    # Where the cell's graph shows nothing of it, the step function's may.
    known = zip(Marks[Any]().inner_parts(made), block.inner, block.opaque, strict=True)
    return all(found == inner for found, inner, opaque in known if not opaque)


def _agree(made: Tensor, recorded: Tensor, time: int, autocast: torch.dtype | None) -> Bool[Tensor, " time"]:
    # Half of the digits: rounding stays far below, and whatever is really different is far above.
    precision = torch.finfo(autocast or recorded.dtype).eps ** 0.5 if recorded.is_floating_point() else 0.0
    made, recorded = (part.detach().double().reshape(time, -1) for part in (made, recorded))
    return (made - recorded).abs().amax(1) <= precision * recorded.abs().amax(1)


def _send_back(made: Sequence[Tensor], gradients: Sequence[Tensor], opaque: Sequence[bool], into: Tensor) -> Tensor:
    known = [each for each in zip(made, gradients, opaque, strict=True) if each[0].requires_grad]
    for part, gradient, lacks in known:
        if not lacks:  # Otherwise what comes through another part is to be added.
            part.register_hook(lambda _, gradient=gradient: gradient)  # type: ignore[no-untyped-call]
    if not known:
        return torch.zeros_like(into)
    parts, given, _ = zip(*known, strict=True)
    (sent,) = torch.autograd.grad(parts, into, given, allow_unused=True)
    return torch.zeros_like(into) if sent is None else sent
