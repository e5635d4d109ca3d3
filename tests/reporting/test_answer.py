"""The answer in words, held against tables whose truth is known."""

import math

import pandas as pd
import pytest

from gradscope.reporting.answer import TaskAnswer, answers, reference_clipping
from gradscope.study.comparing.comparison import Comparison

ROW = {
    "task": "adding",
    "cell": "lstm",
    "initialisation": "default",
    "clipping": "none",
    "lag": 99.0,
    "baseline": 0.2,
    "rate": -0.3,
    "rate_low": -0.31,
    "rate_high": -0.29,
    "half_life": 2.31,
    "share_at_lag": 1e-13,
    "all_zero_lag": math.nan,
    "verdict": "vanishing",
    "start_verdict": "vanishing",
    "loss_final_high": 0.21,
}
KEEPS = {"verdict": "marginal", "share_at_lag": 0.5, "half_life": 90.0, "rate_low": -0.008, "rate_high": -0.0075}
EXPLODES = {"verdict": "exploding", "rate_low": 0.09, "rate_high": 0.11, "half_life": 6.9, "share_at_lag": 2e4}


def _answer(*changes: dict[str, object]) -> TaskAnswer:
    rows = [ROW | {"initialisation": f"i{index}"} | change for index, change in enumerate(changes)]
    (found,) = answers(pd.DataFrame(rows))
    return found


def _said(answer: TaskAnswer, head: str) -> str:
    return " ".join(f"{s.text} {' '.join(s.lines)}" for s in answer.statements if s.head == head)


def test_the_lede_counts_each_kind() -> None:
    """Two vanish, one explodes, one keeps its gradient."""
    assert _answer({}, {}, EXPLODES, KEEPS).lede == (
        "The task needs the gradient to reach 99 times back. At the end of training, of 4 settings without clipping, "
        "it vanishes on its way in 2, explodes in 1 and still arrives in 1."
    )


def test_vanishing_is_told_with_half_life_interval_and_share() -> None:
    """The numbers are those of the table."""
    said = _said(_answer({}), "Vanishes")
    assert "At most 1.0\u202f×\u202f10⁻¹³ of the gradient is left at lag 99." in said  # noqa: RUF001
    assert "lstm: i0 2.3 (2.2 to 2.4)" in said


def test_underflow_is_told() -> None:
    """A gradient that is exactly 0 is said to be so, from its lag on."""
    said = _said(_answer({"all_zero_lag": 18.0, "share_at_lag": 0.0}), "Vanishes")
    assert "It is exactly 0 (underflow, or the gradient is cut there) for lstm i0 from lag 18 on." in said
    assert "Nothing of the gradient is left at lag 99." in said


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (3.0, "The gradient grows on its way back, at lag 99 to up to 3.0 times what it is at lag 0. Doubling times"),
        (
            0.68,
            "after a fall close to the loss: at lag 99 it is at most 68\u202f% of what it is at lag 0. Doubling times",
        ),
        (math.nan, "Doubling times"),
    ],
)
def test_growth_is_told_by_what_was_measured(left: float, words: str) -> None:
    """A gradient that grows after it fell is not said to arrive."""
    said = _said(_answer(EXPLODES | {"share_at_lag": left}), "Explodes")
    assert words in said
    assert "arrives" not in said


def test_marginal_without_arrival_is_not_called_kept() -> None:
    """Where the rule leaves it open and less than 1 % was measured, the page does not say that the gradient arrives."""
    answer = _answer(KEEPS | {"share_at_lag": 0.004})
    assert "stays unclear in 1" in answer.lede
    assert _said(answer, "Keeps it") == ""
    assert "Less than 1 % was measured at lag 99" in _said(answer, "Unclear")


def test_an_interval_around_no_decay_has_no_end() -> None:
    """A rate that may be 0 gives a shortest half-life alone."""
    said = _said(_answer(KEEPS | {"rate_low": -0.01, "rate_high": 0.01}), "Keeps it")
    assert "lstm: i0 69 or more" in said


def test_what_training_changed_is_told() -> None:
    """A verdict that moved is named with both ends."""
    said = _said(_answer({}, KEEPS), "Training")
    assert "changed the verdict of 1 of 2: lstm i1 from vanishing to marginal." in said


def test_loss_is_told_by_how_the_gradient_began() -> None:
    """Counts of settings below the baseline, for each verdict at the start."""
    learnt = {"start_verdict": "marginal", "loss_final_high": 0.1}
    said = _said(_answer({}, {}, KEEPS | learnt), "Loss")
    assert "0 of 2 that vanished at the start and 1 of 1 that were marginal at the start" in said
    assert "These are lstm i2." in said


def test_a_diverged_seed_is_no_success() -> None:
    """An infinite loss lies above any baseline."""
    assert "0 of 1 that vanished" in _said(_answer({"loss_final_high": math.inf}), "Loss")


def test_clipping_is_compared_with_its_own_setting() -> None:
    """A verdict that clipping changed is named; one that it kept is counted."""
    clipped = {"initialisation": "i0", "clipping": "norm(1.0)"}
    kept = _answer({}, {}, clipped)
    moved = _answer({}, {}, clipped | KEEPS)
    assert _said(kept, "Clipping").strip() == "changed no verdict: 1 comparison with no clipping."
    assert "lstm i0 with norm(1.0)" in _said(moved, "Clipping")


def test_nothing_judged_is_said() -> None:
    """A task whose trials all failed has no verdict and makes none up."""
    answer = _answer({"verdict": "failed"}, {"verdict": "mixed"})
    assert answer.lede == "No setting gave a verdict here: see why in the table."
    assert answer.statements == ()


@pytest.mark.parametrize(("clippings", "expected"), [("nnv", "none"), ("nv", "none"), ("nvv", "v")])
def test_reference_clipping(clippings: str, expected: str) -> None:
    """Most frequent, and none where it is among them."""
    names = ["none" if letter == "n" else letter for letter in clippings]
    assert reference_clipping(pd.DataFrame({"clipping": names})) == expected


def test_the_made_comparison_is_answered_task_by_task(comparison: Comparison) -> None:
    """Both tasks, in the order of the table."""
    assert [answer.task for answer in answers(comparison.settings)] == ["adding", "text"]


NOT_KNOWN = {"verdict": "marginal", "share_at_lag": math.nan, "rate_low": -math.inf, "rate_high": math.inf}


def test_what_was_not_measured_is_not_said_to_be_less_than_a_percent() -> None:
    """A setting whose gradients are not finite stays unclear for another reason than one that decays slowly."""
    slow = KEEPS | {"share_at_lag": 0.004}
    alone, both = _said(_answer(NOT_KNOWN), "Unclear"), _said(_answer(NOT_KNOWN, slow), "Unclear")
    assert "What arrives at lag 99 could not be measured for lstm i0" in alone
    assert "Less than 1 %" not in alone
    assert "i0 not known" in alone
    assert "For lstm i1: Less than 1 % was measured" in both
    assert "could not be measured for lstm i0:" in both


def test_a_share_above_one_arrives_whole() -> None:
    """A marginal gradient may be larger than it was: so many times the gradient arrives."""
    assert "At least 12 times the gradient arrives" in _said(_answer(KEEPS | {"share_at_lag": 12.0}), "Keeps it")
    assert "At least 50\u202f% of the gradient arrives" in _said(_answer(KEEPS), "Keeps it")
