"""The list of all studies' pages, and the sentence that each says of itself."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import gradscope
from gradscope.errors import RunError
from gradscope.reporting.clauses import measured_clauses
from gradscope.reporting.finding import finding
from gradscope.reporting.gallery import LIST, Entry, list_of, read_entry, write_list
from gradscope.reporting.numbers import MISSING
from gradscope.reporting.side_by_side import memory_span, side_by_side
from gradscope.reporting.study import study_page
from gradscope.runs.places import as_place, read
from tests.reporting.made import made_comparison

REPORTS = Path(gradscope.__file__).parents[1] / "reports"
PAGES = sorted(REPORTS.glob("*.html"))


def _recall(cell, lags_solved):
    return [
        {
            "task": f"recall-{lag}",
            "kind": "recall",
            "cell": cell,
            "initialisation": "default",
            "clipping": "none",
            "lag": lag,
            "solved_below": 0.07,
            "solved": 3 if solved else 2,
            "trials": 3,
            "parameters": 100,
            "seconds_per_iteration": 0.004,
            "loss_final_mean": 0.1,
            "baseline": 0.69,
            "score": 0.9,
        }
        for lag, solved in lags_solved.items()
    ]


def test_a_memory_span_ends_before_the_first_lag_that_is_not_solved():
    """A longer lag that is solved by luck does not count."""
    rows = pd.DataFrame(_recall("lstm", {5: True, 10: True, 20: False, 40: True}))

    assert memory_span(rows) == 10
    assert memory_span(rows[rows["lag"] > 10]) == 0
    assert pd.isna(memory_span(rows.head(1)))


def test_a_task_on_which_a_cell_diverged_is_in_its_mean():
    """Of two tasks one is lost: the other alone would tell of a success."""
    rows = pd.DataFrame(_recall("lstm", {5: True, 10: False}) + _recall("rnn_tanh", {5: False, 10: False}))
    rows.loc[1, "loss_final_mean"] = float("inf")

    assert [cells[-1].text for _, cells in side_by_side(rows).rows] == ["∞", "0.14"]


def test_cells_stand_side_by_side_with_their_gates():
    """One row a cell; a span where several lags were tried."""
    table = side_by_side(
        pd.DataFrame(_recall("lstm", {5: True, 10: False}) + _recall("rnn_tanh", {5: False, 10: False}))
    )

    texts = [[cell.text for cell in cells] for _, cells in table.rows]
    assert texts == [
        ["lstm", "default", "input, forget, output", "100", "4.0 ms", "5", "90.0\u202f%", "0.14"],
        ["rnn_tanh", "default", "none", "100", "4.0 ms", "none", "90.0\u202f%", "0.14"],
    ]
    assert side_by_side(pd.DataFrame(_recall("lstm", {5: True}))) is None


def test_an_iteration_of_trials_trained_together_has_no_time():
    """A dash, sorted last."""
    rows = pd.DataFrame(_recall("lstm", {5: True}) + _recall("rnn_tanh", {5: False}))

    table = side_by_side(rows.assign(seconds_per_iteration=[0.004, float("nan")]))

    assert [(cells[4].text, cells[4].sort) for _, cells in table.rows] == [("4.0 ms", 4.0), (MISSING, float("inf"))]


def test_without_a_cell_that_was_tried_at_several_lags_there_is_no_span():
    """Two cells, each at a lag of its own: their costs stand side by side all the same."""
    table = side_by_side(pd.DataFrame(_recall("lstm", {5: True}) + _recall("rnn_tanh", {10: False})))

    assert [cells[0].text for _, cells in table.rows] == ["lstm", "rnn_tanh"]
    assert "Memory span" not in [name for name, _ in table.heads]


def _claimed(*rows):
    """Published claims: (claim, task, outcome)."""
    return pd.DataFrame(
        [
            {"claim": claim, "source": "somebody", "task": task, "outcome": outcome, "detail": ""}
            for claim, task, outcome in rows
        ]
    )


def _finding(**tables):
    """The finding of a comparison of which some tables are others."""
    return finding(replace(made_comparison(), **tables))


def test_a_finding_names_the_claims_by_what_came_out():
    """Each claim once, with its tasks where others of its tasks came out differently."""
    claims = _claimed(
        ("it grows", "adding", "reproduced"),
        ("it stays", "", "contradicted"),
        ("it turns", "adding", "not told apart"),
        ("it turns", "text", "reproduced"),
        ("it ends", "text", "not told apart"),
    )

    assert _finding(expectations=claims) == (
        "Reproduced: “it grows” and “it turns” (on text alone); contradicted: “it stays”; not told apart: “it ends”."
    )


def test_of_many_claims_the_first_are_named():
    """And the others counted."""
    claims = _claimed(*((f"claim {number}", "", "reproduced") for number in range(6)))

    assert _finding(expectations=claims) == ("Reproduced: “claim 0”, “claim 1”, “claim 2”, “claim 3” and 2 more.")


def test_a_finding_tells_errors_at_the_first_and_the_last_stop():
    """Of every task, the stops once where all have the same; claims come after it."""
    exhibits = pd.DataFrame(
        [
            {
                "task": task,
                "cell": "gru",
                "initialisation": "default",
                "clipping": "none",
                "seed": 0,
                "iterations": stop,
                "name": "run",
                "x": x,
                "truth": truth,
                "answer": truth + error / stop,
            }
            for task, error in (("short", 3.0), ("long", 6.0))
            for stop in (10, 20, 30)
            for x, truth in enumerate((1.0, -1.0))
        ]
    )
    claims = _claimed(("it grows", "", "reproduced"))

    assert _finding(exhibits=exhibits, expectations=claims) == (
        "Run: after 10 iterations and after 30 iterations, an error of 0.30 and 0.10 in short, 0.60 and 0.20 in long "
        "(always answering the mean: 1.0); reproduced: “it grows”."
    )
    of_one = exhibits[(exhibits["task"] == "short") | (exhibits["iterations"] < 30)]
    assert _finding(exhibits=of_one, expectations=claims).startswith(
        "Run: an error of 0.30 after 10 iterations and 0.10 after 30 iterations in short, 0.60 after 10 iterations and "
        "0.30 after 20 iterations in long ("
    )


def test_what_measures_say_alike_is_said_once():
    """Up to a comma or a colon; at the last stop, of the first seed."""
    setting = {"task": "adding", "initialisation": "default", "clipping": "none", "kind": "lines", "name": "gates"}
    shown = pd.DataFrame(
        [
            setting | {"cell": cell, "seed": seed, "iterations": stop, "told": f"open, in the mean: {size + stop}"}
            for cell, size in (("rnn_tanh", 1), ("lstm", 11))
            for seed in (0, 1)
            for stop in (0, 5)
        ]
    )
    settings = pd.DataFrame([setting | {"cell": "rnn_tanh"}, setting | {"cell": "lstm"}])

    assert measured_clauses(shown, settings) == ["open, in the mean: 6 (rnn_tanh), 16 (lstm)"]


def test_without_anything_else_verdicts_are_counted_for_each_task():
    """In one sentence, with how many settings solve the task."""
    said = _finding()

    assert said.startswith("On ")
    assert said.count(". ") == 0
    assert "(lag " in said


def test_a_page_carries_its_finding_to_the_list(tmp_path):
    """What the list says is what the page says, and Markdown's own signs are escaped."""
    comparison = made_comparison()
    page = study_page(comparison, tmp_path / "vanishing.html")

    entry = read_entry(page)
    assert entry.title == comparison.spec.title
    assert entry.question == comparison.spec.question
    assert entry.finding == finding(comparison)
    assert entry.finding
    assert list_of([Entry("a", "T", "Q?", "rnn_tanh < 1")]).endswith("- [T](a.html): Q?\n  rnn\\_tanh \\< 1\n")
    assert write_list(tmp_path).read_text(encoding="utf-8") == list_of([entry])


def test_links_of_the_list_lead_to_their_pages():
    """Whatever a page is called, and whatever signs its title has."""
    (link,) = [line for line in list_of([Entry("my page (1)", "a [b](c)", "Q?", "F")]).splitlines() if "](" in line]

    assert link == "- [a \\[b\\](c)](my%20page%20%281%29.html): Q?"


def test_what_is_no_page_of_a_study_is_left_out(tmp_path):
    """A page in another encoding, a page of another kind, a folder of such a name."""
    study_page(made_comparison(), tmp_path / "vanishing.html")
    (tmp_path / "old.html").write_bytes("<title>café</title>".encode("latin-1"))
    (tmp_path / "folder.html").mkdir()

    assert write_list(tmp_path).read_text(encoding="utf-8").count("](") == 1


def test_a_list_is_written_into_an_object_store(store):
    """From its pages, beside them."""
    folder = as_place("s3://bucket/pages")
    study_page(made_comparison(), folder / "vanishing.html")

    assert "](vanishing.html)" in read(write_list(folder)).decode()


def test_without_a_page_there_is_no_list(tmp_path):
    """And no empty file."""
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="There is no study's page"):
            write_list(folder)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="file cannot be read: Not a directory"):
        write_list(tmp_path / "file")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_of_the_gallery_is_small(page):
    """Below 1.5 MB."""
    assert page.stat().st_size < 1_500_000


def test_the_list_of_the_gallery_is_that_of_its_pages():
    """Nobody wrote it by hand."""
    entries = [entry for page in PAGES if (entry := read_entry(page)).finding]

    assert (REPORTS / LIST).read_text(encoding="utf-8") == list_of(entries)
