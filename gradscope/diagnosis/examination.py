"""All rules over a whole run."""

from collections.abc import Callable
from dataclasses import dataclass

from gradscope.diagnosis.chaotic_dynamics import find_chaotic_dynamics
from gradscope.diagnosis.clip_always_on import find_clip_always_on
from gradscope.diagnosis.clip_bends_direction import find_clip_bends_direction
from gradscope.diagnosis.clip_never_on import find_clip_never_on
from gradscope.diagnosis.dead_units import find_dead_units
from gradscope.diagnosis.evidence import LayerEvidence, layer_evidence
from gradscope.diagnosis.exploding_gradient import find_exploding_gradient
from gradscope.diagnosis.finding import SEVERITIES, Finding
from gradscope.diagnosis.forget_gate_too_low import find_forget_gate_too_low
from gradscope.diagnosis.gradient_cut_off import find_gradient_cut_off
from gradscope.diagnosis.gradient_underflow import find_gradient_underflow
from gradscope.diagnosis.hidden_state_growth import find_hidden_state_growth
from gradscope.diagnosis.left_over_gradient import find_left_over_gradient
from gradscope.diagnosis.loss_at_many_times import find_loss_at_many_times
from gradscope.diagnosis.non_finite import find_non_finite_norms, find_non_finite_values
from gradscope.diagnosis.nothing_recorded import find_nothing_recorded
from gradscope.diagnosis.one_time_calls import find_one_time_calls
from gradscope.diagnosis.read_too_early import find_read_too_early
from gradscope.diagnosis.saturated_gates import find_saturated_gates
from gradscope.diagnosis.saturated_units import find_saturated_units
from gradscope.diagnosis.short_horizon import find_short_horizon
from gradscope.diagnosis.truncation_too_short import find_truncation_too_short
from gradscope.diagnosis.unusable_lag import find_unusable_lag
from gradscope.diagnosis.update_too_large import find_update_too_large
from gradscope.diagnosis.update_too_small import find_update_too_small
from gradscope.diagnosis.vanishing_gradient import find_vanishing_gradient
from gradscope.diagnosis.weights_left_out import find_weights_left_out
from gradscope.diagnosis.weights_shrunk import find_weights_shrunk
from gradscope.runs import Run, open_run
from gradscope.runs.places import PlaceLike

LAYER_RULES: tuple[Callable[[LayerEvidence], Finding | None], ...] = (
    find_non_finite_values,
    find_exploding_gradient,
    find_vanishing_gradient,
    find_gradient_cut_off,
    find_gradient_underflow,
    find_read_too_early,
    find_truncation_too_short,
    find_short_horizon,
    find_forget_gate_too_low,
    find_saturated_gates,
    find_saturated_units,
    find_dead_units,
    find_chaotic_dynamics,
    find_hidden_state_growth,
    find_loss_at_many_times,
)

RUN_RULES: tuple[Callable[[Run], Finding | None], ...] = (
    find_nothing_recorded,
    find_non_finite_norms,
    find_clip_always_on,
    find_clip_bends_direction,
    find_clip_never_on,
    find_update_too_large,
    find_update_too_small,
    find_weights_left_out,
    find_left_over_gradient,
    find_weights_shrunk,
)


@dataclass(frozen=True)
class Examination:
    """What was looked at and what was found.

    Attributes:
        layers: One for each layer that was recorded, in the order of the model.
        findings: The worst first.
    """

    layers: tuple[LayerEvidence, ...]
    findings: tuple[Finding, ...]


def examine(run: Run) -> Examination:
    """Apply every rule to a run.

    Args:
        run: Complete or still being written.

    Returns:
        The evidence of each layer, and the findings.
    """
    layers = tuple(evidence for layer in run.layers if (evidence := layer_evidence(run, layer)) is not None)
    # What keeps the rules from judging: of how a run was made, not of the training.
    candidates = [find_unusable_lag(run), *map(find_one_time_calls, layers)]
    candidates += [rule(run) for rule in RUN_RULES]
    candidates += [rule(evidence) for evidence in layers for rule in LAYER_RULES]
    findings = [finding for finding in candidates if finding is not None]
    return Examination(layers, tuple(sorted(findings, key=lambda finding: _place(finding, run.layers))))


def diagnose(run: Run | PlaceLike) -> list[Finding]:
    """Say what is wrong in a run.

    Args:
        run: Complete or still being written; or its folder.

    Returns:
        The findings, the worst first, then in the order of the model's layers; empty if nothing is wrong.

    Raises:
        RunError: there is no run in that folder, or it is damaged.
    """
    return list(examine(run if isinstance(run, Run) else open_run(run)).findings)


def _place(finding: Finding, layers: list[str]) -> tuple[int, int]:
    layer = layers.index(finding.layer) if finding.layer in layers else -1
    return -SEVERITIES.index(finding.severity), layer
