"""In how many directions the hidden states of a layer move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradscope.analysis.kept_states import kept_states
from gradscope.analysis.pooling import Phase
from gradscope.runs import Run


@dataclass(frozen=True)
class EffectiveRank:
    """Two ways to count directions; both are the number of units if all directions are equally strong.

    Attributes:
        entropy: exp of the entropy of the normalised singular values (Roy & Vetterli 2007).
        participation: (sum of variances)^2 / sum of squared variances, which weak directions count less for.
        units: Size of the hidden state: no rank is larger.
        samples: States that it is worked out from, a time of a sequence each: no rank is larger than this less one.
    """

    entropy: float
    participation: float
    units: int
    samples: int


def effective_rank(states: Sequence[Float[np.ndarray, "time sequence hidden"]]) -> EffectiveRank | None:
    """Return the effective rank of hidden states about their mean.

    Args:
        states: Hidden states of one layer; rows with a value that is not finite are left out.

    Returns:
        None with less than two states; 0 for states that never change.
    """
    flat = [array.reshape(-1, array.shape[-1]) for array in states]
    recorded = np.concatenate(flat) if flat else np.empty((0, 0))
    rows = recorded[np.isfinite(recorded).all(axis=1)].astype(np.float64)
    if len(rows) < 2:
        return None
    singular = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    # A direction as weak as the rounding of the states that were recorded, or of their mean, is none.
    rounding = np.finfo(recorded.dtype).eps + len(rows) * np.finfo(np.float64).eps
    singular = singular[singular > np.linalg.norm(rows) * rounding]
    if not len(singular):
        return EffectiveRank(0.0, 0.0, rows.shape[1], len(rows))
    share = singular / singular.sum()
    variance = np.square(singular / singular.max())
    return EffectiveRank(
        entropy=float(np.exp(-(share * np.log(share)).sum())),
        participation=float(variance.sum() ** 2 / np.square(variance).sum()),
        units=rows.shape[1],
        samples=len(rows),
    )


def run_effective_rank(run: Run, layer: str, phase: Phase = "end") -> EffectiveRank | None:
    """Return the effective rank of a layer's states at the start or the end of a run; None if it kept none there."""
    return effective_rank(kept_states(run, layer, phase))
