"""Where NaN and infinity came up first."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

_TENSORS = {"hidden": "hidden state", "cell": "cell state", "cell_gradient": "gradient of the cell state"}


@dataclass(frozen=True)
class NonfiniteOnset:
    """The first value of one quantity that is not finite.

    Attributes:
        iteration: The first iteration in which it was seen.
        quantity: As in the run's table `nonfinite`: gate, cell, hidden, loss, direct_gradient, total_gradient,
            cell_gradient, parameter_gradient.
        layer: None for the loss and for parameters.
        call: Of the layer in that iteration; None likewise.
        time: Where it came up first in that call, on the way of the states or of the gradients; None likewise.
        name: Of the gate or parameter; None for anything else.
    """

    iteration: int
    quantity: str
    layer: str | None = None
    call: int | None = None
    time: int | None = None
    name: str | None = None

    @property
    def way(self) -> str:
        """Either "forwards", for what is computed up to the loss, or "backwards", for gradients."""
        return "backwards" if self.quantity.endswith("_gradient") else "forwards"

    @property
    def tensor(self) -> str:
        """The quantity in words: "hidden state", "forget gate", "gradient of head.bias"."""
        if self.quantity == "gate":
            return f"{self.name} gate"
        if self.quantity == "parameter_gradient":
            return f"gradient of {self.name}"
        return _TENSORS.get(self.quantity, self.quantity.replace("_", " "))

    @property
    def moment(self) -> str:
        """The time in words, with the call unless it is the first: "time 4 of call 1"; empty where there is none."""
        if self.time is None:
            return ""
        return f"time {self.time} of call {self.call}" if self.call else f"time {self.time}"

    @property
    def place(self) -> str:
        """All of it in words: "hidden state of encoder.l0 at time 4"."""
        layer = "" if self.layer is None else f" of {self.layer}"
        return f"{self.tensor}{layer} at {self.moment}" if self.moment else f"{self.tensor}{layer}"


def nonfinite_onsets(nonfinite: pd.DataFrame) -> list[NonfiniteOnset]:
    """Return where each quantity stopped being finite, the first of the run first.

    Args:
        nonfinite: The run's table, in the order of appearance; empty where all was finite, and of a run that was
            written before there was such a table.

    Returns:
        One for each quantity of each layer, and for each gate and parameter.
    """
    first = nonfinite.drop_duplicates(["quantity", "layer", "name"])
    return [_onset(row) for row in first.itertuples(index=False)]


def _onset(row: Any) -> NonfiniteOnset:  # noqa: ANN401 - a row as a named tuple
    return NonfiniteOnset(
        int(row.iteration), row.quantity, _text(row.layer), _count(row.call), _count(row.time), _text(row.name)
    )


def _text(cell: object) -> str | None:
    return cell if isinstance(cell, str) else None


def _count(cell: float) -> int | None:
    return None if np.isnan(cell) else int(cell)


def norms_onset(timesteps: pd.DataFrame, *, reverse: bool = False) -> NonfiniteOnset | None:
    """Return where a layer's norms stopped being finite: all that is known of a run without the table `nonfinite`.

    States are computed first, so where both fail it is the state. States fail along the layer's way, gradients against
    it.

    Args:
        timesteps: Rows of one layer of a run's table.
        reverse: The layer reads from the last time to the first.

    Returns:
        None if everything that was recorded is finite.
    """
    bad = timesteps[has_nonfinite(timesteps)]
    if bad.empty:
        return None
    first = bad[bad["iteration"] == bad["iteration"].min()]
    states = first[~np.isfinite(first["hidden_norm"])] if first["hidden_norm"].notna().any() else first.iloc[:0]
    rows, quantity = (states, "hidden") if len(states) else (first, "total_gradient")
    row = rows.loc[rows["time"].idxmax() if reverse == (quantity == "hidden") else rows["time"].idxmin()]
    return NonfiniteOnset(int(row["iteration"]), quantity, str(row["layer"]), int(row["call"]), int(row["time"]))


def has_nonfinite(timesteps: pd.DataFrame) -> "pd.Series[bool]":
    """Return which rows of a run's table have a state or gradient that is not finite."""
    counted = timesteps["nonfinite"] > 0
    return counted | timesteps["total_gradient_norm"].abs().eq(np.inf) | timesteps["hidden_norm"].abs().eq(np.inf)
