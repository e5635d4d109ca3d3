"""Loops whose cell is one of PyTorch's: which weights each call used, and what a backward pass through them means."""

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from gradscope.cells.weights import layer_weights
from gradscope.instrument.loops.autocast import autocast_dtype
from gradscope.instrument.loops.direct import direct_gradient, same_values
from gradscope.instrument.loops.links import Link
from gradscope.instrument.loops.loop_pass import LoopPass
from gradscope.instrument.loops.times import TIMES, Given, Times
from gradscope.instrument.loops.unrolled import CELL, HIDDEN, Unrolled
from gradscope.instrument.source import Unrecordable

_WITH_BIASES = 4
"""So many weights, or one more, has a cell with biases: two without, and one more is a projection."""


@dataclass(frozen=True, eq=False)
class UsedWeights:
    """The weights of one call, and the state in which they were.

    Attributes:
        tensors: weight_ih, weight_hh, and where there are any the two biases and weight_hr; detached.
        versions: of the tensors.
        autocast: what it rounded them to; None outside autocast.
    """

    tensors: tuple[Tensor, ...]
    versions: tuple[int, ...]
    autocast: torch.dtype | None

    def are(self, weights: Sequence[Tensor]) -> bool:
        """Return whether weights still have the memory and the values of these; `weight.data = other` changes both."""
        pointers = [tensor.data_ptr() for tensor in self.tensors]
        return self.unchanged() and pointers == [weight.data_ptr() for weight in weights]

    def unchanged(self) -> bool:
        """Return whether nothing was changed in place since."""
        return self.versions == tuple(tensor._version for tensor in self.tensors)


class NewestWeights:
    """The weights of the newest call: the same object as long as they are the same."""

    def __init__(self) -> None:
        self._seen: tuple[weakref.ref[Tensor], ...] = ()
        self._used: UsedWeights | None = None

    def forget(self) -> None:
        """Hold none."""
        self._seen, self._used = (), None

    def of(self, weights: Sequence[Tensor]) -> UsedWeights:
        """Return those of a call that used `weights`."""
        autocast = autocast_dtype()
        same = len(weights) == len(self._seen) and all(map(_refers_to, self._seen, weights))
        if not same or self._used is None or self._used.autocast is not autocast or not self._used.are(weights):
            tensors = tuple(weight.detach() for weight in weights)
            self._used = UsedWeights(tensors, tuple(tensor._version for tensor in tensors), autocast)
            self._seen = tuple(weakref.ref(weight) for weight in weights)
        return self._used


def work_out(name: str, kind: str, unrolled: Unrolled) -> LoopPass:
    """Return everything about a backward pass; the context of each call is its `UsedWeights`.

    Args:
        name: of the layer.
        kind: rnn_tanh, rnn_relu, gru or lstm.
        unrolled: the sequence. A fused layer's states have an axis of length 1 before the batch.

    Raises:
        Unrecordable: weights were changed in place.
    """
    kernel_dtype = unrolled.states[HIDDEN].dtype
    dtype = torch.promote_types(kernel_dtype, torch.float32)
    own = [_vectors(gradient).to(dtype) for gradient in unrolled.gradients]
    beside = None if unrolled.beside is None else _vectors(unrolled.beside).to(dtype)
    given = Given(
        inputs=_vectors(unrolled.stack([call.inputs for call in unrolled.calls])).to(kernel_dtype).to(dtype),
        before=tuple(_vectors(unrolled.handed(position)).to(dtype) for position in range(len(unrolled.states))),
        states=tuple(_vectors(state).to(dtype) for state in unrolled.states),
        gradients=tuple(own) if beside is None else (own[HIDDEN] + beside, *own[1:]),
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
        weights = layer_weights(rounded, has_biases=len(rounded) >= _WITH_BIASES)
        parts.append(TIMES[kind](given.at(times), weights))
    # On CPU autocast leaves a cell's state in float32, and rounds in its matrix products all the same.
    dtypes = [call.context.autocast or kernel_dtype for call in unrolled.calls]
    coarsest = max(dtypes, key=lambda each: torch.finfo(each).eps)
    found = Times.joined(parts)
    direct = _direct(unrolled, given, own[HIDDEN], found, coarsest)
    return LoopPass(
        layer=name,
        hidden=given.states[HIDDEN],
        total_gradient=given.gradients[HIDDEN],
        direct_gradient=direct if beside is None else direct.add_(beside),
        cell=given.states[CELL] if kind == "lstm" else None,
        cell_gradient=found.cell_gradient,
        gates=found.gates,
        weight_norm=found.weight_norm,
        saturation=found.saturation,
    )


def _vectors(tensor: Shaped[Tensor, "time *batch size"]) -> Shaped[Tensor, "time batch size"]:
    return tensor.flatten(1, -2)


def _direct(
    unrolled: Unrolled, given: Given, own: Float[Tensor, "time batch hidden"], times: Times, dtype: torch.dtype
) -> Float[Tensor, "time batch hidden"]:
    """Return what entered directly of what came to the states themselves."""
    links = [call.links[HIDDEN] if call.links else Link.CUT for call in unrolled.calls[1:]]
    unmoved = same_values(given.states[HIDDEN][:-1], given.before[HIDDEN][1:])
    return direct_gradient(own, times.recurrent_part[1:], times.terms[1:], links, unmoved, dtype)


def _refers_to(reference: weakref.ref[Tensor], tensor: Tensor) -> bool:
    return reference() is tensor


def _runs(contexts: Sequence[UsedWeights]) -> Iterator[tuple[slice, UsedWeights]]:
    start = 0
    for _, group in groupby(contexts, key=id):
        length = sum(1 for _ in group)
        yield slice(start, start + length), contexts[start]
        start += length
