"""How far back the gradient reached at the end of a training, layer by layer. No torch here."""

import math
from dataclasses import dataclass, replace

from gradscope.analysis import run_decay, run_loss_times, run_weight_horizon, verdict
from gradscope.runs import Run

_RESAMPLES = 20
"""Of an interval that nobody reads: what counts is the scatter over seeds."""


@dataclass(frozen=True)
class Measured:
    """One recurrent layer at the end of a training.

    Attributes:
        layer: its name in that training.
        rate: decay rate in nats per time; NaN where the loss enters at several times or there is nothing to fit.
        half_life: ln 2 / |rate|, in times.
        horizon: lag from which on less than 1 % of the gradient arrives; the number of lags where more does. Where the
            loss enters at several times, of the weights' gradient instead.
        share_at_lag: share of the gradient that is left at the task's lag, NaN where there is none.
        mixed: the loss enters at several times.
    """

    layer: str
    rate: float
    half_life: float
    horizon: float
    share_at_lag: float
    mixed: bool


def measure(run: Run, lag: int | None, reach: int | None = None) -> list[Measured]:
    """Measure every layer over the last quarter of what was recorded.

    Args:
        run: of the training.
        lag: how far back the task looks.
        reach: how many times back the gradient was let; None for all. Its decay over so few lags would not compare with
            one over all of them: there is a horizon then, and no rate.

    Returns:
        One a layer, in the model's order.
    """
    layers = [layer for layer in run.layers if (run.timesteps["layer"] == layer).any()]
    found = [_layer(run, layer, lag) for layer in layers]
    return found if reach is None else [_cut_off(one, lag, reach) for one in found]


def _cut_off(measured: Measured, lag: int | None, reach: int) -> Measured:
    share = 0.0 if lag is not None and lag >= reach else measured.share_at_lag
    horizon = float(reach) if math.isnan(measured.horizon) else min(measured.horizon, reach)
    return replace(measured, rate=math.nan, half_life=math.nan, horizon=horizon, share_at_lag=share)


def _layer(run: Run, layer: str, lag: int | None) -> Measured:
    if run_loss_times(run, layer) > 1:
        found = run_weight_horizon(run, layer)
        return Measured(layer, math.nan, math.nan, math.nan if found is None else found.times, math.nan, mixed=True)
    decay = run_decay(run, layer, resamples=_RESAMPLES)
    horizon = math.nan if decay.lags == 0 else decay.lags if decay.horizon_lag is None else decay.horizon_lag
    share = math.nan if lag is None else verdict(decay, lag).share_at_lag
    return Measured(layer, decay.rate, decay.half_life, horizon, share, mixed=False)
