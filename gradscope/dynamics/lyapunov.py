"""Lyapunov exponents: at which rates, in nats per time, small differences of the state grow or shrink.

Orthonormal tangent vectors are carried along, Q <- J_t Q, and orthonormalised again by a QR decomposition; the mean of
log |R_ii| is the i-th exponent. Source: Benettin et al. 1980; Geist, Parlitz & Lauterborn 1990.
"""

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics.attractor import entropy_rate, kaplan_yorke_dimension, predictability_time
from gradscope.dynamics.full_state import StateForm, Step, check_batch, flat_step
from gradscope.dynamics.linearised import tangent_maps
from gradscope.dynamics.student import mean_interval
from gradscope.errors import UsageError


@dataclass(frozen=True)
class LyapunovExponents:
    """Exponents in nats per time, largest first.

    Attributes:
        exponents: means over the sequences.
        low: lower end of their confidence interval over the sequences; NaN for a single sequence.
        high: upper end.
        per_sequence: of each sequence.
        times: how many times they are averaged over.
        complete: these are all exponents of the full state and not the leading ones alone.
    """

    exponents: Float[Tensor, " k"]
    low: Float[Tensor, " k"]
    high: Float[Tensor, " k"]
    per_sequence: Float[Tensor, "batch k"]
    times: int
    complete: bool

    @property
    def kaplan_yorke_dimension(self) -> float:
        """Dimension of the attractor; where not `complete` and all partial sums are positive, a lower bound."""
        return kaplan_yorke_dimension(self.exponents)

    @property
    def entropy(self) -> float:
        """Sum of the positive exponents, in nats per time; of the leading ones, a lower bound."""
        return entropy_rate(self.exponents)

    @property
    def predictability_time(self) -> float:
        """Times in which an error doubles, ln 2 / lambda_max; infinite without a positive exponent."""
        return predictability_time(self.exponents)


@torch.no_grad()
def lyapunov_exponents(
    step: Step,
    inputs: Float[Tensor, "time batch ..."],
    state: State,
    *,
    k: int | None = None,
    interval: int = 1,
    burn_in: int = 0,
    tangent_burn_in: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> LyapunovExponents:
    """Return the Lyapunov exponents of a recurrence driven by `inputs`.

    Args:
        step: one time: a function (input, state) -> state, a cell, or a one-layer module.
        inputs: of all times. For a map without input, zeros (time, batch, 0) say how many times it runs.
        state: before the first time, as the cell takes it.
        k: how many of the leading exponents; all of the full state if None.
        interval: times between two orthonormalisations. Larger is faster and less exact: the tangent vectors all turn
            towards the fastest growing direction.
        burn_in: first times, in which the state finds the attractor and no tangent vector is carried along.
        tangent_burn_in: times after these, in which the tangent vectors find their directions and nothing is averaged.
        confidence: of the interval over the sequences, Student's.
        seed: of the random tangent vectors at the start.

    Returns:
        The exponents of each sequence, their means and interval.

    Warns:
        UserWarning: `interval` is so long that tangent vectors became parallel, or over- or underflowed, in between.

    Raises:
        UsageError: shapes do not fit, or a number is out of range.
    """
    check_batch(inputs, state)
    form = StateForm.of(state)
    k = form.size if k is None else k
    averaged = len(inputs) - burn_in - tangent_burn_in
    _check_numbers(k, form.size, interval, burn_in, tangent_burn_in, averaged, confidence)
    advance, full = flat_step(step, form), form.flatten(state)
    for x in inputs[:burn_in]:
        full = advance(x, full)
    tangents = _random_frame(full, k, seed)
    sums, narrowest = full.new_zeros(len(full), k, dtype=torch.float64), full.new_tensor(torch.inf)
    since = 0
    for t, tangent_map in enumerate(tangent_maps(advance, inputs[burn_in:], full, k), start=1):
        tangents = tangent_map(tangents)
        since += 1
        if since < interval and t not in {tangent_burn_in, averaged + tangent_burn_in}:
            continue
        tangents, growth, sine = _orthonormalise(tangents)
        narrowest, since = torch.minimum(narrowest, sine), 0
        if t > tangent_burn_in:
            sums += growth
    if interval > 1:
        _warn_of_parallel_tangents(float(narrowest), interval, full.dtype)
    per_sequence = (sums / averaged).sort(dim=1, descending=True).values
    low, high = mean_interval(per_sequence, confidence)
    return LyapunovExponents(per_sequence.mean(0), low, high, per_sequence, averaged, complete=k == form.size)


def _random_frame(full: Float[Tensor, "batch state"], k: int, seed: int) -> Float[Tensor, "batch state k"]:
    """Return k random orthonormal vectors, the same on every device and for every sequence."""
    generator = torch.Generator().manual_seed(seed)
    frame: Tensor = torch.linalg.qr(torch.randn(full.shape[1], k, generator=generator, dtype=torch.float64)).Q
    return frame.to(full).expand(len(full), -1, -1)


def _orthonormalise(
    tangents: Float[Tensor, "batch state k"],
) -> tuple[Float[Tensor, "batch state k"], Float[Tensor, "batch k"], Float[Tensor, ""]]:
    """Return Q, log |R_ii| in float64, and the smallest sine of an angle between a vector and those before it."""
    frame, triangle = torch.linalg.qr(tangents)
    heights = triangle.diagonal(dim1=1, dim2=2).abs()
    lengths = torch.linalg.vector_norm(triangle, dim=1)
    return frame, heights.double().log(), (heights / lengths).nan_to_num(0.0).min()


def _warn_of_parallel_tangents(sine: float, interval: int, dtype: torch.dtype) -> None:
    """Warn where the rounding error in a height R_ii, about eps / sine of it, is above sqrt(eps)."""
    if sine < torch.finfo(dtype).eps ** 0.5:
        warnings.warn(
            f"lyapunov_exponents: with interval={interval} the tangent vectors became parallel between two "
            f"orthonormalisations (smallest sine {sine:.1e}), so that the smaller exponents are rounding error. Use a "
            "shorter interval, a smaller k, or float64.",
            stacklevel=3,
        )


def _check_numbers(
    k: int, size: int, interval: int, burn_in: int, tangent_burn_in: int, averaged: int, confidence: float
) -> None:
    if not 1 <= k <= size:
        raise UsageError(f"k must be between 1 and {size}, the size of the full state, got {k}")
    if interval < 1 or burn_in < 0 or tangent_burn_in < 0:
        raise UsageError(
            "interval must be at least 1, burn_in and tangent_burn_in at least 0, got "
            f"{interval}, {burn_in} and {tangent_burn_in}"
        )
    if averaged < 1:
        raise UsageError(
            f"inputs have {averaged + burn_in + tangent_burn_in} times, and burn_in {burn_in} with tangent_burn_in "
            f"{tangent_burn_in} leaves none to average over: give longer inputs or a shorter burn-in"
        )
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must be between 0 and 1, got {confidence:g}")
