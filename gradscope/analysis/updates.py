"""How much each step changes a weight, and where the weights have got to."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradscope.runs import Run

HEALTHY_RATIO = 1e-3
"""Update over weight of trainings that go well, as a rule of thumb."""

_LITTLE_LEFT = 0.1


@dataclass(frozen=True)
class WeightCourse:
    """One parameter through training.

    Attributes:
        parameter: Its name.
        first_norm: Of the weight, before the first recorded update.
        last_norm: Before the last one.
        ratio: Median of update norm over weight norm in the later half of the recorded iterations.
        start_ratio: The same in the first half.
        path: Sum of update over weight over all iterations, those between two recordings taken in by the trapezoid
            rule, those before the first and after the last as large as these: by at most this share of its size can the
            weight have moved (to first order).
        recorded: Iterations recorded.
    """

    parameter: str
    first_norm: float
    last_norm: float
    ratio: float
    start_ratio: float
    path: float
    recorded: int

    @property
    def growth(self) -> float:
        """Factor by which the norm changed."""
        return self.last_norm / self.first_norm if self.first_norm > 0 else np.inf

    @property
    def shrunk(self) -> bool:
        """Whether less than a tenth of the norm is left."""
        return self.growth < _LITTLE_LEFT


def weight_matrices(run: Run) -> list[str]:
    """Return the parameters with two axes or more; all of them where the run does not say its shapes.

    Biases often start at 0, where a ratio to their size means nothing.
    """
    shapes = run.metadata.get("parameters")
    recorded = list(dict.fromkeys(run.parameters["parameter"]))
    if not isinstance(shapes, dict):
        return recorded
    return [name for name in recorded if isinstance(shapes.get(name), list) and len(shapes[name]) > 1]


def update_ratios(parameters: pd.DataFrame) -> pd.DataFrame:
    """Return update norm over weight norm, one row a recorded iteration and parameter.

    Args:
        parameters: A run's table, or some rows of it.

    Returns:
        Columns iteration, parameter, weight_norm, ratio; rows without a positive weight or a finite update are left
        out.
    """
    known = parameters[(parameters["weight_norm"] > 0) & np.isfinite(parameters["update_norm"])]
    ratio = known["update_norm"] / known["weight_norm"]
    columns = ["iteration", "parameter", "weight_norm"]
    return pd.DataFrame({**{name: known[name] for name in columns}, "ratio": ratio})


def weight_courses(parameters: pd.DataFrame, span: tuple[int, int] | None = None) -> tuple[WeightCourse, ...]:
    """Summarise each parameter through training.

    Args:
        parameters: A run's table, or some rows of it.
        span: First and last iteration of the training; None for the first and last that were recorded.

    Returns:
        In the order of the table; those whose weight is always 0 are left out.
    """
    by_name = update_ratios(parameters).groupby("parameter", sort=False)
    return tuple(_course(str(name), rows, span) for name, rows in by_name)


def _course(name: str, rows: pd.DataFrame, span: tuple[int, int] | None) -> WeightCourse:
    ratio = rows["ratio"].to_numpy(dtype=np.float64)
    iteration = rows["iteration"].to_numpy(dtype=np.float64)
    half = (len(ratio) + 1) // 2
    # Between two recordings d iterations apart lie d updates, those at the two ends half each.
    path = float(np.trapezoid(ratio, iteration)) + (ratio[0] + ratio[-1]) / 2
    if span is not None:
        path += max(iteration[0] - span[0], 0) * ratio[0] + max(span[1] - iteration[-1], 0) * ratio[-1]
    return WeightCourse(
        parameter=name,
        first_norm=float(rows["weight_norm"].iloc[0]),
        last_norm=float(rows["weight_norm"].iloc[-1]),
        ratio=float(np.median(ratio[-half:])),
        start_ratio=float(np.median(ratio[:half])),
        path=float(path),
        recorded=len(ratio),
    )
