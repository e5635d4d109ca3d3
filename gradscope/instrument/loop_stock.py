"""nn.RNNCell, nn.GRUCell and nn.LSTMCell: which weights each call used, and what a backward pass through them means."""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gradscope.cells.weights import LayerWeights, layer_weights
from gradscope.instrument.inert import InertWhenCopied
from gradscope.instrument.loop_direct import direct_gradient, same_values
from gradscope.instrument.loop_links import Link
from gradscope.instrument.loop_pass import LoopPass
from gradscope.instrument.loop_sequence import CELL, HIDDEN, Unrolled
from gradscope.instrument.loop_times import TIMES, Given, Times
from gradscope.instrument.source import Unrecordable

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

STOCK = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def is_stock(module: nn.Module) -> TypeGuard[nn.RNNCellBase]:
    """Return whether `module` computes what one of PyTorch's cells does."""
    return any(isinstance(module, stock) and type(module).forward is stock.forward for stock in STOCK)


@dataclass(frozen=True, eq=False)
class UsedWeights:
    """The weights of one call, and the state in which they were.

    Attributes:
        tensors: weight_ih, weight_hh and, where there are any, the two biases; detached.
        versions: of the tensors.
    """

    tensors: tuple[Tensor, ...]
    versions: tuple[int, ...]

    def unchanged(self) -> bool:
        """Return whether nothing was changed in place since."""
        return self.versions == tuple(tensor._version for tensor in self.tensors)


class StockCell:
    """A cell of PyTorch's.

    Args:
        name: module path.
        module: the cell.
    """

    def __init__(self, name: str, module: nn.RNNCellBase) -> None:
        self.name, self._module = name, module
        self._handles: list[RemovableHandle] = []
        self._parametrized: dict[str, Tensor] = {}
        self._seen: tuple[weakref.ref[Tensor], ...] = ()
        self._used: UsedWeights | None = None

    @property
    def kind(self) -> str:
        """Return rnn_tanh, rnn_relu, gru or lstm."""
        if isinstance(self._module, nn.RNNCell):
            return "rnn_relu" if self._module.nonlinearity == "relu" else "rnn_tanh"
        return "lstm" if isinstance(self._module, nn.LSTMCell) else "gru"

    def describe(self) -> Mapping[str, object]:
        """Return what a reader of the run needs to know."""
        module = self._module
        return {"kind": self.kind, "input_size": module.input_size, "hidden_size": module.hidden_size}

    def attach(self) -> None:
        """Listen to parametrizations: reading a parametrized weight anew could change it, or draw random numbers."""
        if not parametrize.is_parametrized(self._module):
            return
        for name, parametrization in self._module.parametrizations.items():  # type: ignore[union-attr,operator]
            hook = InertWhenCopied(partial(self._after_parametrization, name))
            self._handles.append(parametrization.register_forward_hook(hook))

    def detach(self) -> None:
        """Stop listening, and forget."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._parametrized, self._seen, self._used = [], {}, (), None

    def _after_parametrization(self, name: str, _module: nn.Module, _args: object, weight: Tensor) -> None:
        self._parametrized[name] = weight

    def _read(self, name: str) -> Tensor | None:
        weight = self._module._parameters.get(name)
        if weight is not None:
            return weight
        return self._parametrized[name] if name in self._parametrized else getattr(self._module, name)

    def context(self) -> UsedWeights:
        """Return the weights that the newest call used; the same object as long as they are the same."""
        weights = [weight for name in _WEIGHTS if (weight := self._read(name)) is not None]
        same = len(weights) == len(self._seen) and all(map(_refers_to, self._seen, weights))
        if self._used is None or not same or not self._used.unchanged():
            tensors = tuple(weight.detach() for weight in weights)
            self._used = UsedWeights(tensors, tuple(tensor._version for tensor in tensors))
            self._seen = tuple(weakref.ref(weight) for weight in weights)
        self._parametrized.clear()
        return self._used

    def work_out(self, unrolled: Unrolled) -> LoopPass:
        """Return everything about a backward pass.

        Raises:
            Unrecordable: weights were changed in place.
        """
        kernel_dtype = unrolled.states[HIDDEN].dtype
        dtype = torch.promote_types(kernel_dtype, torch.float32)
        given = Given(
            inputs=unrolled.stack([call.inputs for call in unrolled.calls]).to(kernel_dtype).to(dtype),
            before=tuple(unrolled.handed(position).to(dtype) for position in range(len(unrolled.states))),
            states=tuple(state.to(dtype) for state in unrolled.states),
            gradients=tuple(gradient.to(dtype) for gradient in unrolled.gradients),
            cell_is_complete=unrolled.inner[-1],
        )
        parts = []
        for times, used in _runs([call.context for call in unrolled.calls]):
            if not used.unchanged():
                raise Unrecordable(
                    "its weights were changed in place between the forward pass and the end of the backward pass"
                )
            # Under autocast the cell computed with rounded copies of its weights.
            rounded = [weight.to(kernel_dtype).to(dtype) for weight in used.tensors]
            parts.append(self._times(given.at(times), layer_weights(rounded, has_biases=len(rounded) > 2)))
        return self._loop_pass(unrolled, given, Times.joined(parts), torch.finfo(kernel_dtype).eps)

    def _times(self, given: Given, weights: LayerWeights) -> Times:
        return TIMES[self.kind](given, weights)

    def _loop_pass(self, unrolled: Unrolled, given: Given, times: Times, rounding: float) -> LoopPass:
        total = given.gradients[HIDDEN]
        links = [call.links[HIDDEN] if call.links else Link.CUT for call in unrolled.calls[1:]]
        unmoved = same_values(given.states[HIDDEN][:-1], given.before[HIDDEN][1:])
        return LoopPass(
            layer=self.name,
            hidden=given.states[HIDDEN],
            total_gradient=total,
            direct_gradient=direct_gradient(total, times.recurrent_part[1:], links, unmoved, rounding),
            cell=given.states[CELL] if self.kind == "lstm" else None,
            cell_gradient=times.cell_gradient,
            gates=times.gates,
            weight_norm=times.weight_norm,
            saturation=times.saturation,
        )


def _refers_to(reference: weakref.ref[Tensor], tensor: Tensor) -> bool:
    return reference() is tensor


def _runs(contexts: Sequence[UsedWeights]) -> Iterator[tuple[slice, UsedWeights]]:
    start = 0
    for _, group in groupby(contexts, key=id):
        length = sum(1 for _ in group)
        yield slice(start, start + length), contexts[start]
        start += length
