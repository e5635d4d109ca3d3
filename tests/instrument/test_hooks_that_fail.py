"""A defect of gradscope's own in any of its hooks, a disk that is full or gone: one warning, and the same training."""

import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gradscope
from gradscope.cells import step_functions
from gradscope.instrument.fused.kernels import Interception, KernelArguments
from tests.instrument.training import assert_identical
from tests.instrument.watched_trainings import OwnCell, Training, own_step

_AT = "gradscope.instrument."
PLACES = {
    "lstm": [
        "fused.module.FusedSource.attach",
        "fused.module.FusedSource.detach",
        "fused.module.Interception",
        "fused.module.KernelCall",
        "fused.kernel_call.KernelCall._hook",
        "fused.kernel_call.KernelCall._forget_gradients",
        "fused.kernel_call.KernelCall.finish",
        "fused.kernel_call.KernelCall.drop",
        "fused.kernel_call.summarise",
        "attachment.Attachment._at_the_very_end",
        "attachment.Attachment.computing",
        "replaced.ReplacedParameters.look",
        "attachment.ParameterWatch",
        "parameters.ParameterWatch.copy_gradients",
        "parameters.ParameterWatch.before_update",
        "parameters.ParameterWatch.after_update",
        "parameters.ParameterWatch.remove_hooks",
        "nonfinite.NonfiniteAlarm.begin_iteration",
        "nonfinite.NonfiniteAlarm.computed",
        "nonfinite.NonfiniteAlarm.logged",
        "nonfinite.NonfiniteAlarm.parameters",
        "steps.OutermostStep.begin",
        "steps.OutermostStep.end",
        "recording.collector.Collector.add_pass",
        "recording.collector.Collector.add_iterations",
        "recording.collector.Collector.close",
        "recording.sink.Sink.flush",
        "recording.pending.Pending.tables",
        "cost.Cost.add",
    ],
    "stack": ["fused.direction.Direction.taken_over"],
    "decoder": [
        "fused.one_time_calls.SteppedLayer.called",
        "fused.one_time_calls.SteppedLayer.returned",
        "fused.one_time_calls.SteppedLayer.work_out",
    ],
    "cells": [
        "loops.cell_loops.CellLoopSource.attach",
        "loops.growth.GrowingSequences._continued",
        "loops.sequence.LoopSequence.append",
        "loops.sequence.LoopSequence._forget_gradients",
        "loops.sequence.LoopSequence._unrolled",
        "loops.stock.StockCell.context",
        "loops.stock.StockCell.work_out",
    ],
    "parametrized cells": ["loops.stock.StockCell.attach", "loops.stock.StockCell._read"],
    "registered cells": ["loops.taught.TaughtCell.context", "loops.taught.TaughtCell.work_out"],
    "taps": ["loops.taps.Taps.attach", "loops.taps.Taps._note", "loops.taps.Taps.detach"],
}


@pytest.fixture(autouse=True)
def _own_cell_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """For these tests alone."""
    monkeypatch.setattr(step_functions, "_STEP_FUNCTIONS", dict(step_functions._STEP_FUNCTIONS))
    gradscope.register_cell(OwnCell, own_step)


@pytest.fixture(scope="module")
def bare() -> dict[str, list[Tensor]]:
    """What each training ends with when nobody watches."""
    return {kind: Training(kind).run(watched=False) for kind in PLACES}


def _run(kind: str, **options: object) -> tuple[list[Tensor], list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = Training(kind).run(**options)
    return ended, [str(one.message) for one in caught]


@pytest.mark.parametrize(("kind", "place"), [(kind, place) for kind, places in PLACES.items() for place in places])
def test_a_defect_in_any_hook(
    kind: str, place: str, bare: dict[str, list[Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once, by its name, recording ends, and every bit of the training is that of one not watched."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(_AT + place, fail)
    ended, said = _run(kind, run=tmp_path / "run")
    assert_identical(ended, bare[kind])
    assert len(said) == 1
    assert "stopped recording" in said[0]
    assert "training goes on. ZeroDivisionError: a defect" in said[0]


def test_a_stack_that_cannot_be_called_layer_by_layer(
    bare: dict[str, list[Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is called as it was meant, with the random numbers that were meant, and what is not recorded is said once."""

    def fail(self: Interception, arguments: KernelArguments) -> None:
        torch.rand(3)
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Interception, "_call_stack", fail)
    ended, said = _run("stack", run=tmp_path / "run")
    assert_identical(ended, bare["stack"])
    assert ["did not record a pass through encoder.l0" in one for one in said] == [True]


class _Odd(nn.GRU):
    """A module of a known class that computes something else and returns it in a form of its own."""

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the state under a name."""
        return {"state": torch.tanh(inputs.sum(1) @ self.weight_ih_l0.T)}


def test_a_module_of_unknown_shape() -> None:
    """What cannot be recorded is named once; training is the same."""
    results = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = _Odd(3, 8)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            recorder = gradscope.watch(model, optimizer, schedule=1) if watched else None
            for _ in range(3):
                model(torch.ones(4, 7, 3))["state"].sum().backward()
                optimizer.step()
            if recorder is not None:
                recorder.close()
        results.append([parameter.detach() for parameter in model.parameters()])
    assert_identical(*results)
    assert ["did not record a pass through l0" in str(one.message) for one in caught] == [True]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only the superuser may mount a small file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_full(small_disk: Path, bare: dict[str, list[Tensor]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before stays readable."""
    monkeypatch.setattr(_AT + "recording.sink._FLUSH_SECONDS", 0.0)
    (small_disk / "other").write_bytes(bytes(36 * 1024))
    ended, said = _run("lstm", run=small_disk / "run", keep="full")
    assert_identical(ended, bare["lstm"])
    assert ["No space left on device" in one for one in said] == [True]
    assert not gradscope.open_run(small_disk / "run").complete


def test_a_disk_that_becomes_read_only(
    small_disk: Path, bare: dict[str, list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As file systems do after an error; before training begins it is an error of `watch`."""
    training = Training("lstm")
    torch.manual_seed(2)
    recorder = training.watch(run=small_disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        losses = [training.iteration(recorder).detach() for _ in range(4)]
        recorder.close()
    ended = [*losses, *(p.detach() for p in training.model.parameters()), torch.get_rng_state()]
    assert_identical(ended, bare["lstm"])
    assert ["Read-only file system" in str(one.message) for one in said] == [True]
    with pytest.raises(gradscope.RunError, match=r"Read-only file system\. Give a folder that you may write to"):
        gradscope.watch(training.model, run=small_disk / "other")


def test_a_folder_that_is_deleted(bare: dict[str, list[Tensor]], tmp_path: Path) -> None:
    """Someone tidies up while it trains."""
    training = Training("lstm")
    torch.manual_seed(2)
    recorder = training.watch(run=tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        losses = [training.iteration(recorder).detach() for _ in range(4)]
        recorder.close()
    ended = [*losses, *(p.detach() for p in training.model.parameters()), torch.get_rng_state()]
    assert_identical(ended, bare["lstm"])
    assert ["stopped recording" in str(one.message) for one in said] == [True]
