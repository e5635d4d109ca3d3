"""What value clipping and AGC surely would have done, held against doing it to the gradients themselves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.analysis.counterfactual_bounds import agc_bounds, value_clipping_bounds
from gradscope.errors import UsageError

SHAPES = {"weight": [6, 4], "bias": [6]}


def _gradients(seed, spread):
    """Twenty iterations of gradients and weights whose rows differ in size."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(20):
        gradients, weights = (
            {name: rng.normal(size=shape) * np.exp(spread * rng.normal(size=(shape[0],) + (1,) * (len(shape) - 1)))
             for name, shape in SHAPES.items()}
            for _ in range(2)
        )  # fmt: skip
        scale = np.exp(2 * rng.normal())
        drawn.append(({name: scale * value for name, value in gradients.items()}, weights))
    return drawn


def _table(drawn):
    return pd.DataFrame(
        [
            {
                "iteration": iteration,
                "parameter": name,
                "gradient_norm": np.linalg.norm(gradients[name]),
                "weight_norm": np.linalg.norm(weights[name]),
            }
            for iteration, (gradients, weights) in enumerate(drawn)
            for name in SHAPES
        ]
    )


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.0, 1.0]), threshold=st.floats(0.05, 10))
def test_value_clipping_fires_between_the_bounds(seed, spread, threshold):
    """Entries compared one by one."""
    drawn = _gradients(seed, spread)
    fired = np.mean([any((np.abs(g) > threshold).any() for g in gradients.values()) for gradients, _ in drawn])
    found = value_clipping_bounds(_table(drawn), SHAPES, threshold)
    assert found.recorded == 20
    assert found.least_share <= fired <= found.most_share


@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.0, 1.0]), strength=st.floats(1e-2, 3))
def test_agc_fires_between_the_bounds(seed, spread, strength):
    """Rows compared one by one, as the paper writes it; a bias is one unit."""

    def fires(gradient, weight):
        rows = (gradient, weight) if gradient.ndim > 1 else (gradient[None], weight[None])
        size, weights = (np.linalg.norm(value, axis=1) for value in rows)
        return (size > strength * np.maximum(weights, 1e-3)).any()

    drawn = _gradients(seed, spread)
    fired = np.mean([any(fires(gradients[name], weights[name]) for name in SHAPES) for gradients, weights in drawn])
    found = agc_bounds(_table(drawn), SHAPES, strength)
    assert found.least_share <= fired <= found.most_share


def test_bounds_meet_where_the_norm_says_it_all():
    """Far above and far below the threshold there is no doubt."""
    table = _table(_gradients(0, 0.0))
    assert value_clipping_bounds(table, SHAPES, 1e-6).least_share == 1.0
    assert value_clipping_bounds(table, SHAPES, 1e6).most_share == 0.0


def test_without_shapes_nothing_is_claimed():
    """A run that does not say its shapes gives no bounds."""
    found = value_clipping_bounds(_table(_gradients(0, 0.0)), {}, 1.0)
    assert (found.recorded, np.isnan(found.least_share), np.isnan(found.most_share)) == (0, True, True)


def test_a_threshold_is_positive():
    """Zero would clip everything to nothing."""
    with pytest.raises(UsageError, match="positive number"):
        value_clipping_bounds(_table(_gradients(0, 0.0)), SHAPES, 0.0)
