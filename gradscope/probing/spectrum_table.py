"""Lyapunov exponents of one recurrence on the user's sequences."""

import numpy as np
import pandas as pd

from gradscope.dynamics import LyapunovExponents, lyapunov_exponents
from gradscope.dynamics.full_state import StateForm
from gradscope.probing.recurrence import Recurrence


def measure_exponents(recurrence: Recurrence, leading: int) -> LyapunovExponents:
    """Return the leading exponents; a tenth of the times is left to the tangent vectors to find their directions.

    They are averages over a finite sequence, the user's own, from its own initial state: no burn-in of the state.
    """
    size = StateForm.of(recurrence.state).size
    return lyapunov_exponents(
        recurrence.step,
        recurrence.inputs,
        recurrence.state,
        k=min(leading, size),
        tangent_burn_in=len(recurrence.inputs) // 10,
    )


def spectrum_table(spectrum: LyapunovExponents) -> pd.DataFrame:
    """Return one row an exponent: `index` from 1, `exponent`, and the ends `low` and `high` of its 95 % interval."""
    return pd.DataFrame(
        {
            "index": np.arange(1, len(spectrum.exponents) + 1),
            "exponent": spectrum.exponents.cpu().numpy(),
            "low": spectrum.low.cpu().numpy(),
            "high": spectrum.high.cpu().numpy(),
        }
    )
