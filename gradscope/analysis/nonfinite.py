"""Where NaN and infinity came up first."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class NonfiniteOnset:
    """The first value of a layer that is not finite.

    Attributes:
        iteration: The first recorded iteration with such a value.
        tensor: "hidden state" or "total gradient". States are computed first, so where both fail it is the state.
        time: Where it came up first in that iteration: states fail along the layer's way, gradients against it.
        sequences: How many (sequence, time) have such a value, over all recorded iterations.
        iterations_affected: Recorded iterations with such values.
        iterations_recorded: All of them.
    """

    iteration: int
    tensor: str
    time: int
    sequences: int
    iterations_affected: int
    iterations_recorded: int


def nonfinite_onset(timesteps: pd.DataFrame, *, reverse: bool = False) -> NonfiniteOnset | None:
    """Return where a layer's states or gradients stopped being finite.

    Args:
        timesteps: Rows of one layer of a run's table.
        reverse: The layer reads from the last time to the first.

    Returns:
        None if everything that was recorded is finite.
    """
    bad = timesteps[_is_bad(timesteps)]
    if bad.empty:
        return None
    iteration = int(bad["iteration"].min())
    tensor, time = _first_tensor(bad[bad["iteration"] == iteration], reverse=reverse)
    return NonfiniteOnset(
        iteration=iteration,
        tensor=tensor,
        time=time,
        sequences=int(bad["nonfinite"].sum()),
        iterations_affected=int(bad["iteration"].nunique()),
        iterations_recorded=int(timesteps["iteration"].nunique()),
    )


def _is_bad(timesteps: pd.DataFrame) -> "pd.Series[bool]":
    counted = timesteps["nonfinite"] > 0
    return counted | timesteps["total_gradient_norm"].abs().eq(np.inf) | timesteps["hidden_norm"].abs().eq(np.inf)


def _first_tensor(first: pd.DataFrame, *, reverse: bool) -> tuple[str, int]:
    recorded_states = first["hidden_norm"].notna().any()
    bad_states = first[~np.isfinite(first["hidden_norm"])] if recorded_states else first.iloc[:0]
    if len(bad_states):
        return "hidden state", int(bad_states["time"].max() if reverse else bad_states["time"].min())
    return "total gradient", int(first["time"].min() if reverse else first["time"].max())
