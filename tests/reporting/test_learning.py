"""What was learned, in words."""

import numpy as np
import pandas as pd
import pytest

from gradscope.reporting.claims import claims
from gradscope.reporting.figures.exhibits import score_plate
from gradscope.reporting.learning import clipped, costs, course, learned, scored, shown
from gradscope.reporting.passes import pass_table, with_passes
from gradscope.reporting.svg import SvgInliner


def _settings(**columns):
    rows = pd.DataFrame(
        {
            "task": "adding",
            "cell": ["lstm", "rnn_tanh"],
            "initialisation": "default",
            "clipping": "none",
            "seeds": 3,
            "trials": 3,
            "loss_final_mean": [0.015, 0.17],
            "loss_final_low": [0.01, 0.16],
            "loss_final_high": [0.02, 0.18],
            "solved_below": 0.0167,
            "solved": [3, 0],
            "score": [0.9, 0.5],
            "score_name": "test accuracy",
            "parameters": [4480, 1120],
            "seconds_per_iteration": [0.004, 0.002],
        }
    )
    return rows.assign(**columns)


def test_solving_is_counted_and_the_best_is_named():
    """The lede counts, the statement lists by loss."""
    lede, statement = learned(_settings())

    assert lede == "1 of 2 settings solves it with every seed (loss below 0.0167). "
    assert statement.text.startswith("The lowest loss, 0.0150, is that of lstm default;")
    assert statement.lines[0] == "lstm default: 0.0150 (0.0100 to 0.0200), solved with 3 of 3 seeds"


def test_without_a_loss_that_means_solved_only_losses_are_told():
    """Nobody solves English."""
    lede, statement = learned(_settings(solved_below=np.nan))

    assert lede == ""
    assert "solved" not in statement.text + "".join(statement.lines)


SCORES = pd.DataFrame(
    [
        {"cell": "lstm", "initialisation": "default", "clipping": "none", "seed": seed, "iteration": at, "score": score}
        for seed, course in enumerate(([0.5, 0.9], [0.6, 0.94]))
        for at, score in zip((31, 63), course, strict=True)
    ]
)


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [("rows", "the first pass", "2 passes"), ("recall", "32 iterations", "64 iterations")],
)
def test_scores_are_told_at_first_and_at_last(kind, first, last):
    """The mean over seeds, and their spread at the end; passes only where the same data come again."""
    statement = scored(_settings(kind=kind), SCORES)

    assert statement.head == "Test accuracy"
    assert statement.lines == (
        f"lstm default: 55.0\u202f% after {first}, 92.0\u202f% after {last} (90.0\u202f% to 94.0\u202f%)",
    )


def test_scores_of_passes_are_drawn_and_listed_by_pass():
    """A row a pass, a column a setting; the axis counts passes."""
    settings = _settings(kind="rows")

    table = pass_table(SCORES, settings)
    plate = score_plate(
        with_passes(SCORES, settings).rename(columns={"cell": "panel", "initialisation": "series"}),
        "test accuracy",
        ["default"],
        "rows",
        SvgInliner(),
    )

    assert [name for name, _ in table.heads] == ["Pass", "lstm default"]
    assert [[cell.text for cell in cells] for _, cells in table.rows] == [["1", "55.0\u202f%"], ["2", "92.0\u202f%"]]
    assert "after each pass" in plate.caption
    assert ">passes over the data (epochs)<" in plate.panels[0].svg


def test_a_task_without_passes_has_no_table_of_them():
    """Each of its sequences is a new one."""
    assert pass_table(SCORES, _settings(kind="recall")) is None
    assert "pass" not in with_passes(SCORES, _settings())


def test_what_was_shown_is_measured_where_it_was_answered():
    """A missing answer counts for nothing; the median over seeds."""
    keys = {"cell": "lstm", "initialisation": "default", "clipping": "none", "name": "free run"}
    exhibits = pd.concat(
        [
            pd.DataFrame(
                keys
                | {
                    "seed": seed,
                    "iterations": at,
                    "x": [0.0, 1, 2],
                    "truth": [1.0, -1, 1],
                    "answer": [np.nan, -1 - e, 1 + e],
                }
            )
            for seed in (0, 1)
            for at, e in ((200, 0.8), (6000, 0.1))
        ]
    )

    (statement,) = shown(_settings(), exhibits)

    assert statement.lines == ("lstm default: 0.80 after 200 iterations and 0.10 after 6000 iterations",)
    assert "free run" in statement.text


def test_the_course_of_what_is_shown_is_one_sentence():
    """The median error over all settings and seeds at each stop, beside that of the mean: truth 1, -1, 1, -1 has 1."""
    exhibits = pd.concat(
        [
            pd.DataFrame(
                {
                    "cell": "lstm",
                    "initialisation": start,
                    "clipping": "none",
                    "seed": 0,
                    "name": "free run",
                    "iterations": at,
                    "truth": [1.0, -1, 1, -1],
                    "answer": [1.0 + error, -1 - error, 1 - error, -1 + error],
                }
            )
            for start, scale in (("default", 0.5), ("orthogonal", 1.5))
            for at, error in ((200, 0.8 * scale), (6000, 0.1 * scale))
        ]
    )

    assert course(exhibits) == (
        "Free run: an error of 0.80 after 200 iterations and 0.10 after 6000 iterations "
        "(always answering the mean: 1.0). "
    )
    assert course(exhibits.head(0)) == ""


def test_clippings_are_told_by_how_often_they_act():
    """The mean over seeds, the most frequent first; without a choice of clippings there is nothing to tell."""
    keys = {"cell": "lstm", "initialisation": "default"}
    acts = pd.DataFrame(
        [
            keys | {"clipping": how, "clipped_share": share, "coefficient_median": length, "cosine_median": cosine}
            for how, share, length, cosine in (
                ("none", 0.0, 1.0, 1.0),
                ("norm(1.0)", 0.2, 0.5, 1.0),
                ("norm(1.0)", 0.4, 0.7, 1.0),
                ("value(0.1)", 0.9, 0.3, 0.8),
            )
        ]
    )
    settings = pd.DataFrame({"clipping": ["none", "norm(1.0)", "value(0.1)"]})

    assert clipped(settings, acts).lines == (
        "lstm default, value(0.1): in 90.0\u202f% of the iterations, to 0.30 of its length, direction kept to 0.800",
        "lstm default, norm(1.0): in 30.0\u202f% of the iterations, to 0.60 of its length, direction kept to 1.00",
    )
    assert clipped(settings.head(1), acts) is None


def test_costs_stand_beside_each_other():
    """Only where there is something to compare."""
    assert costs(_settings()).lines == (
        "lstm: 4,480 parameters, 4.0 ms an iteration",
        "rnn_tanh: 1,120 parameters, 2.0 ms an iteration",
    )
    assert costs(_settings().head(1)) is None


def test_cells_trained_together_have_a_size_and_no_time_of_their_own():
    """Some of the cells, or all of them."""
    some, none = (costs(_settings(seconds_per_iteration=pace)) for pace in ([0.004, np.nan], np.nan))

    assert some.lines == ("lstm: 4,480 parameters, 4.0 ms an iteration", "rnn_tanh: 1,120 parameters")
    assert none.lines == ("lstm: 4,480 parameters", "rnn_tanh: 1,120 parameters")
    assert none.text == "of the recurrent part:"


@pytest.mark.parametrize("table", [pd.DataFrame(), pd.DataFrame(columns=["claim"])])
def test_no_claims_say_nothing(table):
    """A study that states none has no such section."""
    assert claims(table) == ("", ())


def test_claims_are_counted_by_what_came_out():
    """In the order from good to unknown."""
    row = {"claim": "it is so", "source": "somebody", "task": "", "detail": "1 against 2"}
    table = pd.DataFrame([row | {"outcome": outcome} for outcome in ("not tried", "reproduced", "contradicted")])

    sentence, found = claims(table)

    assert sentence == "Of 3 published claims held against these trials: 1 reproduced, 1 contradicted and 1 not tried."
    assert [claim.outcome for claim in found] == ["not tried", "reproduced", "contradicted"]
