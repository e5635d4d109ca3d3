"""One recurrence in one line."""

import math

import pandas as pd
import torch

from gradscope.analysis import fit_decay, underflow_floor, verdict
from gradscope.dynamics import LyapunovExponents
from gradscope.probing.recurrence import Recurrence
from gradscope.probing.sensitivity import weight_sensitivity
from gradscope.probing.sweep import Sweep


def summary_row(recurrence: Recurrence, sweep: Sweep, spectrum: LyapunovExponents, lag: int | None) -> pd.DataFrame:
    """Return the row.

    The verdict and the decay are of the relative lag profile: what share of its gradient a loss time sends so many
    times back. Unlike the total gradient it can be judged with a loss at many times, too.

    Args:
        recurrence: the recurrence.
        sweep: what goes back through it.
        spectrum: its exponents.
        lag: how far back the task has to look.
    """
    # Where no loss reaches a sequence there is no share of anything: its gradient is 0, and no NaN.
    reached = (recurrence.direct != 0).flatten(2).any(2).any(0)
    # The analysis takes norms by time, of a loss at the last.
    shares = sweep.relative_profile.where(reached, 0).flip(0).double().cpu().numpy()
    largest = max(float(sweep.profile[0].nan_to_num(0.0).mean()), torch.finfo(sweep.profile.dtype).tiny)
    decay = fit_decay(shares, floor=underflow_floor(str(sweep.profile.dtype)) / largest)
    judged = verdict(decay, lag)
    return pd.DataFrame(
        [
            {
                "kind": recurrence.kind,
                "verdict": judged.kind,
                "reason": judged.reason,
                "decay_rate": decay.rate,
                "decay_rate_low": decay.rate_low,
                "decay_rate_high": decay.rate_high,
                "half_life": decay.half_life,
                "weight_gradient_horizon": math.nan if sweep.horizon is None else sweep.horizon,
                "weight_sensitivity": weight_sensitivity(recurrence),
                "largest_exponent": float(spectrum.exponents[0]),
                "kaplan_yorke_dimension": spectrum.kaplan_yorke_dimension,
                "entropy": spectrum.entropy,
                "predictability_time": spectrum.predictability_time,
                "times": len(recurrence.inputs),
                "sequences": recurrence.inputs.shape[1],
                "state_size": sweep.two_time.total.shape[2],
            }
        ]
    )
