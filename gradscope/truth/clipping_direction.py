"""T12: what clipping does to the direction of a gradient."""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from gradscope.instrument import watch
from gradscope.runs import open_run
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase

_COSINES = {0.1: 0.8186, 0.3: 0.8567, 1.0: 0.9503, 2.0: 0.9948}


class _Normal(nn.Module):
    """A recurrent layer whose loss has the gradient N(0, 1) in every weight: their quantiles, shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, 400).double()
        generator = torch.Generator().manual_seed(12)
        count = sum(parameter.numel() for parameter in self.parameters())
        shuffled = torch.randperm(count, generator=generator).double()
        self.gradient = torch.special.ndtri((shuffled + 0.5) / count)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.cat([parameter.flatten() for parameter in self.parameters()])
        loss: Tensor = weights @ self.gradient + 0 * self.rnn(x)[0].sum()
        return loss


def _run() -> Outcome:
    cosines = {clip: _recorded(partial(nn.utils.clip_grad_value_, clip_value=clip))[0] for clip in _COSINES}
    cosine, coefficient = _recorded(partial(nn.utils.clip_grad_norm_, max_norm=1.0))
    checks = [
        Check(f"cosine after clipping by value at {clip:g}", expected, cosines[clip], 2e-4)
        for clip, expected in _COSINES.items()
    ]
    checks.append(Check("cosine after clipping by norm", 1.0, cosine, 1e-12))
    norm = float(_Normal().gradient.norm())
    checks.append(Check("coefficient of clipping by norm at 1, times the norm", 1.0, coefficient * norm, 1e-6))
    clips = [0.02 * 1.3**i for i in range(20)]
    curves = (
        Curve("closed form", clips, [_cosine(clip) for clip in clips]),
        Curve("recorded", list(cosines), list(cosines.values()), list(_COSINES.values())),
    )
    return Outcome(tuple(checks), Picture("clipping value", "cosine with the unclipped gradient", curves))


def _recorded(clip: Callable[[list[nn.Parameter]], object]) -> tuple[float, float]:
    """Return the cosine and the coefficient that the recorder sees around a call of `clip`."""
    model = _Normal()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        with watch(model, optimizer, run=run, schedule=1):
            model(torch.zeros(2, 1, 1, dtype=torch.float64)).backward()
            clip(list(model.parameters()))
            optimizer.step()
        row = open_run(run).iterations.iloc[0]
        return float(row["clip_cosine"]), float(row["clip_coefficient"])


def _cosine(clip: float) -> float:
    """Return E g clip(g) / sqrt(E g^2 E clip(g)^2) of a normal g: integrals of its density."""
    inside = math.erf(clip / math.sqrt(2))
    density = math.exp(-(clip**2) / 2) / math.sqrt(2 * math.pi)
    square = inside - 2 * clip * density + clip**2 * (1 - inside)
    return inside / math.sqrt(square)


CASE = TruthCase(
    "T12",
    "Clipping and direction",
    "Clipping a normally distributed gradient by value turns it, the more the lower the value; clipping by norm never "
    "does.",
    "Moments of a clipped normal variable: E g clip(g) = erf(c / sqrt 2).",
    _run,
)
