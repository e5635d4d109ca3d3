"""The two-time picture of one recurrence, and what its weights' gradient is made of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.dynamics import (
    TwoTimeGradient,
    gradient_horizon,
    lag_profile,
    preactivation_gradients,
    roll_out,
    two_time_gradient,
    weight_gradient_gram,
    weight_gradient_shares,
)
from gradscope.dynamics.trajectory import states_before
from gradscope.probing.recurrence import Recurrence


@dataclass(frozen=True)
class Sweep:
    """What goes back through one recurrence.

    Attributes:
        two_time: of all pairs of times.
        profile: the lag profile, up to the largest lag that the loss reaches back.
        relative_profile: the same with every loss time counting alike, 1 at lag 0.
        shares: each time's share in the gradient of the recurrent weights; None for a cell.
        horizon: how many of the last times give that gradient up to 1 %; None for a cell, or if it is not finite.
        gram: inner products of what each two times contribute to that gradient, to one scale; None likewise.
    """

    two_time: TwoTimeGradient
    profile: Float[Tensor, "lag batch"]
    relative_profile: Float[Tensor, "lag batch"]
    shares: Float[Tensor, " time"] | None
    horizon: int | None
    gram: Float[Tensor, "time time"] | None


def sweep_back(recurrence: Recurrence) -> Sweep:
    """Return what the loss sends back through the recurrence."""
    two_time = two_time_gradient(recurrence.step, recurrence.inputs, recurrence.state, recurrence.direct)
    loss_times = two_time.loss_times.nonzero()
    reached = int(loss_times.max()) + 1 if len(loss_times) else 1
    profiles = lag_profile(two_time)[:reached], lag_profile(two_time, relative=True)[:reached]
    if recurrence.place is None:
        return Sweep(two_time, *profiles, None, None, None)
    gram = _gram(recurrence, two_time.total)
    shares = weight_gradient_shares(gram)
    if not bool(gram.isfinite().all()):
        return Sweep(two_time, *profiles, shares, None, None)
    return Sweep(two_time, *profiles, shares, gradient_horizon(gram), gram)


def _gram(recurrence: Recurrence, total: Tensor) -> Float[Tensor, "time time"]:
    place = recurrence.place
    assert place is not None
    before = states_before(recurrence.state, roll_out(recurrence.step, recurrence.inputs, recurrence.state))
    delta = preactivation_gradients(
        place.module, recurrence.inputs, before, total, layer=place.layer, reverse=place.reverse
    )
    hidden = recurrence.state if isinstance(recurrence.state, Tensor) else recurrence.state[0]
    # Scaled: squares of gradients below 1e-162 would be 0, and shares and horizon do not depend on it.
    largest = delta.abs().amax()
    scale = torch.where((largest > 0) & largest.isfinite(), largest, 1)
    return weight_gradient_gram(delta / scale, before[..., : hidden.shape[-1]])
