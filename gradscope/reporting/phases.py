"""Tables of a run made ready to draw: the newest call, lags counted as the layer reads, start and end of training."""

from collections.abc import Mapping, Sequence

import pandas as pd

from gradscope.analysis.pooling import Phase, phase_iterations
from gradscope.diagnosis import Examination
from gradscope.runs import Run

PHASES: tuple[Phase, ...] = ("start", "end")


def newest_calls(table: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Return the rows of a layer, of the newest call of each iteration.

    Args:
        table: `timesteps` or `gates` of a run.
        layer: its name.
    """
    rows = table[table["layer"] == layer]
    newest: pd.DataFrame = rows[rows["call"] == rows.groupby("iteration")["call"].transform("max")]
    return newest


def with_lag(rows: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Return the rows with a column `lag`: times back from the last one that the layer reads.

    Args:
        rows: with `iteration` and `time`.
        layer: its name; one that ends in `_reverse` reads from the last time to the first.
    """
    if layer.endswith("_reverse"):
        return rows.assign(lag=rows["time"])
    return rows.assign(lag=rows.groupby("iteration")["time"].transform("max") - rows["time"])


def in_phases(run: Run, layer: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first and of the last quarter of the recorded iterations, with a column `phase`.

    Args:
        run: the run.
        layer: its name.
        rows: with `iteration`.
    """
    parts = [rows[rows["iteration"].isin(phase_iterations(run, layer, phase))].assign(phase=phase) for phase in PHASES]
    both: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return both


def recorded_layers(run: Run) -> list[str]:
    """Return the layers with recorded gradients, in the order of the model."""
    seen = set(run.timesteps["layer"])
    return [layer for layer in run.layers if layer in seen]


def lag_table(examined: Mapping[str, Examination], layers: Sequence[str]) -> pd.DataFrame:
    """Return shares against lag as `lag_plate` draws them: a panel a layer, a line a run.

    A layer whose loss enters at many times is left out: its gradient is a sum over lags.

    Args:
        examined: run name -> what was found in it.
        layers: which to take.
    """
    parts = [
        pd.DataFrame(
            {
                "panel": layer.layer,
                "series": name,
                "phase": phase,
                "lag": range(decay.lags),
                "share": decay.share,
                "zero_share": decay.zero_share,
            }
        )
        for name, found in examined.items()
        for layer in found.layers
        for phase, decay in (("start", layer.start), ("end", layer.end))
        if layer.layer in layers and decay.lags and layer.loss_times <= 1
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
