"""Every term of backpropagation through time: dL_t/dW = sum over k of dL_t/ds_t (product of ds_j/ds_{j-1}) ds_k/dW."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.dynamics import preactivation_gradients, total_gradient, two_time_gradient
from gradscope.study.spec.trial import Trial
from gradscope.study.training.measures.swept import Swept, swept
from gradscope.study.training.network import Network
from gradscope.tasks import Lines, Picture, Task

_SEQUENCES = 8
_TOLD = 10


def two_time(network: Network, task: Task, trial: Trial) -> list[Picture | Lines]:
    """Measure what the loss at each time sends to each earlier time, on a batch of 8 sequences.

    Args:
        network: of the trial.
        task: best one with an answer at every time.
        trial: that it belongs to.

    Returns:
        The norm of dL_t/ds_k, that of each term of dL_t/dW, and their course against the lag t - k.
    """
    on = swept(network, task, trial, _SEQUENCES)
    found = two_time_gradient(on.module, on.inputs, on.zeros, on.direct)
    arriving = found.norms.mean(2)
    terms = term_sizes(on)
    # Before the first time the state is 0, and so is what the weights are given there.
    named = {
        "what reaches the state": _by_lag(arriving),
        "what it adds to the weights' gradient": _by_lag(terms[1:, 1:]),
    }
    named = {name: np.pad(line, (0, len(terms) - len(line)), constant_values=np.nan) for name, line in named.items()}
    across, up = "time k that is reached", "time t of the loss"
    return [
        Picture("norm of dL_t/ds_k", across, up, _lower(arriving)),
        Picture("norm of each term of dL_t/dW", across, up, _lower(terms)),
        Lines(
            "the terms against their lag",
            "lag t - k",
            "share of lag 0, mean over t",
            np.arange(len(terms)),
            named,
            log_y=True,
            told=_told(named),
        ),
    ]


def term_sizes(on: Swept) -> Float[Tensor, "loss_time time"]:
    """Return the Frobenius norm of what the loss at time t adds to dL/dW_hh by way of time k, the batch summed."""
    rows = []
    for time in range(len(on.inputs)):
        alone = torch.zeros_like(on.direct)
        alone[time] = on.direct[time]
        total = total_gradient(on.module, on.inputs, on.zeros, alone)
        delta = preactivation_gradients(on.module, on.inputs, on.before, total)
        rows.append((delta.mT @ on.hidden_before).flatten(1).norm(dim=1))
    return torch.stack(rows)


def _by_lag(sizes: Float[Tensor, "loss_time time"]) -> np.ndarray:
    """Return the mean over loss times of sizes[t, t - lag] / sizes[t, t]; times without a loss do not count."""
    values = sizes.numpy()
    own = np.diagonal(values)
    means = np.full(len(values), np.nan)
    for lag in range(len(values)):
        back, begin = np.diagonal(values, -lag), own[lag:]
        if (begin > 0).any():
            means[lag] = (back[begin > 0] / begin[begin > 0]).mean()
    return means


def _lower(sizes: Float[Tensor, "loss_time time"]) -> np.ndarray:
    """Return the sizes; NaN where k > t, where nothing can arrive."""
    values = sizes.numpy().copy()
    values[np.triu_indices_from(values, 1)] = np.nan
    return values


def _told(named: dict[str, np.ndarray]) -> str:
    reaching = named["what reaches the state"]
    at = min(_TOLD, len(reaching) - 1)
    halves = np.flatnonzero(reaching < 0.5)
    half = f"less than half is left {halves[0]} back" if len(halves) else "more than half is left at every lag"
    return f"of what the loss at a time sends to its own state, {half} and {100 * reaching[at]:.2g} % {at} back"
