"""The page of a study."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from gradscope.errors import UsageError
from gradscope.reporting import study_page
from gradscope.reporting.study import heat_note
from gradscope.study.comparing.comparison import Comparison, compare
from tests.reporting.made import COMPARED, made_comparison
from tests.study.made_trials import write_trial

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """Which elements a page is made of, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember an element that begins."""
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Ignore an element that closes itself."""

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last, which has to be this one."""
        assert self.open.pop() == tag


def outline(page: Path) -> Outline:
    """Return the outline of a page, every element of which is closed."""
    found = Outline()
    found.feed(page.read_text(encoding="utf-8"))
    assert found.open == []
    return found


def test_the_page_needs_nothing_else(study: Path) -> None:
    """Every link stays inside the file, and the file is below 1.5 MB."""
    assert [link for link in outline(study).links if not link.startswith(("#", "data:"))] == []
    assert study.stat().st_size < 1_500_000


def test_the_same_comparison_gives_the_same_bytes(study: Path, tmp_path: Path) -> None:
    """Nothing of the moment or the machine gets into the page."""
    assert study_page(made_comparison(), tmp_path / "again.html").read_bytes() == study.read_bytes()


def test_all_parts_are_there(study: Path) -> None:
    """Answer, verdicts, lag, heat, loss, clipping, failures, words, provenance."""
    anchors = re.findall(r'<section id="(\w+)"', study.read_text())
    assert anchors == ["answer", "verdicts", "lags", "times", "loss", "clipping", "failed", "words", "made"]


def test_a_quick_run_and_lost_trials_are_said_at_the_top(study: Path) -> None:
    """What limits the answer stands before it."""
    top = study.read_text().split('id="verdicts"')[0]
    assert "This was a quick run" in top
    assert "2 trials of 84 diverged" in top


def test_every_panel_has_a_sentence(study: Path) -> None:
    """4 cells, 2 tasks: lag at the end and the start, heat, loss."""
    labels = re.findall(r'class="plot" role="img" aria-label="([^"]+)"', study.read_text())
    # Two figures of lags and one heatmap a task and cell; losses by cell and clipping, two cells with two more.
    assert len(labels) == 3 * 2 * 4 + 2 * (4 + 2 * 2)
    assert all(label.endswith(".") for label in labels)


def test_words_of_the_user_are_escaped(one_cell: Comparison, tmp_path: Path) -> None:
    """A title, a task, a cell and a reason with markup are text."""
    evil = "<script>alert(1)</script>"
    tables = {
        name: getattr(one_cell, name).replace({"task": {"adding": evil}, "cell": {"lstm": evil}}) for name in COMPARED
    }
    tables["trials"] = tables["trials"].assign(reason=evil, status="failed")
    spec = SimpleNamespace(name="x", title=evil, question=evil)
    page = study_page(Comparison(spec=spec, provenance={"command": evil, evil: [evil]}, **tables), tmp_path / "x.html")
    text = page.read_text()
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in text
    outline(page)


def test_a_study_of_real_folders(tmp_path: Path) -> None:
    """From run folders to the page: one setting vanishes, one underflows, one explodes and diverges."""
    rows = [("rnn_tanh", -0.5, "finished"), ("gru", -8.0, "finished"), ("rnn_relu", 0.2, "diverged")]
    made = [
        write_trial(tmp_path / "runs", f"{cell}-{seed}", rate=rate, cell=cell, seed=seed, status=status)
        for cell, rate, status in rows
        for seed in (0, 1)
    ]
    spec = SimpleNamespace(name="made", title="Made", question="What?")
    text = study_page(compare(spec, made, {}), tmp_path / "made.html").read_text()
    assert "of 3 settings without clipping, it vanishes on its way in 2 and explodes in 1." in text
    assert "It is exactly 0 (underflow, or the gradient is cut there) for gru default from lag 14 on." in text
    assert "2 trials of 6 diverged" in text


def test_a_study_without_a_single_success(tmp_path: Path) -> None:
    """All trials failed: the page says so and why, and draws nothing."""
    made = [write_trial(tmp_path / "runs", "f", rate=-0.5, status="failed")]
    spec = SimpleNamespace(name="made", title="Made", question="What?")
    page = study_page(compare(spec, made, {}), tmp_path / "made.html")
    text = page.read_text()
    assert "No setting gave a verdict here" in text
    assert "it failed in iteration 7" in text
    outline(page)


def test_a_comparison_without_clipping(one_cell: Comparison, tmp_path: Path) -> None:
    """The section says that nothing was clipped."""
    bare = replace(one_cell, clipping=one_cell.clipping.iloc[:0])
    assert "No trial of this study clipped" in study_page(bare, tmp_path / "bare.html").read_text()


def test_the_note_of_a_study_stands_before_its_answer(one_cell, study, tmp_path):
    """As the study file has it; without one nothing stands there."""
    spec = SimpleNamespace(**{**vars(one_cell.spec), "note": "Read `this` first."})
    page = study_page(replace(one_cell, spec=spec), tmp_path / "noted.html").read_text(encoding="utf-8")

    assert '<p class="remark">Read `this` first.' in page
    assert "Read `this`" not in study.read_text(encoding="utf-8")


def test_every_layer_and_direction_has_a_heatmap(one_cell, study, tmp_path):
    """In place of the one of a cell with one layer; what is read backwards is said to be."""
    both = [one_cell.heat.assign(layer=words) for words in ("forwards", "backwards")]
    page = study_page(replace(one_cell, heat=pd.concat(both)), tmp_path / "both.html")

    text = page.read_text(encoding="utf-8")
    assert "lstm, forwards: total gradient by time" in text
    assert "lstm, backwards: total gradient by time" in text
    assert "Backwards the last time is read first" in text
    before = study.read_text(encoding="utf-8")
    assert "lstm: total gradient by time" in before
    assert "Backwards the last time" not in before


def test_zeros_have_their_own_colour(one_cell: Comparison, study: Path, tmp_path: Path) -> None:
    """A heatmap with exact zeros names them in its scale; one without does not."""
    heat = one_cell.heat.assign(total_gradient_norm=lambda t: t["total_gradient_norm"].where(t["time"] > 5, 0.0))
    page = study_page(replace(one_cell, heat=pd.DataFrame(heat)), tmp_path / "zeros.html")
    assert page.read_text().count("</i>exactly 0</span>") == 1
    assert "</i>exactly 0</span>" not in study_page(one_cell, tmp_path / "without.html").read_text()


def test_heatmaps_say_what_they_show(comparison: Comparison) -> None:
    """The setting that stands for the cells, clipped or not; each cell's own where they differ."""
    heat, lstm = comparison.heat, comparison.heat["cell"] == "lstm"
    captions = [
        (heat, "its first seed: the default initialisation, unclipped."),
        (heat.assign(clipping="norm(1.0)"), "its first seed: the default initialisation, clipping norm(1.0)."),
        (
            heat.assign(initialisation=heat["initialisation"].where(~lstm, "chrono")),
            "; lstm chrono, unclipped; gru the",
        ),
    ]
    for table, words in captions:
        assert words in heat_note(table)


def test_a_folder_as_target_is_refused_before_any_work(comparison: Comparison, tmp_path: Path) -> None:
    """The mistake is said at once."""
    with pytest.raises(UsageError, match="is a folder"):
        study_page(comparison, tmp_path)
