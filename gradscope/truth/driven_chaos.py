"""T8: input makes a chaotic network calmer."""

import torch

from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase
from gradscope.truth.free_running import by_group
from gradscope.truth.random_tanh_networks import largest_exponents, mean_field_exponent

_MEAN_FIELD = {(0.9, 0.5): -0.3545, (1.5, 0.5): -0.0167, (2.0, 1.0): 0.0460}
_NETWORKS = 4


def _run() -> Outcome:
    pairs = [pair for pair in _MEAN_FIELD for _ in range(_NETWORKS)]
    gains, stds = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    result = largest_exponents(gains, stds, size=256, time=900, seed=0)
    got = by_group(pairs, result.per_sequence[:, 0].tolist())
    checks = tuple(
        Check(f"largest exponent at g = {gain:g}, s = {std:g}, 256 units", expected, got[gain, std], 0.01)
        for (gain, std), expected in _MEAN_FIELD.items()
    )
    gains_shown = [0.5 + 0.1 * i for i in range(21)]
    theory = tuple(
        Curve(f"theory, s = {std:g}", gains_shown, [mean_field_exponent(gain, std) for gain in gains_shown])
        for std in (0.5, 1.0)
    )
    points = Curve(
        "networks of 256 units", [gain for gain, _ in _MEAN_FIELD], list(got.values()), list(_MEAN_FIELD.values())
    )
    return Outcome(checks, Picture("gain g", "largest exponent [nats per time]", (*theory, points)))


CASE = TruthCase(
    "T8",
    "Chaos under input",
    "Independent Gaussian input of standard deviation s to every unit saturates them: the exponent falls, and a gain "
    "well above 1 is needed for chaos.",
    "Mean-field theory with the input's variance added; Molgedey, Schuchhardt & Schuster 1992.",
    _run,
)
