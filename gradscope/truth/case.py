"""What a case with a known answer is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One number, known and computed.

    Attributes:
        what: in words.
        expected: from a closed form or a publication, never from gradscope itself.
        got: what gradscope computed.
        tolerance: the accuracy that is promised, absolute.
    """

    what: str
    expected: float
    got: float
    tolerance: float

    @property
    def error(self) -> float:
        """Absolute difference."""
        return abs(self.got - self.expected)

    @property
    def holds(self) -> bool:
        """The difference is within the tolerance; never for NaN."""
        return self.got == self.expected or self.error <= self.tolerance


def within(what: str, expected: float, got: float, *, relative: float) -> Check:
    """Return a check whose tolerance is a share of the expected value."""
    return Check(what, expected, got, relative * abs(expected))


@dataclass(frozen=True)
class Curve:
    """One line of a case's figure; the truth is drawn as a line and what was computed as marks upon it.

    Attributes:
        label: what sets it apart from the others.
        x: positions.
        got: what gradscope computed there.
        expected: what is known there; None for a curve that only shows.
    """

    label: str
    x: Sequence[float]
    got: Sequence[float]
    expected: Sequence[float] | None = None


@dataclass(frozen=True)
class Picture:
    """The figure of a case as plain numbers.

    Attributes:
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        curves: what is drawn.
        log_y: the vertical axis is logarithmic.
    """

    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log_y: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    checks: tuple[Check, ...]
    picture: Picture


@dataclass(frozen=True)
class TruthCase:
    """A case with a known answer.

    Attributes:
        code: T1 and so on.
        title: a few words.
        statement: what must come out, and what it teaches.
        source: where the answer comes from.
        run: computes it, in float64, through gradscope's public functions.
    """

    code: str
    title: str
    statement: str
    source: str
    run: Callable[[], Outcome]
