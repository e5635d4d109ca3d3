"""A run told in order: what happened first, at which iteration, and what followed."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gradscope.analysis import number
from gradscope.diagnosis.examination import Examination
from gradscope.diagnosis.finding import SEVERITIES, Finding
from gradscope.runs import Run

_JUMP = 3.0
_WINDOW = 25
_FEWEST = 5
_RISE = 1.5


@dataclass(frozen=True)
class Event:
    """Something that happened in training.

    Attributes:
        iteration: When; None for what holds of the run as a whole and has no beginning that is known.
        text: What, in words; of a finding its message.
        finding: The finding that begins there; None for what is told of the loss.
    """

    iteration: int | None
    text: str
    finding: Finding | None = None


def story(run: Run, examination: Examination) -> tuple[Event, ...]:
    """Return what happened in a run, in order of iterations.

    That one thing follows another in time does not make it its effect; the findings say what tends to cause what.

    Args:
        run: Complete or still being written.
        examination: Of that run.

    Returns:
        The start, every finding where it began, the loss's jump and turn, the end; then what has no beginning. Events
        of one iteration stand with the worst finding first, the loss after what may have moved it; values that are not
        finite in the order in which they came up. Empty for a run without iterations.
    """
    if run.iterations.empty:
        return tuple(Event(None, finding.message, finding) for finding in examination.findings)
    losses = _Losses.of(run)
    began = [Event(finding.iteration, finding.message, finding) for finding in examination.findings]
    timed = [event for event in (*began, *losses.events()) if event.iteration is not None]
    timed.sort(key=lambda event: (event.iteration, _rank(event), _order(event)))
    first, last = int(run.iterations["iteration"].min()), int(run.iterations["iteration"].max())
    # A training may have died within an iteration that has no row.
    last = max([last, *(event.iteration for event in timed if event.iteration is not None)])
    words = "Training ends here" if run.complete else "This is as far as it is written"
    return (
        Event(first, f"Training begins{losses.at_first(first)}."),
        *timed,
        Event(last, f"{words}{losses.at_last(last)}."),
        *(event for event in began if event.iteration is None),
    )


def _rank(event: Event) -> int:
    return 1 if event.finding is None else -SEVERITIES.index(event.finding.severity)


def _order(event: Event) -> float:
    return 0.0 if event.finding is None else float(event.finding.evidence.get("order", 0))


@dataclass(frozen=True, eq=False)
class _Losses:
    """The losses that were logged; a NaN cannot be told from a loss that was not."""

    iterations: Int[np.ndarray, " logged"]
    values: Float[np.ndarray, " logged"]

    @classmethod
    def of(cls, run: Run) -> "_Losses":
        logged = run.iterations[run.iterations["loss"].notna()]
        return cls(logged["iteration"].to_numpy(dtype=np.int64), logged["loss"].to_numpy(dtype=np.float64))

    def at_first(self, iteration: int) -> str:
        return self._told(0, iteration, "first") if len(self.values) else ""

    def at_last(self, iteration: int) -> str:
        return self._told(-1, iteration, "last") if len(self.values) else ""

    def _told(self, place: int, iteration: int, which: str) -> str:
        loss, when = float(self.values[place]), int(self.iterations[place])
        value = "infinite" if math.isinf(loss) else number(loss)
        return f"; the loss is {value}" if when == iteration else f"; the {which} loss, of iteration {when}, is {value}"

    def events(self) -> tuple[Event, ...]:
        """Return the first jump of the loss, or else where it turns, and where it is infinite."""
        found = [self._infinite(), self._jump() or self._turn()]
        return tuple(event for event in found if event is not None)

    def _infinite(self) -> Event | None:
        infinite = np.flatnonzero(np.isinf(self.values))
        return Event(int(self.iterations[infinite[0]]), "The loss is infinite.") if len(infinite) else None

    def _jump(self) -> Event | None:
        """Return where the loss first stayed three times above the median of the 25 logged before."""
        if not (self.values > 0).all():
            return None
        for index in range(_FEWEST, len(self.values) - 1):
            usual = float(np.median(self.values[max(0, index - _WINDOW) : index]))
            if math.isfinite(usual) and self.values[index : index + 2].min() > _JUMP * usual:
                value = number(float(self.values[index]))
                text = f"The loss jumps to {value}, from a median of {number(usual)} before."
                return Event(int(self.iterations[index]), text)
        return None

    def _turn(self) -> Event | None:
        """Return where a running median of the loss was near its lowest for the last time, if it ended well above."""
        if len(self.values) < 2 * _WINDOW or not np.isfinite(self.values).all() or not (self.values > 0).all():
            return None
        smooth = np.median(np.lib.stride_tricks.sliding_window_view(self.values, _WINDOW), axis=1)
        lowest = float(smooth.min())
        if smooth[-1] < _RISE * lowest:
            return None
        place = int(np.flatnonzero(smooth < math.sqrt(_RISE) * lowest)[-1])
        return Event(
            int(self.iterations[place + _WINDOW // 2]),
            f"From about here the loss rises: it was down to {number(lowest)} and ends at {number(float(smooth[-1]))}.",
        )
