"""What the recorder asks of anything that it watches: a fused module, a loop over cells, a tap."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from jaxtyping import Float
from torch import Tensor

from gradscope.instrument.summary import Summary
from gradscope.instrument.trajectory import Trajectory

Exactness = Literal["bitwise", "rounding"]
"""Whether watching leaves every bit of a training on CPU as it was, or may make it round otherwise to be cheaper."""

ORDER = itertools.count()
"""Numbers of forward calls, over all sources."""


class Unrecordable(Exception):  # noqa: N818 - no error of the program: the training did what cannot be recorded
    """This pass cannot be recorded exactly; the message says why. It never reaches the training loop."""


@dataclass(frozen=True, eq=False)
class LayerPass:
    """One backward pass through one call of one layer, worked out. Gradients are still scaled if the loss was.

    Attributes:
        layer: module path and PyTorch's suffix, such as `encoder.l0`.
        summary: norms and shares of every time.
        hidden: h_t, valid until the layer's next pass.
        total_gradient: a_t, valid until the layer's next pass.
        trajectory: makes a copy of everything, given (iteration, call, what to divide gradients by).
    """

    layer: str
    summary: Summary
    hidden: Float[Tensor, "time batch hidden"]
    total_gradient: Float[Tensor, "time batch hidden"]
    trajectory: Callable[[int, int, Tensor | None], Trajectory]


Work = Callable[[], LayerPass]
"""Works a pass out. It may run later and in another thread: it refers to nothing that training may change."""


class ForwardCall(Protocol):
    """A forward call in a recorded iteration; gradients may come back to it.

    Attributes:
        name: of the layer or module, for messages.
        order: from `ORDER`.
        size: about how many bytes are held until its passes are worked out; None if that is not worth a thread beside
            the training, where either is mostly Python.
    """

    name: str
    order: int
    size: int | None

    def finish(self) -> Iterable[Work]:
        """Take what the backward pass brought; called when that pass has ended, under no_grad.

        Returns:
            What is left to do for each layer pass.

        Raises:
            Unrecordable: something that the forward pass saw has changed since.
        """

    def drop(self) -> None:
        """Hold nothing any more: a user who keeps a loss keeps its graph, and with it the hooks of this call."""


class Listener(Protocol):
    """What a source may tell the recorder."""

    @property
    def guard(self) -> AbstractContextManager[object]:
        """Must be around everything that a hook of a source does in the forward pass."""

    def computing(self) -> None:
        """Take note that a forward pass computes: what came of the iteration before may be worked out beside it.

        A fused module says so when its kernel is called: that computes for long without Python's lock.
        """

    def called(self, call: ForwardCall) -> None:
        """Take note of a forward call, so that it is dropped when the iteration ends."""

    def computed(
        self,
        call: ForwardCall,
        layer: str,
        states: Tensor,
        quantity: str,
        *,
        first: int = 0,
        reverse: bool = False,
        proof: Tensor | None = None,
    ) -> None:
        """Look at states (time, ...) that a call has just computed, "hidden" or "cell"; `first` is their first time.

        Where `proof` is given, it is finite only if they all are, and is looked at in their place.
        """

    def arrived(self, call: ForwardCall) -> None:
        """Take note that a backward pass has reached `call`: it will be finished when that pass ends."""

    def skipped(self, layer: str, reason: Unrecordable) -> None:
        """Say, once, that something was not recorded."""


class Source(Protocol):
    """Something that is watched."""

    def describe(self) -> Mapping[str, Mapping[str, object]]:
        """Return layer name -> what a reader of the run needs to know of the layer: kind, input_size, hidden_size."""

    def attach(self, listener: Listener) -> None:
        """Put hooks on, at the beginning of an iteration that is recorded."""

    def renew(self, listener: Listener) -> None:
        """Be ready for another iteration right after one: hooks may stay, what belongs to the one before goes."""

    def detach(self) -> None:
        """Take them off."""
