"""Gradients by lag and by time."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gradscope.dynamics import cancellation_index, norm_per_sequence, truncated_cosine, truncated_error
from gradscope.probing.recurrence import Recurrence
from gradscope.probing.sweep import Sweep


def lag_table(sweep: Sweep) -> pd.DataFrame:
    """Return one row a lag: what a loss time sends so far back.

    `norm`, `norm_q10` and `norm_q90` are mean and quantiles over the sequences; `share` is the mean relative to lag 0,
    every loss time counting alike.
    """
    norms = sweep.profile.double()
    quantiles = torch.quantile(norms, norms.new_tensor([0.1, 0.9]), dim=1)
    return pd.DataFrame(
        {
            "lag": np.arange(len(norms)),
            "share": _array(sweep.relative_profile.double().nanmean(1)),
            "norm": _array(norms.mean(1)),
            "norm_q10": _array(quantiles[0]),
            "norm_q90": _array(quantiles[1]),
        }
    )


def time_table(recurrence: Recurrence, sweep: Sweep) -> pd.DataFrame:
    """Return one row a time of the sequence, whichever way the recurrence runs; norms are means over the sequences.

    `cancellation_index` is |a| over the sum of the sizes that it is made of, in [0, 1]; `weight_gradient_share` the
    signed share of dL/dW_hh. Both are NaN where there is nothing to divide by, the latter for cells too.
    """
    time = len(recurrence.inputs)
    table = pd.DataFrame(
        {
            "time": np.arange(time)[::-1] if recurrence.reverse else np.arange(time),
            "direct_gradient_norm": _array(norm_per_sequence(recurrence.direct).double().mean(1)),
            "total_gradient_norm": _array(norm_per_sequence(sweep.two_time.total).double().mean(1)),
            "cancellation_index": _array(cancellation_index(sweep.two_time).double().nanmean(1)),
            "weight_gradient_share": np.full(time, np.nan) if sweep.shares is None else _array(sweep.shares),
        }
    )
    return table.sort_values("time", ignore_index=True)


def truncation_table(sweep: Sweep) -> pd.DataFrame:
    """Return one row a truncation length: dL/dW_hh of the last `length` times alone, beside the whole of it.

    `relative_error` is |g_K - g| / |g| and `cosine` that of the two. There are no rows where there is no such gradient
    (a cell; none that arrives, or is finite), nor where the loss enters before the last time: what is cut off then
    depends on where each piece of the sequence begins.
    """
    at_end = sweep.two_time.loss_times.nonzero().flatten().tolist() == [len(sweep.two_time.loss_times) - 1]
    if sweep.gram is None or not at_end or not bool(sweep.gram.any()):
        return pd.DataFrame({"length": np.arange(0), "relative_error": np.zeros(0), "cosine": np.zeros(0)})
    return pd.DataFrame(
        {
            "length": np.arange(1, len(sweep.gram) + 1),
            "relative_error": _array(truncated_error(sweep.gram)),
            "cosine": _array(truncated_cosine(sweep.gram)),
        }
    )


def _array(values: Tensor) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return values.double().cpu().numpy()
