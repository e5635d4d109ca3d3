"""`watch`: the one call that a user's training loop needs."""

import datetime
import platform
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, SupportsIndex, get_args

import torch
from torch import nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from gradscope import __version__
from gradscope.errors import UsageError
from gradscope.instrument.also import Also, checked_also
from gradscope.instrument.layers import find_sources, nothing_recurrent
from gradscope.instrument.loops.taps import Taps
from gradscope.instrument.metadata import checked_metadata
from gradscope.instrument.probes import ProbeAt, Probes
from gradscope.instrument.recorder import Recorder
from gradscope.instrument.recording.shared_run import begin_or_join
from gradscope.instrument.recording.sink import FEW_SEQUENCES, Sink
from gradscope.instrument.schedules import Schedule, as_schedule
from gradscope.instrument.source import Exactness, Source
from gradscope.runs.places import PlaceLike, as_place

Keep = Literal["norms", "states", "full"]
_SEQUENCES: dict[str, int | None] = {"norms": 0, "states": FEW_SEQUENCES, "full": None}


def watch(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    *,
    run: PlaceLike | None = None,
    schedule: Schedule | SupportsIndex | None = None,
    keep: Keep = "states",
    scaler: GradScaler | None = None,
    metadata: Mapping[str, object] | None = None,
    overwrite: bool = False,
    exact: Exactness = "bitwise",
    also: Collection[Also] = (),
    probe: ProbeAt | None = None,
) -> Recorder:
    """Watch how gradients travel back through time while `model` trains. The training itself stays bit-identical.

        with gradscope.watch(model, optimizer, run="runs/demo") as recorder:
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                recorder.log(loss=loss)
                optimizer.step()

    Args:
        model: holds nn.RNN, nn.GRU or nn.LSTM, or cells that a loop calls: nn.RNNCell, nn.GRUCell, nn.LSTMCell, or
            your own taught by `register_cell`. For a loop of plain tensors call `recorder.tap`. Under
            DistributedDataParallel each process watches its own batches and writes into the same run folder, which
            `open_run(run, rank=...)` reads; gradients through time are of the process's own loss, those of the
            parameters the average over all processes, which the optimizer gets.
        optimizer: its `step` ends an iteration; of several, that of the last. Without one, call
            `recorder.end_iteration()`.
        run: folder to write, here or in an object store (`s3://bucket/folder`); None keeps only `recorder.latest`.
        schedule: `Every(n)` or the number n, `At(iterations)`, or `Budget(fraction)`; None is `Budget(0.05)`, which
            spaces recordings so that watching adds about 5 % to the training time.
        keep: "norms" of all sequences; "states", also hidden states and total gradients unit by unit of the first 4
            sequences; "full", of all sequences. Over a long training states are kept of ever fewer recorded iterations,
            so that 256 MB a run are enough; the metadata says so.
        scaler: of mixed-precision training, so that gradients are reported unscaled and an iteration whose step it
            skips is one all the same.
        metadata: anything that JSON can say, kept with the run. "lag" is how many times back the task has to look:
            verdicts are judged by it.
        overwrite: replace a run that is there already.
        exact: "bitwise" changes no bit of a training on CPU. "rounding" takes gradients of nn.LSTM (and, on a GPU, of
            nn.RNN) out of the kernel's own backward pass where they cannot be read otherwise and that is cheaper: on a
            GPU; on CPU packed, with proj_size or in float64, over long sequences of few units. What is recorded is as
            exact, but the training's own sums may round otherwise in a recorded iteration.
        also: what is recorded only if asked for. "spectral-radius" of recurrent matrices; "unit-norms", of every row of
            every gradient and weight, which tell what adaptive clipping would do; "micro-batches", the gradients of
            several backward passes that add up to one update, which tell the gradient noise scale.
        probe: `ProbeAt(iterations, inputs, loss)` measures the model's dynamics on a batch of your own at these
            iterations; `recorder.probes` holds the tables, the run the main numbers.

    Returns:
        The recorder; close it, or use it as a context manager.

    Raises:
        UsageError: an argument is wrong.
        RunError: the run folder exists already or cannot be written.
    """
    _check_model(model)
    if not isinstance(keep, str) or keep not in _SEQUENCES:
        raise UsageError(f"keep expects one of {', '.join(_SEQUENCES)}, got {keep!r}.")
    if exact not in get_args(Exactness):
        raise UsageError(f"exact expects one of {', '.join(get_args(Exactness))}, got {exact!r}.")
    wanted = checked_also(also)
    if probe is not None and not isinstance(probe, ProbeAt):
        raise UsageError(f"probe expects a gradscope.ProbeAt(iterations, inputs, loss), got {_named(probe)}.")
    if isinstance(optimizer, Sequence) and not optimizer:
        raise UsageError("watch got an empty list of optimizers: leave it out if none steps.")
    optimizers = [_checked_optimizer(model, each) for each in _as_list(optimizer)]
    if scaler is not None and not isinstance(scaler, GradScaler):
        raise UsageError(f"scaler expects a torch.amp.GradScaler, got {_named(scaler)}.")
    # Names are those of the model inside, so that the runs of one process and of many compare.
    model = model.module if isinstance(model, DistributedDataParallel) else model
    sources, spacing = find_sources(model, exact), as_schedule(schedule)
    # Absolute: a training may change its working directory, as hydra does.
    folder = None if run is None else as_place(run).absolute()
    described = _describe(model, sources, spacing, keep, checked_metadata(metadata))
    taps = Taps(_layer_facts(sources), None if sources else nothing_recurrent(model))
    # Last, when all that a user can get wrong has been looked at: nothing is made or replaced in vain.
    writer = None if folder is None else begin_or_join(folder, described, overwrite=overwrite)
    return Recorder(
        sources,
        taps,
        model,
        optimizers,
        spacing,
        Sink(writer, _SEQUENCES[keep]),
        folder,
        scaler,
        wanted,
        Probes(model, probe),
    )


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(f"watch expects a torch.nn.Module as model, got {_named(model)}.")
    lazy = [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise UsageError(
            f"{type(model).__name__} has parameters that have no shape yet: {', '.join(lazy[:3])}. Run one batch "
            "through the model first, then call watch."
        )
    if next(model.parameters(), None) is None:
        raise UsageError(
            f"watch expects a model that can be trained, and {type(model).__name__} has no parameters. Pass the module "
            "that holds them."
        )
    if any(isinstance(each, nn.DataParallel) and len(each.device_ids) > 1 for each in model.modules()):
        raise UsageError(
            "torch.nn.DataParallel runs copies of the model in threads, one a GPU, whose passes cannot be told apart. "
            "Use DistributedDataParallel, or leave DataParallel out and train on one GPU."
        )


def _as_list(optimizer: object) -> list[object]:
    if optimizer is None:
        return []
    return list(optimizer) if isinstance(optimizer, Sequence) else [optimizer]


def _checked_optimizer(model: nn.Module, given: object) -> Optimizer:
    if not isinstance(given, Optimizer):
        raise UsageError(f"watch expects a torch.optim.Optimizer as optimizer, got {_named(given)}.")
    optimizer = _with_hooks(given)
    own = {id(parameter) for parameter in model.parameters()}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise UsageError(
            f"The optimizer ({type(optimizer).__name__}) updates none of the parameters of {type(model).__name__}: it "
            "belongs to another model. Pass the optimizer that was made from this model's parameters(), after any "
            "conversion of the model that replaces them."
        )
    return optimizer


def _with_hooks(given: Optimizer) -> Optimizer:
    # A wrapper such as accelerate's never calls Optimizer.__init__: what steps, and runs hooks, is inside it.
    optimizer = given
    while "_optimizer_step_pre_hooks" not in vars(optimizer):
        inner = getattr(optimizer, "optimizer", None)
        if not isinstance(inner, Optimizer):
            raise UsageError(
                f"The optimizer ({type(given).__name__}) takes no hooks, since it never called "
                "torch.optim.Optimizer.__init__. Pass the optimizer inside it that takes the steps."
            )
        optimizer = inner
    return optimizer


def _named(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _describe(
    model: nn.Module, sources: list[Source], schedule: Schedule, keep: str, metadata: Mapping[str, object]
) -> dict[str, object]:
    weight = next(model.parameters())
    return {
        "gradscope": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "dtype": str(weight.dtype).removeprefix("torch."),
        "device": str(weight.device),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": type(model).__name__,
        "layers": _layer_facts(sources),
        "parameters": {name: list(parameter.shape) for name, parameter in model.named_parameters()},
        "schedule": repr(schedule),
        "keep": keep,
        "user": dict(metadata),
    }


def _layer_facts(sources: list[Source]) -> dict[str, Mapping[str, object]]:
    return {name: facts for source in sources for name, facts in source.describe().items()}
