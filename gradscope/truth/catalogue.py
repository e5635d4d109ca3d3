"""All cases with a known answer, in order."""

from gradscope.truth import (
    chrono_memory,
    clipping_direction,
    curse_of_memory,
    diagonal_networks,
    driven_chaos,
    error_wall,
    gradient_slope,
    linear_network,
    lstm_cell_path,
    mean_field_chaos,
    scalar_tanh,
    strange_attractors,
    task_baselines,
    transient_growth,
    truncation,
    volume,
)

CASES = (
    linear_network.CASE,
    scalar_tanh.CASE,
    transient_growth.CASE,
    lstm_cell_path.CASE,
    chrono_memory.CASE,
    diagonal_networks.CASE,
    mean_field_chaos.CASE,
    driven_chaos.CASE,
    volume.CASE,
    gradient_slope.CASE,
    clipping_direction.CASE,
    strange_attractors.CASE,
    truncation.CASE,
    curse_of_memory.CASE,
    task_baselines.CASE,
    error_wall.CASE,
)
