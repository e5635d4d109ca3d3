"""Raw loops of plain tensors: `recorder.tap` says which tensors are the states of one recurrence.

The taps of one name are one sequence, and one `call` in the tables. A new one begins where a time comes that it has
already, and where its graph was freed by a backward pass or thrown away. A loop that runs more than once between two
updates should therefore say `time=t`.
"""

import weakref
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from gradscope.errors import UsageError
from gradscope.instrument.devices import to_device
from gradscope.instrument.guard import say
from gradscope.instrument.loops.links import Marks
from gradscope.instrument.loops.loop_pass import LoopPass
from gradscope.instrument.loops.sequence import LoopSequence
from gradscope.instrument.loops.unrolled import HIDDEN, Unrolled, as_vectors
from gradscope.instrument.schedules import as_whole
from gradscope.instrument.source import Listener, Unrecordable


class _Tapped:
    """What a sequence needs to know of a tap: its name, and the time of the tensor that is being added."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.times: list[int] = []

    def context(self) -> int:
        return self.times[-1]

    def work_out(self, unrolled: Unrolled) -> LoopPass:
        times = [call.context for call in unrolled.calls]
        order = sorted(range(len(times)), key=times.__getitem__)
        first = times[order[0]]
        if [times[number] for number in order] != list(range(first, first + len(times))):
            found = ", ".join(str(time) for time in sorted(times)[:5])
            raise Unrecordable(
                f"its times are not consecutive ({found}, ...), and rates per time would be wrong: tap every time, or "
                "leave out time= to count taps"
            )
        states, gradients = (as_vectors(part[HIDDEN]) for part in (unrolled.states, unrolled.gradients))
        if order != [*range(len(times))]:
            moved = to_device(torch.tensor(order, device="cpu"), states.device)
            states, gradients = states[moved], gradients[moved]
        return LoopPass(self.name, states, gradients)


class Taps:
    """Everything that is tapped.

    Args:
        layers: names that are taken.
        advice: what to say if nothing was tapped in the first recorded iteration; None to say nothing.
    """

    def __init__(self, layers: Collection[str] = (), advice: str | None = None) -> None:
        self._layers = frozenset(layers)
        self._advice = advice
        self._listener: Listener | None = None
        self._marks: Marks[LoopSequence] = Marks()
        self._newest: dict[str, tuple[_Tapped, weakref.ref[LoopSequence]]] = {}
        self._without_gradient: set[str] = set()

    def describe(self) -> Mapping[str, Mapping[str, object]]:
        """Return nothing: what is tapped is known only when the loop runs."""
        return {}

    def attach(self, listener: Listener) -> None:
        """Begin to record."""
        self._listener = listener

    def renew(self, listener: Listener) -> None:
        """Forget the iteration before."""
        self.detach()
        self.attach(listener)

    def detach(self) -> None:
        """Stop, and forget."""
        listener, self._listener = self._listener, None
        tapped, silent = set(self._newest), self._without_gradient
        self._newest, self._without_gradient = {}, set()
        if listener is None:
            return
        for name in sorted(silent - tapped):
            reason = "none of the tapped tensors requires grad, so that no gradient comes back to them"
            listener.skipped(name, Unrecordable(reason))
        if self._advice is not None:
            say(f"Nothing is recorded. {self._advice}")
        self._advice = None

    def tap(self, name: str, tensor: Tensor, time: int | None = None) -> Tensor:
        """Record a tensor as the state of one time; outside recorded iterations only the arguments are checked.

        Args:
            name: of the recurrence, used as layer name.
            tensor: (batch, hidden) or (hidden,).
            time: of the state, in any order, without gaps; the lowest of a sequence is recorded as time 0, as that of
                every layer is. The time after the last tap of that name if left out.

        Returns:
            The very same tensor.

        Raises:
            UsageError: an argument is wrong, or a layer has that name.
        """
        time = None if time is None else _checked_time(time)
        self._check(name, tensor)
        listener = self._listener
        if listener is None or not torch.is_grad_enabled():
            return tensor
        self._advice = None
        with listener.guard:
            if tensor.requires_grad:
                self._note(name, tensor, time, listener)
            else:
                self._without_gradient.add(name)
        return tensor

    def _check(self, name: object, tensor: object) -> None:
        if not isinstance(name, str) or not name:
            raise UsageError(f"tap expects a name first, as in tap('decoder', h), got {_in_words(name)}.")
        if name in self._layers:
            raise UsageError(f"tap expects a name of its own, got {name!r}: a layer that is watched has that name.")
        if not isinstance(tensor, Tensor):
            raise UsageError(
                f"tap({name!r}, ...) expects a Tensor (batch, hidden) or (hidden,), got {_in_words(tensor)}."
            )
        if tensor.dim() not in (1, 2) or not tensor.is_floating_point() or tensor.numel() == 0:
            raise UsageError(
                f"tap({name!r}, ...) expects a floating-point Tensor (batch, hidden) or (hidden,), got "
                f"{tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}."
            )

    def _note(self, name: str, tensor: Tensor, time: int | None, listener: Listener) -> None:
        tapped, reference = self._newest.get(name, (_Tapped(name), None))
        sequence = None if reference is None else reference()
        if sequence is None or sequence.newest() < 0 or time in tapped.times:
            tapped = _Tapped(name)
            sequence = LoopSequence(tapped, listener, is_tuple=False)
            listener.called(sequence)
        self._newest[name] = tapped, weakref.ref(sequence)
        tapped.times.append(time if time is not None else tapped.times[-1] + 1 if tapped.times else 0)
        sequence.append(self._marks, None, None, (), (tensor,))


def _checked_time(time: object) -> int:
    whole = as_whole(time)
    if whole is None or whole < 0:
        raise UsageError(f"tap(..., time=...) expects an int from 0, got {time!r}.")
    return whole


def _in_words(value: object) -> str:
    return repr(value) if isinstance(value, str | None) else f"a {type(value).__name__}"
