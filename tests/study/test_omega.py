"""Omega as a choice of a study file."""

import math

import pytest
import torch
from torch import nn

from gradscope.dynamics import omega
from gradscope.errors import UsageError
from gradscope.runs import open_run
from gradscope.study.spec.loading import load_study
from gradscope.study.training.network import Network
from gradscope.study.training.omega import AddedOmega
from gradscope.study.training.training import train_trial


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_its_gradient_is_added_to_that_of_the_recurrent_weights_alone(nonlinearity):
    """So many times; every other gradient is that of the loss."""
    torch.manual_seed(0)
    network, inputs = Network(nn.RNN(2, 4, nonlinearity=nonlinearity), 4, 1), torch.randn(7, 3, 2)
    network(inputs)[0].square().sum().backward()
    plain = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    outputs, _ = network.recurrent(inputs)
    outputs.retain_grad()
    network.readout(outputs[-1:]).square().sum().backward()
    weight = network.recurrent.weight_hh_l0.detach()
    expected = omega(outputs.detach(), outputs.grad, weight, nonlinearity).gradient
    network.zero_grad()

    added = AddedOmega(0.5)
    added.attach(network)
    with torch.no_grad():
        network(torch.randn(7, 3, 2))
    network(inputs)[0].square().sum().backward()
    added(network)

    for name, parameter in network.named_parameters():
        extra = 0.5 * expected if name == "recurrent.weight_hh_l0" else 0
        torch.testing.assert_close(parameter.grad, plain[name] + extra)
    assert float(expected.abs().max()) > 0.001


def test_a_clipping_after_it_acts_on_the_sum(make_trial, tmp_path):
    """The recorder sees the gradient of the loss before, and the clipped sum, which points elsewhere, after."""
    train_trial(make_trial(clipping="omega(50)+norm(0.001)", every=1), tmp_path / "run")
    found = open_run(tmp_path / "run").iterations
    assert found["clipped_gradient_norm"].tolist() == pytest.approx([0.001] * 6, rel=1e-3)
    assert found["clip_cosine"].max() < 0.9


def test_the_gradient_through_time_keeps_its_length(make_trial, tmp_path):
    """Less than a thousandth arrives 19 times back at first; with Omega much more does after 120 iterations."""
    shares = {}
    for clipping in ("norm(1.0)", "omega(20)+norm(1.0)"):
        trial = make_trial(
            clipping=clipping, optimizer="sgd", learning_rate=0.1, iterations=121, every=120, length=20, hidden=16
        )
        train_trial(trial, tmp_path / clipping)
        table = open_run(tmp_path / clipping).timesteps.set_index(["iteration", "time"])["total_gradient_norm"]
        shares[clipping] = [table[at, 0] / table[at, 19] for at in (0, 120)]
    plain, kept = shares["norm(1.0)"], shares["omega(20)+norm(1.0)"]
    assert plain[0] == kept[0] < 1e-3
    assert abs(math.log(kept[1])) < abs(math.log(plain[1])) / 4


STUDY = """
name = "made"
title = "Made"
question = "What?"
[task.adding]
length = 20
[training]
iterations = 2
[[grid]]
task = ["adding"]
cell = ["rnn_tanh", "CELL"]
initialisation = ["default"]
clipping = ["CLIPPING"]
seed = [0]
"""


@pytest.mark.parametrize(
    ("cell", "clipping", "words"),
    [
        ("lstm", "omega(0.1)+norm(1.0)", r"omega\(0.1\)\+norm\(1.0\) is for rnn_tanh and rnn_relu, .* also has lstm"),
        ("rnn_relu", "omega(0.1)+nrom(1.0)", "did you mean norm"),
        ("rnn_relu", "omega+norm(1.0)", r"expected omega\(number above 0\), got 'omega'"),
        ("rnn_relu", "omega(0.1)+", r"expected name or name\(number\), got ''"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, cell, clipping, words):
    """With what was got, and what is accepted."""
    (tmp_path / "made.toml").write_text(STUDY.replace("CELL", cell).replace("CLIPPING", clipping))
    with pytest.raises(UsageError, match=words):
        load_study(tmp_path / "made.toml")
