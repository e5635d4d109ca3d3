"""Published claims held against trials."""

import math

import pandas as pd
import pytest
from pydantic import ValidationError

from gradscope.study.spec.expectation import held_against
from gradscope.study.spec.study_spec import Expectation


def _trials(**losses):
    """Trials of some cells: a loss for each seed; solved below 0.1."""
    return pd.DataFrame(
        [
            {
                "task": "adding",
                "cell": cell,
                "initialisation": "default",
                "clipping": "none",
                "seed": seed,
                "status": "diverged" if math.isinf(loss) else "finished",
                "loss_final": loss,
                "share_at_lag": loss,
                "half_life": loss,
                "solved_below": 0.1,
            }
            for cell, values in losses.items()
            for seed, loss in enumerate(values)
        ]
    )


def _claim(**groups):
    return Expectation(claim="it is so", source="somebody", **groups)


LSTM_FIRST = {"better": {"cell": "lstm"}, "worse": {"cell": "rnn_tanh"}}


@pytest.mark.parametrize(
    ("lstm", "tanh", "outcome"),
    [
        ([0.01, 0.02, 0.015], [0.16, 0.17, 0.15], "reproduced"),
        ([0.16, 0.17, 0.15], [0.01, 0.02, 0.015], "contradicted"),
        ([0.01, 0.17, 0.015], [0.16, 0.16, 0.15], "not told apart"),  # one seed is the other way round
        ([0.01, 0.15, 0.15], [0.16, 0.16, 0.16], "not told apart"),  # all seeds agree, the interval holds 1
        ([0.01], [0.16], "not told apart"),  # one seed shows no spread
        ([0.01, 0.02], [math.inf, math.inf], "reproduced"),  # the others diverged
        ([math.inf, math.inf], [math.inf, math.inf], "not told apart"),
    ],
)
def test_an_ordering_has_to_hold_with_every_seed_and_its_interval(lstm, tanh, outcome):
    """Otherwise the numbers leave it open."""
    (row,) = held_against([_claim(**LSTM_FIRST)], _trials(lstm=lstm, rnn_tanh=tanh)).to_dict("records")

    assert row["outcome"] == outcome
    assert row["task"] == "adding"


def test_the_numbers_are_told():
    """Geometric means, the ratio, and Student's t interval of it: here exp(ln 10 +- 4.303 * 0.1 / sqrt(3))."""
    logs = [-0.1, 0.0, 0.1]
    trials = _trials(lstm=[0.01 * math.exp(one) for one in logs], rnn_tanh=[0.1] * 3)

    (row,) = held_against([_claim(**LSTM_FIRST)], trials).to_dict("records")

    low, high = (10 * math.exp(sign * 4.303 * 0.1 / math.sqrt(3)) for sign in (-1, 1))
    assert row["detail"] == (
        "loss 0.01 against 0.1; as claimed with 3 of 3 seeds; "
        f"ratio in its favour 10 (95 % interval {low:.3g} to {high:.3g})"
    )


def test_more_is_better_for_shares_and_half_lives():
    """Only a loss is better when it is lower."""
    trials = _trials(lstm=[0.5, 0.6], rnn_tanh=[0.01, 0.011])
    claims = [_claim(**LSTM_FIRST, measure=measure) for measure in ("loss", "share", "half-life")]

    assert list(held_against(claims, trials)["outcome"]) == ["contradicted", "reproduced", "reproduced"]


@pytest.mark.parametrize(
    ("losses", "kind", "outcome"),
    [
        ([0.01, 0.02], "solves", "reproduced"),
        ([0.2, 0.3], "solves", "contradicted"),
        ([0.01, 0.3], "solves", "not told apart"),
        ([0.2, math.inf], "fails", "reproduced"),
        ([0.01, 0.02], "fails", "contradicted"),
    ],
)
def test_solving_and_failing_are_counted(losses, kind, outcome):
    """All seeds, none, or some."""
    (row,) = held_against([_claim(**{kind: {"cell": "lstm"}})], _trials(lstm=losses)).to_dict("records")

    solved = sum(loss < 0.1 for loss in losses)
    assert row["outcome"] == outcome
    assert row["detail"].startswith(f"{solved} of 2 trials end below 0.1 (95 % interval of that share ")


def test_numbers_that_are_close_are_told_apart():
    """Three digits: 66 against 68 is not a ratio of 1."""
    (row,) = held_against([_claim(**LSTM_FIRST)], _trials(lstm=[0.66, 0.66], rnn_tanh=[0.68, 0.6801])).to_dict(
        "records"
    )

    assert row["detail"].startswith("loss 0.66 against 0.68; as claimed with 2 of 2 seeds; ratio in its favour 1.03 (")


def test_where_settings_differ_those_that_solve_it_are_named():
    """By what sets them apart."""
    trials = _trials(lstm=[0.01, 0.02], rnn_tanh=[0.2, 0.3], gru=[0.01, 0.2])

    (row,) = held_against([_claim(fails={"task": "adding"})], trials).to_dict("records")

    assert row["outcome"] == "not told apart"
    assert row["detail"].startswith("3 of 6 trials end below 0.1 ")
    assert row["detail"].endswith("%): 2 of 2 with lstm, 1 of 2 with gru")


def test_an_error_that_was_shown_is_better_when_it_is_lower():
    """As a loss is."""
    trials = _trials(lstm=[0.5, 0.51], rnn_tanh=[0.9, 0.91]).assign(shown_error=lambda rows: rows["loss_final"])

    (row,) = held_against([_claim(**LSTM_FIRST, measure="shown-error")], trials).to_dict("records")

    assert row["outcome"] == "reproduced"
    assert row["detail"].startswith("error of what was shown at the end 0.505 against 0.905; ")


def test_tasks_can_be_compared_with_one_another():
    """Where both groups name their task, it is one comparison over all."""
    trials = pd.concat([_trials(lstm=[0.1, 0.11]), _trials(lstm=[0.2, 0.21]).assign(task="copy")])
    groups = {"better": {"task": "adding"}, "worse": {"task": "copy"}}

    (row,) = held_against([_claim(**groups)], trials).to_dict("records")

    assert (row["task"], row["outcome"]) == ("", "reproduced")


def test_a_claim_about_settings_that_are_not_there_is_not_tried():
    """A quick run leaves some out; failed trials count as not there."""
    trials = _trials(lstm=[0.1], rnn_tanh=[0.2]).assign(status=["finished", "failed"])

    found = held_against([_claim(**LSTM_FIRST), _claim(solves={"cell": "gru"})], trials)

    assert list(found["outcome"]) == ["not tried", "not tried"]


@pytest.mark.parametrize("groups", [{}, {"better": {"cell": "gru"}}, {"solves": {"cell": "a"}, "fails": {"cell": "b"}}])
def test_a_claim_says_one_thing(groups):
    """A pair to compare, or what is solved, or what fails."""
    with pytest.raises(ValidationError, match="expected better and worse, or solves, or fails"):
        _claim(**groups)


def test_a_claim_about_a_start_is_held_against_the_start():
    """What training made of it since does not count."""
    rows = [
        {
            "task": "adding",
            "cell": "rnn_tanh",
            "initialisation": start,
            "seed": seed,
            "status": "finished",
            "share_at_lag": 0.1,
            "start_share_at_lag": share * (1 + 0.1 * seed),
        }
        for start, share in (("orthogonal", 0.5), ("default", 0.01))
        for seed in (0, 1, 2)
    ]
    claim = Expectation(
        claim="it helps",
        source="somebody",
        measure="share-at-start",
        better={"initialisation": "orthogonal"},
        worse={"initialisation": "default"},
    )

    (found,) = held_against([claim], pd.DataFrame(rows)).to_dict("records")

    assert found["outcome"] == "reproduced"
    assert "as training begins 0.548 against 0.011" in found["detail"]


def test_a_loss_without_bound_is_called_infinite():
    """A trial that diverged in one of its seeds has no mean loss."""
    rows = [
        {"task": "adding", "clipping": how, "seed": seed, "status": "diverged", "loss_final": loss}
        for how, losses in (("norm(1.0)", (0.1, 0.2)), ("none", (math.inf, 0.4)))
        for seed, loss in enumerate(losses)
    ]
    claim = Expectation(claim="c", source="s", better={"clipping": "norm(1.0)"}, worse={"clipping": "none"})

    (found,) = held_against([claim], pd.DataFrame(rows)).to_dict("records")

    assert found["detail"] == "loss 0.141 against infinity; as claimed with 2 of 2 seeds, some without bound"
