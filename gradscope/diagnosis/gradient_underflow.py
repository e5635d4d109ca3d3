"""The gradient becomes exactly 0 on its way back because no number of the training type is so small."""

import numpy as np

from gradscope.analysis import percent
from gradscope.analysis.onset import first_lasting
from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding

_SHARE = 0.05


def find_gradient_underflow(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if at some lag at least 5 % of the sequences have a gradient of exactly 0 that was worn away.

    Zeros that come at once, as behind relu units that are all off for a sequence, are no underflow.
    """
    decay = evidence.end
    if decay.zeros == 0 or decay.cut_off:
        return None
    worst = float(decay.worn_share.max())
    if worst < _SHARE:
        return None
    first = int(np.flatnonzero(decay.worn_share)[0])
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
            f"The gradient is exactly 0 {where}: it became smaller than any number of the training type, in up to "
            f"{percent(worst)} of the sequences."
        ),
        evidence=numbers,
        advice=(
            "Cure the vanishing gradient first: underflow is its last stage.",
            "Under mixed precision raise the loss scale, or run the recurrent layer in float32.",
        ),
        meaning="From there back nothing is learned at all, however healthy the weights' own gradient looks.",
        reference="Micikevicius et al. 2018, arXiv:1710.03740",
        iteration=_since(evidence),
    )


def _since(evidence: LayerEvidence) -> int | None:
    # One sequence's zero makes no mean zero: the first iteration whose mean is 0 somewhere before the loss.
    gone = evidence.timesteps["total_gradient_norm"].eq(0) & evidence.timesteps["direct_gradient_norm"].eq(0)
    by_iteration = gone.groupby(evidence.timesteps["iteration"]).any()
    return first_lasting(by_iteration.index.tolist(), by_iteration.to_numpy())
