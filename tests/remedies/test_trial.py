"""Remedies tried on a small training, held against what the training itself saw."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from gradscope.remedies.remedy import Remedy
from gradscope.remedies.wording import effect_on_gradient, summary
from tests.remedies.models import SEEDS, Loop, Reader, tried


def unrolled_half_life(first: dict[str, torch.Tensor], inputs: torch.Tensor) -> float:
    """Return ln 2 over the decay a time of dL/dh of a tanh network, by autograd through a loop of its own."""
    states = [torch.zeros(len(inputs), first["rnn.weight_hh_l0"].shape[0])]
    bias = first["rnn.bias_ih_l0"] + first["rnn.bias_hh_l0"]
    for now in inputs.transpose(0, 1):
        states.append(torch.tanh(now @ first["rnn.weight_ih_l0"].T + states[-1] @ first["rnn.weight_hh_l0"].T + bias))
        states[-1].requires_grad_().retain_grad()
    (states[-1] @ first["head.weight"].T).sum().backward()
    logs = [math.log(float(state.grad.norm(dim=1).mean())) for state in reversed(states[1:])]
    lags = np.arange(len(logs))[1:]
    return math.log(2) / abs(float(np.polyfit(lags, logs[1:], 1)[0]))


def test_all_remedies_see_the_same_batches_and_seeds():
    """Batch by batch, also for remedies that draw random numbers themselves or change the model."""
    loop = Loop(length=12)
    trials = tried(loop, Reader, "clip-norm(1)", "orthogonal", "lstm", "residual", "truncate(5)")

    first, second = loop.given[:2]
    assert not torch.equal(first[0], second[0])
    for given in zip(loop.given[2::2], loop.given[3::2], strict=True):
        for mine, wanted in zip(given, (first, second), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(mine, wanted, strict=True))
    assert trials.table["same_batches"].all()
    assert trials.table["seeds"].tolist() == [2] * 6


def test_batches_that_differ_are_noticed():
    """A generator of the user's own that goes on from training to training."""
    own = torch.Generator().manual_seed(1)

    def train(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        while True:
            loss = model(torch.randn(4, 6, 2, generator=own)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss

    assert tried(train, Reader, "clip-norm(1)").table["same_batches"].tolist() == [True, False]


def test_without_a_remedy_the_training_is_the_users():
    """Bit-identical to the loop run by hand from the same seed."""
    trials = tried(Loop(), Reader, "clip-norm(1)")

    torch.manual_seed(SEEDS[0])
    model = Reader()
    torch.manual_seed(SEEDS[0])
    steps = Loop()(model)
    by_hand = [float(next(steps).detach()) for _ in range(8)]
    losses = trials.losses[(trials.losses["remedy"] == "unchanged") & (trials.losses["seed"] == SEEDS[0])]
    assert losses["loss"].tolist() == by_hand
    assert trials.trainings.loc[0, "loss"] == by_hand[-1]


def test_random_numbers_of_the_caller_are_left_alone():
    """torch's, numpy's and Python's go on as if nothing had happened."""
    drawn = []
    for act in (lambda: None, lambda: tried(Loop(), Reader, "orthogonal")):
        torch.manual_seed(7)
        np.random.seed(7)  # noqa: NPY002
        random.seed(7)
        act()
        drawn.append((float(torch.rand(())), float(np.random.rand()), random.random()))  # noqa: NPY002
    assert drawn[0] == drawn[1]


def test_clipping_acts_inside_the_step():
    """The gradient that the optimiser gets has at most the norm that was asked for; without it, more."""
    loop = Loop()
    tried(loop, Reader, "clip-norm(0.01)", "clip-value(0.001)")

    unchanged, by_norm, by_value = loop.norms[0], loop.norms[2], loop.norms[4]
    size = sum(parameter.numel() for parameter in Reader().parameters())
    assert min(unchanged) > 0.02
    assert max(by_norm) <= 0.01 + 1e-6
    assert max(by_value) <= 0.001 * size**0.5


def test_the_rate_follows_its_schedule():
    """Up over the first tenth, down along half a cosine; the training's own rate is put back after each step."""
    used = []

    class Noting(torch.optim.SGD):
        def step(self, closure=None):
            used.append(self.param_groups[0]["lr"])
            return super().step(closure)

    loop = Loop(optimizer=Noting, rate=0.5)
    tried(loop, Reader, "rate-schedule", iterations=20)

    scheduled = used[40:60]
    assert scheduled[:2] == [0.25, 0.5]
    assert scheduled[2:] == [pytest.approx(0.5 * (1 + math.cos(math.pi * k / 18)) / 2) for k in range(18)]
    assert loop.rates[2] == [0.5] * 20
    assert used[:20] == [0.5] * 20


def test_the_half_life_is_that_of_the_model():
    """With a learning rate of nothing it is the one of the first weights, by autograd through a loop of our own."""
    loop = Loop(length=20, rate=1e-12)
    trials = tried(loop, Reader, "orthogonal")

    for row, first, given in zip(trials.trainings.to_dict("records"), loop.started, loop.given, strict=True):
        wanted = unrolled_half_life(first, torch.cat(given[-3:]))
        assert row["half_life"] == pytest.approx(wanted, rel=0.15)


def test_identity_helps_a_relu_network_that_forgets():
    """Small recurrent weights forget; the identity keeps what was read 15 times ago, and learns it."""

    def small():
        model = Reader(nonlinearity="relu", units=16)
        with torch.no_grad():
            model.rnn.weight_hh_l0.mul_(0.2)
        return model

    trials = tried(Loop(lag=15, length=20), small, "identity", iterations=24, lag=15, seeds=3)

    row = trials.table.set_index("remedy").loc["identity"]
    assert row["rate_change_low"] > 0.5
    assert row["share_at_lag"] > 0.1
    assert trials.table.loc[0, "share_at_lag"] < 1e-5


def test_a_forget_bias_helps_an_lstm_that_forgets():
    """Its forget gate was shut: with bias 1 the half-life comes near that of the cell path, 2.2 times."""

    def forgetful():
        model = Reader(nn.LSTM, units=16)
        with torch.no_grad():
            model.rnn.bias_ih_l0[16:32] = -3
        return model

    trials = tried(Loop(lag=8, length=20, rate=1e-3), forgetful, "forget-bias(1)", seeds=3)

    before, after = trials.table["half_life"]
    assert before < 0.5
    assert 1.5 < after < 4
    assert trials.table.loc[1, "rate_change_low"] > 0


def test_a_remedy_that_does_nothing_is_called_so():
    """A limit that no gradient reaches leaves every loss as it was."""
    trials = tried(Loop(), Reader, "clip-norm(1000000)")

    row = trials.table.iloc[1]
    assert row["identical"]
    assert (row["loss_change"], row["loss_change_low"], row["loss_change_high"]) == (0, 0, 0)


def test_a_training_that_diverges_is_counted():
    """It enters no mean and stops at once."""

    class Overflow(Remedy):
        def prepare(self, model, lag):  # noqa: ARG002
            with torch.no_grad():
                model.head.weight.fill_(1e30)

    trials = tried(Loop(), Reader, Overflow("overflow", "the read-out is far too large"))

    row = trials.table.iloc[1]
    assert row["diverged"] == 2
    assert math.isnan(row["loss"])
    assert math.isnan(row["loss_change"])
    assert (trials.losses["remedy"] == "overflow").sum() == 2


def test_a_loss_at_every_time_has_a_horizon_and_no_half_life():
    """Its gradient at a time is a sum over many lags; where the weights' gradient comes from can be said."""

    class Tagger(Reader):
        def forward(self, inputs):
            return self.head(self.rnn(inputs)[0])

    def train(model):
        optimizer = torch.optim.Adam(model.parameters())
        while True:
            loss = model(torch.randn(4, 9, 2)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss

    trials = tried(train, Tagger, "orthogonal")

    assert trials.table["half_life"].isna().all()
    assert trials.table["horizon"].between(1, 9).all()
    assert trials.trainings["mixed"].all()


def test_what_is_cut_off_has_a_horizon_and_no_half_life():
    """A gradient that would have reached all 12 times reaches 4; decays over 4 and over 12 lags do not compare."""

    def keeping():
        model = Reader(nonlinearity="relu")
        with torch.no_grad():
            nn.init.eye_(model.rnn.weight_hh_l0)
        return model

    trials = tried(Loop(length=12, rate=1e-6), keeping, "truncate(4)", lag=6)

    row = trials.table.iloc[1]
    assert math.isnan(row["half_life"])
    assert (trials.table.loc[0, "horizon"], row["horizon"]) == (12, 4)
    assert row["share_at_lag"] == 0
    assert row["horizon_change_high"] < 0
    assert effect_on_gradient(row) == "reaches less far"
    assert "further back under" not in " ".join(summary(trials.table))


def test_a_training_may_end_by_itself():
    """After as many losses as it has."""

    def train(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(10):
            loss = model(torch.randn(4, 6, 2)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield float(loss.detach())

    assert tried(train, Reader, "orthogonal", iterations=200).table["iterations"].tolist() == [10, 10]


def test_an_error_of_the_users_passes_through():
    """Untouched, and no hook is left."""

    def train(model):
        model(torch.randn(4, 6, 2))
        yield torch.ones(())
        raise RuntimeError("of the user")

    with pytest.raises(RuntimeError, match="of the user"):
        tried(train, Reader, "orthogonal")
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    optimizer.step()
