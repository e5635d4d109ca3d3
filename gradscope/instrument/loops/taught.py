"""Cells of the user's own: the total gradient is the autograd engine's, the direct one needs the step function."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.step_functions import StepFunction
from gradscope.instrument.guard import say
from gradscope.instrument.loops.autocast import autocast_dtype
from gradscope.instrument.loops.direct import direct_gradient, same_values
from gradscope.instrument.loops.loop_pass import LoopPass
from gradscope.instrument.loops.replay import Transitions, replay
from gradscope.instrument.loops.unrolled import CELL, HIDDEN, Unrolled, as_vectors
from gradscope.instrument.norms import vector_norm
from gradscope.instrument.source import Unrecordable


class TaughtCell:
    """A cell of the user's.

    Args:
        name: module path.
        module: the cell.
        step: its step function; None where there is none, and the direct gradient stays unknown.
    """

    def __init__(self, name: str, module: nn.Module, step: StepFunction | None) -> None:
        self.name, self._module, self._step = name, module, step
        self._parameters: list[nn.Parameter] = []

    def describe(self) -> Mapping[str, object]:
        """Return what a reader of the run needs to know; sizes only where the cell has them as attributes."""
        sizes = {name: getattr(self._module, name, None) for name in ("input_size", "hidden_size")}
        return {"kind": type(self._module).__name__, **{name: n for name, n in sizes.items() if isinstance(n, int)}}

    def attach(self) -> None:
        """Look up the parameters once: walking through the module at each call would cost too much."""
        self._parameters = list(self._module.parameters())

    def detach(self) -> None:
        """Forget them."""
        self._parameters = []

    def context(self) -> tuple[int, torch.dtype | None]:
        """Return the version of the parameters, and the dtype of autocast."""
        return self._version(), autocast_dtype()

    def _version(self) -> int:
        return sum(parameter._version for parameter in self._parameters)

    def work_out(self, unrolled: Unrolled) -> LoopPass:
        """Return everything about a backward pass.

        Raises:
            Unrecordable: parameters were changed in place.
        """
        if any(call.context[0] != self._version() for call in unrolled.calls):
            raise Unrecordable(
                "its parameters were changed in place between the forward pass and the end of the backward pass"
            )
        states, gradients = unrolled.states, unrolled.gradients
        two = len(states) == CELL + 1 and states[CELL].shape == states[HIDDEN].shape
        return LoopPass(
            layer=self.name,
            hidden=as_vectors(states[HIDDEN]),
            total_gradient=as_vectors(gradients[HIDDEN]),
            direct_gradient=self._direct_gradient(unrolled),
            cell=as_vectors(states[CELL]) if two else None,
            # Of a fused cell's c what comes through h is not in its gradient.
            cell_gradient=as_vectors(gradients[CELL]) if two and not unrolled.opaque[CELL] else None,
        )

    def _direct_gradient(self, unrolled: Unrolled) -> Float[Tensor, "time batch hidden"] | None:
        total = as_vectors(unrolled.gradients[HIDDEN])
        if len(total) == 1:
            return total
        transitions = _transitions(unrolled)
        if self._step is None or transitions is None:
            return None
        try:
            sent, agrees = replay(self._module, self._step, transitions)
        except Exception as error:  # noqa: BLE001 - a step function is the user's code
            say(
                f"gradscope does not know the direct gradient of {self.name}: the step function of "
                f"{type(self._module).__name__} failed. {type(error).__name__}: {error}"
            )
            self._step = None
            return None
        links = [call.links[HIDDEN] for call in unrolled.calls[1:]]
        unmoved = same_values(unrolled.states[HIDDEN][:-1], transitions.handed[HIDDEN])
        sent = as_vectors(sent).masked_fill(~agrees[:, None, None], torch.nan)
        dtype = transitions.autocast or unrolled.states[HIDDEN].dtype
        return direct_gradient(total, sent, vector_norm(sent), links, unmoved, dtype)


def _transitions(unrolled: Unrolled) -> Transitions | None:
    """Return all times but the first, which has no state before it; None where inputs are of no form that we know."""
    later = unrolled.calls[1:]
    inputs = [call.inputs for call in later if isinstance(call.inputs, Tensor)]
    if len(inputs) < len(later) or any(given.shape != inputs[0].shape for given in inputs):
        return None
    if inputs[0].dim() == 0 and unrolled.batched:
        return None
    return Transitions(
        inputs=unrolled.stack(inputs),
        handed=tuple(unrolled.handed(position)[1:] for position in range(len(unrolled.states))),
        states=tuple(state[1:] for state in unrolled.states),
        gradients=tuple(gradient[1:] for gradient in unrolled.gradients),
        inner=unrolled.inner,
        opaque=unrolled.opaque,
        is_tuple=unrolled.is_tuple,
        autocast=later[0].context[1],
    )
