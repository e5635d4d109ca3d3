"""How wrong a truncated gradient is, beside the full one, at every truncation length."""

import torch
from torch import Tensor

from gradscope.dynamics import (
    gradient_horizon,
    preactivation_gradients,
    random_error,
    total_gradient,
    truncated_cosine,
    truncated_error,
    weight_gradient_gram,
)
from gradscope.study.spec.trial import Trial
from gradscope.study.training.measures.swept import swept
from gradscope.study.training.network import Network
from gradscope.tasks import Lines, Task

_SEQUENCES = 32
_TOLD = 10


def truncation(network: Network, task: Task, trial: Trial) -> list[Lines]:
    """Measure the truncated gradient at every length, on a batch of 32 sequences.

    Args:
        network: of the trial.
        task: with its loss at the last time, or at several in a row at the end.
        trial: that it belongs to.

    Returns:
        Its relative error, and its cosine with the full gradient.
    """
    on = swept(network, task, trial, _SEQUENCES)
    total = total_gradient(on.module, on.inputs, on.zeros, on.direct)
    delta = preactivation_gradients(on.module, on.inputs, on.before, total)
    gram = weight_gradient_gram(delta, on.hidden_before)
    lengths = torch.arange(1, len(gram) + 1)
    errors, cosines = truncated_error(gram), truncated_cosine(gram)
    x = lengths.numpy()
    name = "a truncated gradient beside the full one"
    return [
        Lines(
            f"{name}: its error",
            "truncation length",
            "relative error",
            x,
            {
                "cut after so many times: the bias": errors.numpy(),
                "cut at random, so many in the mean: unbiased, a draw errs by": random_error(gram).numpy(),
            },
            log_y=True,
            told=_told(gram, errors, cosines),
        ),
        Lines(
            f"{name}: its direction",
            "truncation length",
            "cosine",
            x,
            {"cut after so many times": cosines.numpy()},
        ),
    ]


def _told(gram: Tensor, errors: Tensor, cosines: Tensor) -> str:
    horizon = gradient_horizon(gram)
    at = min(_TOLD, len(errors))
    return (
        f"99 % of the gradient of the recurrent weights comes from the last {horizon} of {len(errors)} times; cut "
        f"after {at} it is off by {100 * float(errors[at - 1]):.2g} % and its cosine with the full one is "
        f"{float(cosines[at - 1]):.3f}"
    )
