"""Numbers from a run: pure functions of numpy and pandas."""

from gradscope.analysis.clip_recommendation import ClipRecommendation, recommend_threshold
from gradscope.analysis.clipping import Clipping, Quantiles, clipping_statistics
from gradscope.analysis.counterfactual import (
    Replay,
    logged_norms,
    replay_autoclip,
    replay_norm_clipping,
    replay_zclip,
    replays,
)
from gradscope.analysis.counterfactual_bounds import ClipBounds, agc_bounds, value_clipping_bounds
from gradscope.analysis.dead_units import DeadUnits, run_dead_units
from gradscope.analysis.decay import HORIZON_SHARE, Decay, fit_decay, underflow_floor
from gradscope.analysis.effective_rank import EffectiveRank, run_effective_rank
from gradscope.analysis.gates import KEEPING_GATES, GateUse, TimeConstant, gate_use, time_constant
from gradscope.analysis.judging import Verdict, verdict
from gradscope.analysis.loss_ends import run_loss_times
from gradscope.analysis.noise_scale import gradient_noise_scale, run_noise_scale
from gradscope.analysis.nonfinite import NonfiniteOnset, nonfinite_onsets, norms_onset
from gradscope.analysis.pooling import loss_times, phase_iterations, pooled_norms, run_decay
from gradscope.analysis.state_growth import StateGrowth, state_growth
from gradscope.analysis.unit_clipping import UnitClipping, replay_agc
from gradscope.analysis.updates import WeightCourse, update_ratios, weight_courses, weight_matrices
from gradscope.analysis.weight_horizon import WeightHorizon, horizon_bound, run_weight_horizon
from gradscope.analysis.wording import number, percent

__all__ = [
    "HORIZON_SHARE",
    "KEEPING_GATES",
    "ClipBounds",
    "ClipRecommendation",
    "Clipping",
    "DeadUnits",
    "Decay",
    "EffectiveRank",
    "GateUse",
    "NonfiniteOnset",
    "Quantiles",
    "Replay",
    "StateGrowth",
    "TimeConstant",
    "UnitClipping",
    "Verdict",
    "WeightCourse",
    "WeightHorizon",
    "agc_bounds",
    "clipping_statistics",
    "fit_decay",
    "gate_use",
    "gradient_noise_scale",
    "horizon_bound",
    "logged_norms",
    "loss_times",
    "nonfinite_onsets",
    "norms_onset",
    "number",
    "percent",
    "phase_iterations",
    "pooled_norms",
    "recommend_threshold",
    "replay_agc",
    "replay_autoclip",
    "replay_norm_clipping",
    "replay_zclip",
    "replays",
    "run_dead_units",
    "run_decay",
    "run_effective_rank",
    "run_loss_times",
    "run_noise_scale",
    "run_weight_horizon",
    "state_growth",
    "time_constant",
    "underflow_floor",
    "update_ratios",
    "value_clipping_bounds",
    "verdict",
    "weight_courses",
    "weight_matrices",
]
