"""States that start close together part exponentially."""

import math
from dataclasses import dataclass

from gradscope.analysis import number
from gradscope.analysis.state_growth import state_growth
from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding

_FEWEST_LAGS = 20
_NOTABLE_GROWTH = 10.0
_SETTLED = 0.5


@dataclass(frozen=True)
class _Exponent:
    value: float
    low: float
    high: float
    source: str


def find_chaotic_dynamics(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if the largest Lyapunov exponent is above 0, with its interval where it has one.

    It is taken from what a probe left in the run's metadata, `watch(metadata={"lyapunov": ...})`: the exponents in
    nats per time, or {"exponents": ..., "low": ..., "high": ...} with an interval of the largest, or either by layer.
    Otherwise from the gradient, which grows with the largest exponent on its way back; then it must have
    grown tenfold over 20 lags or more while the state itself stayed bounded, since without that a net that is merely
    unstable looks the same.
    """
    found = _from_metadata(evidence) or _from_gradient(evidence)
    if found is None or not found.low > 0:
        return None
    predictable = math.log(2) / found.value
    return Finding(
        code="chaotic-dynamics",
        severity="warning",
        layer=evidence.layer,
        message=(
            f"Two states that differ a little differ twice as much after {number(predictable)} time steps: the largest "
            f"exponent is {found.value:+.3f} nats per time{_interval(found)}, {found.source}."
        ),
        evidence={
            "largest_exponent": found.value,
            "exponent_low": found.low,
            "exponent_high": found.high,
            "predictability_time": predictable,
            "source": found.source,
        },
        advice=(
            f"Cut the gradient after about {steps(max(1, round(predictable)))}, the predictability time, or force the "
            "state back to the data (teacher forcing) that often.",
            "Start the recurrent weights orthogonal or smaller; clip the norm of the gradient.",
            "Push the exponents to 0 before and during training (gradient flossing).",
        ),
        meaning=(
            "The gradient has to explode through such a state, whatever the cell: no clipping makes its direction "
            "useful far back. If the data are chaotic themselves, this is what a good model looks like."
        ),
        reference="Mikhaeil, Monfared & Durstewitz 2022, arXiv:2110.07238; Engelken 2023, arXiv:2312.17306",
        iteration=None if found.source.startswith("by") else evidence.began(lambda rates: rates > 0),
    )


def _interval(found: _Exponent) -> str:
    return "" if found.low == found.high else f" (95 % interval {found.low:+.3f} to {found.high:+.3f})"


def _from_gradient(evidence: LayerEvidence) -> _Exponent | None:
    judged, decay = evidence.verdict, evidence.end
    if judged.kind != "exploding" or judged.growth < _NOTABLE_GROWTH or decay.lags_used is None:
        return None
    growth = state_growth(evidence.late, reverse=evidence.reverse)
    bounded = growth is not None and growth.high < _SETTLED
    if not bounded or decay.lags_used[1] - decay.lags_used[0] + 1 < _FEWEST_LAGS:
        return None
    source = f"from the growth of the gradient over {decay.lags_used[1]} lags"
    return _Exponent(decay.rate, decay.rate_low, decay.rate_high, source)


def _from_metadata(evidence: LayerEvidence) -> _Exponent | None:
    said = _field(evidence.run.metadata.get("user"), "lyapunov")
    said = _field(said, evidence.layer) or said
    exponents = _field(said, "exponents") or said
    known = [_number(value) for value in exponents] if isinstance(exponents, list) else [_number(exponents)]
    finite = [value for value in known if value is not None]
    if not finite or len(finite) < len(known):
        return None
    largest = max(finite)
    low, high = (_number(_field(said, end)) for end in ("low", "high"))
    return _Exponent(
        largest,
        largest if low is None else low,
        largest if high is None else high,
        "by the exponents in the run's metadata",
    )


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _number(value: object) -> float | None:
    """Return a finite number; a run may come from anyone, with anything in its metadata."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
