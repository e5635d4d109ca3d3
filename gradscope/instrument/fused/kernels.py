"""Standing between nn.RNN, nn.GRU, nn.LSTM and the fused functions that they call.

Interception happens at the fused function and not at the module: what it is handed are the very tensors that are
computed with, whatever a parametrization, a weight-drop wrapper or a subclass made of the module's own, and input is
batched, time-major or packed. A stack is called layer by layer, so that inner layers' sequences are tensors of the
autograd graph; on CPU that is bit-identical to the stacked call, dropout stream included.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradscope.instrument.inert import method_outside_compilation

# Activation checkpointing leaves a forward pass by it as soon as it has computed all that the backward pass needs.
_STOPS_A_RECOMPUTATION: type[Exception] | tuple[()] = getattr(torch.utils.checkpoint, "_StopRecomputationError", ())

KERNELS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


@dataclass(frozen=True, eq=False)
class KernelArguments:
    """What a fused function was called with.

    Attributes:
        kind: lstm, gru, rnn_tanh or rnn_relu.
        function: the fused function.
        sequence: (time, batch, input), (batch, time, input), or the rows of a packed sequence.
        batch_sizes: of a packed sequence; None otherwise.
        initial: h_0, and c_0 for an LSTM, each (layer * direction, batch, state).
        weights: of every layer and direction, as PyTorch orders them.
        has_biases: whether two biases are among the weights of each.
        layers: how many layers are stacked.
        dropout: probability, between layers.
        training: whether dropout acts.
        bidirectional: whether each layer has two directions.
        batch_first: whether the sequence is (batch, time, input).
    """

    kind: str
    function: Callable[..., Any]
    sequence: Tensor
    batch_sizes: Tensor | None
    initial: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    has_biases: bool
    layers: int
    dropout: float
    training: bool
    bidirectional: bool
    batch_first: bool

    @property
    def directions(self) -> int:
        """Return 1 or 2."""
        return 2 if self.bidirectional else 1

    @property
    def is_one_time(self) -> bool:
        """Return whether the sequence is a single time, read forwards: a step of a loop that hands the state on."""
        if self.batch_sizes is not None or self.bidirectional:
            return False
        return self.sequence.shape[1 if self.batch_first else 0] == 1

    def weights_of(self, direction: int) -> tuple[Tensor, ...]:
        """Return the weights of one direction of a single layer."""
        size = len(self.weights) // self.directions
        return self.weights[direction * size : (direction + 1) * size]

    def call(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Call the fused function.

        Returns:
            Its output sequence, and its final states.
        """
        states = self.initial if self.kind == "lstm" else self.initial[0]
        options = (self.has_biases, self.layers, self.dropout, self.training, self.bidirectional)
        if self.batch_sizes is None:
            output, *final = self.function(self.sequence, states, list(self.weights), *options, self.batch_first)
        else:
            output, *final = self.function(self.sequence, self.batch_sizes, states, list(self.weights), *options)
        return output, tuple(final)

    def single_layers(self) -> Iterable["KernelArguments"]:
        """Go through the layers.

        Yields:
            One after the other; each still needs the output of the one below as its sequence.
        """
        size = len(self.weights) // self.layers
        # One backward node a state, as in the stacked function: slices would add up gradients padded with zeros.
        initial = [state.view(self.layers, self.directions, *state.shape[1:]).unbind(0) for state in self.initial]
        for layer in range(self.layers):
            yield replace(
                self,
                initial=tuple(states[layer] for states in initial),
                weights=self.weights[layer * size : (layer + 1) * size],
                layers=1,
                dropout=0.0,
                batch_first=False,
            )


def read_arguments(function: Callable[..., Any], given: tuple[Any, ...]) -> KernelArguments | None:
    """Return what a call of a fused function was given, or None where it is of a form that we do not know."""
    packed = len(given) == 9 and isinstance(given[3], list | tuple)
    if len(given) != 9 or not (packed or isinstance(given[2], list | tuple)):
        return None
    sequence, batch_sizes, states, weights, *options = given if packed else (given[0], None, *given[1:])
    has_biases, layers, dropout, training, bidirectional, *batch_first = options
    return KernelArguments(
        kind=function.__name__,
        function=function,
        sequence=sequence,
        batch_sizes=batch_sizes,
        initial=(states,) if isinstance(states, Tensor) else tuple(states),
        weights=tuple(weights),
        has_biases=has_biases,
        layers=layers,
        dropout=dropout,
        training=training,
        bidirectional=bidirectional,
        batch_first=bool(batch_first and batch_first[0]),
    )


SingleLayerCalled = Callable[[int, KernelArguments, Tensor, tuple[Tensor, ...], Tensor | None], None]
"""(layer, arguments, output sequence, final states, zeros that were appended to the input)"""
Substitute = Callable[[KernelArguments], tuple[KernelArguments, Tensor] | None]
"""What to call in place of a single layer, and the zeros in it; None to call the layer as it is."""


class Interception(TorchFunctionMode):
    """While active, calls of a fused function go layer by layer, and each is told.

    Args:
        told: called after each single layer.
        substitute: what to call in place of one.
        unknown: called where a call cannot be understood; it is then left alone.

    Attributes:
        calls: how many single layers have been called.
        running: whether a fused function is being called now; PyTorch has then taken this mode off its stack.
    """

    def __init__(self, told: SingleLayerCalled, substitute: Substitute, unknown: Callable[[], None]) -> None:
        super().__init__()
        self._told = told
        self._substitute = substitute
        self._unknown = unknown
        self.calls = 0
        self.running = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Call `func`, a fused one layer by layer.

        Returns:
            What it returns.
        """
        if getattr(func, "__name__", "") not in KERNELS:
            return func(*args, **(kwargs or {}))
        return method_outside_compilation(Interception._intercept)(self, func, args, kwargs or {})

    def _intercept(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        arguments = None if kwargs else read_arguments(func, args)
        if arguments is None:
            self._unknown()
            output, *final = func(*args, **kwargs)
            return output, *final
        self.running = True
        random_numbers = torch.get_rng_state() if arguments.layers > 1 and arguments.dropout else None
        try:
            output, final = self._call(arguments)
        except _STOPS_A_RECOMPUTATION:
            raise
        except Exception:  # noqa: BLE001 - if the user's call is wrong, it says so when it is made as it was meant
            if random_numbers is not None:
                torch.set_rng_state(random_numbers)
            output, *final = func(*args, **kwargs)
            self._unknown()
        finally:
            self.running = False
        return output, *final

    def _call(self, arguments: KernelArguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        if arguments.layers == 1:
            return self._call_layer(arguments)
        with _other_weights_than_the_modules(arguments):
            return self._call_stack(arguments)

    def _call_stack(self, arguments: KernelArguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        sequence = arguments.sequence.transpose(0, 1) if arguments.batch_first else arguments.sequence
        finals = []
        for layer, single in enumerate(arguments.single_layers()):
            if layer and arguments.training and arguments.dropout:
                sequence = torch.dropout(sequence, arguments.dropout, True)
            sequence, final = self._call_layer(replace(single, sequence=sequence))
            finals.append(final)
        joined = tuple(torch.cat(states) for states in zip(*finals, strict=True))
        return (sequence.transpose(0, 1) if arguments.batch_first else sequence), joined

    def _call_layer(self, arguments: KernelArguments) -> tuple[Tensor, tuple[Tensor, ...]]:
        substituted = self._substitute(arguments)
        if substituted is None:
            zeros, (output, final) = None, arguments.call()
        else:
            called, zeros = substituted
            with _other_weights_than_the_modules(called):
                output, final = called.call()
        # Counted, not taken from the arguments: a second recorder sees the single layers that the first one calls.
        self.calls += 1
        self._told(self.calls - 1, arguments, output, final, zeros)
        return output, final


@contextmanager
def _other_weights_than_the_modules(arguments: KernelArguments) -> Iterator[None]:
    """Say nothing of weights that do not lie in one piece of memory as the module's do: cuDNN would, in every call."""
    if arguments.sequence.device.type == "cpu":
        yield
        return
    # Filters, and what has been warned of already, are the process's own: they are touched only where they have to be.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        yield
