"""Gradients through time as pure torch functions of a step function.

Each takes one time of a recurrence (a function (input, state) -> state, a cell such as nn.LSTMCell, or a one-layer
module such as nn.GRU), the inputs (time, batch, input) and the state before the first time. Whatever dtype and device
these have, the results have too; nothing is left on the autograd graph. States are full states: of an LSTM h and c.
"""

from gradscope.cells.step_functions import cell_step, layer_step
from gradscope.dynamics.attractor import entropy_rate, kaplan_yorke_dimension, predictability_time
from gradscope.dynamics.jacobian import JacobianProducts, jacobian_products, jacobians_through_time, state_jacobian
from gradscope.dynamics.lyapunov import LyapunovExponents, lyapunov_exponents
from gradscope.dynamics.regulariser import Omega, omega
from gradscope.dynamics.sizes import norm_per_sequence
from gradscope.dynamics.spectra import condition_number, singular_values, spectral_radius
from gradscope.dynamics.total import total_gradient
from gradscope.dynamics.trajectory import roll_out
from gradscope.dynamics.truncated import random_error, truncated_cosine, truncated_error
from gradscope.dynamics.two_time import TwoTimeGradient, cancellation_index, lag_profile, two_time_gradient
from gradscope.dynamics.weight_shares import (
    gradient_horizon,
    preactivation_gradients,
    weight_gradient_gram,
    weight_gradient_shares,
)

__all__ = [
    "JacobianProducts",
    "LyapunovExponents",
    "Omega",
    "TwoTimeGradient",
    "cancellation_index",
    "cell_step",
    "condition_number",
    "entropy_rate",
    "gradient_horizon",
    "jacobian_products",
    "jacobians_through_time",
    "kaplan_yorke_dimension",
    "lag_profile",
    "layer_step",
    "lyapunov_exponents",
    "norm_per_sequence",
    "omega",
    "preactivation_gradients",
    "predictability_time",
    "random_error",
    "roll_out",
    "singular_values",
    "spectral_radius",
    "state_jacobian",
    "total_gradient",
    "truncated_cosine",
    "truncated_error",
    "two_time_gradient",
    "weight_gradient_gram",
    "weight_gradient_shares",
]
