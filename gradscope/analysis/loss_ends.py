"""Whether each sequence has one loss, at its own end: then lags count from there, though the ends differ."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from gradscope.analysis.lags import sequence_lengths
from gradscope.analysis.pooling import evenly_spaced, loss_times
from gradscope.runs import Run

_ROUNDING = 1e-3


def run_loss_times(run: Run, layer: str) -> int:
    """Return at how many times the loss enters a sequence of a layer, the most in any recorded call.

    Packed sequences that are answered by their last states have a loss at several times of the batch and at one of
    each sequence; `loss_times`, which sees means over the batch alone, counts the former.

    Args:
        run: The run.
        layer: One of its layers.

    Returns:
        1 for a loss at the end of each sequence only, 0 if nothing was recorded.
    """
    rows = run.timesteps[run.timesteps["layer"] == layer]
    found = loss_times(rows)
    return 1 if found > 1 and _enters_at_own_ends(run, layer, rows) else found


def ends_differ(timesteps: pd.DataFrame, times: int) -> bool:
    """Return whether sequences end at different times, so that a time of the batch is no lag.

    Args:
        timesteps: Rows of one layer of a run's table.
        times: What `run_loss_times` says of it.
    """
    return times == 1 < loss_times(timesteps)


def _enters_at_own_ends(run: Run, layer: str, rows: pd.DataFrame) -> bool:
    """Return whether all direct gradient at a time is that of the sequences which end there.

    At its end nothing comes from later, so a sequence's total gradient is its direct one. That of an LSTM's cell is in
    the former alone.
    """
    for iteration in evenly_spaced(np.unique(rows["iteration"]).tolist()):
        call = rows[rows["iteration"] == iteration]
        call = call[call["call"] == call["call"].max()].sort_values("time")
        direct = call["direct_gradient_norm"].to_numpy(dtype=np.float64)
        norms = run.sequence_norms(layer, iteration, int(call["call"].iloc[0]))
        way = slice(None, None, -1) if layer.endswith("_reverse") else slice(None)
        if len(norms) != len(direct) or not _explained(direct[way], norms[way]):
            return False
    return True


def _explained(direct: Float[np.ndarray, " time"], norms: Float[np.ndarray, "time sequence"]) -> bool:
    ends = sequence_lengths(norms) - 1
    sequences = np.arange(norms.shape[1])
    at_end = np.zeros(len(norms))
    np.add.at(at_end, ends, norms[ends, sequences])
    entered = direct * (~np.isnan(norms)).sum(axis=1)
    return bool((entered <= at_end * (1 + _ROUNDING)).all())
