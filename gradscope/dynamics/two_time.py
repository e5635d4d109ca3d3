"""The two-time picture: how much of the loss at one time reaches the state of another.

The total gradient a_k at time k is the vector sum of what each loss time s sends there; its parts can cancel, so that
the sum of their sizes is more than the size of their sum.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics.direct import Loss, direct_gradient
from gradscope.dynamics.full_state import StateForm, Step, flat_step
from gradscope.dynamics.linearised import pull_back
from gradscope.dynamics.sizes import norm_per_sequence
from gradscope.dynamics.trajectory import roll_out


class TwoTimeGradient(NamedTuple):
    """What each loss time sends back to each time.

    Attributes:
        norms: G[s, k, b] = |d loss_s / d z_k| of sequence b, loss time first; 0 for k > s, where nothing can arrive.
        total: a_k (time, batch, full state), the sum over s of the vectors whose norms these are.
        loss_times: whether the loss enters at that time at all, in any sequence.
    """

    norms: Float[Tensor, "loss_time time batch"]
    total: Float[Tensor, "time batch full_state"]
    loss_times: Bool[Tensor, " time"]


@torch.no_grad()
def two_time_gradient(step: Step, inputs: Float[Tensor, "time batch ..."], state: State, loss: Loss) -> TwoTimeGradient:
    """Return |d loss_s / d z_k| of all pairs of times in ONE sweep back.

    loss_s is the part of the loss that enters at time s, so that the direct gradient e_s is all of it that counts. The
    vectors of all loss times go back together, as a batch that grows by one at each loss time.

    The arithmetic is that of a sweep for each loss time, T^2 / 2 vector-Jacobian products for a loss at all T times;
    what is saved is T^2 / 2 - T calls of the step and its derivative, which do not depend on s.

    Against T backward passes of autograd through torch's own cell, one CPU thread, float32, a GRU of H units and N
    sequences (measure again with `python -m tests.dynamics.two_time_cost` in a checkout):

    | size | one sweep | T passes |
    | --- | ---: | ---: |
    | T50 N8 H32 | 0.032 s | 0.070 s, x2.2 |
    | T100 N16 H64 | 0.114 s | 0.320 s, x2.8 |
    | T200 N16 H64 | 0.367 s | 1.491 s, x4.1 |
    | T100 N16 H256 | 0.601 s | 0.888 s, x1.5 |

    Args:
        step: one time: a function (input, state) -> state, a cell, or a one-layer module.
        inputs: of all times.
        state: before the first time, as the cell takes it.
        loss: a function of the states of all times that returns one number, or its direct gradients.

    Raises:
        UsageError: shapes do not fit, or the loss is no differentiable number.
    """
    form = StateForm.of(state)
    states = roll_out(step, inputs, state)
    direct = direct_gradient(loss, states, form)
    # A gradient of NaN or infinity is one too.
    entering = (direct != 0).flatten(1).any(1)
    norms = direct.new_zeros(len(states), *states.shape[:2])
    total = torch.zeros_like(direct)
    advance = flat_step(step, form)
    travelling, sources = direct[:0], torch.arange(0, device=direct.device)
    for k in range(len(states) - 1, -1, -1):
        if len(sources):
            travelling = pull_back(advance, inputs[k + 1], states[k], travelling)
        if entering[k]:
            travelling = torch.cat([travelling, direct[k : k + 1]])
            sources = torch.cat([sources, sources.new_tensor([k])])
        norms[sources, k] = norm_per_sequence(travelling)
        total[k] = travelling.sum(0)
    return TwoTimeGradient(norms, total, entering)


def lag_profile(two_time: TwoTimeGradient, *, relative: bool = False) -> Float[Tensor, "lag batch"]:
    """Return phi(l), the mean over the loss times s of G[s, s - l], for each sequence.

    Only times at which the loss enters count, and of these the ones that reach back so far, s >= l: with a loss at the
    last time alone, phi(l) is what arrives l times earlier. NaN at lags that no loss time reaches back to.

    Args:
        two_time: from `two_time_gradient`.
        relative: take the mean of G[s, s - l] / G[s, s], so that every loss time counts alike. Where the loss is much
            larger at some times than at others, its course is that of the recurrence, and not of how the loss times
            that reach back so far differ from the others.
    """
    norms = two_time.norms
    times = torch.arange(len(norms), device=norms.device)
    lags = times[:, None]
    parts = norms[times.expand(len(times), -1), (times - lags).clamp_min(0)]
    counted = (two_time.loss_times & (times >= lags))[..., None].expand_as(parts)
    if relative:
        parts = parts / parts[0]
        counted = counted & (norms[times, times] != 0)
    return parts.where(counted, 0).sum(1) / counted.sum(1)


def cancellation_index(two_time: TwoTimeGradient) -> Float[Tensor, "time batch"]:
    """Return |a_k| / sum_s G[s, k], in [0, 1]: 1 where all loss times pull the same way, 0 where they cancel.

    NaN where nothing arrives at all.
    """
    sizes = two_time.norms.sum(0)
    return norm_per_sequence(two_time.total) / sizes
