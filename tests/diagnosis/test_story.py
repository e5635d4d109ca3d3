"""The story puts what was found in order of iterations, beside what the loss did."""

import numpy as np
import pytest

from gradscope.diagnosis import examine, story
from gradscope.runs import RunWriter, open_run
from tests.planted import exponential, flush, plant


def _told(run):
    return [
        (event.iteration, event.finding.code if event.finding else event.text.split(";")[0].split(",")[0])
        for event in story(run, examine(run))
    ]


def _logged(loss, **columns):
    return lambda iteration: (
        {"loss": float(loss[iteration]), "gradient_norm": 1.0}
        | {name: float(values[iteration]) for name, values in columns.items()}
    )


def test_what_happened_first_comes_first(tmp_path):
    """A gradient that explodes from iteration 10 on, a loss that jumps at 14, NaN from 20 on."""

    def norms(iteration):
        found = exponential(0.2 if iteration >= 10 else -0.01, noise=0.1, seed=iteration)
        if 20 <= iteration < 22:
            found[:5] = np.nan
        return found

    loss = np.where(np.arange(30) < 14, 1.0, 50.0)
    run = plant(tmp_path, norms, iterations=range(30), logged=_logged(loss))
    assert _told(run) == [
        (0, "Training begins"),
        (10, "exploding-gradient"),
        (14, "The loss jumps to 50"),
        (20, "non-finite"),
        (29, "Training ends here"),
    ]


def test_what_has_no_beginning_comes_last(tmp_path):
    """Losses at many times are a property of the run."""
    run = plant(tmp_path, lambda i: exponential(-0.1, noise=0.1, seed=i), loss="every")
    assert _told(run)[-1] == (None, "loss-at-many-times")


def test_a_loss_that_turns_is_told(tmp_path):
    """Down for sixty iterations and up again: where it turned, up to the window of the running median."""
    iterations = np.arange(160)
    loss = 1 + np.abs(iterations - 60) / 20
    turn = plant(tmp_path, lambda i: exponential(-0.01, seed=i), iterations=iterations, logged=_logged(loss))
    told = [event for event in story(turn, examine(turn)) if event.text.startswith("From about here")]
    assert [event.iteration for event in told] == [pytest.approx(60, abs=12)]
    assert "was down to 1.3" in told[0].text


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_that_only_scatters_has_no_turn_and_no_jump(tmp_path, seed):
    """A log-normal scatter of a factor of two about a level that falls."""
    rng = np.random.default_rng(seed)
    loss = np.exp(0.4 * rng.normal(size=150)) / np.linspace(1, 2, 150)
    run = plant(tmp_path, lambda i: exponential(-0.01, seed=i), iterations=range(150), logged=_logged(loss))
    assert _told(run) == [(0, "Training begins"), (149, "Training ends here")]


def test_a_loss_that_is_lost_is_not_called_the_last(tmp_path):
    """Where the last iterations have no number, the last one that has is named."""
    loss = np.where(np.arange(12) < 5, 2.0, np.nan)
    run = plant(tmp_path, lambda i: exponential(-0.01, seed=i), iterations=range(12), logged=_logged(loss))
    assert story(run, examine(run))[-1].text == "Training ends here; the last loss, of iteration 4, is 2."


def test_a_run_that_is_still_written_has_a_story(tmp_path):
    """Up to its last flush, and it says that this is not the end."""
    writer = RunWriter(tmp_path, {})
    writer.write(flush(0, exponential(-0.01), logged={"loss": 3.0}))
    run = open_run(tmp_path)
    assert [event.text for event in story(run, examine(run))] == [
        "Training begins; the loss is 3.",
        "This is as far as it is written; the loss is 3.",
    ]


def test_an_empty_run_tells_only_that(tmp_path):
    """Nothing recorded, no iteration to begin with."""
    RunWriter(tmp_path, {})
    assert _told(open_run(tmp_path)) == [(None, "nothing-recorded")]


def test_a_loss_that_is_first_logged_later_is_not_that_of_the_start(tmp_path):
    """Nor is the last one that of the end."""
    losses = {10: 5.0, 14: 4.0}
    run = plant(
        tmp_path,
        lambda i: exponential(-0.01, seed=i),
        iterations=range(20),
        logged=lambda i: {"gradient_norm": 1.0} | ({"loss": losses[i]} if i in losses else {}),
    )
    texts = [event.text for event in story(run, examine(run)) if event.finding is None]
    assert texts == [
        "Training begins; the first loss, of iteration 10, is 5.",
        "Training ends here; the last loss, of iteration 14, is 4.",
    ]


def test_an_infinite_loss_is_said_to_be_infinite(tmp_path):
    """In words that fit the sentence."""
    run = plant(tmp_path, lambda i: exponential(-0.01, seed=i), logged=_logged([1.0] * 7 + [np.inf]))
    texts = [event.text for event in story(run, examine(run)) if event.finding is None]
    assert texts[-1] == "Training ends here; the loss is infinite."
