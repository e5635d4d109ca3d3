"""The page of a run, and of several side by side."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gradscope
from gradscope.errors import RunError, UsageError
from gradscope.reporting import report
from gradscope.reporting.run import named_runs
from gradscope.runs import open_run
from tests.planted import exponential, plant
from tests.reporting.made_run import write_run
from tests.reporting.test_study import outline


def _page(runs: object, tmp_path: Path) -> str:
    page = report(runs, tmp_path / "page.html")
    outline(page)
    return page.read_text(encoding="utf-8")


def _sections(text: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', text)


def test_all_parts_are_there(run_page: Path) -> None:
    """Findings first, then the gradient, and each section that the run has something for."""
    text = run_page.read_text()
    expected = ["answer", "gradient", "gates", "loss", "clipping", "parameters", "finite", "made", "words"]
    assert _sections(text) == expected
    assert run_page.stat().st_size < 1_500_000


def test_findings_stand_at_the_top(run_page: Path) -> None:
    """The vanishing layer is named with evidence and advice before anything else; the healthy one is not."""
    top = run_page.read_text().split('<section id="gradient"')[0]
    assert "vanishing-gradient" in top
    assert "encoder.l0" in top
    assert "What to try" in top
    assert "<dt>half life</dt><dd>1.16</dd>" in top
    assert "Vanishing gradient in encoder.l0" in top
    finding = top.split('<article class="finding')[1].split("</article>")[0]
    assert "encoder.l0, since iteration 0" in finding
    assert "leaves next to no trace in the gradient" in finding
    assert "<ol><li>Start with a larger forget-gate bias" in finding
    assert "See Bengio, Simard &amp; Frasconi 1994" in finding


def test_a_run_without_gates_has_no_section_for_them(tmp_path: Path) -> None:
    """A plain RNN has no gates, and no empty heading for them."""
    text = _page(write_run(tmp_path / "rnn", kind="rnn_tanh"), tmp_path)
    assert "gates" not in _sections(text)


def test_a_killed_run_says_so(runs: Path, tmp_path: Path) -> None:
    """The first thing on the page is that it is not whole, and up to where it goes."""
    top = _page(runs / "killed", tmp_path).split("</section>")[0]
    assert "This run is still being written, or was killed: the page shows what was on disk up to iteration 11." in top


def test_an_empty_run_says_what_is_missing(runs: Path, tmp_path: Path) -> None:
    """No figure, and what has to happen for a recording to be made."""
    text = _page(runs / "empty", tmp_path)
    assert "It holds no recorded gradient" in text
    assert "loss.backward()" in text
    assert 'class="plot"' not in text


def test_where_gradients_were_not_finite_is_told(runs: Path, tmp_path: Path) -> None:
    """The first iteration and the times of each layer."""
    text = _page(runs / "killed", tmp_path)
    table = text.split('<section id="finite"')[1].split("</section>")[0]
    cells = re.findall(r"<td>([^<]*)</td>", table)
    assert cells[:4] == ["encoder.l0", "3", "0 to 29", "60"]


def test_losses_at_many_times_get_no_half_life(runs: Path, tmp_path: Path) -> None:
    """A sum over lags is not drawn as a profile of lags."""
    text = _page(runs / "mixed", tmp_path)
    assert "Share of the gradient against lag" not in text
    assert "mixed" in text


def test_names_and_metadata_are_escaped(runs: Path, tmp_path: Path) -> None:
    """Markup in layers and metadata is text; the page's own script is the only one."""
    text = _page(runs / "hostile", tmp_path)
    assert text.count("<script") == 1
    assert "<img" not in text
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in text


def test_what_was_recorded_and_its_cost(run_page: Path) -> None:
    """Schedule, counts, overhead and the user's metadata."""
    made = run_page.read_text().split('<section id="made"')[1]
    assert "Every(2)" in made
    assert "3.4\u202f% of the training" in made
    assert "<dt>Lag</dt><dd>20</dd>" in made


def test_several_runs_side_by_side(runs: Path, tmp_path: Path) -> None:
    """One row a run, one line a run in each layer's panel, findings with the run's name."""
    text = _page([runs / "plain", str(runs / "killed"), open_run(runs / "empty")], tmp_path)
    assert "<h1>plain, killed and empty</h1>" in text
    assert _sections(text)[1] == "runs"
    assert "plain, encoder.l0" in text
    assert "killed is still being written" in text
    labels = re.findall(r'aria-label="(encoder\.l0: share of the gradient[^"]+)"', text)
    assert len(labels) == 1
    assert "with plain and" in labels[0]
    assert re.findall(r"<h3>(encoder\.\w+: [^<]+)</h3>", text) == [
        f"encoder.{layer}: {title}"
        for layer in ("l0", "l1")
        for title in ("Total and direct gradient", "Through training")
    ]
    assert "with killed" in labels[0]


def test_underflow_is_not_drawn_as_a_return(tmp_path: Path) -> None:
    """Where half of the iterations are exactly 0 the median of them all is drawn, not that of the survivors."""
    from gradscope.reporting.figures.through_time import gradient_plate
    from gradscope.reporting.svg import SvgInliner

    norms = [1.0, 1e-3, 1e-6, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    rows = {"phase": ["end"] * 9, "lag": [0, 1, 2] * 3, "total_gradient_norm": norms, "direct_gradient_norm": [0.0] * 9}
    (panel,) = gradient_plate({"l0": pd.DataFrame(rows)}, SvgInliner()).panels
    assert "of which exactly 0 is left at lag 2" in panel.svg


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    """Folders of the same name are told apart by their parents; a run given twice is shown once."""
    made = [open_run(write_run(tmp_path / name / "run", iterations=1)) for name in ("a", "b")]
    assert list(named_runs([*made, made[0]])) == ["a/run", "b/run"]


def test_the_same_run_gives_the_same_bytes(runs: Path, run_page: Path, tmp_path: Path) -> None:
    """Nothing of the moment gets into the page."""
    assert report(runs / "plain", tmp_path / "again.html").read_bytes() == run_page.read_bytes()


def test_no_run_is_a_mistake(tmp_path: Path) -> None:
    """An empty list is said to be one."""
    with pytest.raises(UsageError, match="at least one run"):
        report([], tmp_path / "page.html")


def test_a_damaged_run_keeps_the_earlier_page(tmp_path: Path) -> None:
    """The error names the file, and the page from before is as it was."""
    folder = write_run(tmp_path / "run")
    next(folder.glob("timesteps-*.parquet")).write_bytes(b"no parquet")
    page = tmp_path / "page.html"
    page.write_text("earlier")
    with pytest.raises(RunError, match="timesteps-"):
        report(folder, page)
    assert page.read_text() == "earlier"


@pytest.mark.parametrize(("layer", "times"), [("rnn.l0", 1), ("rnn.l0_reverse", 9)])
def test_a_gradient_at_lag_0_alone_is_drawn(tmp_path: Path, layer: str, times: int) -> None:
    """Sequences of one time; the way back of a model whose answer is read at the last time only."""
    norms = np.zeros((times, 4))
    norms[-1] = 1.0
    run = plant(tmp_path / "run", lambda _: norms, layer=layer)
    assert "share of the gradient that is left at lag 0" in _page(run, tmp_path)


@pytest.mark.slow
def test_a_watched_training_has_a_page(tmp_path: Path) -> None:
    """What watch() records, report() shows."""
    import torch

    from gradscope.instrument import watch

    torch.manual_seed(0)
    model = torch.nn.GRU(2, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, run=tmp_path / "run", schedule=1, metadata={"lag": 19}) as recorder:
        for _ in range(8):
            optimizer.zero_grad()
            loss = model(torch.randn(20, 4, 2))[0][-1].square().mean()
            loss.backward()
            recorder.log(loss=loss)
            optimizer.step()
    text = _page(tmp_path / "run", tmp_path)
    assert _sections(text)[:4] == ["answer", "gradient", "gates", "loss"]
    assert "gru, 2 to 8" in text


def test_a_run_that_diverged_says_what_is_not_known(tmp_path: Path) -> None:
    """No half-life, no horizon and no share of what is not finite; the losses that cannot be drawn are counted."""

    def logged(iteration: int) -> dict[str, float]:
        return {"loss": 1.0 if iteration == 0 else np.inf, "gradient_norm": 1.0}

    text = _page(plant(tmp_path / "run", lambda _: np.full((20, 4), np.nan), logged=logged), tmp_path)
    table = re.search(r"<caption.*?Decay of the gradient.*?</table>", text, re.DOTALL)[0]
    assert "&lt; 0.1 or more" not in table
    assert "beyond" not in table
    assert "lag 19" not in table
    assert "7 infinite losses cannot be drawn." in text
    assert "training loss at the end" not in text


def test_a_figure_is_spoken_with_the_shares_that_were_measured(tmp_path: Path) -> None:
    """The axis ends far above 1e-20; what a reader hears does not."""
    text = _page(plant(tmp_path / "run", lambda _: exponential(-1.0, times=47)), tmp_path)
    assert "share of the gradient that is left at lag 46 at the end of training: 1.1\u202f×\u202f10⁻²⁰" in text  # noqa: RUF001


def _spoken(run: object, tmp_path: Path) -> list[str]:
    return re.findall(r'aria-label="([^"]*by time and iteration[^"]*)"', _page(run, tmp_path))


@pytest.mark.parametrize(
    ("output", "where"),
    [
        (
            -1,
            [
                "the loss is at the top. At the first time its norm is",
                "the loss is at the top. At the first time its norm is",
            ],
        ),
        (0, ["the loss is at the bottom", "the loss is at the bottom"]),
        (5, ["the loss is at time 5", "the loss is at time 5"]),
        (slice(None), ["the loss enters at 9 times", "the loss enters at 9 times"]),
    ],
)
def test_where_the_loss_is_stands_beside_the_times(tmp_path: Path, output: object, where: list[str]) -> None:
    """In either direction it is where the output was answered, and not where a layer would end by itself."""
    layer = torch.nn.GRU(2, 4, bidirectional=True)
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        for _ in range(2):
            layer(torch.randn(9, 3, 2))[0][output].square().sum().backward()
            recorder.end_iteration()
            layer.zero_grad()
    spoken = _spoken(tmp_path / "run", tmp_path)
    assert [one.split("; ")[1][: len(words)] for one, words in zip(spoken, where, strict=True)] == where
    assert not any("is left at the first time" in one for one in spoken)


def test_times_of_sequences_that_end_apart_are_drawn_as_times_alone(tmp_path: Path) -> None:
    """Total beside direct gradient against lag is of the batch's times: left out where these are no lags."""
    layer = torch.nn.GRU(2, 4)
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        packed = torch.nn.utils.rnn.pack_padded_sequence(torch.randn(9, 3, 2), torch.tensor([9, 7, 6]))
        layer(packed)[1].square().sum().backward()
        recorder.end_iteration()
    text = _page(tmp_path / "run", tmp_path)
    assert "Share of the gradient against lag" in text
    assert "Total and direct gradient" not in text
    (spoken,) = _spoken(tmp_path / "run", tmp_path)
    assert "own end" in spoken


@pytest.mark.parametrize(("lost", "said"), [(1, "1 value was"), (2, "2 values were")])
def test_values_that_cannot_be_drawn_are_counted(tmp_path: Path, lost: int, said: str) -> None:
    """One is singular."""

    def logged(iteration: int) -> dict[str, float]:
        norm = np.inf if iteration < lost else 2.0
        return {"gradient_norm": norm, "clipped_gradient_norm": 1.0, "clip_coefficient": 0.5, "clip_cosine": 1.0}

    text = _page(plant(tmp_path / "run", lambda _: exponential(-0.1), logged=logged), tmp_path)
    assert f"{said} not finite or missing and cannot be drawn." in text
