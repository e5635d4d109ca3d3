"""`recorder.tap` in raw loops of plain tensors."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import gradscope
from tests.examples import examples
from tests.instrument.training import assert_identical


class Raw(nn.Module):
    """The weights of a recurrence that is written out where it is used."""

    def __init__(self, hidden: int = 5) -> None:
        super().__init__()
        self.into, self.recurrent = nn.Linear(3, hidden), nn.Parameter(torch.randn(hidden, hidden) / 2)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return torch.tanh(self.into(x) + h @ self.recurrent)


def _model() -> Raw:
    torch.manual_seed(0)
    return Raw().double()


def _inputs(time: int = 6, batch: int = 4) -> Tensor:
    return torch.randn((time, batch, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _start(batch: int = 4) -> Tensor:
    return torch.zeros((batch, 5), dtype=torch.float64)


def test_states_and_total_gradients_are_autograds_own() -> None:
    """What is tapped is the very tensor, and its gradient the one that `retain_grad` keeps, bit for bit."""
    model, kept = _model(), []
    with gradscope.watch(model, schedule=1) as recorder:
        h = _start()
        for x in _inputs():
            made = model.step(x, h)
            h = recorder.tap("raw", made)
            assert h is made
            h.retain_grad()
            kept.append(h)
        (h.square().sum() + kept[2].sum()).backward()
        trajectory = recorder.latest["raw"]
    torch.testing.assert_close(trajectory.hidden, torch.stack(kept).detach(), rtol=0, atol=0)
    torch.testing.assert_close(trajectory.total_gradient, torch.stack([h.grad for h in kept]), rtol=0, atol=0)
    assert trajectory.direct_gradient.isnan().all()
    assert trajectory.saturation.isnan().all()
    assert dict(trajectory.gates) == {}


def test_unbatched_states_times_in_any_order_and_leaves() -> None:
    """(hidden,) is a batch of one; a loop may run backwards and say its times; a leaf's gradient is seen too."""
    model, start = _model(), torch.zeros(5, dtype=torch.float64, requires_grad=True)
    with gradscope.watch(model, schedule=1) as recorder:
        h = recorder.tap("raw", start, time=6)
        for time in range(5, -1, -1):
            h = recorder.tap("raw", model.step(_inputs()[time, 0], h), time=time)
        h.sum().backward()
        trajectory = recorder.latest["raw"]
    assert trajectory.hidden.shape == (7, 1, 5)
    torch.testing.assert_close(trajectory.hidden[0, 0], h.detach(), rtol=0, atol=0)
    torch.testing.assert_close(trajectory.total_gradient[6, 0], start.grad, rtol=0, atol=0)
    assert not start._backward_hooks


def test_the_lowest_time_is_time_0(tmp_path: Path) -> None:
    """A loop that counts from 1, as one that goes on where another ended, has times from 0 in the tables."""
    model = _model()
    with gradscope.watch(model, run=tmp_path / "run", schedule=1) as recorder:
        h = _start()
        for time in range(1, 6):
            h = recorder.tap("raw", model.step(_inputs()[time], h), time=time)
        h.sum().backward()
        recorder.end_iteration()
    assert gradscope.open_run(tmp_path / "run").timesteps["time"].tolist() == [0, 1, 2, 3, 4]


def test_sequences_of_one_name(tmp_path: Path) -> None:
    """A new call begins where a backward pass has freed the graph, and where a time comes a second time."""
    model = _model()
    with gradscope.watch(model, run=tmp_path / "run", schedule=1) as recorder:
        for length in (3, 4):
            h = _start()
            for x in _inputs(length):
                h = recorder.tap("raw", model.step(x, h))
            h.sum().backward()
        losses = []
        for length in (5, 6):
            h = _start()
            for time, x in enumerate(_inputs(length)):
                h = recorder.tap("raw", model.step(x, h), time=time)
            losses.append(h.sum())
        sum(losses).backward()
        recorder.end_iteration()
    run = gradscope.open_run(tmp_path / "run")
    assert run.timesteps.groupby("call")["time"].count().to_dict() == {0: 3, 1: 4, 2: 5, 3: 6}
    assert run.layers == ["raw"]


def test_a_tap_beside_a_watched_layer(tmp_path: Path) -> None:
    """A run has the layers of the model and what was tapped."""
    model, cell = _model(), nn.GRUCell(3, 5).double()
    both = nn.ModuleDict({"raw": model, "cell": cell})
    with gradscope.watch(both, run=tmp_path / "run", schedule=1) as recorder:
        h = _start()
        for x in _inputs():
            h = recorder.tap("tapped", model.step(x, cell(x, h)))
        h.sum().backward()
        recorder.end_iteration()
    assert gradscope.open_run(tmp_path / "run").layers == ["cell", "tapped"]


def test_nothing_happens_outside_recorded_iterations() -> None:
    """In an iteration that is not recorded, under no_grad and after closing nothing is recorded and no hook is left."""
    model = _model()
    with gradscope.watch(model, schedule=gradscope.At([1])) as recorder:
        h = model.step(_inputs()[0], _start())
        assert recorder.tap("raw", h) is h
        h.sum().backward()
        assert recorder.latest == {}
        recorder.end_iteration()
        with torch.no_grad():
            recorder.tap("raw", model.step(_inputs()[0], _start()))
        h = recorder.tap("raw", model.step(_inputs()[0], _start()))
        h.sum().backward()
        assert len(recorder.latest["raw"].hidden) == 1
    h = model.step(_inputs()[0], _start())
    assert recorder.tap("raw", h) is h


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("", torch.ones(3)), "tap expects a name first, as in tap('decoder', h), got ''."),
        ((torch.ones(3), torch.ones(3)), "tap expects a name first, as in tap('decoder', h), got a Tensor."),
        (("cell", torch.ones(3)), "tap expects a name of its own, got 'cell': a layer that is watched has that name."),
        (("raw", [1.0]), "tap('raw', ...) expects a Tensor (batch, hidden) or (hidden,), got a list."),
        (
            ("raw", torch.ones(2, 3, 4)),
            "tap('raw', ...) expects a floating-point Tensor (batch, hidden) or (hidden,), got (2, 3, 4) of float32.",
        ),
        (
            ("raw", torch.ones(3, dtype=torch.int64)),
            "tap('raw', ...) expects a floating-point Tensor (batch, hidden) or (hidden,), got (3,) of int64.",
        ),
        (("raw", torch.ones(3), 1.0), "tap(..., time=...) expects an int from 0, got 1.0."),
        (("raw", torch.ones(3), -1), "tap(..., time=...) expects an int from 0, got -1."),
        (("raw", torch.ones(3), True), "tap(..., time=...) expects an int from 0, got True."),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], expected: str) -> None:
    """Each is one message, in every iteration: what was expected, what was got."""
    model = nn.ModuleDict({"cell": nn.GRUCell(3, 5)})
    with gradscope.watch(model, schedule=gradscope.At([1])) as recorder:
        for _ in range(2):
            with pytest.raises(gradscope.UsageError) as caught:
                recorder.tap(*arguments)
            assert str(caught.value) == expected
            recorder.end_iteration()


def test_taps_that_cannot_be_recorded_are_said_once() -> None:
    """Times with gaps, and tensors to which no gradient ever comes."""
    model = _model()
    with (
        pytest.warns(UserWarning, match="gradscope did not record a pass") as caught,
        gradscope.watch(model, schedule=1) as recorder,
    ):
        for _ in range(2):
            h = _start()
            for time, x in enumerate(_inputs()):
                h = recorder.tap("raw", model.step(x, h), time=10 * time)
                recorder.tap("copy", h.detach())
            h.sum().backward()
            recorder.end_iteration()
        assert recorder.latest == {}
    messages = sorted(str(one.message) for one in caught)
    assert len(messages) == 2
    assert "through copy: none of the tapped tensors requires grad" in messages[0]
    assert "through raw: its times are not consecutive (0, 10, 20, 30, 40, ...)" in messages[1]


def _train(*, watched: bool, said: bool, schedule: object, keep: str, detach_every: int, folder: Path) -> list[Tensor]:
    model = _model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    options = {"schedule": schedule, "keep": keep, "run": folder}
    watching = gradscope.watch(model, optimizer, **options) if watched else contextlib.nullcontext()
    losses = []
    torch.manual_seed(1)
    with watching as recorder:
        for _ in range(20):
            optimizer.zero_grad()
            h = nn.functional.dropout(torch.ones_like(_start()), 0.5)
            for time, x in enumerate(_inputs()):
                h = model.step(x, h.detach() if detach_every and time % detach_every == 0 else h)
                if recorder is not None:
                    h = recorder.tap("raw", h, time if said else None)
            loss = h.square().sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return [*losses, *model.state_dict().values(), torch.get_rng_state()]


@examples(15)
@given(
    said=st.booleans(),
    schedule=st.sampled_from((1, 3, gradscope.At([0, 4]), gradscope.Budget(0.5))),
    keep=st.sampled_from(("norms", "states", "full")),
    detach_every=st.sampled_from((0, 2, 3)),
)
def test_bit_identity(
    tmp_path_factory: pytest.TempPathFactory, said: bool, schedule: object, keep: str, detach_every: int
) -> None:
    """Twenty iterations with taps equal twenty without."""
    given_ = {"said": said, "schedule": schedule, "keep": keep, "detach_every": detach_every}
    folder = tmp_path_factory.mktemp("taps") / "run"
    assert_identical(_train(watched=True, folder=folder, **given_), _train(watched=False, folder=folder, **given_))
