"""T7: large random networks become chaotic as mean-field theory says."""

import torch

from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase
from gradscope.truth.free_running import by_group
from gradscope.truth.random_tanh_networks import largest_exponents, mean_field_exponent

_MEAN_FIELD = {2.0: 0.154724, 2.5: 0.237177, 3.0: 0.310249}
_MEASURED_AT_512_UNITS = 0.1499


def _run() -> Outcome:
    gains = torch.tensor([2.0] * 4 + [2.5] * 2 + [3.0] * 2, dtype=torch.float64)
    result = largest_exponents(gains, torch.zeros_like(gains), size=512, time=650, seed=0)
    got = by_group(gains.tolist(), result.per_sequence[:, 0].tolist())
    checks = [
        Check(f"largest exponent at g = {gain:g}, 512 units, mean of the networks", expected, got[gain], 0.01)
        for gain, expected in _MEAN_FIELD.items()
    ]
    checks.append(Check("the same at g = 2, against another simulation", _MEASURED_AT_512_UNITS, got[2.0], 0.005))
    curve = [1.05 + 0.05 * i for i in range(40)]
    curves = (
        Curve("mean-field theory", curve, [mean_field_exponent(gain) for gain in curve]),
        Curve("networks of 512 units", list(got), list(got.values()), list(_MEAN_FIELD.values())),
    )
    return Outcome(tuple(checks), Picture("gain g", "largest exponent [nats per time]", curves))


CASE = TruthCase(
    "T7",
    "Chaos in a large random network",
    "With weights from N(0, g^2 / N) a tanh network is chaotic above g = 1, with the largest exponent of mean-field "
    "theory; of a network of 512 units it is a little lower, and single networks scatter.",
    "Sompolinsky, Crisanti & Sommers 1988; Molgedey, Schuchhardt & Schuster 1992; Engelken, Wolf & Abbott 2023.",
    _run,
)
