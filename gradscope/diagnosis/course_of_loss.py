"""Whether a training gets anywhere, by the loss that was logged."""

import numpy as np

from gradscope.runs import Run

_IMPROVED = 0.9
_ERRORS = 3.0


def loss_fell(run: Run) -> bool:
    """Return whether the loss, from its first quarter to its last, fell by a tenth and by more than its scatter."""
    loss = run.iterations["loss"].to_numpy(dtype=np.float64)
    loss = loss[np.isfinite(loss)]
    quarter = len(loss) // 4
    if quarter < 2 or loss.min() < 0:
        return False
    first, last = loss[:quarter], loss[-quarter:]
    scatter = np.sqrt((first.var(ddof=1) + last.var(ddof=1)) / quarter)
    return bool(last.mean() < _IMPROVED * first.mean() and last.mean() < first.mean() - _ERRORS * scatter)
