"""Where rules about updates and clipping draw their lines: planted runs on both sides of them."""

import numpy as np
import pytest

from gradscope.diagnosis import diagnose
from gradscope.runs import RunWriter, open_run
from tests.planted import exponential, flush, plant


def _found(run, code):
    return next((finding for finding in diagnose(run) if finding.code == code), None)


def _updated(folder, ratio, *, loss=None, shapes=None, spacing=1):
    """A run whose weight of norm 2 is updated by these shares of it."""
    shapes = {"w": [4, 4], "b": [4]} if shapes is None else shapes
    writer = RunWriter(folder, {"parameters": shapes})
    for place, one in enumerate(ratio):
        iteration = place * spacing
        tables = flush(iteration, exponential(-0.01), logged={"loss": 1.0 if loss is None else float(loss[place])})
        tables["parameters"] = {
            "iteration": [iteration, iteration],
            "parameter": ["w", "b"],
            "weight_norm": [2.0, 1e-6],
            "update_norm": [2.0 * float(one), 1.0],
        }
        writer.write(tables)
    return open_run(folder)


@pytest.mark.parametrize(("ratio", "fires"), [(0.2, True), (0.03, False)])
def test_updates_of_a_tenth_are_too_large(tmp_path, ratio, fires):
    """A bias that starts at 0 has no say: its ratio means nothing."""
    finding = _found(_updated(tmp_path, np.full(30, ratio)), "update-too-large")
    assert (finding is not None) == fires
    if finding is not None:
        assert (finding.evidence["parameter"], finding.evidence["ratio"]) == ("w", pytest.approx(0.2))


def test_weights_that_have_to_grow_first_are_no_fault(tmp_path):
    """Large steps of the first half alone: weights that start at almost nothing."""
    ratio = np.concatenate([np.full(14, 5.0), np.full(16, 0.01)])
    assert _found(_updated(tmp_path, ratio), "update-too-large") is None


def test_one_step_that_throws_the_weights_is_found(tmp_path):
    """Half of the weight at once, a hundred times the usual, at iteration 20."""
    ratio = np.full(30, 0.005)
    ratio[20] = 0.5
    finding = _found(_updated(tmp_path, ratio), "update-too-large")
    assert finding.iteration == finding.evidence["iteration"] == 20
    assert "100 times as much" in finding.message


@pytest.mark.parametrize(
    ("ratio", "loss", "spacing", "fires"),
    [
        (1e-6, 1.0, 1, True),
        (1e-5, 1.0, 100, False),
        (1e-3, 1.0, 1, False),
        (1e-6, 0.1, 1, False),
    ],
    ids=["stuck", "slow but long", "usual", "the loss falls"],
)
def test_updates_are_too_small_where_nothing_can_have_moved(tmp_path, ratio, loss, spacing, fires):
    """Not where many small steps add up, nor where the loss goes down all the same."""
    course = np.linspace(1.0, loss, 30)
    finding = _found(_updated(tmp_path, np.full(30, ratio), loss=course, spacing=spacing), "update-too-small")
    assert (finding is not None) == fires


def test_what_was_not_recorded_after_the_last_may_have_moved_the_weights(tmp_path):
    """Thirty recordings of 5,000 iterations: at 1e-5 a step the weight may have moved by 5 %, not by 0.03 %."""

    def logged(iteration):
        return {"iterations": {"iteration": [iteration], "loss": [1.0], "gradient_norm": [1.0]}}

    def run(folder, iterations):
        writer = RunWriter(folder, {"parameters": {"w": [4, 4]}})
        for iteration in iterations:
            tables = logged(iteration)
            if iteration < 30:
                tables |= flush(iteration, exponential(-0.01), logged={"loss": 1.0, "gradient_norm": 1.0})
                tables["parameters"] = {
                    "iteration": [iteration],
                    "parameter": ["w"],
                    "gradient_norm": [1.0],
                    "weight_norm": [1.0],
                    "update_norm": [1e-5],
                }
            writer.write(tables)
        writer.close()
        return open_run(folder)

    assert _found(run(tmp_path / "short", range(30)), "update-too-small") is not None
    assert _found(run(tmp_path / "long", [*range(30), 5000]), "update-too-small") is None


def test_weights_that_no_step_changed_ask_for_no_larger_learning_rate(tmp_path):
    """Its factor would be infinite, and a gradient of 0 stays 0."""
    finding = _found(_updated(tmp_path, np.zeros(30)), "update-too-small")
    assert finding.message == "In the 30 iterations of the run no step changed any weight matrix."
    assert not any("Raise" in advice for advice in finding.advice)


def test_a_single_iteration_that_was_not_recorded_is_singular(tmp_path):
    """And many have a separator."""
    writer = RunWriter(tmp_path, {})
    writer.write(flush(0))
    writer.close()
    (finding,) = diagnose(open_run(tmp_path))
    assert finding.message == "The run has 1 iteration, and its gradients were not recorded: nothing is judged."


@pytest.mark.parametrize(
    ("change", "drift", "gradient", "left_out"),
    [
        (0.0, 0.0, 1.0, True),
        (1e-9, 0.0, 1.0, False),
        (0.0, 1e-3, 1.0, False),
        (0.0, 0.0, 0.0, False),
    ],
    ids=["left out", "moved", "moved by another optimizer", "without a gradient"],
)
def test_weights_that_an_optimizer_was_not_given_are_named(tmp_path, change, drift, gradient, left_out):
    """Beside a head that is trained; another optimizer, which is not watched, shows in the weight's norm."""
    writer = RunWriter(tmp_path, {"parameters": {"rnn.w": [4, 4], "rnn.v": [4, 4], "head": [4, 4]}})
    for iteration in range(20):
        tables = flush(iteration, exponential(-0.01), logged={"loss": 1.0})
        tables["parameters"] = {
            "iteration": [iteration] * 3,
            "parameter": ["rnn.w", "rnn.v", "head"],
            "gradient_norm": [gradient, gradient, 1.0],
            "weight_norm": [2.0 + drift * iteration, 3.0 + drift * iteration, 1.0 + 0.01 * iteration],
            "update_norm": [change, change, 0.01],
        }
        writer.write(tables)
    finding = _found(open_run(tmp_path), "weights-left-out")
    assert (finding is not None) == left_out
    if finding is not None:
        assert finding.message.startswith("No step ever changed rnn.v and rnn.w: each had a gradient in 20 recorded")


def test_a_frozen_layer_beside_trained_weights_is_told_from_a_training_without_backward(tmp_path):
    """A head with a gradient says that backward() ran: nothing came through the recurrent layers."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(5):
        tables = flush(iteration)
        tables["parameters"] = {"iteration": [iteration], "parameter": ["head"], "gradient_norm": [1.0]}
        writer.write(tables)
    writer.close()
    finding = _found(open_run(tmp_path), "nothing-recorded")
    assert "requires_grad_(False)" in finding.advice[0]


@pytest.mark.parametrize(
    ("rate", "loss", "fires"),
    [(0.5, 1.0, True), (0.5, 0.3, False), (0.99, 1.0, False)],
    ids=["halved each iteration", "but it has learned", "falls slowly"],
)
def test_a_learning_rate_that_falls_too_soon_is_found(tmp_path, rate, loss, fires):
    """A scheduler made for epochs, called for batches: from iteration 27 on a step changes less than 1e-8."""
    writer = RunWriter(tmp_path, {"parameters": {"w": [4, 4]}})
    for iteration, value in enumerate(np.linspace(1, loss, 80)):
        log = {"loss": float(value), "gradient_norm": 1.0, "learning_rate": rate**iteration}
        tables = flush(iteration, exponential(-0.01), logged=log)
        tables["parameters"] = {
            "iteration": [iteration],
            "parameter": ["w"],
            "weight_norm": [1.0],
            "update_norm": [rate**iteration],
        }
        writer.write(tables)
    finding = _found(open_run(tmp_path), "update-too-small")
    assert (finding is not None) == fires
    if finding is not None:
        assert finding.iteration == 27
        assert finding.message.startswith(
            "From iteration 27 on no step changed any weight matrix by more than a hundred"
        )
        assert "The learning rate had fallen from 1 to 7.5e-09 by then." in finding.message
        assert "scheduler" in finding.advice[0]


@pytest.mark.parametrize(
    ("last", "loss", "fires"), [(0.05, 1.0, True), (0.2, 1.0, False), (0.05, 0.5, False), (3.0, 1.0, False)]
)
def test_weights_that_are_all_but_gone_are_found(tmp_path, last, loss, fires):
    """Down to a twentieth; a fifth is none, nor is what the loss was glad of."""
    writer = RunWriter(tmp_path, {"parameters": {"w": [4, 4]}})
    for iteration, (norm, value) in enumerate(zip(np.geomspace(1, last, 40), np.linspace(1, loss, 40), strict=True)):
        tables = flush(iteration, exponential(-0.01), logged={"loss": float(value)})
        tables["parameters"] = {
            "iteration": [iteration],
            "parameter": ["w"],
            "weight_norm": [float(norm)],
            "update_norm": [0.2 * float(norm)],
        }
        writer.write(tables)
    finding = _found(open_run(tmp_path), "weights-shrunk")
    assert (finding is not None) == fires
    if finding is not None:
        assert finding.message == "w is down to 5 % of its size at the start."
        assert _found(open_run(tmp_path), "update-too-large") is None  # any step is large beside what is left


def test_a_converged_training_is_not_stuck(tmp_path):
    """Updates that have become small moved the weights before."""
    assert _found(_updated(tmp_path, np.geomspace(1e-2, 1e-9, 60)), "update-too-small") is None


def _clipped(folder, norms, *, coefficient=1.0, loss=None, user=None):
    def log(iteration):
        return {
            "loss": 1.0 if loss is None else float(loss[iteration]),
            "gradient_norm": float(norms[iteration]),
            "clip_coefficient": coefficient,
            "clip_cosine": 1.0,
        }

    metadata = {"user": user or {}}
    return plant(folder, lambda _: exponential(-0.01), iterations=range(len(norms)), logged=log, metadata=metadata)


def _with_spike(size, at=40):
    norms = np.exp(0.1 * np.random.default_rng(0).normal(size=60))
    norms[at] = size
    return norms


@pytest.mark.parametrize(("size", "ruined", "severity"), [(50, True, "warning"), (50, False, "info"), (5, True, None)])
def test_a_spike_that_nothing_stopped(tmp_path, size, ruined, severity):
    """A warning where the loss went up after it."""
    loss = np.where(np.arange(60) > 40, 3.0 if ruined else 1.0, 1.0)
    finding = _found(_clipped(tmp_path, _with_spike(size), loss=loss), "clip-never-on")
    assert (finding.severity if finding else None) == severity
    if finding is not None:
        assert finding.iteration == 40
        assert 2 < finding.evidence["guard"] < 10


def test_where_clipping_fires_it_is_on(tmp_path):
    """The same spike, clipped."""
    assert _found(_clipped(tmp_path, _with_spike(50), coefficient=0.5), "clip-never-on") is None


def test_a_spike_of_a_gradient_that_has_converged_is_no_spike(tmp_path):
    """Ten times next to nothing is next to nothing."""
    norms = np.geomspace(1, 1e-9, 60)
    norms[50] *= 100
    assert _found(_clipped(tmp_path, norms), "clip-never-on") is None


@pytest.mark.parametrize(("loss_after", "fires"), [(0.8, False), (3.0, True)])
def test_gradients_that_become_larger_and_stay_so_are_no_spike(tmp_path, loss_after, fires):
    """Where a network begins to learn, all are larger from there on; where the loss goes up, they are not its own."""
    norms = np.where(np.arange(60) < 40, 1.0, 12.0)
    loss = np.where(np.arange(60) <= 40, 1.0, loss_after)
    finding = _found(_clipped(tmp_path, norms, loss=loss), "clip-never-on")
    assert (finding is not None) == fires


def test_a_guard_that_would_have_let_the_spike_pass_is_not_advised(tmp_path):
    """Norms that scatter ask for a threshold of 59, above the spike of 15."""
    norms = np.resize([0.4, 1.0, 2.5], 60)
    norms[40] = 15.0
    finding = _found(_clipped(tmp_path, norms), "clip-never-on")
    assert "guard" not in finding.evidence
    assert finding.advice[0].startswith("Clip the norm as a guard, at 3, three times the usual norm")


@pytest.mark.parametrize(
    ("user", "fires"),
    [
        ({"clip_threshold": 100.0}, True),
        ({"clip_threshold": 2.0}, False),
        ({"trial": {"clipping": "norm(50.0)"}}, True),
        ({"trial": {"clipping": "none"}}, False),
        ({"trial": {"clipping": "norm(1.2.3)"}}, False),
        ({"clip_threshold": "high"}, False),
        ({}, False),
    ],
)
def test_a_threshold_that_is_out_of_reach(tmp_path, user, fires):
    """Ten times the largest gradient, where the run says what the threshold is."""
    norms = np.exp(0.1 * np.random.default_rng(0).normal(size=60))
    finding = _found(_clipped(tmp_path, norms, user=user), "clip-never-on")
    assert (finding.severity if finding else None) == ("info" if fires else None)
