"""The page of a study: the answer in words, then everything that it rests on."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from gradscope.reporting.answer import answers, by_task, reference_clipping
from gradscope.reporting.claims import claims
from gradscope.reporting.facts import facts
from gradscope.reporting.figures.exhibits import exhibit_plate, score_plate
from gradscope.reporting.figures.heatmap import heatmap_plate
from gradscope.reporting.figures.lags import Frame, ceiling, lag_plate
from gradscope.reporting.figures.losses import loss_plate
from gradscope.reporting.figures.through_time import gradient_plate
from gradscope.reporting.finding import finding
from gradscope.reporting.glossary import GLOSSARY
from gradscope.reporting.learning import clipped, costs, course, name, score_name, scored, shown
from gradscope.reporting.measured import lede, measured_plates, told, written
from gradscope.reporting.numbers import counted, seconds
from gradscope.reporting.page import check_target, render, write_page
from gradscope.reporting.passes import pass_table, with_passes
from gradscope.reporting.side_by_side import side_by_side
from gradscope.reporting.svg import SvgInliner
from gradscope.reporting.tables import Glance, clipping_table, failure_table, glances, verdict_table
from gradscope.runs.places import Place, PlaceLike

if TYPE_CHECKING:
    import pandas as pd

    from gradscope.reporting.panel import Plate
    from gradscope.reporting.statement import TaskAnswer
    from gradscope.reporting.tables import Table
    from gradscope.study.comparing.comparison import Comparison

_SECTIONS = (
    ("answer", "Answer"),
    ("cells", "Side by side"),
    ("verdicts", "Verdicts"),
    ("lags", "Lag"),
    ("times", "Training"),
    ("loss", "Loss"),
    ("shown", "What it can do"),
    ("clipping", "Clipping"),
    ("failed", "Failed trials"),
    ("words", "Words"),
    ("made", "How it was made"),
)
_MOST_LOSS_PANELS = 14
_ROLES = {"cell": "panel", "initialisation": "series"}
_SETTING = ("task", "cell", "initialisation", "clipping")
_BACKWARDS = "read from the top down"
_BACKWARDS_NOTE = (
    " Backwards the last time is read first: an answer that looks at the state of that time has nothing before it "
    "that a gradient could go back to."
)


def study_page(comparison: "Comparison", path: PlaceLike) -> Place:
    """Write the page of a study, one self-contained HTML file.

    Args:
        comparison: what the study found.
        path: of the file; an earlier page there is replaced once the new one is whole.

    Returns:
        The path of the page.

    Raises:
        UsageError: the path is a folder, or its folder is missing.
        RunError: the page cannot be written.
    """
    target = check_target(path)
    return write_page(_document(comparison), target)


def _document(comparison: "Comparison") -> str:
    settings = comparison.settings
    clipping = reference_clipping(settings)
    inliner = SvgInliner()
    published, held = claims(comparison.expectations)
    return render(
        "study.html",
        title=comparison.spec.title,
        question=comparison.spec.question,
        finding=finding(comparison),
        sections=_sections(comparison),
        published=published,
        claims=held,
        tasks=[str(task) for task in settings["task"].unique()],
        remarks=_remarks(comparison),
        answers=[_with_learning(answer, comparison) for answer in answers(settings)],
        shown=[
            *_shown_plates(comparison, inliner),
            *measured_plates(comparison.shown, settings, inliner),
        ],
        passes=_pass_tables(comparison),
        written=written(comparison.shown, settings),
        cells=side_by_side(settings),
        glances=_glances(settings, clipping),
        verdicts=verdict_table(settings),
        lags=[*_lag_plates(comparison, clipping, inliner), *_time_plates(comparison, inliner)],
        heatmaps=list(_heatmaps(comparison, inliner)),
        losses=list(_loss_plates(comparison, clipping, inliner)),
        clipping=clipping_table(comparison.clipping, settings),
        failures=failure_table(comparison.trials),
        glossary=GLOSSARY,
        facts=facts({**comparison.provenance, "training": seconds(float(comparison.trials["seconds"].sum()))}),
    )


def _sections(comparison: "Comparison") -> tuple[tuple[str, str], ...]:
    """Return the sections that have something to say."""
    empty = set()
    if comparison.exhibits.empty and comparison.scores.empty and comparison.shown.empty:
        empty.add("shown")
    if side_by_side(comparison.settings) is None:
        empty.add("cells")
    return tuple(section for section in _SECTIONS if section[0] not in empty)


def _with_learning(answer: "TaskAnswer", comparison: "Comparison") -> "TaskAnswer":
    """Return the answer with what its networks showed and how they were scored."""
    settings, scores, exhibits = (
        _of_task(table, answer.task) for table in (comparison.settings, comparison.scores, comparison.exhibits)
    )
    more = [told(_of_task(comparison.shown, answer.task), settings), *shown(settings, exhibits)]
    more.append(scored(settings, scores))
    first = tuple(one for one in more if one is not None)
    clipping = clipped(settings, _of_task(comparison.clipping, answer.task))
    last = tuple(one for one in [clipping, costs(settings)] if one is not None)
    leading = lede(_of_task(comparison.shown, answer.task), settings) or course(exhibits)
    return replace(answer, lede=leading + answer.lede, statements=(*first, *answer.statements, *last))


def _glances(settings: "pd.DataFrame", clipping: str) -> dict[str, Glance]:
    """Return the verdicts at a glance of each task that has any."""
    reference = settings[settings["clipping"] == clipping]
    judged = set(reference[reference["verdict"] != "mixed"]["task"])
    return {glance.task: glance for glance in glances(reference) if glance.task in judged}


def _of_task(table: "pd.DataFrame", task: str) -> "pd.DataFrame":
    return table[table["task"] == task] if len(table) else table


def _shown_plates(comparison: "Comparison", inliner: SvgInliner) -> Iterator["Plate"]:
    settings = comparison.settings
    names = {tuple(row[list(_SETTING)]): name(row, settings) for _, row in settings.iterrows()}
    for task, rows in _tasks(comparison.scores) if len(comparison.scores) else ():
        own = _of_task(settings, task)
        scores = with_passes(rows, own).rename(columns=_ROLES)
        yield score_plate(scores, score_name(own), _initialisations(comparison), task, inliner)
    for task, rows in _tasks(comparison.exhibits) if len(comparison.exhibits) else ():
        panels = [names[key] for key in rows[list(_SETTING)].itertuples(index=False, name=None)]
        for title, part in rows.assign(panel=panels).groupby("name", sort=False):
            yield exhibit_plate(part, f"{task}: {title}", task, inliner)


def _pass_tables(comparison: "Comparison") -> list["Table"]:
    tasks = _tasks(comparison.scores) if len(comparison.scores) else ()
    tables = (pass_table(rows, _of_task(comparison.settings, task)) for task, rows in tasks)
    return [table for table in tables if table is not None]


def _remarks(comparison: "Comparison") -> list[str]:
    """Return what a reader has to know before trusting the answer."""
    remarks = [note] if (note := getattr(comparison.spec, "note", "")) else []
    if comparison.provenance.get("mode") == "quick":
        remarks.append("This was a quick run: fewer iterations and seeds than the study asks for by itself.")
    if comparison.provenance.get("only"):
        remarks.append(f"This run trained a part of the study's grid: {comparison.provenance['only']}.")
    status = comparison.trials["status"]
    endings = (
        ("diverged", "diverged, and {count} in the verdicts with what was recorded until then"),
        ("failed", "failed and {do} not count"),
    )
    for ending, words in endings:
        lost = int((status == ending).sum())
        if lost:
            verbs = {"count": "counts", "do": "does"} if lost == 1 else {"count": "count", "do": "do"}
            said = words.format(**verbs)
            remarks.append(f"{counted(lost, 'trial')} of {len(status)} {said}: see the reasons below.")
    return remarks


def _initialisations(comparison: "Comparison") -> list[str]:
    return [str(name) for name in comparison.settings["initialisation"].unique()]


def _tasks(table: "pd.DataFrame") -> Iterator[tuple[str, "pd.DataFrame"]]:
    for task, rows in table.groupby("task", sort=False):
        yield str(task), rows


def _lag_plates(comparison: "Comparison", clipping: str, inliner: SvgInliner) -> Iterator["Plate"]:
    lag = by_task(comparison.settings, "lag")
    judged = set(comparison.settings[comparison.settings["verdict"] != "mixed"]["task"])
    lags = comparison.lags
    for task, rows in _tasks(lags[(lags["clipping"] == clipping) & lags["task"].isin(judged)]):
        frame = Frame(_initialisations(comparison), _float(lag.get(task)), ceiling(rows))
        for phase in ("end", "start"):
            chosen = rows[rows["phase"] == phase].rename(columns=_ROLES)
            title = f"{task}, at the {phase} of training"
            yield replace(lag_plate(chosen, title, frame, inliner), topic=task)


def _time_plates(comparison: "Comparison", inliner: SvgInliner) -> Iterator["Plate"]:
    """Yield total beside direct gradient where the loss enters at many times: each setting's first seed."""
    for task, rows in _tasks(comparison.times) if len(comparison.times) else ():
        first = rows[rows["seed"] == rows["seed"].min()]
        settings = _of_task(comparison.settings, task)
        tables = {
            name(own.iloc[0], settings): own.assign(phase="end", iteration=0, lag=own["time"].max() - own["time"])
            for _, own in first.groupby(list(_SETTING[1:]), sort=False)
        }
        plate = gradient_plate(tables, inliner)
        yield replace(plate, title=f"{task}, at the end of training", topic=task)


def _heatmaps(comparison: "Comparison", inliner: SvgInliner) -> Iterator["Plate"]:
    """Yield a figure a task: a panel a cell, and where that has several layers or directions a panel for each."""
    for task, rows in _tasks(comparison.heat):
        layers = rows["layer"].astype(str)
        titles = rows["cell"].astype(str) + layers.radd(", ").where(layers != "", "")
        tables = {str(title): table for title, table in rows.groupby(titles, sort=False)}
        backwards = {title: _BACKWARDS for title in tables if title.endswith("backwards")}
        note = heat_note(rows) + _BACKWARDS_NOTE * bool(backwards)
        yield heatmap_plate(task, tables, inliner, caption=note, topic=task, where=backwards)


def heat_note(rows: "pd.DataFrame") -> str:
    """Return which trials stand for their cells."""
    shown = rows.drop_duplicates("cell")[["cell", "initialisation", "clipping"]]
    how = {
        str(cell): f"{'the default initialisation' if start == 'default' else start}, "
        f"{'unclipped' if clipping == 'none' else f'clipping {clipping}'}"
        for cell, start, clipping in shown.itertuples(index=False, name=None)
    }
    several = len(set(how.values())) > 1
    words = "; ".join(f"{cell} {what}" for cell, what in how.items()) if several else next(iter(how.values()))
    return f"One trial stands for each cell, its first seed: {words}."


def _loss_plates(comparison: "Comparison", clipping: str, inliner: SvgInliner) -> Iterator["Plate"]:
    baselines = by_task(comparison.settings, "baseline")
    meanings = by_task(comparison.settings, "baseline_meaning")
    for task, every in _tasks(comparison.losses):
        rows = _by_clipping(every) if len(every) else every
        if len(set(rows["panel"])) > _MOST_LOSS_PANELS:
            rows = rows[rows["clipping"] == clipping]
        meaning = str(meanings.get(task) or "")
        yield loss_plate(
            rows.rename(columns={"initialisation": "series"}),
            task,
            _initialisations(comparison),
            _float(baselines.get(task)),
            meaning,
            inliner,
        )


def _by_clipping(losses: "pd.DataFrame") -> "pd.DataFrame":
    """Return losses with their panel: a cell; where several clippings were tried, a cell and clipping."""
    panels = losses["cell"].astype(str)
    if len(set(losses["clipping"])) > 1:
        panels = panels + ", " + losses["clipping"].astype(str)
    return losses.assign(panel=panels)


def _float(value: object) -> float:
    return float("nan") if value is None else float(str(value))
