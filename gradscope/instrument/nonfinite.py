"""The first NaN or infinity, found at once and written before the process can die of it.

On CPU everything is looked at as soon as it is there: states in the forward pass, the loss when it is logged, gradients
when the backward pass ends. On a GPU looking would wait for the device, so that there values are found when rows are
written.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

if TYPE_CHECKING:
    from gradscope.instrument.recording.pass_rows import PassRecord


_REVERSE = re.compile(r"(.*\.)?l\d+_reverse")
_STAGES = {"loss": 1, "direct_gradient": 2, "total_gradient": 2, "cell_gradient": 2, "parameter_gradient": 3}
"""Of an iteration; states come first."""


class NonfiniteRow(NamedTuple):
    """One quantity of one call.

    Attributes:
        iteration: optimiser step.
        quantity: gate, cell, hidden, loss, direct_gradient, total_gradient, cell_gradient, parameter_gradient.
        layer: of the state or gradient.
        call: of the layer in that iteration.
        time: where it came up first, on the way of the states or of the gradients.
        name: of the gate or parameter.
    """

    iteration: int
    quantity: str
    layer: str | None = None
    call: int | None = None
    time: int | None = None
    name: str | None = None


def is_finite(tensor: Tensor) -> bool:
    """Return whether all values on the CPU are finite; True without looking where they are on another device."""
    if tensor.device.type != "cpu" or math.isfinite(tensor.sum().item()):
        return True
    return bool(tensor.isfinite().all())  # The sum alone may have overflowed.


class NonfiniteAlarm:
    """Looks at values in the training's own thread.

    Args:
        report: called with rows, and whether a quantity is among them that was finite until now.
    """

    def __init__(self, report: Callable[[list[NonfiniteRow], bool], None]) -> None:
        self._report = report
        self._iteration = 0
        self._orders: defaultdict[str, list[int]] = defaultdict(list)
        self._known: set[str] = set()

    def begin_iteration(self, iteration: int) -> None:
        """Number the calls from 0 again."""
        self._iteration = iteration
        self._orders.clear()

    def computed(
        self,
        order: int,
        layer: str,
        states: Shaped[Tensor, "time ..."],
        quantity: str,
        first: int,
        *,
        reverse: bool,
        proof: Tensor | None = None,
    ) -> None:
        """Look at states of a forward call.

        Args:
            order: of the call.
            layer: whose states.
            states: of consecutive times.
            quantity: hidden or cell.
            first: the time that they begin with.
            reverse: whether the last time was computed first.
            proof: what is finite only if the states are, and less to look at; the states themselves if left out.
        """
        orders = self._orders[layer]
        if order not in orders:
            orders.append(order)
        if not is_finite(states if proof is None else proof) and not is_finite(states):
            bad = (~states.isfinite()).flatten(1).any(1).nonzero().flatten()
            time = first + int(bad[-1 if reverse else 0])
            self._say([NonfiniteRow(self._iteration, quantity, layer, orders.index(order), time)])

    def logged(self, loss: float | Tensor) -> None:
        """Look at the loss."""
        if not (is_finite(loss) if isinstance(loss, Tensor) else math.isfinite(loss)):
            self._say([NonfiniteRow(self._iteration, "loss")])

    def parameters(self, names: Sequence[str]) -> None:
        """Take note of parameters whose gradients are not finite."""
        if names:
            self._say([NonfiniteRow(self._iteration, "parameter_gradient", name=name) for name in names])

    def _say(self, rows: list[NonfiniteRow]) -> None:
        found = {row.quantity for row in rows}
        new = not found <= self._known
        self._known |= found
        self._report(rows, new)


def seems_finite(record: "PassRecord") -> bool:
    """Return False if a pass that was worked out on the CPU has a state or a gradient that is not finite."""
    summary = record.summary
    if summary.hidden_norm.device.type != "cpu":
        return True
    if summary.exists is not None:  # What is no time of a sequence may hold anything.
        return next(rows_of_pass(record), None) is None
    kept = (summary.hidden_norm, summary.total_norm, summary.cell_norm, summary.cell_gradient_norm)
    opened = [shares[0] for shares in summary.gates.values()]  # The last row is NaN where it means nothing.
    return all(is_finite(norms) for norms in (*kept, *opened) if norms is not None)


def may_be_not_finite(records: Sequence["PassRecord"]) -> list["PassRecord"]:
    """Return the passes that may have a state or a gradient that is not finite; a GPU is waited for once."""
    on_devices: defaultdict[torch.device, list[PassRecord]] = defaultdict(list)
    for record in records:
        on_devices[record.summary.hidden_norm.device].append(record)
    finite: dict[int, bool] = {}
    for device, those in on_devices.items():
        if device.type == "cpu":
            finite.update((id(record), seems_finite(record)) for record in those)
        else:
            known = torch.stack([_all_finite(record) for record in those]).tolist()
            finite.update(zip(map(id, those), known, strict=True))
    return [record for record in records if not finite[id(record)]]


def _all_finite(record: "PassRecord") -> Bool[Tensor, ""]:
    # A direct gradient that is not finite makes the total one so.
    summary, exists = record.summary, record.summary.exists
    norms = (summary.hidden_norm, summary.total_norm, summary.cell_norm, summary.cell_gradient_norm)
    finite = [norm.isfinite() for norm in norms if norm is not None]
    finite = finite if exists is None else [each | ~exists for each in finite]
    opened = [shares[:1].isfinite() for shares in summary.gates.values()]
    return torch.stack([each.all() for each in (*finite, *opened)]).all()


def in_order_of_appearance(rows: Sequence[NonfiniteRow]) -> list[NonfiniteRow]:
    """Return rows as a training comes to what they are of: states, the loss, gradients, gradients of parameters."""
    return sorted(rows, key=lambda row: (row.iteration, _STAGES.get(row.quantity, 0)))


def rows_of_pass(record: "PassRecord") -> Iterator[NonfiniteRow]:
    """Go through what is not finite in one pass; on a GPU this waits for the device.

    Yields:
        A row for each quantity.
    """
    summary, exists = record.summary, record.summary.exists
    gates = {gate: ~shares[:1].isfinite().T for gate, shares in summary.gates.items()}
    hidden, total, direct = _bad(summary.hidden_norm), _bad(summary.total_norm), _bad(summary.direct_norm)
    found = [*(("gate", gate, bad) for gate, bad in gates.items()), ("cell", None, _bad(summary.cell_norm))]
    found += [("hidden", None, hidden), ("direct_gradient", None, _known(direct, total))]
    found += [("total_gradient", None, total), ("cell_gradient", None, _bad(summary.cell_gradient_norm))]
    for quantity, name, bad in found:
        if bad is None:
            continue
        times = (bad if exists is None or quantity == "gate" else bad & exists).any(1).nonzero().flatten().tolist()
        if times:
            last = quantity.endswith("_gradient") != (_REVERSE.fullmatch(record.layer) is not None)
            time = times[-1 if last else 0]
            yield NonfiniteRow(record.iteration, quantity, record.layer, record.call, time, name)


def _bad(norms: Float[Tensor, "time batch"] | None) -> Bool[Tensor, "time batch"] | None:
    return None if norms is None else ~norms.isfinite()


def _known(
    direct: Bool[Tensor, "time batch"] | None, total: Bool[Tensor, "time batch"] | None
) -> Bool[Tensor, "time batch"] | None:
    """Return where direct gradients are not finite, None where some are NaN because they are not known."""
    return None if direct is None or total is None or (direct & ~total).any() else direct
