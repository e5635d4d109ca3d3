"""The tables of a recurrence whose every number is known in closed form."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from gradscope.errors import UsageError
from gradscope.probing import measure_model
from gradscope.probing.capture import capture
from gradscope.probing.sensitivity import weight_sensitivity
from gradscope.probing.smoothness import gradient_change
from tests.probing.models import Loop, Tagger

pytestmark = pytest.mark.xdist_group("measure")

FACTOR, TIME = 0.9, 100


def _linear(**options):
    """A relu unit that stays positive: h_t = 0.9 h_{t-1} + 1, from 0."""
    module = nn.RNN(1, 1, nonlinearity="relu", bias=False, **options).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(FACTOR if "hh" in name else 1.0)
    return module


@pytest.fixture(scope="module")
def linear():
    """Tables of the linear unit with a loss of 3 h at the last time, two sequences."""
    return measure_model(_linear(), torch.ones(TIME, 2, 1).double(), lambda y: 3 * y[0][-1].sum(), lag=TIME - 1)


def test_lags_are_powers(linear):
    """3 * 0.9^l reaches back l times, of every sequence."""
    expected = 3 * FACTOR ** np.arange(TIME)
    for column in ("norm", "norm_q10", "norm_q90"):
        np.testing.assert_allclose(linear.lags[column], expected, rtol=1e-12)
    np.testing.assert_allclose(linear.lags["share"], expected / 3, rtol=1e-12)


def test_times_hold_direct_and_total_gradients(linear):
    """The direct gradient is 3 at the end and 0 before, the total one 3 * 0.9^lag; nothing cancels."""
    times = linear.times
    assert times["direct_gradient_norm"].tolist() == [0.0] * (TIME - 1) + [3.0]
    np.testing.assert_allclose(times["total_gradient_norm"], 3 * FACTOR ** np.arange(TIME)[::-1], rtol=1e-12)
    np.testing.assert_allclose(times["cancellation_index"], 1.0, rtol=1e-12)


def test_shares_are_those_of_the_closed_form(linear):
    """g_t = 0.9^(T-1-t) h_{t-1} with h_{t-1} = (1 - 0.9^t) / 0.1."""
    t = np.arange(TIME)
    parts = FACTOR ** (TIME - 1 - t) * (1 - FACTOR**t)
    np.testing.assert_allclose(linear.times["weight_gradient_share"], parts / parts.sum(), rtol=1e-9, atol=1e-15)
    left = np.array([parts[: TIME - k].sum() for k in range(TIME)])
    assert linear.summary["weight_gradient_horizon"].item() == int((left > 0.01 * parts.sum()).sum())


def test_truncation_leaves_out_what_the_closed_form_says(linear):
    """One weight: cut after K times the gradient lacks g_1 ... g_(T-K), and cannot but point the same way."""
    t = np.arange(TIME)
    parts = FACTOR ** (TIME - 1 - t) * (1 - FACTOR**t)
    left = np.array([parts[: TIME - length].sum() for length in range(1, TIME + 1)])
    assert linear.truncation["length"].tolist() == list(range(1, TIME + 1))
    np.testing.assert_allclose(linear.truncation["relative_error"], left / parts.sum(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(linear.truncation["cosine"], 1.0, rtol=1e-9)


def test_sensitivity_is_that_of_the_closed_form(linear):
    """dh_T/dw of the linear unit is the sum of its g_t; relative to h_T and w."""
    t = np.arange(TIME)
    slope = (FACTOR ** (TIME - 1 - t) * (1 - FACTOR**t)).sum() / 0.1
    last = (1 - FACTOR**TIME) / 0.1
    assert linear.summary["weight_sensitivity"].item() == pytest.approx(slope * FACTOR / last, rel=1e-9)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_sensitivity_is_autograds(kind):
    """Every unit of the last state differentiated by every recurrent weight; drawn vectors come near it."""
    torch.manual_seed(0)
    module, inputs = kind(2, 10).double(), torch.randn(7, 3, 2).double()
    last = module(inputs)[0][-1]
    rows = [torch.autograd.grad(h, module.weight_hh_l0, retain_graph=True)[0].square().sum() for h in last.flatten()]
    squares = torch.stack(rows).view(last.shape).sum(1)
    relative = squares * module.weight_hh_l0.square().mean() / last.square().sum(1)
    expected = float(relative.detach().mean().sqrt())

    (recurrence,) = capture(module, inputs, lambda y: y[0].sum())
    assert weight_sensitivity(recurrence, vectors=10) == pytest.approx(expected, rel=1e-9)
    assert weight_sensitivity(recurrence) == pytest.approx(expected, rel=0.5)


def test_a_cell_has_no_sensitivity():
    """Its weights are not known."""
    tables = measure_model(Loop(nn.GRUCell(2, 4)), torch.randn(6, 3, 2), lambda y: y[-1].sum())
    assert tables.summary["weight_sensitivity"].isna().all()


def test_the_gradient_changes_as_the_second_derivative_says():
    """|H g| / |g| |w| / |g| by differentiating twice; parameters are as they were, and a graph of them still good."""
    torch.manual_seed(0)
    model, inputs = Loop(nn.RNNCell(2, 4)).double(), torch.randn(6, 3, 2).double()
    parameters = list(model.parameters())
    before = [parameter.clone() for parameter in parameters]
    value = model(inputs).square().mean()
    gradients = torch.autograd.grad(value, parameters, create_graph=True)
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    along = [gradient.detach() / length.detach() for gradient in gradients]
    product = sum((gradient * direction).sum() for gradient, direction in zip(gradients, along, strict=True))

    got = measure_model(model, inputs, lambda y: y.square().mean()).summary["gradient_change"]

    turned = torch.cat([part.flatten() for part in torch.autograd.grad(product, parameters)]).norm()
    size = torch.cat([parameter.detach().flatten() for parameter in parameters]).norm()
    assert got.item() == pytest.approx(float((turned * size / length).detach()), rel=0.01)
    assert all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))


def test_no_gradient_changes_where_nothing_is_trained():
    """All parameters frozen, the gradient goes to the inputs alone."""
    model = Loop(nn.GRUCell(2, 4)).requires_grad_(False)
    tables = measure_model(model, torch.randn(6, 3, 2, requires_grad=True), lambda y: y.sum())
    assert tables.summary["gradient_change"].isna().all()


class _Words(nn.Module):
    def __init__(self, sparse):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.rnn = nn.Embedding(7, 3, sparse=sparse), nn.GRU(3, 4)

    def forward(self, words):
        return self.rnn(self.embedding(words))[0]


def test_a_sparse_gradient_is_one_too():
    """That of an embedding; the same numbers as with a dense one."""
    words = torch.randint(7, (9, 2))
    changes = [
        measure_model(_Words(sparse), words, lambda y: y[-1].square().sum()).summary["gradient_change"].item()
        for sparse in (False, True)
    ]
    assert changes[0] > 0
    assert changes[1] == pytest.approx(changes[0], rel=1e-5)


def test_a_coarse_dtype_has_no_change_that_could_be_told():
    """A thousandth of a bfloat16 is lost in rounding."""
    model = Tagger(nn.GRU(2, 4)).to(torch.bfloat16)
    inputs = torch.randn(6, 3, 2, dtype=torch.bfloat16)
    assert math.isnan(gradient_change(model, inputs, lambda y: y.float().square().mean()))


@pytest.mark.parametrize("module", [nn.LSTM(2, 4), nn.GRUCell(2, 4)], ids=["fused", "cell"])
def test_a_model_in_a_coarse_dtype_is_refused(module):
    """PyTorch has no QR decomposition of it: one message that says what to probe instead, and which works."""
    model = (Tagger if isinstance(module, nn.LSTM) else Loop)(module).to(torch.bfloat16)
    inputs = torch.randn(6, 3, 2)
    with pytest.raises(UsageError, match=r"computes in bfloat16: probe a copy, copy.deepcopy\(model\).float\(\)"):
        measure_model(model, inputs.bfloat16(), lambda y: y.float().square().mean())
    measure_model(copy.deepcopy(model).float(), inputs, lambda y: y.square().mean())


def test_no_truncation_where_the_loss_enters_earlier_or_nothing_arrives():
    """Then what is cut off depends on where the pieces begin; of nothing there is no share."""
    inputs = torch.ones(5, 2, 1).double()
    for loss in (lambda y: y[0].sum(), lambda y: y[0][2].sum(), lambda y: 0 * y[0][-1].sum()):
        assert len(measure_model(_linear(), inputs, loss).truncation) == 0


def test_spectra_are_logarithms_of_the_factor(linear):
    """One exponent, ln 0.9; each Jacobian 0.9; the way from time t to the end 0.9^(lag + 1)."""
    exponents, jacobians = linear.exponents, linear.jacobians
    np.testing.assert_allclose(exponents[["exponent", "low", "high"]], math.log(FACTOR), rtol=1e-9)
    for column in ("largest_singular_value", "smallest_singular_value", "spectral_radius"):
        np.testing.assert_allclose(jacobians[column], FACTOR, rtol=1e-12)
    for column in ("log_product_norm", "log_product_radius"):
        np.testing.assert_allclose(jacobians[column], (jacobians["lag"] + 1) * math.log(FACTOR), rtol=1e-12)
    for column in ("condition_number", "product_condition_number"):
        np.testing.assert_allclose(jacobians[column], 1.0, rtol=1e-12)
    assert len(jacobians) == 16
    assert jacobians["time"].iloc[[0, -1]].tolist() == [0, TIME - 1]


def test_the_summary_judges_by_the_lag(linear):
    """0.9^99 is far below 1 %: vanishing, half-life ln 2 / -ln 0.9 = 6.58."""
    row = linear.summary.iloc[0]
    assert (row["layer"], row["kind"], row["call"]) == ("RNN.l0", "RNN", 0)
    assert (row["times"], row["sequences"], row["state_size"]) == (TIME, 2, 1)
    assert row["verdict"] == "vanishing"
    assert row["half_life"] == pytest.approx(6.5788, abs=1e-4)
    assert row["largest_exponent"] == pytest.approx(-0.1053605, abs=1e-7)
    assert (row["entropy"], row["kaplan_yorke_dimension"], row["predictability_time"]) == (0, 0, math.inf)


def test_a_gradient_of_zero_is_not_one_that_is_not_finite():
    """A loss that reaches no sequence, or only the first: the others have exact zeros."""
    inputs = torch.ones(9, 2, 1).double()
    none = measure_model(_linear(), inputs, lambda y: 0 * y[0][-1].sum()).summary.iloc[0]
    assert none["reason"].startswith("The gradient is exactly 0 at every time")
    one = measure_model(_linear(), inputs, lambda y: y[0][-1, 0].sum()).summary.iloc[0]
    assert one["decay_rate"] == pytest.approx(math.log(FACTOR))
    assert "It is exactly 0 in up to 50 % of the sequences" in one["reason"]
    assert "NaN" not in one["reason"]


def test_exponents_that_are_not_known_leave_nothing_known():
    """NaN inputs: no entropy of 0, and no infinite predictability."""
    row = measure_model(nn.RNN(1, 2), torch.full((9, 2, 1), math.nan), lambda y: y[0][-1].sum()).summary.iloc[0]
    assert all(math.isnan(row[name]) for name in ("largest_exponent", "entropy", "predictability_time"))


def test_a_loss_at_all_times_is_judged_too():
    """Every loss time sends back its share by the same law, though the total gradient is a sum of many."""
    tables = measure_model(_linear(), torch.ones(TIME, 1, 1).double(), lambda y: (y[0] ** 2).sum())
    np.testing.assert_allclose(tables.lags["share"], FACTOR ** np.arange(TIME), rtol=1e-9)
    assert tables.summary["decay_rate"].item() == pytest.approx(math.log(FACTOR), rel=1e-9)


def test_the_reverse_direction_is_told_by_the_position_in_the_sequence():
    """Its recurrence ends at time 0: there the loss on h_n enters, and lag counts from there."""
    module = _linear(bidirectional=True)
    tables = measure_model(module, torch.ones(5, 1, 1).double(), lambda y: y[1][1].sum(), jacobian_times=5)
    times = tables.times[tables.times["layer"] == "RNN.l0_reverse"]
    np.testing.assert_allclose(times["total_gradient_norm"], FACTOR ** np.arange(5), rtol=1e-12)
    assert times["time"].tolist() == [0, 1, 2, 3, 4]
    jacobians = tables.jacobians[tables.jacobians["layer"] == "RNN.l0_reverse"]
    assert jacobians["lag"].tolist() == [0, 1, 2, 3, 4]
    # The forward direction gets nothing from that loss.
    forward = tables.times[tables.times["layer"] == "RNN.l0"]
    assert not forward["total_gradient_norm"].any()


def test_a_cell_has_everything_but_the_shares_of_its_weights():
    """Which weights a cell of the user's has is not known."""
    torch.manual_seed(0)
    tables = measure_model(Loop(nn.GRUCell(2, 4)), torch.randn(8, 3, 2), lambda y: y.square().sum(), exponents=2)
    assert tables.times["weight_gradient_share"].isna().all()
    assert math.isnan(tables.summary["weight_gradient_horizon"].item())
    assert tables.exponents["index"].tolist() == [1, 2]
    assert set(tables.lags["lag"]) == set(range(8))


def test_fewer_sequences_are_the_first_ones():
    """Two of eight, with the gradients that the loss of all eight gives them."""
    torch.manual_seed(0)
    model, x = Tagger(nn.GRU(2, 4)).double(), torch.randn(6, 8, 2).double()

    def loss(y):
        return y.square().sum()

    few = measure_model(model, x, loss, sequences=2).times
    alone = measure_model(model, x[:, :2], loss).times
    np.testing.assert_allclose(few["total_gradient_norm"], alone["total_gradient_norm"], rtol=1e-9)


def test_float32_gradients_below_1e_23_are_no_zeros():
    """0.5^100 = 8e-31 is a float32 number, its square is not."""
    module = nn.RNN(1, 1, nonlinearity="relu", bias=False)
    with torch.no_grad():
        module.weight_hh_l0.fill_(0.5)
        module.weight_ih_l0.fill_(1.0)
    tables = measure_model(module, torch.ones(101, 1, 1), lambda y: y[0][-1].sum())
    assert tables.times["total_gradient_norm"].iloc[0] == pytest.approx(0.5**100, rel=1e-4)
    assert tables.summary["decay_rate"].item() == pytest.approx(math.log(0.5), rel=1e-4)


@pytest.mark.parametrize("name", ["sequences", "exponents", "jacobian_times"])
def test_numbers_below_one_are_refused(name):
    """The message names the argument."""
    with pytest.raises(UsageError, match=f"{name} must be at least 1, got 0"):
        measure_model(_linear(), torch.ones(4, 1, 1).double(), lambda y: y[0].sum(), **{name: 0})
