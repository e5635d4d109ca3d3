"""The finding says which value was NaN or infinite first, of trainings that really become so."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gradscope
from gradscope.diagnosis import Finding, diagnose, examine, story
from gradscope.reporting import report
from gradscope.runs import Run, open_run

pytestmark = pytest.mark.xdist_group("non-finite")

TIMES = 6


class _Reader(nn.Module):
    """A stack of two recurrent layers, and a linear head on every output."""

    def __init__(self, kind: type[nn.RNNBase] = nn.GRU, **options: object) -> None:
        super().__init__()
        self.rnn = kind(3, 5, **options)
        self.head = nn.Linear(5, 1)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return states and answers."""
        states = self.rnn(inputs)[0]
        return states, self.head(states)


def _batch(iteration: int, *, nan_at: tuple[int, int] | None = None) -> Tensor:
    batch = torch.randn((TIMES, 4, 3), generator=torch.Generator().manual_seed(iteration))
    if nan_at is not None and nan_at[0] == iteration:
        batch[nan_at[1], 1] = math.nan
    return batch


def _train(
    model: _Reader,
    folder: Path,
    loss_of: Callable[[int], Tensor],
    *,
    rate: float = 0.1,
    iterations: int = 6,
    schedule: object = 1,
) -> Run:
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with gradscope.watch(model, optimizer, run=folder, schedule=schedule) as recorder:
        for iteration in range(iterations):
            optimizer.zero_grad()
            loss = loss_of(iteration)
            recorder.log(loss=loss)
            loss.backward()
            optimizer.step()
    return open_run(folder)


def _non_finite(run: Run) -> dict[str | None, Finding]:
    return {finding.layer: finding for finding in diagnose(run) if finding.code.startswith("non-finite")}


@pytest.fixture(scope="module")
def spoiled_input(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A NaN in the input of iteration 3 at time 2."""
    torch.manual_seed(0)
    model = _Reader(num_layers=2)
    return _train(
        model, tmp_path_factory.mktemp("spoiled") / "run", lambda i: model(_batch(i, nan_at=(3, 2)))[1].square().mean()
    )


def _last_bad_gradient(weights: dict[str, Tensor], inputs: Tensor) -> int:
    """Return the last time whose total gradient is not finite, of a relu network that is unrolled by hand."""
    state, states = torch.zeros(inputs.shape[1], 5), []
    for x in inputs:
        inner = x @ weights["rnn.weight_ih_l0"].T + state @ weights["rnn.weight_hh_l0"].T
        state = (inner + weights["rnn.bias_ih_l0"] + weights["rnn.bias_hh_l0"]).relu().requires_grad_()
        states.append(state)
    loss = (torch.stack(states) @ weights["head.weight"].T + weights["head.bias"]).square().mean()
    bad = [not gradient.isfinite().all() for gradient in torch.autograd.grad(loss, states)]
    return max(time for time, is_bad in enumerate(bad) if is_bad)


def test_a_training_that_diverges(tmp_path: Path) -> None:
    """A rate that is far too large: first the loss overflows, then the gradient on its way back, then the states."""
    torch.manual_seed(0)
    model = _Reader(nn.RNN, nonlinearity="relu")
    losses: list[float] = []
    weights: list[dict[str, Tensor]] = []

    def loss_of(iteration: int) -> Tensor:
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
        states, answers = model(_batch(iteration))
        loss = answers.square().mean()
        losses.append(loss.item() if states.isfinite().all() else math.nan)
        return loss

    found = _non_finite(_train(model, tmp_path / "run", loss_of, rate=300.0))
    first = losses.index(math.inf)
    time = _last_bad_gradient(weights[first], _batch(first))
    assert f"first at iteration {first}, forwards, in the loss. Nothing that was looked at" in found[None].message
    located = found["rnn.l0"]
    assert (located.iteration, located.evidence["time"], located.evidence["way"]) == (first, time, "backwards")
    assert f"first at iteration {first}, backwards, in the total gradient at time {time};" in located.message
    assert f"The first in the run is the loss, forwards, at iteration {first}." in located.message


def test_forwards_through_a_stack(spoiled_input: Run) -> None:
    """The lower layer's gate at that time was first; the layer above and the loss say so."""
    found = _non_finite(spoiled_input)
    assert list(found) == [None, "rnn.l0", "rnn.l1"]
    lower = found["rnn.l0"].message
    assert "at iteration 3, forwards, in the reset gate at time 2; 3 of 6 recorded iterations" in lower
    assert "Nothing that was looked at in the run was so before." in lower
    first = "The first in the run is the reset gate of rnn.l0 at time 2, forwards, at iteration 3."
    assert first in found["rnn.l1"].message
    assert (
        f"NaN or infinite at 3 iterations, first at iteration 3, forwards, in the loss. {first}" in found[None].message
    )


def test_a_loss_that_follows_from_a_state_is_not_blamed(spoiled_input: Run) -> None:
    """The state was not finite first: no advice sends the reader to the loss."""
    found = _non_finite(spoiled_input)
    assert not any("Look at the loss" in advice for advice in found[None].advice)
    assert found["rnn.l0"].advice[0].startswith("Check the inputs")


def test_the_story_tells_it_in_order(spoiled_input: Run) -> None:
    """Lower layer, upper layer, loss."""
    events = story(spoiled_input, examine(spoiled_input))
    told = [event.finding.layer for event in events if event.finding and event.finding.code.startswith("non-finite")]
    assert told == ["rnn.l0", "rnn.l1", None]


def test_the_page_lists_it_in_order(spoiled_input: Run, tmp_path: Path) -> None:
    """What, of which layer, and from which iteration and time on."""
    page = report(spoiled_input.path, tmp_path / "page.html").read_text(encoding="utf-8")
    section = page.split('<section id="finite"')[1].split("</section>")[0]
    places = ["reset gate", "rnn.l0", "time 2", "forwards", "rnn.l1", "loss", "direct gradient", "gradient of head."]
    assert [section.find(place) for place in places] == sorted(section.find(place) for place in places)
    assert "No hidden state and no gradient was NaN" not in section


def test_backwards(tmp_path: Path) -> None:
    """A finite loss whose gradient is NaN at one time."""
    torch.manual_seed(0)
    model = _Reader()

    def loss_of(iteration: int) -> Tensor:
        states, answers = model(_batch(iteration))
        return answers.square().mean() + (states[4].sum() * (0 if iteration == 2 else 1)).abs().sqrt()

    found = _non_finite(_train(model, tmp_path / "run", loss_of, iterations=3))
    assert "first at iteration 2, backwards, in the direct gradient at time 4; 1 of 3" in found["rnn.l0"].message
    assert "square root" in found["rnn.l0"].advice[0]
    assert ", backwards, in the gradient of rnn.weight_" in found[None].message
    assert "The first in the run is the direct gradient of rnn.l0 at time 4, backwards" in found[None].message


def test_a_loss_of_an_iteration_without_hooks(tmp_path: Path) -> None:
    """It is found, and that nothing else was looked at is said."""
    torch.manual_seed(0)
    model = _Reader()
    run = _train(
        model,
        tmp_path / "run",
        lambda i: model(_batch(i))[1].square().mean() * (math.nan if i == 4 else 1),
        schedule=gradscope.At([0, 1]),
        iterations=5,
    )
    found = _non_finite(run)
    assert list(found) == [None]
    assert "NaN or infinite at 1 iteration, first at iteration 4, forwards, in the loss." in found[None].message
    assert "That iteration was not recorded" in found[None].message


def test_a_training_that_died_before_its_first_gradient(tmp_path: Path) -> None:
    """Of the layer nothing else is known: the finding of the run names it."""
    torch.manual_seed(0)
    model = _Reader()
    with gradscope.watch(model, run=tmp_path / "run", schedule=1):
        model(_batch(0, nan_at=(0, 2)))
        found = _non_finite(open_run(tmp_path / "run"))
    assert list(found) == [None]
    assert found[None].message.startswith(
        "A state is NaN or infinite at 1 iteration, first at iteration 0, forwards, in the hidden state of rnn.l0 at "
        "time 2."
    )


def test_a_run_without_the_table(spoiled_input: Run) -> None:
    """As older versions wrote it: what the norms tell is still said, by the state at the same time."""
    old = open_run(spoiled_input.path)
    old.nonfinite = old.nonfinite.iloc[:0]
    found = _non_finite(old)
    assert list(found) == [None, "rnn.l0", "rnn.l1"]
    assert "first at iteration 3, forwards, in the hidden state at time 2; 3 of 6" in found["rnn.l0"].message
    assert "The first in the run" not in found["rnn.l1"].message


def test_a_gradient_of_another_way_is_no_nan(tmp_path: Path) -> None:
    """One by torch.autograd.grad has no norm in the table: that is not known, and nothing is wrong."""
    layer = nn.GRU(3, 8)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    with gradscope.watch(layer, optimizer, run=tmp_path / "run", schedule=1) as recorder:
        for iteration in range(6):
            optimizer.zero_grad()
            loss = layer(torch.randn(5, 2, 3))[0].square().mean()
            recorder.log(loss=loss)
            if iteration < 3:
                loss.backward()
            else:
                for parameter, gradient in zip(
                    layer.parameters(), torch.autograd.grad(loss, [*layer.parameters()]), strict=True
                ):
                    parameter.grad = gradient
            optimizer.step()
    assert open_run(tmp_path / "run").iterations["gradient_norm"].isna().tolist() == [False] * 3 + [True] * 3
    assert "non-finite-norm" not in {finding.code for finding in diagnose(tmp_path / "run")}
