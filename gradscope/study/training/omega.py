"""The regulariser Omega in the training of a trial."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gradscope.dynamics.regulariser import omega

if TYPE_CHECKING:
    from gradscope.cells.elman import Nonlinearity


class AddedOmega:
    """Adds the gradient of Omega to that of the loss, where clippings act: after each backward pass.

    Args:
        strength: of Omega in the sum of both.
    """

    def __init__(self, strength: float | None) -> None:
        assert strength is not None  # the study file is checked before
        self._strength = strength
        self._outputs: Tensor | None = None

    def attach(self, network: nn.Module) -> None:
        """Listen to the recurrent module, an nn.RNN: what comes back to its output are the direct gradients."""
        recurrent = network.get_submodule("recurrent")
        assert isinstance(recurrent, nn.RNN)
        recurrent.register_forward_hook(self._remember)

    def _remember(self, _: nn.Module, __: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        outputs, _last = output
        if outputs.requires_grad:
            outputs.retain_grad()
            self._outputs = outputs

    def __call__(self, network: nn.Module) -> None:
        """Add it."""
        outputs, self._outputs = self._outputs, None
        recurrent = network.get_submodule("recurrent")
        assert isinstance(recurrent, nn.RNN)
        weight = recurrent.get_parameter("weight_hh_l0")
        if outputs is None or outputs.grad is None or weight.grad is None:
            return
        nonlinearity: Nonlinearity = "relu" if recurrent.nonlinearity == "relu" else "tanh"
        with torch.no_grad():
            found = omega(outputs.detach(), outputs.grad, weight.detach(), nonlinearity)
            weight.grad.add_(found.gradient, alpha=self._strength)
