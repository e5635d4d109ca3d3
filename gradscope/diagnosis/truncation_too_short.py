"""The gradient is cut, by the sequence's length or inside it, before it reaches as far back as the task looks."""

import math

from gradscope.analysis import number, percent
from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding
from gradscope.diagnosis.read_too_early import read_too_early


def find_truncation_too_short(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if the task's lag is known and no gradient can travel that far.

    Where a layer is answered at the first time that it reads, `read-too-early` says so; where relu units that are off
    may be what cuts inside the sequence, `gradient-cut-off`.
    """
    decay, lag = evidence.end, evidence.lag
    if lag is None or decay.lags == 0 or read_too_early(evidence):
        return None
    reach = max(decay.longest, decay.lags) - 1
    if decay.cut_off and decay.all_zero_lag is not None and evidence.kind != "rnn_relu":
        reach = min(reach, decay.all_zero_lag - 1)
    if reach >= lag:
        return None
    numbers: dict[str, float | int | str] = {"reach": reach, "lag": lag}
    arriving = "" if evidence.loss_times > 1 or reach == 0 else _what_is_cut(evidence, reach, numbers)
    return Finding(
        code="truncation-too-short",
        severity="error",
        layer=evidence.layer,
        message=f"The gradient can travel {_far(reach)} and the task has to look {lag} back.{arriving}",
        evidence=numbers,
        advice=_advice(reach, lag),
        meaning=(
            "What lies further back can reach the loss through a state that is carried on, but no weight is ever told "
            "to keep it: truncated gradients are biased towards the recent past."
        ),
        reference="Williams & Peng 1990; Tallec & Ollivier 2017, arXiv:1705.08209; Mikhaeil et al. 2022, "
        "arXiv:2110.07238",
        iteration=evidence.first_iteration,
    )


def _far(reach: int) -> str:
    return f"{steps(reach)} back at most" if reach else "no time step back"


def _advice(reach: int, lag: int) -> tuple[str, ...]:
    advice = [
        f"Backpropagate through at least {steps(lag + 1)} at once: longer sequences, or detach() less often.",
        "If memory is short, recompute activations (torch.utils.checkpoint) or halve the batch.",
        "If the length has to stay, truncate at random lengths and weigh them, which leaves no bias on average.",
    ]
    if reach == 0:
        advice.insert(
            0,
            "Check that each call is handed the state that the one before it returned, `state = cell(x, state)`: "
            "without it every call begins a sequence of its own.",
        )
    return tuple(advice)


def _what_is_cut(evidence: LayerEvidence, reach: int, numbers: dict[str, float | int | str]) -> str:
    if reach >= evidence.end.lags:
        return ""  # Of so long a way there are too few sequences to say what is left of it.
    share, rate = float(evidence.end.share[reach]), evidence.end.rate
    if not math.isfinite(share):
        return ""
    numbers["share_at_cut"] = share
    said = f" At the cut {percent(share)} of it is left"
    if not (evidence.end.rate_high < 0 and math.isfinite(rate)):
        return f"{said}."
    # Beyond the cut the fitted law goes on: a geometric series, of which the lags up to the cut are the first part.
    missing = math.exp(rate * (reach + 1))
    numbers["missing_share"] = missing
    return f"{said}; if it went on at this rate, {number(100 * missing)} % of its sum over all lags would be missing."
