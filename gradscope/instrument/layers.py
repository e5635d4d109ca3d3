"""The recurrent layers of a model, and what is done with each of their calls."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gradscope.errors import UsageError
from gradscope.instrument.fused import FUSED, Call, Unrecordable, kind_of, refusal
from gradscope.instrument.reconstruction import Rows
from gradscope.instrument.summary import Summary
from gradscope.instrument.trajectory import Trajectory
from gradscope.instrument.workspace import Workspace


class LayerWatch:
    """One recurrent layer.

    Attributes:
        name: module path and PyTorch's suffix, such as `encoder.l0`.
        module: the module.
    """

    def __init__(self, name: str, module: nn.RNNBase) -> None:
        self.name, self.module = name, module
        self._workspace = Workspace()
        self._newest: tuple[Call, Rows, Summary, int, int, Tensor | None] | None = None
        self._trajectory: Trajectory | None = None
        self._finished_calls = 0

    def describe(self) -> dict[str, object]:
        """Return what a reader of the run needs to know of the layer."""
        module = self.module
        return {"kind": kind_of(module), "input_size": module.input_size, "hidden_size": module.hidden_size}

    def begin_iteration(self) -> None:
        """Number the calls from 0 again."""
        self._finished_calls = 0

    def observe(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        output: Any,  # noqa: ANN401 - what a module returns
        arrived: Callable[[Call], None],
    ) -> Call | None:
        """Take note of a forward call.

        Returns:
            The call; None if no gradient will ever come back to it.

        Raises:
            Unrecordable: the call is of a form that is not supported.
        """
        inputs = args[0] if args else kwargs["input"]
        if isinstance(inputs, PackedSequence):
            raise Unrecordable("it was given a PackedSequence; what works is a padded tensor")
        sequence, final = output
        if not (torch.is_grad_enabled() and sequence.requires_grad):
            return None
        if sequence.numel() == 0:
            raise Unrecordable("its output is empty")
        initial = args[1] if len(args) > 1 else kwargs.get("hx")
        return Call(self.module, inputs, _states(initial), sequence, _states(final), arrived)

    def drop(self, call: Call) -> None:
        """Let go of a call of an iteration that is over; the newest keeps what `trajectory` needs."""
        call.drop(keep_direct=self._newest is not None and self._newest[0] is call)

    def finish(self, call: Call, iteration: int, scale: Tensor | None) -> tuple[int, Summary, Rows]:
        """Work out what the backward pass brought to `call`.

        Args:
            call: a call of this layer.
            iteration: the optimiser step.
            scale: loss scale of mixed-precision training, by which gradients are divided.

        Returns:
            Which call of the iteration it was, the norms of every time, and the states, valid until the next pass.

        Raises:
            Unrecordable: something that the forward pass saw has changed since.
        """
        rows = Rows(call, self._workspace)
        with torch.no_grad(), torch.autocast(call.device.type, enabled=False):
            summary = Summary(call, rows)
            if scale is not None:
                summary.unscale(scale)
        call.release()
        index = self._finished_calls
        self._finished_calls += 1
        if self._newest is not None and self._newest[3] != iteration:
            self._newest[0].drop(keep_direct=False)
        self._newest, self._trajectory = (call, rows, summary, iteration, index, scale), None
        return index, summary, rows

    def trajectory(self) -> Trajectory | None:
        """Return a copy of everything about the newest pass, or None before the first."""
        if self._trajectory is None and self._newest is not None:
            call, rows, summary, iteration, index, scale = self._newest
            divide = 1 if scale is None else scale.to(rows.hidden.dtype)
            lstm = call.module.mode == "LSTM"
            self._trajectory = Trajectory(
                layer=self.name,
                iteration=iteration,
                call=index,
                hidden=rows.hidden.clone(),
                total_gradient=rows.total_gradient / divide,
                direct_gradient=call.direct_gradient(slice(0, call.shape[0])) / divide,
                weight_gradient_norm=summary.weight_norm.clone(),
                saturation=summary.saturation.clone(),
                cell=rows.cell.clone() if lstm else None,
                cell_gradient=rows.cell_gradient / divide if lstm else None,
                gates={name: gate.clone() for name, gate in rows.gates.items()},
            )
        return self._trajectory


def _states(states: Tensor | tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
    return () if states is None else (states,) if isinstance(states, Tensor) else tuple(states)


def find_layers(model: nn.Module) -> list[LayerWatch]:
    """Return the recurrent layers of `model`; warn of those that cannot be watched.

    Raises:
        UsageError: there is none that can.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, FUSED)}
    reasons = {name or type(module).__name__: refusal(module) for name, module in found.items()}
    refused = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    watched = [LayerWatch(f"{name}.l0".lstrip("."), module) for name, module in found.items() if not refusal(module)]
    if not found:
        raise UsageError(_nothing_recurrent(model))
    if not watched:
        raise UsageError(f"None of the recurrent modules can be watched yet. {'. '.join(refused)}.")
    if refused:
        warnings.warn(f"gradscope does not watch these modules. {'. '.join(refused)}.", stacklevel=3)
    return watched


def _nothing_recurrent(model: nn.Module) -> str:
    inside = sorted({type(module).__name__ for module in model.modules() if module is not model})
    return (
        f"gradscope watches nn.RNN, nn.GRU and nn.LSTM, and {type(model).__name__} has none of them: "
        f"{'inside it are ' + ', '.join(inside) if inside else 'it has no submodules'}. "
        "Pass the model that holds the recurrent module."
    )
