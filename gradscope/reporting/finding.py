"""What a study found, in one sentence, from its tables: for the list of all studies."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pandas as pd

from gradscope.reporting.answer import answers
from gradscope.reporting.claims import claims
from gradscope.reporting.learning import course, scored
from gradscope.reporting.measured import lede
from gradscope.reporting.numbers import listed
from gradscope.reporting.side_by_side import graded, memory_span

if TYPE_CHECKING:
    from gradscope.study.comparison import Comparison

_MOST_SPANS = 6


def finding(comparison: "Comparison") -> str:
    """Say what a study found: the first of several kinds of finding that it has, and what became of published claims.

    Args:
        comparison: its tables.

    Returns:
        A sentence; empty if there is nothing to say.
    """
    for say in (_spans, _shown, _claims, _scored, _judged):
        sentence = say(comparison).strip()
        if sentence:
            published = "" if say is _claims else f" {claims(comparison.expectations)[0]}"
            return (sentence if sentence.endswith(".") else f"{sentence}.") + published.rstrip()
    return ""


def _claims(comparison: "Comparison") -> str:
    """Return which published claims were reproduced and which were not."""
    table = comparison.expectations
    if table.empty:
        return ""
    parts, several = [], len(set(comparison.settings["task"])) > 1
    for outcome in ("reproduced", "contradicted", "not told apart"):
        rows = table[table["outcome"] == outcome]
        named = [_claim(row, several=several) for _, row in rows.drop_duplicates(["claim", "task"]).iterrows()]
        if named:
            parts.append(f"{outcome[:1].upper()}{outcome[1:]}: {'; '.join(named)}")
    return ". ".join(parts)


def _claim(row: pd.Series, *, several: bool) -> str:
    claim = str(row["claim"])
    place = f" ({row['task']})" if row["task"] and several else ""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{claim}\N{RIGHT DOUBLE QUOTATION MARK}{place}"


def _spans(comparison: "Comparison") -> str:
    """Return up to which lag each cell solves a task, where it was tried at several."""
    rows = graded(comparison.settings)
    if rows.empty:
        return ""
    spans = {name: memory_span(own) for name, own in _settings(rows)}
    if not any(spans.values()):
        return ""
    words = [f"{name} up to lag {span:.0f}" if span else f"{name} at none" for name, span in spans.items()]
    lags = sorted({int(lag) for lag in rows["lag"]})
    return f"Of lags {listed([str(lag) for lag in lags])}, solved with every seed: {listed(words[:_MOST_SPANS])}"


def _settings(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each cell, start and clipping by as short a name as tells them apart."""
    varied = [column for column in ("initialisation", "clipping") if len(set(rows[column])) > 1]
    for _, own in rows.groupby(["cell", "initialisation", "clipping"], sort=False):
        yield " ".join(str(own[column].iloc[0]) for column in ("cell", *varied)), own


def _by_task(comparison: "Comparison", say: Callable[[str], str]) -> str:
    """Return what is said of each task, the task's name before it where there are several."""
    tasks = [str(task) for task in comparison.settings["task"].unique()]
    told = {task: words for task in tasks if (words := say(task).strip().rstrip("."))}
    return "; ".join(words if len(tasks) == 1 else f"{task}: {words}" for task, words in told.items())


def _shown(comparison: "Comparison") -> str:
    def say(task: str) -> str:
        settings = _of(comparison.settings, task)
        return lede(_of(comparison.shown, task), settings) or course(_of(comparison.exhibits, task))

    return _by_task(comparison, say)


def _scored(comparison: "Comparison") -> str:
    def say(task: str) -> str:
        found = scored(_of(comparison.settings, task), _of(comparison.scores, task))
        return f"{found.head}: {'; '.join(found.lines)}" if found else ""

    return _by_task(comparison, say)


def _judged(comparison: "Comparison") -> str:
    return " ".join(f"{answer.task}: {answer.lede}" for answer in answers(comparison.settings))


def _of(table: pd.DataFrame, task: str) -> pd.DataFrame:
    return table[table["task"] == task] if len(table) else table
