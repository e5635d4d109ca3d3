"""Every number of a trajectory against cells written out time by time in float64."""

import pytest
import torch
from hypothesis import event, given
from torch import Tensor, nn

import gradscope
from gradscope.instrument import layers
from gradscope.instrument.fused import kernel_call, reconstruction
from tests.examples import examples
from tests.instrument.hidden_inside import hide_the_inside
from tests.oracles import Truth, unroll
from tests.strategies import KINDS, Case, cases

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def _watched(case: Case, module: nn.RNNBase) -> gradscope.Trajectory:
    with gradscope.watch(module, schedule=1) as recorder:
        case.run(module).backward()
        (trajectory,) = recorder.latest.values()
    return trajectory


def _truth(case: Case, module: nn.RNNBase, dtype: torch.dtype = torch.float64) -> Truth:
    inputs, h_0, c_0 = case.batch_of_data()
    return unroll(module, inputs, case.loss, h_0, c_0, dtype)


def _assert_true(case: Case, module: nn.RNNBase) -> None:
    rounded = _truth(case, module, torch.float32) if case.dtype == torch.float32 else None
    assert_equal(_watched(case, module), _truth(case, module), TOLERANCE[case.dtype], rounded)


def _relative_error(measured: Tensor, expected: Tensor) -> float:
    """Relative error over the whole sequence; in float64 the largest over time, so that far back counts as much.

    Not so in float32: where a tanh is saturated at 0.9999 its derivative, 1 - 0.9999^2, has lost four digits in the
    training itself. `test_long_sequence_in_float32` looks far back there.
    """
    error, size = (measured.double() - expected).flatten(1).norm(dim=1), expected.flatten(1).norm(dim=1)
    if measured.dtype == torch.float32:
        error, size = error.norm()[None], size.norm()[None]
    return float((error / size.clamp_min(1e-300)).where(size > 0, error).max())


def assert_equal(
    trajectory: gradscope.Trajectory, truth: Truth, tolerance: float, rounded: Truth | None = None
) -> None:
    """Every quantity of a trajectory is the oracle's.

    `rounded` is what autograd itself makes of the same loop in float32: where saturation has cost that its digits, four
    times its error is allowed, and nowhere else.
    """
    names = ["hidden", "total_gradient", "direct_gradient"]
    names += ["cell", "cell_gradient"] if truth.cell is not None else []
    for name in names:
        expected = getattr(truth, name)
        inherent = 0.0 if rounded is None else _relative_error(getattr(rounded, name), expected)
        assert _relative_error(getattr(trajectory, name), expected) < max(tolerance, 4 * inherent), name
    assert trajectory.gates.keys() == truth.gates.keys()
    for name, gate in truth.gates.items():
        assert _relative_error(trajectory.gates[name], gate) < tolerance, name
    # Gram's identity sums terms of both signs: half of the digits can cancel, in both dtypes.
    norms = trajectory.weight_gradient_norm, truth.weight_gradient_norm
    largest = float(truth.weight_gradient_norm.max())
    torch.testing.assert_close(*norms, rtol=1e-3 if tolerance > 1e-8 else 1e-6, atol=1e-6 * largest)


@examples(60)
@given(case=cases())
def test_trajectory_equals_the_unrolled_float64_loop(case: Case) -> None:
    """Through the mechanism that gradscope chooses by itself, every quantity equals the oracle's."""
    event(case.kind)
    module = case.module
    _assert_true(case, module)


@examples(60)
@given(case=cases())
def test_sweep_equals_the_unrolled_float64_loop(case: Case) -> None:
    """Where the graph shows nothing of the inside, as with cuDNN, recomputing and sweeping gives the same."""
    module = case.module
    with pytest.MonkeyPatch.context() as patch:
        hide_the_inside(patch)
        _assert_true(case, module)


@examples(25)
@given(case=cases())
def test_blocks_do_not_show(case: Case) -> None:
    """Going through the sequence two times at a time, by either mechanism, gives the same numbers."""
    module = case.module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruction, "_BLOCK_ELEMENTS_ON_CPU", 2 * case.batch * case.hidden)
        _assert_true(case, module)
        hide_the_inside(patch)
        _assert_true(case, module)


@examples(25)
@given(case=cases())
def test_gru_gates_that_were_saved_are_those_recomputed(case: Case) -> None:
    """The gates of a large GRU are read off the graph, to the same trajectory."""
    module = case.module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_call, "_MANY_OPERATIONS", -1)
        if case.kind == "gru":
            patch.setattr(reconstruction, "recompute_gru", None)
        _assert_true(case, module)


@pytest.mark.parametrize("kind", KINDS)
def test_long_sequence_in_float32(kind: str) -> None:
    """After 200 times, where rounding has had time to grow, every time is still within 1e-4 of float64."""
    case = Case(kind, 200, 4, 3, 16, torch.float32, "time first", True, True, "last time", 7)
    module = case.module
    trajectory, truth = _watched(case, module), _truth(case, module)
    visible = truth.total_gradient.flatten(1).norm(dim=1) > 1e-30
    assert visible.sum() > 20
    assert _relative_error(trajectory.total_gradient[visible], truth.total_gradient[visible]) < 1e-4
    # Among them are norms whose squares are 0 in float32.
    assert truth.weight_gradient_norm[visible].min() < 1e-20
    torch.testing.assert_close(
        trajectory.weight_gradient_norm[visible], truth.weight_gradient_norm[visible], rtol=2e-3, atol=0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_cpu_layers_with_a_graph_are_read_from_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CPU the fast mechanism is the one in use: a PyTorch that builds another graph must be noticed here."""
    case = Case(kind, 5, 2, 3, 4, torch.float32, "batch first", True, False, "last time", 1)

    def refuse(*_: object) -> None:
        raise AssertionError("the sweep was used")

    monkeypatch.setattr(reconstruction, "elman_adjoint", refuse)
    monkeypatch.setattr(reconstruction, "gru_adjoint", refuse)
    monkeypatch.setattr(reconstruction, "lstm_adjoint", refuse)
    assert _watched(case, case.module).total_gradient.abs().sum() > 0


def test_direct_gradient_alone_is_zero_before_the_last_time() -> None:
    """The trap: with a loss on the last time the direct gradient is zero everywhere else, the total one is not."""
    case = Case("lstm", 10, 2, 3, 4, torch.float32, "time first", True, False, "last time", 3)
    trajectory = _watched(case, case.module)
    assert trajectory.direct_gradient[:-1].abs().max() == 0
    assert trajectory.total_gradient.flatten(1).norm(dim=1).min() > 0


def test_a_hook_of_the_users_own_is_respected() -> None:
    """A hook on the output that rewrites the gradient, even one added after ours, is where the trajectory starts."""
    for kind in KINDS:
        case = Case(kind, 6, 2, 3, 4, torch.float64, "time first", True, False, "all times", 3)
        module = case.module
        inputs, h_0, c_0 = case.batch_of_data()

        def halved(sequence: Tensor, h_n: Tensor, c_n: Tensor | None) -> Tensor:
            return (0.5 * sequence).sum()

        with gradscope.watch(module, schedule=1) as recorder:
            sequence, _ = module(inputs)
            sequence.register_hook(lambda gradient: 0.5 * gradient)
            sequence.sum().backward()
            (trajectory,) = recorder.latest.values()
        truth = unroll(module, inputs, halved, h_0, c_0)
        assert _relative_error(trajectory.total_gradient, truth.total_gradient) < 1e-10


def test_norm_of_weight_gradients_adds_up() -> None:
    """The oracle's contributions of all times sum to what PyTorch puts into weight_hh.grad."""
    case = Case("lstm", 6, 3, 3, 4, torch.float64, "time first", True, True, "arbitrary", 11)
    module = case.module
    case.run(module).backward()
    torch.testing.assert_close(module.weight_hh_l0.grad, _truth(case, module).weight_gradient)


def test_layers_are_named_by_module_path_and_suffix() -> None:
    """`encoder.l0` for a submodule, `l0` for a bare layer; PyTorch's own suffixes for stacks and directions."""
    deep = nn.GRU(2, 3, num_layers=2, bidirectional=True)
    nested = nn.ModuleDict({"encoder": nn.LSTM(2, 3), "more": nn.Sequential(deep)})
    named = [name for source in layers.find_sources(nested) for name in source.describe()]
    assert named == ["encoder.l0", "more.0.l0", "more.0.l0_reverse", "more.0.l1", "more.0.l1_reverse"]
    assert [name for source in layers.find_sources(nn.RNN(2, 3)) for name in source.describe()] == ["l0"]
