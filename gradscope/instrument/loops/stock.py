"""nn.RNNCell, nn.GRUCell and nn.LSTMCell: which weights each call used."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor, nn
from torch.nn.utils import parametrize

from gradscope.instrument.inert import InertWhenCopied
from gradscope.instrument.loops.known import NewestWeights, UsedWeights, work_out
from gradscope.instrument.loops.loop_pass import LoopPass
from gradscope.instrument.loops.unrolled import Unrolled

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

STOCK = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def is_stock(module: nn.Module) -> TypeGuard[nn.RNNCellBase]:
    """Return whether `module` computes what one of PyTorch's cells does."""
    return any(isinstance(module, stock) and type(module).forward is stock.forward for stock in STOCK)


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
        self._newest = NewestWeights()

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
        self._handles, self._parametrized = [], {}
        self._newest.forget()

    def _after_parametrization(self, name: str, _module: nn.Module, _args: object, weight: Tensor) -> None:
        self._parametrized[name] = weight

    def _read(self, name: str) -> Tensor | None:
        weight = self._module._parameters.get(name)
        if weight is not None:
            return weight
        return self._parametrized[name] if name in self._parametrized else getattr(self._module, name)

    def context(self) -> UsedWeights:
        """Return the weights that the newest call used; the same object as long as they are the same."""
        used = self._newest.of([weight for name in _WEIGHTS if (weight := self._read(name)) is not None])
        self._parametrized.clear()
        return used

    def work_out(self, unrolled: Unrolled) -> LoopPass:
        """Return everything about a backward pass.

        Raises:
            Unrecordable: weights were changed in place.
        """
        return work_out(self.name, self.kind, unrolled)
