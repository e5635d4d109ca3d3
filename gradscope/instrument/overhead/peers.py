"""What a user would do without gradscope to see gradients, as trainings that can be timed, and what each of them sees.

Nothing here says what a tool can do: each is run on the same batch, and the numbers that it leaves are compared with
the gradients of a loop in float64.
"""

import importlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gradscope.instrument.overhead.trainings import Size, Training
from gradscope.instrument.schedules import Every


class Peer(Training):
    """A training with a tool beside it that looks at gradients in every iteration.

    Attributes:
        title: what the tool is called.
        package: that has to be installed; empty if none.
        slows_all: whether it changes PyTorch itself, so that a training beside it is not a bare one any more.
    """

    title: ClassVar[str]
    package: ClassVar[str] = ""
    slows_all: ClassVar[bool] = False

    @classmethod
    def is_installed(cls) -> bool:
        """Return whether it can be run here."""
        return not cls.package or importlib.util.find_spec(cls.package) is not None

    def seen(self) -> Mapping[str, Tensor]:
        """Return all that the tool has recorded in the newest iteration, by its own names."""
        raise NotImplementedError

    def close(self) -> None:
        """Let the tool finish."""


class Gradscope(Peer):
    """gradscope recorded."""

    title = "gradscope"

    def __init__(self, cell: str, size: Size, device: torch.device) -> None:
        super().__init__(cell, size, device)
        self._folder = tempfile.TemporaryDirectory()
        self._watching = self.watched(Path(self._folder.name, "run"), Every(1))

    def seen(self) -> Mapping[str, Tensor]:
        """Return the total gradient of the first layer."""
        return {"total_gradient": self._watching.latest["rnn.l0"].total_gradient}

    def close(self) -> None:
        """Write the run."""
        self._watching.close()
        self._folder.cleanup()


_CELLS: dict[type[nn.RNNBase], Callable[..., nn.RNNCellBase]] = {
    nn.RNN: nn.RNNCell,
    nn.GRU: nn.GRUCell,
    nn.LSTM: nn.LSTMCell,
}


class CellLoop(Peer):
    """The module rewritten as loops over cells that share its weights, with `retain_grad` on every state."""

    title = "cell loop, retain_grad"

    def __init__(
        self, cell: str, size: Size, device: torch.device, dtype: torch.dtype = torch.float32, *, copies: bool = False
    ) -> None:
        super().__init__(cell, size, device, dtype)
        self._states: list[list[Tensor]] = []
        self._outputs: list[list[Tensor]] = []
        self._copies = copies

    def predict(self) -> Tensor:
        """Return the prediction of the loops, one for each layer and direction."""
        rnn, self._states, self._outputs = self.model.rnn, [], []
        sequence = list(self.inputs)
        for layer in range(rnn.num_layers):
            suffixes = ("", "_reverse") if rnn.bidirectional else ("",)
            directions = [self._loop(sequence, f"l{layer}{suffix}", reverse=bool(suffix)) for suffix in suffixes]
            sequence = [torch.cat(states, 1) for states in zip(*directions, strict=True)]
        predicted: Tensor = self.model.head(sequence[-1])
        return predicted

    def _loop(self, sequence: list[Tensor], suffix: str, *, reverse: bool) -> list[Tensor]:
        rnn = self.model.rnn
        # On no device, since its weights are replaced at once.
        cell = _CELLS[type(rnn)](sequence[0].shape[1], rnn.hidden_size, device="meta")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(cell, name, getattr(rnn, f"{name}_{suffix}"))
        state, states = None, []
        for x in reversed(sequence) if reverse else sequence:
            state = cell(x, state)
            hidden: Tensor = state[0] if isinstance(state, tuple) else state
            hidden.retain_grad()
            states.append(hidden)
        states = states[::-1] if reverse else states
        self._states.append(states)
        if not self._copies:
            return states
        outputs = [state.clone() for state in states]
        for output in outputs:
            output.retain_grad()
        self._outputs.append(outputs)
        return outputs

    def seen(self) -> Mapping[str, Tensor]:
        """Return the gradients that the first loop's states have kept."""
        return {"h.grad": _gradients(self._states[0])}

    def direct(self) -> Tensor:
        """Return the gradients of copies of the first loop's states, which only what follows in depth has used."""
        return _gradients(self._outputs[0])


def _gradients(states: list[Tensor]) -> Tensor:
    return torch.stack([torch.zeros_like(state) if state.grad is None else state.grad for state in states])


class RetainedOutput(Peer):
    """`retain_grad` on the output of the fused module: the shortest thing to try."""

    title = "output.retain_grad"

    def predict(self) -> Tensor:
        """Return the prediction, and keep the output."""
        self._output = self.model.rnn(self.inputs)[0]
        self._output.retain_grad()
        predicted: Tensor = self.model.head(self._output[-1])
        return predicted

    def seen(self) -> Mapping[str, Tensor]:
        """Return the output's gradient, of the forward direction."""
        assert self._output.grad is not None
        return {"output.grad": self._output.grad[..., : self.model.rnn.hidden_size]}


class TensorBoard(Peer):
    """A histogram of every parameter's gradient in every iteration, and the loss."""

    title = "TensorBoard histograms"
    package = "tensorboard"

    def __init__(self, cell: str, size: Size, device: torch.device) -> None:
        super().__init__(cell, size, device)
        self._folder = tempfile.TemporaryDirectory()
        self._writer: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter(self._folder.name)
        self._step = 0

    def after_backward(self, loss: Tensor) -> None:
        """Write the histograms."""
        for name, parameter in self.model.named_parameters():
            self._writer.add_histogram(name, parameter.grad, self._step)
        self._writer.add_scalar("loss", loss, self._step)
        self._step += 1

    def seen(self) -> Mapping[str, Tensor]:
        """Return the histograms that are in its files."""
        self._writer.flush()
        reading = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
        written = reading.EventAccumulator(self._folder.name)
        written.Reload()
        tags = written.Tags()["histograms"]
        return {tag: torch.tensor(written.Histograms(tag)[-1].histogram_value.bucket) for tag in tags}

    def close(self) -> None:
        """Close its files."""
        self._writer.close()
        self._folder.cleanup()


class WandB(Peer):
    """`wandb.watch` on every iteration, offline."""

    title = "wandb.watch"
    package = "wandb"

    def __init__(self, cell: str, size: Size, device: torch.device) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        wandb = importlib.import_module("wandb")
        super().__init__(cell, size, device)
        self._folder = tempfile.TemporaryDirectory()
        settings = wandb.Settings(silent=True, disable_git=True, x_disable_stats=True, x_disable_meta=True)
        self._run = wandb.init(mode="offline", dir=self._folder.name, project="gradscope-overhead", settings=settings)
        self._run.watch(self.model, log="gradients", log_freq=1)

    def after_backward(self, loss: Tensor) -> None:
        """Hand over what its hooks have collected."""
        self._run.log({"loss": loss.item()})

    def seen(self) -> Mapping[str, Tensor]:
        """Return what stands in its summary."""
        logged = {name: self._run.summary[name] for name in self._run.summary.keys()}  # noqa: SIM118 - it is no dict
        histograms = {name: value["values"] for name, value in logged.items() if name.startswith("gradients/")}
        return {name: torch.tensor(values) for name, values in histograms.items()}

    def close(self) -> None:
        """End its run."""
        self._run.unwatch(self.model)
        self._run.finish()
        self._folder.cleanup()


class TorchLens(Peer):
    """The gradients of all operations of the forward pass, saved by TorchLens."""

    title = "TorchLens"
    package = "torchlens"
    slows_all = True

    def predict(self) -> Tensor:
        """Return the prediction; TorchLens runs the model."""
        torchlens = importlib.import_module("torchlens")
        options = torchlens.options.CaptureOptions(save_grads="all")
        self._trace = torchlens.trace(self.model, self.inputs, capture=options)
        predicted: Tensor = self._trace[self._trace.output_layers[0]].out
        return predicted

    def seen(self) -> Mapping[str, Tensor]:
        """Return the gradient of each operation that has one."""
        units = self.model.rnn.hidden_size
        return {layer.layer_label: layer.grad[..., :units] for layer in self._trace if layer.grad is not None}


PEERS: tuple[type[Peer], ...] = (Gradscope, CellLoop, RetainedOutput, TensorBoard, WandB, TorchLens)
"""Those that change PyTorch itself come last."""
