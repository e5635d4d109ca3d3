"""Watching nn.RNN, nn.GRU and nn.LSTM."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gradscope.instrument.fused.kernel_call import KernelCall, Layer
from gradscope.instrument.fused.kernels import Interception, KernelArguments, Substitute
from gradscope.instrument.fused.one_time_calls import SteppedLayer
from gradscope.instrument.fused.zero_inputs import with_zero_inputs
from gradscope.instrument.inert import InertWhenCopied
from gradscope.instrument.source import Exactness, Listener, Unrecordable
from gradscope.instrument.transformed import UNDER_TORCH_FUNC, is_captured, is_under_torch_func

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

FUSED = (nn.RNN, nn.GRU, nn.LSTM)


class FusedSource:
    """One module, all of its layers and directions.

    A call with a single time is a step of a loop, as decoders write them: such calls are put together to sequences.

    Args:
        path: of the module in the model; empty for the model itself.
        module: the module.
        exact: "rounding" lets gradients come out of the kernel's own backward pass, at the price that the training may
            round otherwise.
    """

    def __init__(self, path: str, module: nn.RNNBase, exact: Exactness = "bitwise") -> None:
        self._module = module
        self._substitute: Substitute = with_zero_inputs if exact == "rounding" else lambda _: None
        self._directions = 2 if module.bidirectional else 1
        suffixes = ("", "_reverse")[: self._directions]
        names = [f"{path}.l{layer}{suffix}".lstrip(".") for layer in range(module.num_layers) for suffix in suffixes]
        self._layers = [Layer(name) for name in names]
        self._before: RemovableHandle | None = None
        self._after: RemovableHandle | None = None
        self._attached = False
        self._open: list[Interception | None] = []
        kind = module.mode.lower()
        self._stepped = [SteppedLayer(name, kind) for name in names]

    def describe(self) -> Mapping[str, Mapping[str, object]]:
        """Return what a reader of the run needs to know of each layer."""
        module = self._module
        state = module.proj_size or module.hidden_size
        return {
            layer.name: {
                "kind": module.mode.lower(),
                "input_size": module.input_size if number < self._directions else state * self._directions,
                "hidden_size": state,
            }
            for number, layer in enumerate(self._layers)
        }

    def attach(self, listener: Listener) -> None:
        """Put hooks around the module's forward pass."""
        before = InertWhenCopied(partial(self._before_forward, listener))
        after = InertWhenCopied(partial(self._after_forward, listener))
        # Prepended, so that a second recorder's interception, which begins inside this one's, also ends inside it.
        self._before = self._module.register_forward_pre_hook(before, with_kwargs=True)
        self._after = self._module.register_forward_hook(after, always_call=True, prepend=True)
        self._attached = True

    def renew(self, listener: Listener) -> None:
        """Go on with the same hooks, unless a forward pass is still open."""
        self._forget_steps()
        if self._open:
            self.detach()
            self.attach(listener)

    def detach(self) -> None:
        """Take the hooks off."""
        self._forget_steps()
        if self._before is not None:
            self._before.remove()
        self._attached, self._before = False, None
        if any(interception.running for interception in self._open if interception is not None):
            return  # Within the fused function: the hook after the forward pass ends the interception, and goes then.
        while self._open:  # A forward pass was left by Ctrl-C, which runs no hook.
            self._end()
        self._remove_after()

    def _forget_steps(self) -> None:
        for layer in self._stepped:
            layer.forget()

    def _remove_after(self) -> None:
        if self._after is not None:
            self._after.remove()
        self._after = None

    def _before_forward(self, listener: Listener, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with listener.guard:
            if not torch.is_grad_enabled() or is_captured():
                listener.computing()
                self._open.append(None)
                return
            if is_under_torch_func():
                self._open.append(None)
                listener.skipped(self._layers[0].name, Unrecordable(UNDER_TORCH_FUNC))
                return
            given = args[0] if args else kwargs.get("input")
            order = given.unsorted_indices if isinstance(given, PackedSequence) else None
            interception = Interception(
                partial(self._called, listener, order),
                partial(self._before_kernel, listener),
                partial(self._not_understood, listener),
            )
            interception.__enter__()  # type: ignore[no-untyped-call]
            self._open.append(interception)

    def _after_forward(self, listener: Listener, _module: nn.Module, _args: object, output: object) -> None:
        with listener.guard:
            interception = self._end()
            if output is not None and interception is not None:
                if not interception.calls:
                    self._not_understood(listener)
                elif interception.calls > 1 and any(layer.is_growing for layer in self._stepped):
                    self._returned(output)
            if not self._attached and not self._open:
                self._remove_after()

    def _end(self) -> Interception | None:
        interception = self._open.pop() if self._open else None
        if interception is not None:
            interception.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        return interception

    def _before_kernel(self, listener: Listener, arguments: KernelArguments) -> tuple[KernelArguments, Tensor] | None:
        with listener.guard:
            listener.computing()
        return self._substitute(arguments)

    def _called(
        self,
        listener: Listener,
        order: Tensor | None,
        number: int,
        arguments: KernelArguments,
        output: Tensor,
        final: tuple[Tensor, ...],
        zeros: Tensor | None,
    ) -> None:
        with listener.guard:
            if not output.requires_grad:
                return
            number %= self._module.num_layers  # A forward of one's own may call the function more than once.
            layers = self._layers[number * self._directions : (number + 1) * self._directions]
            if output.numel() == 0:
                listener.skipped(layers[0].name, Unrecordable("its output is empty"))
                return
            if arguments.is_one_time:
                self._stepped[number].called(arguments, output, final, listener)
                return
            listener.called(KernelCall(layers, arguments, output, final, zeros, order, listener))

    def _returned(self, output: object) -> None:
        match output:
            case (Tensor(), Tensor() as hidden):
                states = [hidden]
            case (Tensor(), (Tensor() as hidden, Tensor() as cell)):
                states = [hidden, cell]
            case _:
                return
        for number, layer in enumerate(self._stepped):
            layer.returned(tuple(state.detach()[number : number + 1] for state in states))

    def _not_understood(self, listener: Listener) -> None:
        reason = Unrecordable("its forward pass did not call PyTorch's fused function in a form that is known")
        listener.skipped(self._layers[0].name, reason)
