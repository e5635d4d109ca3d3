"""Numbers from a run: pure functions of numpy and pandas."""

from gradscope.analysis.clipping import Clipping, Quantiles, clipping_statistics
from gradscope.analysis.decay import HORIZON_SHARE, Decay, fit_decay, underflow_floor
from gradscope.analysis.judging import Verdict, verdict
from gradscope.analysis.pooling import loss_times, phase_iterations, pooled_norms, run_decay
from gradscope.analysis.wording import number, percent

__all__ = [
    "HORIZON_SHARE",
    "Clipping",
    "Decay",
    "Quantiles",
    "Verdict",
    "clipping_statistics",
    "fit_decay",
    "loss_times",
    "number",
    "percent",
    "phase_iterations",
    "pooled_norms",
    "run_decay",
    "underflow_floor",
    "verdict",
]
