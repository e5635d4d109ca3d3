"""`gradscope.what_if` as a notebook has it: words, tables and a page."""

import re

import pytest

import gradscope
from gradscope.errors import UsageError
from tests.remedies.models import Loop, Reader

pytestmark = pytest.mark.xdist_group("tried")


@pytest.fixture(scope="module")
def result():
    """Two remedies, one of which does not fit."""
    said = []
    found = gradscope.what_if(
        Loop(), Reader, ["orthogonal", "forget-bias(1)"], iterations=8, seeds=[1, 2], progress=said.append
    )
    assert said == ["unchanged", "orthogonal", "forget-bias(1)"]
    return found


def test_its_words_name_what_was_tried_and_what_was_not(result):
    """As plain text and as HTML alike."""
    for text in (repr(result), result._repr_html_()):
        assert "orthogonal" in text
        assert "change of the loss" in text
        assert "Not tried: forget-bias(1): rnn: forget-bias sets the bias of a gate" in text
    assert str(result) == repr(result)


def test_its_tables_go_together(result):
    """One training a remedy and seed, one loss an iteration."""
    assert result.table["remedy"].tolist() == ["unchanged", "orthogonal"]
    assert result.trainings.groupby("remedy")["seed"].apply(list).to_dict() == {
        "unchanged": [1, 2],
        "orthogonal": [1, 2],
    }
    assert result.losses.groupby(["remedy", "seed"]).size().unique().tolist() == [8]
    assert [each.remedy for each in result.not_tried] == ["forget-bias(1)"]


def test_its_page_needs_nothing_else(result, tmp_path):
    """Every remedy, the reason for what was not tried, and what each does."""
    page = result.report(tmp_path / "what-if.html").read_text(encoding="utf-8")

    assert page.startswith("<!doctype html>")
    assert re.findall(r'(?:src|href)="(?!#|data:)', page) == []
    assert page.count('<svg class="plot"') == 3
    assert '<meta name="description" content="No' in page or 'content="The loss came out lower' in page
    assert "forget-bias sets the bias of a gate" in page
    assert "Saxe, McClelland" in page


def test_what_the_user_writes_is_text(tmp_path):
    """A remedy of one's own may be called anything."""
    from gradscope.remedies.remedy import Remedy

    found = gradscope.what_if(Loop(), Reader, [Remedy("<b>bold</b>", "does <i>nothing</i>")], iterations=8, seeds=2)

    page = found.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>bold</b>" not in page + found._repr_html_()
    assert "<i>nothing</i>" not in page
    assert "Never acted, or changed nothing" in repr(found)


def test_a_wrong_call_is_a_usage_error():
    """Of the public name, too."""
    with pytest.raises(UsageError, match="at least 8"):
        gradscope.what_if(Loop(), Reader, iterations=2)


def test_nothing_that_fits(tmp_path):
    """Where no remedy was tried, words and page say so, with the reason."""
    found = gradscope.what_if(Loop(), Reader, ["forget-bias(1)"], iterations=8, seeds=[1, 2])
    for text in (repr(found), found._repr_html_(), found.report(tmp_path / "page.html").read_text(encoding="utf-8")):
        assert "No remedy was tried" in text
        assert "forget-bias sets the bias of a gate" in text
