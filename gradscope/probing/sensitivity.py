"""How far the last state moves when the recurrent weights do.

A gradient that neither vanishes nor explodes may still be hard to follow: the longer a state remembers, the more a
small change of the weights adds up in it. Source: Zucchet & Orvieto 2024, arXiv:2405.21064 ("the curse of memory").
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.step_functions import step_weights
from gradscope.dynamics import preactivation_gradients, roll_out, total_gradient
from gradscope.dynamics.trajectory import states_before
from gradscope.probing.recurrence import Recurrence

_VECTORS = 8


@torch.no_grad()
def weight_sensitivity(recurrence: Recurrence, vectors: int = _VECTORS) -> float:
    """Return the relative sensitivity of the last hidden state h to the recurrent weights W.

    It is |dh/dW|_F |W|_F / (sqrt(n) |h|), n being the number of weights, its root mean square over the sequences: at 1
    a change of W by 1 % in a random direction moves the last state by 1 %.

    Args:
        recurrence: the recurrence.
        vectors: |dh/dW|_F^2 is the mean of |v^T dh/dW|^2 over v from N(0, I), here over so many; exact where there are
            no more units than that. Each costs one sweep.

    Returns:
        NaN for a cell, whose weights are not known.
    """
    if recurrence.place is None:
        return math.nan
    states = roll_out(recurrence.step, recurrence.inputs, recurrence.state)
    hidden = (recurrence.state if isinstance(recurrence.state, Tensor) else recurrence.state[0]).shape[-1]
    directions = _directions(hidden, vectors)
    squares = torch.stack([_square(recurrence, states, hidden, vector) for vector in directions.to(states)]).sum(0)
    place = recurrence.place
    weight = step_weights(place.module, place.layer, place.reverse).recurrent.double()
    size = states[-1, :, :hidden].double().square().sum(-1)
    return float((squares * weight.square().mean() / size).mean().sqrt())


def _directions(hidden: int, vectors: int) -> Float[Tensor, "vector hidden"]:
    if hidden <= vectors:
        return torch.eye(hidden, dtype=torch.float64)
    drawn = torch.randn(vectors, hidden, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn / math.sqrt(vectors)


def _square(
    recurrence: Recurrence,
    states: Float[Tensor, "time batch full_state"],
    hidden: int,
    vector: Float[Tensor, " hidden"],
) -> Float[Tensor, " batch"]:
    """Return |v^T dh/dW|^2 of each sequence."""
    place = recurrence.place
    assert place is not None
    direct = torch.zeros_like(states)
    direct[-1, :, :hidden] = vector
    total = total_gradient(recurrence.step, recurrence.inputs, recurrence.state, direct)
    before = states_before(recurrence.state, states)
    delta = preactivation_gradients(
        place.module, recurrence.inputs, before, total, layer=place.layer, reverse=place.reverse
    )
    of_weights = torch.einsum("tbr,tbh->brh", delta.double(), before[..., :hidden].double())
    return of_weights.square().sum((1, 2))
