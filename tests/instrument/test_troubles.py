"""Unusual trainings, and gradscope's own troubles in the middle of them: training goes on, numbers stay right."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradscope
from gradscope.instrument.fused import kernel_call
from gradscope.instrument.fused.kernel_call import KernelCall
from gradscope.instrument.norms import vector_norm
from gradscope.runs import RunWriter
from tests.instrument.training import assert_identical, make_model, train
from tests.oracles import unroll
from tests.strategies import KINDS, make_layer


def _batch(time: int = 7) -> Tensor:
    return torch.randn((4, time, 3), generator=torch.Generator().manual_seed(0))


def _fail(*_: object, **__: object) -> None:
    raise OSError("no space left")


def test_giving_up_while_pytorch_goes_through_the_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook registered after ours does not turn our failure into one of optimizer.step()."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    called = []
    with (
        pytest.warns(UserWarning, match="stopped recording"),
        gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1),
    ):
        optimizer.register_step_post_hook(lambda *_: called.append(1))
        monkeypatch.setattr(RunWriter, "write", _fail)
        for _ in range(2):
            model(_batch()).sum().backward()
            optimizer.step()
    assert called == [1, 1]


def test_warnings_made_errors_do_not_reach_the_loop(
    capsys: pytest.CaptureFixture[str], unexpected_warnings: list[str]
) -> None:
    """Under -W error, which this suite runs under, a pass that cannot be recorded is printed and training goes on."""
    layer = make_layer("gru", 3, 8, batch_first=True)
    with gradscope.watch(layer, schedule=1) as recorder:
        layer(torch.zeros(0, 5, 3))[0].sum().backward()
        layer(_batch())[0].sum().backward()
        assert set(recorder.latest) == {"l0"}
    assert "did not record a pass through l0: its output is empty" in capsys.readouterr().err
    assert len(unexpected_warnings) == 1
    unexpected_warnings.clear()


class _Raising:
    """A schedule of the user's own that fails."""

    def wants(self, iteration: int) -> bool:
        """Fail at the second iteration."""
        if iteration:
            raise ZeroDivisionError
        return True

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Do nothing."""


def test_a_schedule_that_fails_ends_recording_only() -> None:
    """An exception in a user's schedule does not reach optimizer.step()."""
    expected, _ = train(make_model("gru"), watched=False)
    with pytest.warns(UserWarning, match="stopped recording at iteration 1"):
        got, _ = train(make_model("gru"), schedule=_Raising())
    assert_identical(got, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_spectral_norm_stays_bit_identical(kind: str) -> None:
    """A parametrization whose every reading changes it is not read: training equals the unwatched one."""

    def model() -> nn.Module:
        made = make_model(kind)
        nn.utils.parametrizations.spectral_norm(made.encoder, "weight_hh_l0")
        return made

    expected, _ = train(model(), watched=False)
    got, _ = train(model(), schedule=1)
    assert_identical(got, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_lent_for_one_call(kind: str) -> None:
    """torch.func.functional_call: the trajectory is that of the weights that were used, not of the module's own."""
    layer, other = (make_layer(kind, 3, 8).double() for _ in range(2))
    inputs = _batch().double().transpose(0, 1)
    with gradscope.watch(layer, schedule=1) as recorder:
        torch.func.functional_call(layer, dict(other.named_parameters()), (inputs,))[0].sum().backward()
        (trajectory,) = recorder.latest.values()
    state = torch.zeros(4, 8)
    truth = unroll(other, inputs, lambda sequence, *_: sequence.sum(), state, state if kind == "lstm" else None)
    torch.testing.assert_close(trajectory.total_gradient, truth.total_gradient, rtol=1e-9, atol=0)
    torch.testing.assert_close(trajectory.weight_gradient_norm, truth.weight_gradient_norm, rtol=1e-6, atol=1e-9)


def test_a_step_that_raises_does_not_end_recording(tmp_path: Path) -> None:
    """After an exception in a closure that the user catches, the iterations that follow are recorded."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def closure() -> Tensor:
        raise KeyError("the user's own")

    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        with pytest.raises(KeyError):
            optimizer.step(closure)
        for _ in range(3):
            model(_batch()).sum().backward()
            optimizer.step()
    assert gradscope.open_run(tmp_path / "run").iterations["iteration"].tolist() == [0, 1, 2]


def test_iterations_that_never_end_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten end_iteration() is said before memory fills."""
    monkeypatch.setattr("gradscope.instrument.attachment._MOST_BACKWARDS", 5)
    model = make_model("gru")
    with (
        pytest.warns(UserWarning, match=r"no iteration ended.*call recorder.end_iteration\(\)"),
        gradscope.watch(model, run=tmp_path / "run", schedule=1),
    ):
        for _ in range(7):
            model(_batch()).sum().backward()


@pytest.mark.parametrize("name", ["iteration", "seconds", "gradient_norm", "clip_cosine"])
def test_columns_of_gradscopes_own_cannot_be_logged(name: str) -> None:
    """A logged name that would overwrite a column is refused."""
    with (
        gradscope.watch(make_model("gru")) as recorder,
        pytest.raises(gradscope.UsageError, match="fills itself: give it another name"),
    ):
        recorder.log(**{name: 1.0})


@pytest.mark.parametrize(
    "value",
    [
        np.ones(3),
        10**400,
        torch.tensor(1j),
        None,
        torch.ones(1).to_sparse(),
        torch.ones(3).to_sparse(),
        torch.ones((), device="meta"),
    ],
)
def test_what_is_no_number_is_refused(value: object) -> None:
    """Arrays, numbers beyond floats, complex numbers and tensors of other layouts are one message each."""
    with (
        gradscope.watch(make_model("gru")) as recorder,
        pytest.raises(gradscope.UsageError, match=r"log\(x=...\) expects a single number"),
    ):
        recorder.log(x=value)


def test_a_nan_does_not_touch_the_norms_beside_it() -> None:
    """Tiny and huge vectors keep their norms in the presence of a NaN."""
    norms = vector_norm(torch.tensor([[1e-25, 0.0], [1e25, 0.0], [float("nan"), 1.0]]))
    torch.testing.assert_close(norms[:2], torch.tensor([1e-25, 1e25], dtype=torch.float64), rtol=1e-6, atol=0)


def test_an_empty_batch_is_skipped() -> None:
    """A batch of no sequences is said, and the next one is recorded."""
    layer = make_layer("gru", 3, 8, batch_first=True)
    with pytest.warns(UserWarning, match="its output is empty"), gradscope.watch(layer, schedule=1) as recorder:
        layer(torch.zeros(0, 5, 3))[0].sum().backward()
        layer(_batch())[0].sum().backward()
        assert set(recorder.latest) == {"l0"}


def _kernel_calls() -> list[KernelCall]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is KernelCall]


def test_losses_that_are_kept_do_not_keep_the_calls() -> None:
    """A user who collects losses with their graphs keeps PyTorch's memory, not ours."""
    model = make_model("lstm")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses, of_other_tests = [], _kernel_calls()
    with gradscope.watch(model, optimizer, schedule=1) as recorder:
        for _ in range(5):
            losses.append(model(_batch()).sum())
            losses[-1].backward()
            optimizer.step()
        calls = [call for call in _kernel_calls() if call not in of_other_tests]
        assert len(calls) == 5
        directions = [direction for call in calls for direction in call._directions]
        assert [direction._hidden.numel() for direction in directions] == [0] * 5
        assert [direction.arrived for direction in directions] == [{}] * 5
        assert recorder.latest["encoder.l0"].direct_gradient.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_forward_pass_that_is_thrown_away_leaves_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call goes with its graph, though no iteration ends; what a GRU saved is not kept attached to that graph."""
    monkeypatch.setattr(kernel_call, "_MANY_OPERATIONS", 0)
    layer, of_other_tests = make_layer(kind, 3, 8, batch_first=True), _kernel_calls()
    with gradscope.watch(layer, schedule=1):
        for _ in range(3):
            layer(_batch())
        assert [call for call in _kernel_calls() if call not in of_other_tests] == []


def test_gradients_are_detached_under_create_graph() -> None:
    """A backward pass that builds a graph leaves none in the trajectory."""
    layer = make_layer("gru", 3, 8, batch_first=True)
    with gradscope.watch(layer, schedule=1) as recorder:
        torch.autograd.grad(layer(_batch())[0].sum(), list(layer.parameters()), create_graph=True)
        trajectory = recorder.latest["l0"]
    assert not trajectory.direct_gradient.requires_grad
    assert not trajectory.total_gradient.requires_grad


def test_a_second_try_after_a_broken_backward_starts_anew() -> None:
    """What a backward pass brought before it broke off is not added to the next one."""
    for kind in KINDS:
        layer = make_layer(kind, 3, 8, batch_first=True)
        inputs = _batch().requires_grad_()
        with gradscope.watch(layer, schedule=1) as recorder:
            output, final = layer(inputs)
            h_n = final[0] if kind == "lstm" else final
            handle = inputs.register_hook(_fail)
            with pytest.raises(OSError, match="no space"):
                output[:, -1].sum().backward(retain_graph=True)
            handle.remove()
            h_n.sum().backward()
            direct = recorder.latest["l0"].direct_gradient
        assert torch.equal(direct[-1], torch.ones(4, 8))


def test_a_learning_rate_that_is_a_tensor(tmp_path: Path) -> None:
    """It is recorded as it was, not as it has become when the rows are written."""
    model = make_model("gru")
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.5))
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        for _ in range(3):
            model(_batch()).sum().backward()
            optimizer.step()
            optimizer.param_groups[0]["lr"].mul_(0.5)
    assert gradscope.open_run(tmp_path / "run").iterations["learning_rate"].tolist() == [0.5, 0.25, 0.125]


def test_what_a_user_does_to_a_trajectory_does_not_reach_the_run(tmp_path: Path) -> None:
    """`latest` is a copy in both directions."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1) as recorder:
        model(_batch()).sum().backward()
        recorder.latest["encoder.l0"].saturation.fill_(9)
        optimizer.step()
    assert gradscope.open_run(tmp_path / "run").timesteps["saturation"].max() <= 1


def test_a_schedule_class_is_refused(tmp_path: Path) -> None:
    """`schedule=Budget` without brackets is a mistake that is said before anything is written."""
    with pytest.raises(gradscope.UsageError, match="schedule expects"):
        gradscope.watch(make_model("gru"), run=tmp_path / "run", schedule=gradscope.Budget)
    assert not (tmp_path / "run").exists()


def test_what_was_recorded_before_a_failure_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of our own at the fourth iteration leaves the first three on disk."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        pytest.warns(UserWarning, match="stopped recording at iteration 3"),
        gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1) as recorder,
    ):
        for iteration in range(5):
            if iteration == 3:
                recorder.wait()
                monkeypatch.setattr("gradscope.instrument.fused.kernel_call.summarise", _fail)
            model(_batch()).sum().backward()
            optimizer.step()
    run = gradscope.open_run(tmp_path / "run")
    assert len(run.iterations) == 3
    assert not run.complete


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_that_is_used_again_later_does_not_reach_latest(kind: str) -> None:
    """A backward pass through the graph of an iteration that is over leaves the trajectory of that iteration alone."""
    layer = make_layer(kind, 3, 8, batch_first=True)
    with gradscope.watch(layer, schedule=gradscope.At([0])) as recorder:
        output, _ = layer(_batch())
        output.sum().backward(retain_graph=True)
        recorder.end_iteration()
        (2 * output).sum().backward()
        assert recorder.latest["l0"].direct_gradient.unique().tolist() == [1.0]
