"""The list of all studies' pages, and the sentence that each says of itself."""

from pathlib import Path

import pandas as pd
import pytest

import gradscope
from gradscope.errors import RunError
from gradscope.reporting.finding import finding
from gradscope.reporting.gallery import LIST, Entry, list_of, read_entry, write_list
from gradscope.reporting.side_by_side import memory_span, side_by_side
from gradscope.reporting.study import study_page
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


def test_without_a_cell_that_was_tried_at_several_lags_there_is_no_span():
    """Two cells, each at a lag of its own: their costs stand side by side all the same."""
    table = side_by_side(pd.DataFrame(_recall("lstm", {5: True}) + _recall("rnn_tanh", {10: False})))

    assert [cells[0].text for _, cells in table.rows] == ["lstm", "rnn_tanh"]
    assert "Memory span" not in [name for name, _ in table.heads]


def test_a_finding_names_the_claims_by_what_came_out():
    """Each claim once, with its task where it has one."""
    claims = pd.DataFrame(
        [
            {"claim": "it grows", "source": "somebody", "task": "adding", "outcome": "reproduced", "detail": "1"},
            {"claim": "it stays", "source": "somebody", "task": "", "outcome": "contradicted", "detail": "2"},
        ]
    )
    comparison = made_comparison()
    object.__setattr__(comparison, "expectations", claims)

    assert finding(comparison) == "Reproduced: “it grows” (adding). Contradicted: “it stays”."


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


def test_without_a_page_there_is_no_list(tmp_path):
    """And no empty file."""
    with pytest.raises(RunError, match="There is no study's page"):
        write_list(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_of_the_gallery_is_small(page):
    """Below 1.5 MB."""
    assert page.stat().st_size < 1_500_000


def test_the_list_of_the_gallery_is_that_of_its_pages():
    """Nobody wrote it by hand."""
    entries = [entry for page in PAGES if (entry := read_entry(page)).finding]

    assert (REPORTS / LIST).read_text(encoding="utf-8") == list_of(entries)
