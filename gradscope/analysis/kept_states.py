"""The hidden states that a run kept unit by unit, over a phase of training."""

import numpy as np
from jaxtyping import Float

from gradscope.analysis.pooling import Phase, phase_iterations
from gradscope.runs import Run

_MOST_ITERATIONS = 8


def kept_states(run: Run, layer: str, phase: Phase = "end") -> list[Float[np.ndarray, "time sequence hidden"]]:
    """Return the hidden states of a few iterations of a phase, as many as eight.

    Args:
        run: The run.
        layer: One of its layers.
        phase: "start" or "end": the first or the last quarter of the recorded iterations.

    Returns:
        One array an iteration, of the newest call; none if the run kept no states there (`keep="norms"`, or its
        budget was used up).
    """
    chosen = sorted({*phase_iterations(run, layer, phase)}.intersection(run.iterations_with_states(layer)))
    if len(chosen) > _MOST_ITERATIONS:
        chosen = [chosen[i] for i in np.linspace(0, len(chosen) - 1, _MOST_ITERATIONS).round().astype(int)]
    return [run.states(layer, iteration) for iteration in chosen]
