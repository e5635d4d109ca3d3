"""Lorenz's chaotic flow, forecast from windows."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from gradscope.tasks.windows import WindowedSeries

EXPONENT = 0.9056
"""Largest Lyapunov exponent at sigma 10, rho 28, beta 8/3, in nats a unit of the flow's own time."""


class Lorenz(WindowedSeries):
    """Predict x(t) of the Lorenz flow some points ahead, from the last `lookback` ones.

    The flow doubles a small error about every ln 2 / 0.9056 = 0.77 units: with points `spacing` apart, every
    0.77 / spacing points. Integrated by Runge-Kutta of fourth order in steps of 0.01 or less.

    Args:
        lookback: points in a window: how far back the gradient can go, where the state is not carried on.
        points: of the series.
        spacing: between points, in units of the flow's time.
        held_out: share at the end that is never trained on.
        ahead: how many points after the window the answer lies.
    """

    def __init__(
        self,
        lookback: int = 30,
        points: int = 3000,
        spacing: float = 0.05,
        held_out: float = 0.2,
        ahead: int = 10,
    ) -> None:
        series = trajectory(points, spacing)[:, 0]
        super().__init__(
            (series - series.mean()) / series.std(), np.arange(points) * spacing, lookback, held_out, ahead
        )
        if held_out:
            self.shows_held_out, self.exhibit_name = True, "forecast of points never trained on"
        self.doubling_time = np.log(2) / EXPONENT / spacing


@lru_cache(maxsize=8)
def trajectory(points: int, spacing: float) -> Float[np.ndarray, "point 3"]:
    """Return points of the flow on its attractor, from a fixed start after 50 units; not to be written to.

    It takes a third of a second, and tasks that differ in their window alone share it.
    """
    steps = max(1, int(np.ceil(spacing / 0.01)))
    state = np.array([1.0, 1.0, 25.0])
    for _ in range(5000):
        state = _runge_kutta(state, 0.01)
    found = np.empty((points, 3))
    for point in range(points):
        found[point] = state
        for _ in range(steps):
            state = _runge_kutta(state, spacing / steps)
    found.setflags(write=False)
    return found


def _flow(state: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    x, y, z = state
    return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


def _runge_kutta(state: Float[np.ndarray, "3"], step: float) -> Float[np.ndarray, "3"]:
    a = _flow(state)
    b = _flow(state + step / 2 * a)
    c = _flow(state + step / 2 * b)
    d = _flow(state + step * c)
    after: Float[np.ndarray, "3"] = state + step / 6 * (a + 2 * b + 2 * c + d)
    return after
