"""From calls of an nn.RNN, nn.GRU or nn.LSTM for one time after the other, as decoders make them, to their layers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from gradscope.probing.cell_calls import parts_of
from gradscope.probing.fused_calls import FusedCall
from gradscope.probing.gradients import pulled_back, zeros_for_none
from gradscope.probing.layer_runs import LayerRun, run_layers
from gradscope.probing.recurrence import Recurrence


@dataclass
class FusedRun:
    """Calls of one module, each for one time and handed the state that the one before it returned.

    Attributes:
        name: module path.
        module: of one direction.
        call: which of the module's sequences, from 0.
        calls: one for each time.
        handed: the state that went into each call but the first, as far as gradients go back into it; what goes back
            through it came through time.
        newest: the state as the loop got it from the last call.
    """

    name: str
    module: nn.RNNBase
    call: int
    calls: list[FusedCall] = field(default_factory=list)
    handed: list[tuple[Tensor, ...]] = field(default_factory=list)
    newest: tuple[Tensor, ...] = ()

    def continues(self, state: tuple[Tensor, ...]) -> bool:
        """Return whether a call that is handed `state` goes on where this run stands."""
        finals = self.calls[-1].finals
        return len(state) == len(finals) and all(map(_same, state, finals))

    def stands_in(self, state: tuple[Tensor, ...]) -> bool:
        """Return whether `state` lies where the last call left its own: runs can come to the same numbers."""
        return all(mine.data_ptr() == other.data_ptr() for mine, other in zip(state, self.newest, strict=True))

    def add(self, call: FusedCall, handed: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Add one time.

        Args:
            call: of one time.
            handed: the state that went into it; nothing for the first call.

        Returns:
            Output and state for the loop to use. They are copies: a loop that changes its state in place has another
            one than the call returned.
        """
        if self.calls:
            # A view made under no_grad says that it requires a gradient, and has no graph.
            self.handed.append(tuple(part for part in handed if part.grad_fn is not None))
        self.calls.append(call)
        with torch.enable_grad():
            # Frozen weights: the loss depends on the output all the same.
            copies = tuple(tensor.requires_grad_().clone() for tensor in call.watched)
        self.newest = copies[1:]
        return copies

    @property
    def watched(self) -> list[Tensor]:
        """What the loss may depend on: what every call handed out, and the states between two."""
        handed_out = [tensor for call in self.calls for tensor in call.watched]
        return [*handed_out, *(part for parts in self.handed for part in parts)]

    def recurrences(self, gradients: Sequence[Tensor | None]) -> list[Recurrence]:
        """Return the run's layers, given the gradients of `watched`, whose graph is still there.

        Every gradient that a call's layers get from outside is known, so that they can be run again for one time only,
        all times side by side. The direct gradient is what came from outside, less what came through the next call,
        plus what comes from the layer above.
        """
        filled = zeros_for_none(self.watched, gradients)
        width = len(self.calls[0].watched)
        split = width * len(self.calls)
        totals = self._side_by_side([filled[start : start + width] for start in range(0, split, width)])
        through = self._side_by_side(self._through_time(filled[split:]))
        of_output, *of_states = (total - part for total, part in zip(totals, through, strict=True))
        again = run_layers(
            self.module,
            torch.cat([call.inputs for call in self.calls], dim=1),
            [torch.cat(parts, dim=1) for parts in zip(*(call.initial for call in self.calls), strict=True)],
        )
        from_above = [*again.of_hidden(totals[0], totals[1:])[:-1], of_output]
        return [
            self._recurrence(layer, from_above[index][0], [part[index] for part in of_states])
            for index, layer in enumerate(again.layers)
        ]

    def _through_time(self, of_handed: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return what each call's output and states got through the state that the next one was handed."""
        through = []
        for call, parts in zip(self.calls[:-1], self.handed, strict=True):
            mine, of_handed = of_handed[: len(parts)], of_handed[len(parts) :]
            through.append(pulled_back(parts, call.watched, mine))
        last = [torch.zeros_like(tensor) for tensor in self.calls[-1].watched]
        return [*through, last]

    def _side_by_side(self, of_calls: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Return what each call handed out, (1, time * batch, size) and, of each part, (layers, time * batch, size)."""
        batches = [call.as_batches(each) for call, each in zip(self.calls, of_calls, strict=True)]
        return [torch.cat(parts, dim=1) for parts in zip(*batches, strict=True)]

    def _recurrence(self, layer: LayerRun, from_above: Tensor, of_state: list[Tensor]) -> Recurrence:
        direct = torch.cat([from_above + of_state[0], *of_state[1:]], dim=-1)
        time, batch = len(self.calls), self.calls[0].inputs.shape[1]

        def in_time(side_by_side: Tensor) -> Tensor:
            return side_by_side.reshape(time, batch, side_by_side.shape[-1])

        first = tuple(part[:batch] for part in parts_of(layer.state))
        alone = replace(
            layer,
            inputs=in_time(layer.inputs),
            state=first[0] if isinstance(layer.state, Tensor) else first,
        )
        return alone.recurrence(self.name, self.call, in_time(direct))


def _same(mine: Tensor, other: Tensor) -> bool:
    forms = [(tensor.shape, tensor.dtype, tensor.device) for tensor in (mine, other)]
    return forms[0] == forms[1] and torch.equal(mine, other)
