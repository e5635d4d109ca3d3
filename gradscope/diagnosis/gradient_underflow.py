"""The gradient becomes exactly 0 on its way back because no number of the training type is so small."""

from gradscope.analysis import percent
from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding

_SHARE = 0.05


def find_gradient_underflow(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if at some lag at least 5 % of the sequences have a gradient of exactly 0 that was worn away."""
    decay = evidence.end
    if decay.zeros == 0 or decay.cut_off or decay.all_zero_lag == 0:
        return None
    # Sequences that are 0 from the loss on have no gradient to lose.
    worst = float((decay.zero_share - decay.zero_share[0]).max())
    if worst < _SHARE:
        return None
    first = decay.first_zero_lag or 0
    where = f"from {steps(first)} back on"
    if decay.all_zero_lag is not None:
        where += f", in every sequence from {steps(decay.all_zero_lag)} back on"
    numbers: dict[str, float | int | str] = {
        "zeros": decay.zeros,
        "worst_share": worst,
        "first_zero_lag": first,
    }
    if decay.all_zero_lag is not None:
        numbers["all_zero_lag"] = decay.all_zero_lag
    return Finding(
        code="gradient-underflow",
        severity="warning",
        layer=evidence.layer,
        message=(
            f"The gradient is exactly 0 {where}: it became smaller than any number of the training type. There "
            f"nothing is learned at all, in up to {percent(worst)} of the sequences, however healthy the weights' "
            "gradient looks."
        ),
        evidence=numbers,
        advice=(
            "Cure the vanishing gradient first: underflow is its last stage.",
            "Under mixed precision raise the loss scale, or run the recurrent layer in float32.",
        ),
    )
