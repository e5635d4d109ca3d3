"""What happens in real training loops: accumulation, truncation, evaluation, closures, exceptions."""

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradscope
from gradscope.runs import RunWriter
from tests.instrument.training import assert_identical, make_model, train
from tests.strategies import KINDS, make_layer


def _batch(seed: int = 0, time: int = 7) -> torch.Tensor:
    return torch.randn((4, time, 3), generator=torch.Generator().manual_seed(seed))


def test_gradient_accumulation(tmp_path: Path) -> None:
    """Two backward passes before one step are two calls of one iteration; the norm is that of the sum."""
    model = make_model("rnn_tanh")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        for seed in (0, 1):
            model(_batch(seed)).square().mean().backward()
        summed = torch.stack([p.grad.norm() for p in model.parameters()]).norm().item()
        optimizer.step()
    run = gradscope.open_run(tmp_path / "run")
    assert sorted(set(run.timesteps["call"])) == [0, 1]
    assert run.iterations["gradient_norm"].tolist() == pytest.approx([summed], rel=1e-6)


def test_several_calls_in_one_backward_are_numbered_in_forward_order(tmp_path: Path) -> None:
    """A module used twice gives calls 0 and 1, in the order of the forward calls, each with its own length."""
    model = make_model("gru")
    with gradscope.watch(model, run=tmp_path / "run", schedule=1) as recorder:
        first, second = model.encoder(_batch(0, time=5))[0], model.encoder(_batch(1, time=9))[0]
        (first.sum() + second.sum()).backward()
        recorder.end_iteration()
    assert gradscope.open_run(tmp_path / "run").timesteps.groupby("call").size().to_dict() == {0: 5, 1: 9}


def test_truncated_backpropagation_shows_each_window(tmp_path: Path) -> None:
    """A state handed on detached: a window has the states of the whole, and its gradient ends at its start."""
    layer = make_layer("gru", 3, 8, batch_first=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    whole = layer(_batch(time=12))[0].detach()
    with gradscope.watch(layer, optimizer, run=tmp_path / "run", schedule=1, keep="full"):
        state = None
        for window in _batch(time=12).split(4, dim=1):
            output, state = layer(window, state)
            state = state.detach()
        output[:, -1].sum().backward()
        optimizer.step()
    run = gradscope.open_run(tmp_path / "run")
    assert run.timesteps["time"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(run.states("l0", 0), whole.transpose(0, 1)[8:], rtol=1e-5, atol=1e-7)


def test_windows_in_one_loss_are_a_call_each(tmp_path: Path) -> None:
    """Three windows with a loss each: three calls of four times, together the states of the whole sequence."""
    layer = make_layer("gru", 3, 8, batch_first=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    whole = layer(_batch(time=12))[0].detach()
    with gradscope.watch(layer, optimizer, run=tmp_path / "run", schedule=1, keep="full"):
        state, loss = None, torch.zeros(())
        for window in _batch(time=12).split(4, dim=1):
            output, state = layer(window, state)
            state = state.detach()
            loss = loss + output.square().mean()
        loss.backward()
        optimizer.step()
    run = gradscope.open_run(tmp_path / "run")
    assert run.timesteps.groupby("call")["time"].count().to_dict() == {0: 4, 1: 4, 2: 4}
    windows = np.concatenate([run.states("l0", 0, call=call) for call in range(3)])
    np.testing.assert_allclose(windows, whole.transpose(0, 1), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_initial_state_given_by_keyword(kind: str) -> None:
    """`hx=` by keyword is seen as the initial state."""
    layer = make_layer(kind, 3, 8, batch_first=True)
    state = torch.full((1, 4, 8), 0.5)
    hx = (state, state) if kind == "lstm" else state
    with gradscope.watch(layer, schedule=1) as recorder:
        layer(input=_batch(), hx=hx)[0].sum().backward()
        by_keyword = recorder.latest["l0"].total_gradient
        layer(_batch(), hx)[0].sum().backward()
        by_position = recorder.latest["l0"].total_gradient
        layer(_batch())[0].sum().backward()
        without = recorder.latest["l0"].total_gradient
    assert torch.equal(by_keyword, by_position)
    assert not torch.equal(by_keyword, without)


def test_evaluation_inside_the_loop_leaves_no_trace(tmp_path: Path) -> None:
    """Forward passes under no_grad and inference_mode are no calls, and the training stays bit-identical."""

    def evaluate(model: nn.Module) -> None:
        with torch.no_grad():
            model(_batch())
        with torch.inference_mode():
            model(_batch())

    expected, _ = train(make_model("lstm"), watched=False, clip=evaluate)
    got, _ = train(make_model("lstm"), run=tmp_path / "run", schedule=1, clip=evaluate)
    assert_identical(got, expected)
    assert set(gradscope.open_run(tmp_path / "run").timesteps["call"]) == {0}


def test_retained_graph_gives_one_trajectory_a_backward_pass() -> None:
    """Two backward passes through one graph are each reported whole, not their sum."""
    for kind in KINDS:
        layer = make_layer(kind, 3, 8, batch_first=True)
        with gradscope.watch(layer, schedule=1) as recorder:
            output, final = layer(_batch())
            output[:, -1].sum().backward(retain_graph=True)
            first = recorder.latest["l0"]
            h_n = final[0] if kind == "lstm" else final
            h_n.sum().backward()
            second = recorder.latest["l0"]
        assert (first.call, second.call) == (0, 1)
        torch.testing.assert_close(first.total_gradient, second.total_gradient)


def test_step_with_a_closure(tmp_path: Path) -> None:
    """LBFGS calls backward inside its step: bit-identical, and the gradients of the last call are reported."""

    def run(path: Path | None) -> list[torch.Tensor]:
        model = make_model("gru")
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = model(_batch()).square().mean()
            loss.backward()
            return loss

        recorder = gradscope.watch(model, optimizer, run=path, schedule=1) if path else None
        for _ in range(3):
            optimizer.step(closure)
        if recorder is not None:
            recorder.close()
        return list(model.state_dict().values())

    assert_identical(run(tmp_path / "run"), run(None))
    recorded = gradscope.open_run(tmp_path / "run")
    assert list(recorded.iterations["iteration"]) == [0, 1, 2]
    assert (recorded.iterations["gradient_norm"] > 0).all()
    assert recorded.timesteps["call"].max() >= 2


def test_changes_in_place_are_noticed(tmp_path: Path) -> None:
    """An output that the user overwrites cannot be recorded exactly: said once, and training goes on."""
    layer = make_layer("rnn_tanh", 3, 8, batch_first=True)
    with (
        pytest.warns(UserWarning, match=r"did not record a pass through l0: .* changed in place") as caught,
        gradscope.watch(layer, schedule=1) as recorder,
    ):
        for _ in range(2):
            output, _ = layer(_batch())
            output.mul_(2)
            output.sum().backward()
        assert recorder.latest == {}
    assert len(caught) == 1


def test_a_backward_pass_that_breaks_off_does_not_end_recording() -> None:
    """The user's exception passes through untouched, and the next backward pass is recorded."""
    model = make_model("gru")

    def fail(_: torch.Tensor) -> None:
        raise ZeroDivisionError("the user's own")

    with gradscope.watch(model, schedule=1) as recorder:
        output = model(_batch())
        output.register_hook(fail)
        with pytest.raises(ZeroDivisionError, match="the user's own"):
            output.sum().backward()
        model(_batch()).sum().backward()
        assert recorder.latest["encoder.l0"].total_gradient.abs().sum() > 0


def test_an_exception_in_the_loop_leaves_an_incomplete_run(tmp_path: Path) -> None:
    """What was recorded is there, and the run does not claim to be complete."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(KeyError), gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        for iteration in range(5):
            model(_batch()).sum().backward()
            optimizer.step()
            if iteration == 3:
                raise KeyError(iteration)
    run = gradscope.open_run(tmp_path / "run")
    assert len(run.iterations) == 4
    assert not run.complete


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_trouble_while_writing_never_stops_training(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a defect of our own, is one warning; the parameters are those of an unwatched training."""
    expected, _ = train(make_model("gru"), watched=False)

    def fail(*_: object) -> None:
        raise error("no space left, or a defect of ours")

    monkeypatch.setattr(RunWriter, "write", fail)
    with pytest.warns(UserWarning, match="stopped recording at iteration 1; training goes on") as caught:
        got, _ = train(make_model("gru"), run=tmp_path / "run", schedule=1)
    assert_identical(got, expected)
    assert len(caught) == 1


def test_trouble_inside_the_backward_pass_never_stops_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in what runs at the end of a backward pass does not reach the user's loss.backward()."""
    expected, _ = train(make_model("lstm"), watched=False)

    def fail(*_: object) -> None:
        raise IndexError("a defect of ours")

    monkeypatch.setattr("gradscope.instrument.fused.kernel_call.summarise", fail)
    with pytest.warns(UserWarning, match="IndexError: a defect of ours"):
        got, _ = train(make_model("lstm"), schedule=1)
    assert_identical(got, expected)


def test_copies_and_pickles_of_a_watched_model_are_plain(tmp_path: Path) -> None:
    """A deep copy, or a loaded save, taken while hooks are on works and records nothing."""
    model = make_model("lstm")
    with gradscope.watch(model, schedule=1) as recorder:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        for twin in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
            twin(_batch()).sum().backward()
            assert recorder.latest == {}
        model(_batch()).sum().backward()
        assert set(recorder.latest) == {"encoder.l0"}


def test_two_watches_one_after_the_other_and_one_inside_the_other() -> None:
    """Watching twice at once, or again after closing, gives each recorder the same numbers."""
    model = make_model("gru")
    with gradscope.watch(model, schedule=1) as outer, gradscope.watch(model, schedule=1) as inner:
        model(_batch()).sum().backward()
        assert torch.equal(outer.latest["encoder.l0"].total_gradient, inner.latest["encoder.l0"].total_gradient)
    with gradscope.watch(model, schedule=1) as after:
        model(_batch()).sum().backward()
        assert torch.equal(after.latest["encoder.l0"].total_gradient, outer.latest["encoder.l0"].total_gradient)


def test_nothing_is_recorded_after_close(tmp_path: Path) -> None:
    """A closed recorder hears nothing of later training; closing again is harmless."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1)
    output = model(_batch())
    recorder.close()
    output.sum().backward()
    optimizer.step()
    recorder.close()
    assert recorder.latest == {}
    assert gradscope.open_run(tmp_path / "run").iterations.empty


def test_overhead_is_measured() -> None:
    """With idle iterations to compare with, the measured fraction is a positive number."""
    _, recorder = train(make_model("lstm"), iterations=40, schedule=4)
    assert 0 < recorder.overhead < 20
