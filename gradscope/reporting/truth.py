"""The page of the cases with a known answer: expected, got, error, figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradscope.reporting.figures.known import known_plate
from gradscope.reporting.numbers import counted, number, scientific, seconds
from gradscope.reporting.page import check_target, render, write_page
from gradscope.reporting.panel import Plate
from gradscope.reporting.svg import SvgInliner
from gradscope.reporting.tables import Cell, Table, number_cell
from gradscope.runs.places import Place, PlaceLike
from gradscope.truth.case import Check, Outcome, TruthCase


@dataclass(frozen=True)
class CaseResult:
    """A case that ran.

    Attributes:
        case: which.
        outcome: what came of it.
        seconds: how long it took.
    """

    case: TruthCase
    outcome: Outcome
    seconds: float

    @property
    def wrong(self) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.outcome.checks if not check.holds]


@dataclass(frozen=True)
class _Section:
    """One case as the page shows it."""

    code: str
    head: str
    statement: str
    source: str
    took: str
    table: Table
    plate: Plate

    @property
    def anchor(self) -> str:
        """What a link to it names."""
        return self.code.lower()


def truth_page(results: Sequence[CaseResult], facts: Mapping[str, str], path: PlaceLike) -> Place:
    """Write the page, one self-contained HTML file.

    Args:
        results: of all cases.
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
    cases = [_section(result, inliner) for result in results]
    page = render(
        "truth.html",
        title="Numbers that are known",
        question="Does gradscope compute what closed forms and publications say?",
        sections=(("answer", "Answer"), *((case.anchor, case.code) for case in cases), ("made", "How this was made")),
        answer=answer(results),
        wrong=[(result.case.code, check.what) for result in results for check in result.wrong],
        cases=cases,
        facts=list(facts.items()),
    )
    return write_page(page, target)


def answer(results: Sequence[CaseResult]) -> str:
    """Return the outcome in a sentence."""
    checks = [check for result in results for check in result.outcome.checks]
    wrong = sum(not check.holds for check in checks)
    of = f"{counted(len(checks), 'number')} in {counted(len(results), 'case')}"
    if not wrong:
        return f"All {of} agree with closed forms and published values, each within the accuracy that is promised."
    return f"{wrong} of {of} {'do' if wrong > 1 else 'does'} not agree within the accuracy that is promised."


def _section(result: CaseResult, inliner: SvgInliner) -> _Section:
    case = result.case
    return _Section(
        code=case.code,
        head=f"{case.code} {case.title}",
        statement=case.statement,
        source=case.source,
        took=seconds(result.seconds),
        table=_table(result),
        plate=known_plate(result.outcome.picture, case.title, inliner),
    )


def _table(result: CaseResult) -> Table:
    heads = (
        ("What", ""),
        ("Expected", "from a closed form or a publication"),
        ("Got", "computed through gradscope's public functions, in float64"),
        ("Error", "absolute difference"),
        ("Allowed", "the accuracy that is promised"),
        ("Holds", ""),
    )
    rows = tuple(("", _row(check)) for check in result.outcome.checks)
    return Table(heads, rows, f"{result.case.code}: expected, got, error")


def _row(check: Check) -> tuple[Cell, ...]:
    return (
        Cell(check.what),
        number_cell(_exactly(check.expected, check), check.expected),
        number_cell(_exactly(check.got, check), check.got),
        number_cell(number(check.error, 2), check.error),
        number_cell(number(check.tolerance, 2), check.tolerance),
        Cell("yes" if check.holds else "NO"),
    )


def _exactly(value: float, check: Check) -> str:
    """Return a number with the digits that a closed form is known to; what is 0 within the tolerance needs but two."""
    digits = 2 if abs(value) <= check.tolerance else 7
    return scientific(value, digits) if 0 < abs(value) < 1e-3 or 1e5 <= abs(value) < math.inf else number(value, digits)
