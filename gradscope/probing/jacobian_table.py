"""Spectra of Jacobians through time: of single times, and of the way from a time to the end."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gradscope.dynamics import condition_number, roll_out, singular_values, spectral_radius
from gradscope.dynamics.full_state import StateForm, flat_step
from gradscope.dynamics.linearised import dense_jacobian
from gradscope.dynamics.trajectory import states_before
from gradscope.probing.recurrence import Recurrence

_NUMBERS = 2**18
"""Numbers that the Jacobians of one time may have: large states are measured on fewer sequences."""


def jacobian_table(recurrence: Recurrence, count: int) -> pd.DataFrame:
    """Return one row a chosen time; geometric means over the sequences.

    `largest_singular_value`, `smallest_singular_value`, `spectral_radius` and `condition_number` are of dz_t / dz_{t-1}
    at that time. `log_product_norm` and `log_product_radius` are the natural logarithms of the largest singular value
    and of the spectral radius of dz_last / dz_{t-1}, all Jacobians from that time to the end of the recurrence, and
    `product_condition_number` is theirs; one beyond the precision of the dtype says no more than that it is as large.

    Args:
        recurrence: the recurrence.
        count: how many times, evenly spread.
    """
    form = StateForm.of(recurrence.state)
    few = recurrence.first_sequences(max(1, _NUMBERS // form.size**2))
    before = states_before(few.state, roll_out(few.step, few.inputs, few.state))
    step, time = flat_step(few.step, form), len(before)
    chosen = set(np.linspace(0, time - 1, min(count, time)).round().astype(int).tolist())
    product, log_scale, rows = None, before.new_zeros(before.shape[1]), []
    for t in range(time - 1, -1, -1):
        jacobian = dense_jacobian(step, few.inputs[t], before[t])
        product = jacobian if product is None else product @ jacobian
        scale = product.abs().amax((1, 2))
        log_scale = log_scale + scale.log()
        product = product / torch.where(scale > 0, scale, 1)[:, None, None]
        if t in chosen:
            position = time - 1 - t if recurrence.reverse else t
            rows.append({"time": position, "lag": time - 1 - t, **_row(jacobian, product, log_scale)})
    return pd.DataFrame(rows).sort_values("time", ignore_index=True)


def _row(jacobian: Tensor, product: Tensor, log_scale: Tensor) -> dict[str, float]:
    values = singular_values(jacobian)
    return {
        "largest_singular_value": _geometric_mean(values[:, 0]),
        "smallest_singular_value": _geometric_mean(values[:, -1]),
        "spectral_radius": _geometric_mean(spectral_radius(jacobian)),
        "condition_number": _geometric_mean(condition_number(jacobian)),
        "log_product_norm": float((singular_values(product)[:, 0].log() + log_scale).mean()),
        "log_product_radius": float((spectral_radius(product).log() + log_scale).mean()),
        "product_condition_number": _geometric_mean(condition_number(product)),
    }


def _geometric_mean(values: Tensor) -> float:
    return float(values.log().mean().exp())
