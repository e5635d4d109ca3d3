"""Measures of a network, held against autograd, draws and closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gradscope.dynamics import random_error, truncated_cosine, truncated_error
from gradscope.errors import UsageError
from gradscope.study.spec.task_settings import make_task
from gradscope.study.training.measures.products import products
from gradscope.study.training.measures.states import gates, states
from gradscope.study.training.measures.swept import swept
from gradscope.study.training.measures.truncation import truncation
from gradscope.study.training.measures.twin import twin
from gradscope.study.training.measures.two_time import term_sizes, two_time
from gradscope.study.training.network import build_network

SEQUENCES = 3


@pytest.fixture
def on(make_trial):
    """Make the network of a small trial on a batch of its task, and the loss of the same batch by PyTorch alone."""

    def make(cell="rnn_tanh", kind="recall", **options):
        options = options or {"lag": 6}
        trial = make_trial(task=kind, kind=kind, options=options, cell=cell, hidden=4)
        task = make_task(kind, options)
        network = build_network(trial, task)
        return network, task, trial, swept(network, task, trial, SEQUENCES)

    return make


def _recurrent_gradient(network, task, trial, truncate):
    """Return dL/dW_hh in float64, the graph cut by a detached state before the last `truncate` times."""
    batch = task.batch(np.random.default_rng([trial.seed, SEQUENCES]), SEQUENCES)
    exact = build_network(trial, task).double()
    exact.load_state_dict(network.state_dict())
    inputs = torch.from_numpy(batch.inputs).double()
    outputs, state = exact.recurrent(inputs[: len(inputs) - truncate]) if truncate < len(inputs) else (None, None)
    if state is not None:
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
    outputs, _ = exact.recurrent(inputs[len(inputs) - truncate :], state)
    nn.functional.cross_entropy(exact.readout(outputs[-1]), torch.from_numpy(batch.targets)).backward()
    return exact.recurrent.weight_hh_l0.grad


def _gram(on_batch):
    from gradscope.dynamics import preactivation_gradients, total_gradient, weight_gradient_gram

    total = total_gradient(on_batch.module, on_batch.inputs, on_batch.zeros, on_batch.direct)
    delta = preactivation_gradients(on_batch.module, on_batch.inputs, on_batch.before, total)
    return weight_gradient_gram(delta, on_batch.hidden_before)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_truncated_error_and_direction_are_those_of_a_graph_that_is_cut(on, cell):
    """Backward passes through the last K times, the state before them detached."""
    network, task, trial, swept_on = on(cell)
    gram = _gram(swept_on)
    full = _recurrent_gradient(network, task, trial, task.length)

    for length in (1, 3, task.length):
        cut = _recurrent_gradient(network, task, trial, length)
        error = float((cut - full).norm() / full.norm())
        cosine = float((cut * full).sum() / cut.norm() / full.norm())
        assert float(truncated_error(gram)[length - 1]) == pytest.approx(error, rel=1e-6, abs=1e-7)
        assert float(truncated_cosine(gram)[length - 1]) == pytest.approx(cosine, rel=1e-6)


def test_error_of_random_truncation_is_that_of_many_draws():
    """Three times, contributions drawn; 200,000 sweeps that end at random, each lag divided by its chance."""
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((3, 5))
    gram = torch.from_numpy(parts @ parts.T)
    stay = 1 - 1 / 2
    reached = np.minimum(rng.geometric(1 - stay, 200_000) - 1, 2)
    weights = (np.arange(3) <= reached[:, None]) / stay ** np.arange(3)
    draws = weights @ parts[::-1]
    full = parts.sum(0)
    drawn = math.sqrt((((draws - full) ** 2).sum(1)).mean()) / np.linalg.norm(full)

    assert float(random_error(gram)[1]) == pytest.approx(drawn, rel=0.02)
    np.testing.assert_allclose(draws.mean(0), full, atol=0.05)


def test_truncation_shows_error_and_direction(on):
    """At full length nothing is missing, and the direction is its own."""
    network, task, trial, _ = on()

    error, direction = truncation(network, task, trial)

    assert list(error.x) == list(range(1, 8))
    assert error.lines["cut after so many times: the bias"][-1] == pytest.approx(0, abs=1e-7)
    assert direction.lines["cut after so many times"][-1] == pytest.approx(1)
    assert "of 7 times" in error.told


def test_terms_are_those_of_weights_that_differ_from_time_to_time(on):
    """One copy of W_hh a time, by autograd: the norm of d loss_t / d copy k."""
    network, task, trial, swept_on = on(kind="sine", points=12, width=4.0)
    batch = task.batch(np.random.default_rng([trial.seed, SEQUENCES]), SEQUENCES)
    module, readout = swept_on.module, network.readout.double()
    copies = [module.weight_hh_l0.detach().clone().requires_grad_() for _ in swept_on.inputs]
    bias = module.bias_ih_l0 + module.bias_hh_l0
    h, losses = torch.zeros(SEQUENCES, 4, dtype=torch.float64), []
    targets = torch.from_numpy(batch.targets).double()
    for x, weight, target in zip(swept_on.inputs, copies, targets, strict=True):
        h = torch.tanh(x @ module.weight_ih_l0.T + bias + h @ weight.T)
        losses.append((readout(h) - target).square().sum() / targets.numel())

    sizes = term_sizes(swept_on)

    for loss_time in (0, 4, 10):
        found = torch.autograd.grad(losses[loss_time], copies, retain_graph=True, allow_unused=True)
        known = [0.0 if part is None else float(part.norm()) for part in found]
        np.testing.assert_allclose(sizes[loss_time].numpy(), known, rtol=1e-6, atol=1e-12)


def test_two_time_pictures_have_nothing_above_the_diagonal(on):
    """A loss reaches no later time; against its lag each course begins at 1."""
    network, task, trial, _ = on(kind="sine", points=12, width=4.0)

    arriving, terms, course = two_time(network, task, trial)

    for picture in (arriving, terms):
        assert np.isnan(picture.values[np.triu_indices(11, 1)]).all()
        assert np.isfinite(picture.values[np.tril_indices(11)]).all()
    assert [float(line[0]) for line in course.lines.values()] == pytest.approx([1, 1])


def test_products_are_powers_and_their_distribution_is_known(make_trial):
    """Of 4,000 factors, the share that explodes and the median are those of the normal law."""
    trial = make_trial(task="hold", kind="hold", options={"lag": 20}, cell="factors", initialisation="normal(0.8)")
    trial = trial.__class__(**{**trial.__dict__, "hidden": 4000})
    network = build_network(trial, make_task("hold", {"lag": 20}))
    factors = network.recurrent.cell.factor.detach().double().abs().numpy()

    distribution, by_lag = products(network, make_task("hold", {"lag": 20}), trial)

    # P(|w| > 1) with a deviation of 0.8 is 0.2113; the median of |w| is 0.6745 deviations.
    assert np.mean(factors > 1) == pytest.approx(0.2113, abs=0.03)
    assert "known: 21.1 %" in distribution.told
    assert f"(known: {(0.8 * 0.67449) ** 20:.1e})" in distribution.told
    np.testing.assert_allclose(distribution.lines["measured"], distribution.lines["known"], atol=0.03)
    np.testing.assert_allclose(by_lag.lines["50 % of the runs lie below"][-1], np.median(factors**20), rtol=1e-4)


def test_states_and_gates_are_those_of_the_cell(make_trial):
    """Read again by hand, one time after the other."""
    trial = make_trial(task="recall", kind="recall", options={"lag": 4, "inputs": 3}, cell="lstm_by_hand")
    task = make_task("recall", {"lag": 4, "inputs": 3})
    network = build_network(trial, task)
    inputs = torch.from_numpy(task.batch(np.random.default_rng([0, 1]), 1).inputs)
    h, c = torch.zeros(1, 4), torch.zeros(1, 4)
    hs = []
    for x in inputs:
        h, c = network.recurrent.cell(x, (h, c))
        hs.append(h[0].detach().numpy())

    (lines,) = states(network, task, trial)
    (opened,) = gates(network, task, trial)

    np.testing.assert_allclose(np.stack([lines.lines[f"unit {unit}"] for unit in range(4)], axis=1), np.stack(hs))
    assert set(opened.lines) == {"input", "forget", "output"}
    assert all(0 < value < 1 for line in opened.lines.values() for value in line)


@pytest.mark.parametrize("cell", ["rnn_by_hand", "lstm_by_hand", "gru_by_hand"])
def test_a_cell_by_hand_has_the_gradients_of_its_twin(make_trial, cell):
    """Up to rounding; where one of its weights is another it has not, and the network is left as it was."""
    trial = make_trial(task="recall", kind="recall", options={"lag": 6}, cell=cell, hidden=4)
    task = make_task("recall", {"lag": 6})
    network = build_network(trial, task)
    before, drawn = [each.clone() for each in network.parameters()], torch.random.get_rng_state()

    (lines,) = twin(network, task, trial)

    ours, known = lines.lines.values()
    assert np.allclose(ours, known, rtol=1e-4)
    assert 0 <= float(lines.told.rpartition(" ")[2]) < 1e-5
    assert all(torch.equal(one, two) for one, two in zip(before, network.parameters(), strict=True))
    assert all(each.grad is None for each in network.parameters())
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_a_difference_between_twins_is_seen(make_trial, monkeypatch):
    """With the gates in another order the gradients are others."""
    trial = make_trial(task="recall", kind="recall", options={"lag": 6}, cell="lstm_by_hand", hidden=4)
    task = make_task("recall", {"lag": 6})
    apart = {}
    for order in ("ifgo", "figo"):
        monkeypatch.setattr("gradscope.study.training.measures.twin._LSTM", tuple(order))
        (lines,) = twin(build_network(trial, task), task, trial)
        apart[order] = float(lines.told.rpartition(" ")[2])

    assert apart["figo"] > 0.01 > apart["ifgo"]


def test_what_is_not_written_by_hand_has_no_twin(on):
    """PyTorch's own layers."""
    network, task, trial, _ = on("lstm")

    assert twin(network, task, trial) == []


def test_measures_refuse_what_they_cannot_measure(make_trial):
    """A cell that is none of PyTorch's, a start that is not normal."""
    trial = make_trial(cell="min_gru")
    task = make_task("adding", {"length": 8})
    network = build_network(trial, task)

    for measure, words in ((truncation, "one layer and one direction"), (products, "of the cell factors")):
        with pytest.raises(UsageError, match=words):
            measure(network, task, trial)
    assert gates(network, task, trial) == []
