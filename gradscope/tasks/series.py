"""A measured series: sunspots, one number a year since 1700."""

import hashlib
import importlib

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.windows import WindowedSeries


class Series(WindowedSeries):
    """Predict next year's mean sunspot number from the years before; the last fifth is held out.

    The numbers come with statsmodels (extra `data`), 1700 to 2008. Their cycle is about 11 years long.

    Args:
        lookback: years in a window.
        held_out: share at the end that is never trained on.
    """

    exhibit_name = "forecast of each next year"
    solved = 0.2

    def __init__(self, lookback: int = 33, held_out: float = 0.2) -> None:
        years, numbers = _sunspots()
        super().__init__((numbers - numbers.mean()) / numbers.std(), years, lookback, held_out)
        self.lag = min(11, lookback - 1)
        self.data_digest = hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


def _sunspots() -> tuple[np.ndarray, np.ndarray]:
    try:
        datasets = importlib.import_module("statsmodels.datasets.sunspots")
    except ImportError as error:
        raise UsageError(
            "the task series needs statsmodels, which brings the sunspot numbers: "
            "pip install 'gradscope-rnn[data]', or pip install statsmodels"
        ) from error
    table = datasets.load_pandas().data
    return table["YEAR"].to_numpy(float), table["SUNACTIVITY"].to_numpy(float)
