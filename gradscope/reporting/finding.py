"""What a study found, in one sentence, from its tables: for the list of all studies."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd

from gradscope.reporting.clauses import halving_clause, judged_clause, measured_clauses, scored_clause, shown_clause
from gradscope.reporting.numbers import listed
from gradscope.reporting.side_by_side import graded, memory_span

if TYPE_CHECKING:
    from gradscope.study.comparing.comparison import Comparison

_MOST_CLAIMS = 4


def finding(comparison: "Comparison") -> str:
    """Say what a study found: what its networks solved, showed or were measured to do, and the claims by what came out.

    Args:
        comparison: its tables.

    Returns:
        One sentence; empty if there is nothing to say.
    """
    settings, claims = comparison.settings, _claims(comparison.expectations)
    found = [_spans(settings) or shown_clause(comparison.exhibits, settings)]
    if not claims:
        found += measured_clauses(comparison.shown, settings)
        found += [scored_clause(settings, comparison.scores)] if not any(found) else []
        found += [halving_clause(settings)] if any(found) else [judged_clause(settings)]
    sentence = "; ".join([*filter(None, found), *claims])
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def _claims(table: pd.DataFrame) -> list[str]:
    """Return which published claims were reproduced, which contradicted and which neither."""
    named: dict[str, list[str]] = {"reproduced": [], "contradicted": [], "not told apart": []}
    for claim, rows in table.groupby("claim", sort=False) if len(table) else ():
        outcomes = [outcome for outcome in named if (rows["outcome"] == outcome).any()]
        # What was told apart on one task is named there; that others left it open is said by naming that one.
        for outcome in outcomes[:-1] if len(outcomes) > 1 and outcomes[-1] == "not told apart" else outcomes:
            own = rows[rows["outcome"] == outcome]
            place = f" (on {listed(list(own['task']))} alone)" if len(own) < len(rows) else ""
            named[outcome].append(f"\N{LEFT DOUBLE QUOTATION MARK}{claim}\N{RIGHT DOUBLE QUOTATION MARK}{place}")
    return [f"{outcome}: {_some(claims)}" for outcome, claims in named.items() if claims]


def _some(claims: list[str]) -> str:
    more = [f"{len(claims) - _MOST_CLAIMS} more"] if len(claims) > _MOST_CLAIMS else []
    return listed(claims[:_MOST_CLAIMS] + more)


def _spans(settings: pd.DataFrame) -> str:
    """Return up to which lag each cell solves a task, where it was tried at several."""
    rows = graded(settings)
    spans = {words: memory_span(own) for words, own in _settings(rows)} if len(rows) else {}
    solving = [f"{words} up to lag {span:.0f}" for words, span in spans.items() if span]
    if not solving:
        return ""
    others = len(spans) - len(solving)
    at_none = [f"the other{f' {others}' if others > 1 else ''} at none"] if others else []
    lags = sorted({int(lag) for lag in rows["lag"]})
    return f"of lags {listed([str(lag) for lag in lags])}, solved with every seed: {listed(solving + at_none)}"


def _settings(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each cell, start and clipping by as short a name as tells them apart."""
    columns = ["cell", "initialisation", "clipping"]
    varied = [column for column in columns if len(set(rows[column])) > 1] or ["cell"]
    for _, own in rows.groupby(columns, sort=False):
        yield " ".join(str(own[column].iloc[0]) for column in varied), own
