"""A gradient of 1 that goes back through equal factors: w^n, and what is known of it if w is normal.

With w from N(0, s^2), |w|^n <= y has the probability 2 Phi(y^(1/n) / s) - 1: its quantiles are those of |w| to the n-th
power, and it explodes, |w|^n > 1, with probability 2 (1 - Phi(1/s)) whatever n is.
"""

import math
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Float

from gradscope.cells.factors import Factors
from gradscope.cells.loop import CellLoop
from gradscope.dynamics import total_gradient
from gradscope.errors import UsageError
from gradscope.study.spec.choice import parse_choice
from gradscope.study.spec.trial import Trial
from gradscope.study.training.network import Network
from gradscope.tasks import Lines, Task

_QUANTILES = (0.1, 0.5, 0.9)


def products(network: Network, task: Task, trial: Trial) -> list[Lines]:
    """Send a gradient of 1 back through every unit's factor, as many times as the task is long.

    Args:
        network: whose cell is `factors`.
        task: its length decides how far back.
        trial: its initialisation is `normal(s)`.

    Returns:
        The distribution of what arrives, measured and known; and its quantiles at each lag.

    Raises:
        UsageError: the cell or the initialisation is another.
    """
    name, spread = parse_choice(trial.initialisation)
    cell = network.recurrent.cell if isinstance(network.recurrent, CellLoop) else None
    if not isinstance(cell, Factors) or name != "normal" or spread is None:
        raise UsageError("the measure products is of the cell factors with the initialisation normal(s)")
    arrived = _arriving(cell, task.lag).abs().numpy()
    return [_distribution(arrived[0], task.lag, spread), _by_lag(arrived, spread)]


def _arriving(cell: Factors, lag: int) -> torch.Tensor:
    """Return what is left of a gradient of 1 at each unit of the last time: (time, unit)."""
    units = len(cell.factor)
    inputs, ones = torch.zeros(lag + 1, 1, 1, dtype=torch.float64), torch.zeros(lag + 1, 1, units, dtype=torch.float64)
    ones[-1] = 1
    exact = Factors(1, units).double()
    exact.load_state_dict({"factor": cell.factor.detach().double()})
    return total_gradient(exact, inputs, torch.zeros(1, units, dtype=torch.float64), ones)[:, 0]


def _distribution(sizes: Float[np.ndarray, " run"], lag: int, spread: float) -> Lines:
    logs = np.log10(np.maximum(sizes, 1e-300))
    x = np.linspace(min(-12.0, float(logs.min())), max(4.0, float(logs.max())), 161)
    measured = (logs[None, :] <= x[:, None]).mean(1)
    known = np.array([math.erf(10 ** (at / lag) / spread / math.sqrt(2)) for at in x])
    exploding, surely = float((sizes > 1).mean()), 2 * (1 - NormalDist().cdf(1 / spread))
    middle = (spread * NormalDist().inv_cdf(0.75)) ** lag
    return Lines(
        f"what is left of a gradient of 1 after {lag} times",
        "log10 of its size",
        "share of the runs below",
        x,
        {"measured": measured, "known": known},
        told=(
            f"{100 * exploding:.0f} % of {len(sizes)} runs explode (known: {100 * surely:.1f} %), the others vanish; "
            f"half of them end below {float(np.median(sizes)):.1e} (known: {middle:.1e}), while the largest is "
            f"{float(sizes.max()):.1e}"
        ),
    )


def _by_lag(arrived: Float[np.ndarray, "time run"], spread: float) -> Lines:
    lags = np.arange(len(arrived))
    lines: dict[str, np.ndarray] = {}
    for share in _QUANTILES:
        deviation = spread * NormalDist().inv_cdf(0.5 + share / 2)
        lines[f"{100 * share:.0f} % of the runs lie below"] = np.quantile(arrived[::-1], share, axis=1)
        lines[f"the same, known ({100 * share:.0f} %)"] = deviation**lags
    return Lines("the spread at each lag", "lag", "size of the gradient", lags, lines, log_y=True)
