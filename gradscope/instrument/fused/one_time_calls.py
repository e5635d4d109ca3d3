"""Loops that call nn.RNN, nn.GRU or nn.LSTM for one time after the other, as decoders do: the layer is their cell."""

from typing import TYPE_CHECKING

from torch import Tensor

from gradscope.instrument.backward_passes import SECOND_ORDER
from gradscope.instrument.fused.kernels import KernelArguments
from gradscope.instrument.loops.growth import GrowingSequences
from gradscope.instrument.loops.known import NewestWeights, UsedWeights, work_out
from gradscope.instrument.loops.loop_pass import LoopPass
from gradscope.instrument.loops.unrolled import Unrolled
from gradscope.instrument.source import Listener, Unrecordable

if TYPE_CHECKING:
    from gradscope.instrument.loops.sequence import LoopSequence


class SteppedLayer:
    """One layer of a fused module that is called for one time after the other.

    Args:
        name: of the layer.
        kind: rnn_tanh, rnn_relu, gru or lstm.
    """

    def __init__(self, name: str, kind: str) -> None:
        self.name, self._kind = name, kind
        self._newest = NewestWeights()
        self._weights: tuple[Tensor, ...] = ()
        self._sequences = GrowingSequences(self)
        self._growing: LoopSequence | None = None

    @property
    def is_growing(self) -> bool:
        """Return whether a time was added since the module returned last."""
        return self._growing is not None

    def forget(self) -> None:
        """Begin anew: the iteration is over."""
        self._sequences.forget()
        self._newest.forget()
        self._weights, self._growing = (), None

    def called(self, arguments: KernelArguments, output: Tensor, final: tuple[Tensor, ...], listener: Listener) -> None:
        """Add one time.

        Args:
            arguments: what the fused function was given.
            output: its output, of one time.
            final: h_n, and c_n for an LSTM.
            listener: is told when a backward pass arrives.
        """
        inputs = arguments.sequence.transpose(0, 1) if arguments.batch_first else arguments.sequence
        self._weights = arguments.weights
        self._growing = self._sequences.add(
            listener, inputs, arguments.initial, final, is_tuple=len(final) > 1, copy=output
        )

    def returned(self, states: tuple[Tensor, ...]) -> None:
        """Take note of where the state is when the module returns: a stack puts those of all its layers together."""
        if self._growing is not None:
            self._sequences.also_known_as(self._growing, states)
        self._growing = None

    def context(self) -> UsedWeights:
        """Return the weights of the newest call."""
        return self._newest.of(self._weights)

    def work_out(self, unrolled: Unrolled) -> LoopPass:
        """Return everything about a backward pass.

        Raises:
            Unrecordable: gradients were differentiated, or weights changed in place.
        """
        if unrolled.is_second_order:
            raise Unrecordable(SECOND_ORDER)
        return work_out(self.name, self._kind, unrolled)
