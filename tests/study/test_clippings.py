"""What each clipping does to a gradient, against loops and formulas of its own."""

import numpy as np
import pytest
import torch
from torch import nn

from gradscope.study.spec.clipping_table import CLIPPING_TABLE, OMEGA
from gradscope.study.spec.dotted import resolve


@pytest.fixture
def network():
    """Two layers, the second a read-out."""
    torch.manual_seed(0)
    return nn.ModuleDict({"recurrent": nn.Linear(3, 4), "readout": nn.Linear(4, 2)})


def _set_norm(network, length):
    """Give the network a gradient of this norm."""
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    scale = length / _norm(network)
    for parameter in network.parameters():
        parameter.grad *= scale


def _norm(network):
    return float(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).norm())


def _clipped(name, argument, network, lengths):
    clip = resolve(CLIPPING_TABLE[name].make)(argument)
    found = []
    for length in lengths:
        _set_norm(network, length)
        clip(network)
        found.append(_norm(network))
    return found


@pytest.mark.parametrize("name", [name for name in CLIPPING_TABLE if name != OMEGA])
def test_every_entry_works_and_says_what_it_is(name, network):
    """The table and the functions cover the same names; a short gradient passes unharmed by what has a threshold.

    Omega, which adds to a gradient, has tests of its own.
    """
    entry = CLIPPING_TABLE[name]
    argument = {"none": None, "required": 10.0, "optional": None}[entry.argument]

    (found,) = _clipped(name, argument, network, [1e-3])

    assert found == pytest.approx(1e-3, rel=1e-4)
    assert entry.meaning
    assert entry.reference


def test_norm_and_value_have_their_thresholds(network):
    """By norm 5 becomes 2; by value no component is larger than 0.1."""
    assert _clipped("norm", 2.0, network, [5.0]) == pytest.approx([2.0], rel=1e-4)
    _clipped("value", 0.1, network, [5.0])
    assert max(float(parameter.grad.abs().max()) for parameter in network.parameters()) == pytest.approx(0.1)


@pytest.mark.parametrize(("argument", "percentile"), [(None, 10), (50.0, 50)])
def test_autoclip_clips_at_a_percentile_of_all_norms_so_far(network, argument, percentile):
    """Each norm is held against those before it and itself."""
    lengths = [3.0, 1.0, 4.0, 1.5, 9.0, 2.6]
    expected = [min(length, np.percentile(lengths[: i + 1], percentile)) for i, length in enumerate(lengths)]

    assert _clipped("autoclip", argument, network, lengths) == pytest.approx(expected, rel=1e-4)


def test_zclip_leaves_what_is_usual_and_shortens_what_stands_out(network):
    """After 25 norms around 1 +- 0.1, a norm of 3 becomes mean + 2.5^2 / z deviations; one of 1.1 stays."""
    usual = [0.9, 1.1] * 12 + [1.0]
    mean, deviation = np.mean(usual), np.std(usual)
    z = (3 - mean) / deviation

    *before, found = _clipped("zclip", None, network, [*usual, 3.0])
    *_, stays = _clipped("zclip", None, network, [*usual, 1.1])

    assert before == pytest.approx(usual, rel=1e-4)
    assert found == pytest.approx(mean + 2.5**2 / z * deviation, rel=1e-4)
    assert stays == pytest.approx(1.1, rel=1e-4)


def test_zclip_goes_on_after_a_gradient_that_is_not_finite(network):
    """A NaN is neither clipped nor remembered."""
    lengths = [1.0, 1.2] * 13
    found = _clipped("zclip", None, network, [*lengths, float("nan"), 1.1])

    assert np.isnan(found[-2])
    assert found[-1] == pytest.approx(1.1, rel=1e-4)


def test_agc_holds_each_unit_to_a_ratio_of_its_weights(network):
    """Row by row |g| is at most 0.01 |W|, the bias as a whole; the read-out keeps its gradient."""
    _set_norm(network, 100.0)
    untouched = network["readout"].weight.grad.clone()
    direction = nn.functional.normalize(network["recurrent"].weight.grad, dim=1)
    resolve(CLIPPING_TABLE["agc"].make)(None)(network)

    layer = network["recurrent"]
    expected = 0.01 * layer.weight.detach().norm(dim=1, keepdim=True) * direction
    torch.testing.assert_close(layer.weight.grad, expected)
    torch.testing.assert_close(layer.bias.grad.norm(), 0.01 * layer.bias.detach().norm())
    assert torch.equal(network["readout"].weight.grad, untouched)
