"""The study's tables in words."""

import math

import pandas as pd
import pytest

from gradscope.reporting.tables import (
    Cell,
    clipping_table,
    failure_table,
    glances,
    number_cell,
    tone,
    underflow_cell,
    verdict_table,
)
from gradscope.study.comparing.comparison import Comparison


def _row(comparison: Comparison, cell: str, initialisation: str) -> dict[str, Cell]:
    table = verdict_table(comparison.settings)
    names = [name for name, _ in table.heads]
    for topic, cells in table.rows:
        row = dict(zip(names, cells, strict=True))
        if (topic, row["Cell"].text, row["Initialisation"].text) == ("adding", cell, initialisation):
            return row
    raise AssertionError(f"no row of {cell} {initialisation}")


def test_a_vanishing_row(comparison: Comparison) -> None:
    """Verdict, half-life with its interval, share with its lag, underflow."""
    row = _row(comparison, "rnn_tanh", "normal(0.001)")
    assert (row["At the end"].text, row["At the end"].tone) == ("vanishing", "vanishing")
    assert row["Half-life"] == Cell("0.14", sort=pytest.approx(0.139, abs=0.01), kind="number", extra="0.13 to 0.15")
    assert (row["Left at the task's lag"].text, row["Left at the task's lag"].extra) == ("exactly 0", "lag 99")
    assert row["Underflow"].text == "lag 19"


def test_an_exploding_row_sorts_before_all_that_vanish(comparison: Comparison) -> None:
    """A doubling time is marked, and is less than any half-life."""
    cell = _row(comparison, "rnn_relu", "identity")["Half-life"]
    assert cell.text.startswith("\u00d72 in 1")
    assert cell.sort < 0


def test_seeds_that_do_not_count_are_seen(comparison: Comparison) -> None:
    """Two of three."""
    assert _row(comparison, "rnn_relu", "identity")["Seeds"].text == "2 of 3"
    assert _row(comparison, "gru", "default")["Seeds"].text == "3"


@pytest.mark.parametrize(
    ("kind", "left", "expected"),
    [
        ("marginal", 0.5, "marginal"),
        ("marginal", 0.009, "unclear"),
        ("marginal", math.nan, "unclear"),
        ("vanishing", 0.0, "vanishing"),
        ("failed", math.nan, "failed"),
    ],
)
def test_tone(kind: str, left: float, expected: str) -> None:
    """Green only where the gradient was measured to arrive."""
    assert tone(kind, left) == expected


@pytest.mark.parametrize(
    ("everywhere", "somewhere", "expected"),
    [
        (19.0, 17.0, ("lag 19", "")),
        (math.nan, 17.0, ("lag 17", "in some sequences")),
        (math.nan, math.nan, ("none", "")),
    ],
)
def test_underflow(everywhere: float, somewhere: float, expected: tuple[str, str]) -> None:
    """In all sequences, in some, in none."""
    cell = underflow_cell(everywhere, somewhere)
    assert (cell.text, cell.extra) == expected


def test_a_missing_number_sorts_last() -> None:
    """NaN would make the order depend on chance."""
    assert number_cell("-", math.nan).sort == math.inf


def test_the_glance_has_a_hole_where_nothing_was_tried(comparison: Comparison) -> None:
    """Initialisations down, cells across."""
    glance = glances(comparison.settings[comparison.settings["clipping"] == "none"])[0]
    rows = dict(glance.rows)
    assert glance.cells == ("rnn_tanh", "rnn_relu", "lstm", "gru")
    assert [cell is None for cell in rows["chrono"]] == [True, True, False, False]


def test_the_glance_tells_doubling_times_from_half_lives(comparison: Comparison) -> None:
    """In the cell, to those who hear it, and in the note above."""
    glance = glances(comparison.settings[comparison.settings["clipping"] == "none"])[0]
    rows = dict(glance.rows)
    grows, falls = rows["identity"][1], rows["default"][0]
    assert grows is not None
    assert falls is not None
    assert grows.text.startswith("\u00d72 in 1")
    assert grows.spoken == "exploding, doubling time "
    assert falls.spoken == "vanishing, half-life "
    assert glance.grows
    vanishing = comparison.settings[comparison.settings["rate"] < 0]
    assert not any(glance.grows for glance in glances(vanishing))


def test_clipping_beside_the_unclipped_loss(comparison: Comparison) -> None:
    """Each clipped setting stands beside the same one without."""
    table = clipping_table(comparison.clipping, comparison.settings)
    names = [name for name, _ in table.heads]
    row = dict(zip(names, table.rows[1][1], strict=True))
    assert (row["Clipping"].text, row["Fired"].text, row["Fired"].tone) == ("value(0.01)", "80\u202f%", "80")
    same = comparison.settings.set_index(["task", "cell", "initialisation", "clipping"])["loss_final_mean"]
    assert row["Without clipping"].sort == same["adding", "rnn_tanh", "default", "none"]


def test_failures_are_listed_with_reasons(comparison: Comparison) -> None:
    """One row a trial that did not finish."""
    table = failure_table(comparison.trials)
    assert [cells[-1].text for _, cells in table.rows] == ["the loss became infinite in iteration 41"] * 2
    assert failure_table(pd.DataFrame(comparison.trials[comparison.trials["status"] == "finished"])).rows == ()
