"""The page of remedies that were tried: what each moved, by how much, and what was not tried."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradscope.remedies.comparing import UNCHANGED_NAME
from gradscope.remedies.wording import change, effect_on_gradient, effect_on_loss, summary
from gradscope.reporting.facts import facts as spelt_out
from gradscope.reporting.figures.changes import change_panel
from gradscope.reporting.figures.losses import loss_plate
from gradscope.reporting.numbers import counted, half_life, number
from gradscope.reporting.page import check_target, render, write_page
from gradscope.reporting.panel import Plate
from gradscope.reporting.svg import SvgInliner
from gradscope.reporting.tables import Cell, Table, growth_half_life, number_cell
from gradscope.runs.places import Place, PlaceLike

if TYPE_CHECKING:
    import pandas as pd

    from gradscope.remedies.comparing import Trials

_WITH = "with the remedy"
_SECTIONS = (
    ("answer", "Answer"),
    ("tried", "Tried"),
    ("changes", "Changes"),
    ("losses", "Loss"),
    ("not-tried", "Not tried"),
    ("made", "How this was made"),
)


@dataclass(frozen=True)
class Subject:
    """A model on which remedies were tried.

    Attributes:
        name: what it is called; "" where there is only one.
        trials: what came of it.
    """

    name: str
    trials: "Trials"


def remedy_page(subjects: Sequence[Subject], facts: Mapping[str, object], path: PlaceLike) -> Place:
    """Write the page, one self-contained HTML file.

    Args:
        subjects: the models.
        facts: how it was made: name -> value.
        path: of the file; an earlier page there is replaced once the new one is whole.

    Returns:
        The path of the page.

    Raises:
        UsageError: the path is a folder, or its folder is missing.
        RunError: the page cannot be written.
    """
    target = check_target(path)
    inliner = SvgInliner()
    page = render(
        "what_if.html",
        title="What if",
        question="Which remedy lets the gradient reach further back, which lowers the loss, and by how much?",
        sections=_SECTIONS,
        finding=_finding(subjects),
        answers=[(subject.name, _answer(subject.trials)) for subject in subjects],
        tables=[(subject.name, remedy_table(subject.name, subject.trials)) for subject in subjects],
        changes=[_change_plate(subject, inliner) for subject in subjects],
        losses=[plate for subject in subjects if (plate := _loss_plate(subject, inliner)) is not None],
        not_tried=_not_tried_table(subjects),
        meanings=_meanings(subjects),
        facts=spelt_out(facts),
    )
    return write_page(page, target)


def _answer(trials: "Trials") -> list[str]:
    unchanged = trials.table.iloc[0]
    said = f"Unchanged: loss {number(unchanged['loss'])}"
    if not math.isnan(unchanged["half_life"]):
        what = "doubling time" if unchanged["rate"] > 0 else "half-life"
        said += f", {what} of the gradient {half_life(unchanged['half_life'])} times"
    elif not math.isnan(unchanged["horizon"]):
        said += f", the weights' gradient comes from the last {number(unchanged['horizon'], 2)} times"
    remarks = [] if trials.table["same_batches"].all() else [_other_batches(trials.table)]
    return [f"{said}.", *summary(trials.table), *remarks]


def _finding(subjects: Sequence[Subject]) -> str:
    """Return the page in a sentence."""
    parts = []
    for subject in subjects:
        said = ", ".join(_clause(sentence) for sentence in summary(subject.trials.table)[:2])
        parts.append(f"{subject.name}: {said}" if subject.name else said)
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def _clause(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:].rstrip('.')}"


def _other_batches(table: "pd.DataFrame") -> str:
    names = ", ".join(table.loc[~table["same_batches"], "remedy"])
    return f"Not on the same batches as the unchanged training, so that the comparison is not paired: {names}."


def remedy_table(name: str, trials: "Trials") -> Table:
    """Return what was tried, one row a remedy.

    Args:
        name: of the model, for the caption.
        trials: what came of it.

    Returns:
        The table.
    """
    heads = (
        ("Remedy", ""),
        (
            "Gradient through time",
            "against the unchanged training; what a 95 % interval does not tell from 0 is no change",
        ),
        ("Half-life", "times, at the end; mean over seeds; doubling time where it grows"),
        ("Horizon", "lag from which on less than 1 % of the gradient arrives, at most the length of the sequence"),
        (
            "Change of the rate",
            "nats per time, with its 95 % interval over the seeds; above 0 the gradient decays less, or grows more",
        ),
        ("Loss", "mean of the last tenth, over seeds"),
        ("Change of the loss", "with its 95 % interval over the seeds, each compared with itself"),
        ("Outcome", ""),
        ("Seeds", ""),
    )
    rows = tuple(("", _row(row)) for _, row in trials.table.iterrows())
    return Table(heads, rows, f"What was tried{f' on {name}' if name else ''}")


def _row(row: "pd.Series[Any]") -> tuple[Cell, ...]:
    return (
        Cell(str(row["remedy"])),
        Cell(effect_on_gradient(row)),
        number_cell(growth_half_life(row["rate"], half_life(row["half_life"])), row["half_life"]),
        number_cell(number(row["horizon"], 2), row["horizon"]),
        _change_cell(row, "rate"),
        number_cell(number(row["loss"]), row["loss"]),
        _change_cell(row, "loss"),
        Cell(effect_on_loss(row)),
        number_cell(str(row["seeds"]), float(row["seeds"])),
    )


def _change_cell(row: "pd.Series[Any]", column: str) -> Cell:
    if row["remedy"] == UNCHANGED_NAME:
        return Cell("")
    seen = change(row, column)
    interval = "" if math.isnan(seen.low) else f"{number(seen.low, 2)} to {number(seen.high, 2)}"
    return number_cell(number(seen.mean, 2), seen.mean, interval)


def _change_plate(subject: Subject, inliner: SvgInliner) -> Plate:
    table = subject.trials.table
    tried = [row for _, row in table.iterrows() if row["remedy"] != UNCHANGED_NAME]
    reach = "horizon" if table["rate"].isna().all() else "rate"
    unit = "change of the horizon [times]" if reach == "horizon" else "change of the decay rate [nats per time]"
    panels = [
        change_panel(title, what, [_interval(row, column) for row in tried], inliner)
        for title, what, column in (("Gradient", unit, reach), ("Loss", "change of the loss", "loss"))
    ]
    return Plate(
        title=subject.name,
        caption=(
            "Mean difference to the unchanged training with its 95 % interval over the seeds. Right of 0 the gradient "
            "decays less on its way back or grows more; left of 0 the loss is lower. In ink: no difference can be told."
        ),
        panels=panels,
    )


def _interval(row: "pd.Series[Any]", column: str) -> tuple[str, float, float, float]:
    seen = change(row, column)
    return str(row["remedy"]), seen.mean, seen.low, seen.high


def _loss_plate(subject: Subject, inliner: SvgInliner) -> Plate | None:
    losses = subject.trials.losses
    if (losses.loc[np.isfinite(losses["loss"]), "loss"] <= 0).any():
        return None  # drawn on a logarithmic axis
    unchanged = losses[losses["remedy"] == UNCHANGED_NAME]
    panels = []
    for name, rows in losses[losses["remedy"] != UNCHANGED_NAME].groupby("remedy", sort=False):
        panels += [unchanged.assign(panel=name, series=UNCHANGED_NAME), rows.assign(panel=name, series=_WITH)]
    if not panels:
        return None
    import pandas as pd

    series = [UNCHANGED_NAME, _WITH]
    return loss_plate(pd.concat(panels), subject.name, series, math.nan, "", inliner)


def _not_tried_table(subjects: Sequence[Subject]) -> Table:
    heads = (("Model", ""), ("Remedy", ""), ("Why it was not tried", ""))
    rows = tuple(
        ("", (Cell(subject.name or "the model"), Cell(each.remedy), Cell(each.reason)))
        for subject in subjects
        for each in subject.trials.not_tried
    )
    return Table(heads, rows, f"{counted(len(rows), 'remedy', 'remedies')} not tried")


def _meanings(subjects: Sequence[Subject]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for subject in subjects:
        for name, (meaning, reference) in subject.trials.meanings.items():
            found[name] = f"{meaning[:1].upper()}{meaning[1:]}.{f' {reference}.' if reference else ''}"
    return list(found.items())
