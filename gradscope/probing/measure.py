"""Every quantity of the dynamics of a model's recurrences, as tables."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from gradscope.errors import UsageError
from gradscope.probing.capture import capture
from gradscope.probing.gradient_tables import lag_table, time_table, truncation_table
from gradscope.probing.jacobian_table import jacobian_table
from gradscope.probing.recurrence import Recurrence
from gradscope.probing.smoothness import gradient_change
from gradscope.probing.spectrum_table import measure_exponents, spectrum_table
from gradscope.probing.summary_row import summary_row
from gradscope.probing.sweep import sweep_back


@dataclass(frozen=True, eq=False)
class ProbeTables:
    """What was measured. Every table begins with the columns `layer` and `call`.

    Attributes:
        summary: one row a recurrence: its verdict, decay rate, half-life, horizon, `weight_sensitivity` (how many per
            cent the last state moves for one per cent of the recurrent weights), largest exponent and what follows; and
            `gradient_change`, how many per cent the whole model's gradient changes for one per cent of a step along it.
        exponents: Lyapunov exponents in nats per time, with their interval over the sequences.
        jacobians: one-time Jacobians and their products up to the last time, at some times.
        lags: what each loss time sends so many times back, mean and quantiles over the sequences.
        times: direct and total gradients of each time, cancellation, and shares in the weights' gradient.
        truncation: how far dL/dW_hh of the last times alone lies from the whole, where the loss enters at the end.
    """

    summary: pd.DataFrame
    exponents: pd.DataFrame
    jacobians: pd.DataFrame
    lags: pd.DataFrame
    times: pd.DataFrame
    truncation: pd.DataFrame


def measure_model(
    model: nn.Module,
    inputs: Any,  # noqa: ANN401 - whatever the model takes
    loss: Callable[[Any], Tensor],
    *,
    lag: int | None = None,
    sequences: int = 8,
    exponents: int = 8,
    jacobian_times: int = 16,
) -> ProbeTables:
    """Run the model on a batch and measure each of its recurrences.

    Args:
        model: holds nn.RNN, nn.GRU or nn.LSTM, or loops over cells that are known.
        inputs: of the model; a tuple is several arguments.
        loss: takes what the model returns and returns one number.
        lag: how far back the task has to look, which the verdict is judged by; the whole sequence if None.
        sequences: how many sequences of the batch are measured, the first ones.
        exponents: how many of the leading Lyapunov exponents.
        jacobian_times: at how many times the spectra of Jacobians are taken.

    Returns:
        The tables.

    Raises:
        UsageError: nothing recurrent ran, the loss is no differentiable number, a number is out of range, or a
            recurrence computes in a dtype that is too coarse.
    """
    for name, value in (("sequences", sequences), ("exponents", exponents), ("jacobian_times", jacobian_times)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    found = [recurrence.first_sequences(sequences) for recurrence in capture(model, inputs, loss)]
    for recurrence in found:
        _check_dtype(recurrence)
    parts = [_measure(recurrence, lag, exponents, jacobian_times) for recurrence in found]
    tables = ProbeTables(*(pd.concat([part[i] for part in parts], ignore_index=True) for i in range(len(parts[0]))))
    tables.summary["gradient_change"] = gradient_change(model, inputs, loss)
    return tables


def _check_dtype(recurrence: Recurrence) -> None:
    dtype = recurrence.direct.dtype
    if dtype not in (torch.float32, torch.float64):
        raise UsageError(
            f"probe measures in float32 or float64, and {recurrence.name} computes in "
            f"{str(dtype).removeprefix('torch.')}: probe a copy, copy.deepcopy(model).float(), on inputs in float32"
        )


def _measure(recurrence: Recurrence, lag: int | None, exponents: int, jacobian_times: int) -> list[pd.DataFrame]:
    with torch.no_grad():
        sweep = sweep_back(recurrence)
        spectrum = measure_exponents(recurrence, exponents)
        tables = [
            summary_row(recurrence, sweep, spectrum, lag),
            spectrum_table(spectrum),
            jacobian_table(recurrence, jacobian_times),
            lag_table(sweep),
            time_table(recurrence, sweep),
            truncation_table(sweep),
        ]
    for table in tables:
        table.insert(0, "layer", recurrence.name)
        table.insert(1, "call", recurrence.call)
    return tables
