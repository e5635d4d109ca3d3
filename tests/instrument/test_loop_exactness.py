"""Every number recorded from a loop over cells, against the same loop written out in float64."""

from collections.abc import Mapping

import pytest
import torch
from hypothesis import event, given
from torch import Tensor, nn

import gradscope
from tests.examples import examples
from tests.instrument.loops import LayerTruth, Loop, loops, oracle
from tests.strategies import KINDS


def _watched(loop: Loop, cells: nn.ModuleList) -> tuple[Mapping[str, gradscope.Trajectory], list[list[Tensor]]]:
    """Return the trajectories, and for each layer h_t of every time, whose gradient autograd has kept."""
    kept: list[list[Tensor]] = [[] for _ in cells]
    plain = loop.step_of(cells)

    def step(layer: int, x: Tensor, state: object) -> tuple[object, Tensor]:
        state, output = plain(layer, x, state)
        output.retain_grad()
        kept[layer].append(output)
        return state, output

    with gradscope.watch(cells, schedule=1) as recorder:
        loop.run(step, *loop.data(loop.dtype)).backward()
        return recorder.latest, kept


def _stacked(tensors: list[Tensor], *, gradient: bool) -> Tensor:
    found = [(torch.zeros_like(t) if t.grad is None else t.grad) if gradient else t.detach() for t in tensors]
    stacked = torch.stack(found)
    return stacked.unsqueeze(1) if stacked.dim() == 2 else stacked


@examples(60)
@given(loop=loops())
def test_states_and_total_gradients_are_autograds_own(loop: Loop) -> None:
    """In either dtype the total gradient is the very tensor that `retain_grad` keeps, bit for bit, in every layer."""
    event(loop.kind)
    cells = loop.model()
    trajectories, kept = _watched(loop, cells)
    reached = [layer for layer, of_layer in enumerate(kept) if any(h.grad is not None for h in of_layer)]
    assert sorted(trajectories) == [str(layer) for layer in reached]
    for layer in reached:
        torch.testing.assert_close(
            trajectories[str(layer)].hidden, _stacked(kept[layer], gradient=False), rtol=0, atol=0
        )
        expected = _stacked(kept[layer], gradient=True)
        torch.testing.assert_close(trajectories[str(layer)].total_gradient, expected, rtol=0, atol=0)


def _error(measured: Tensor, expected: Tensor, size: Tensor) -> float:
    """Largest difference of a time, relative to `size` of that time."""
    difference = (measured.double() - expected).flatten(1).norm(dim=1)
    return float((difference / size.flatten(1).norm(dim=1).clamp_min(1e-280)).max())


def assert_true(trajectory: gradscope.Trajectory, truth: LayerTruth, tolerance: float) -> None:
    """Assert that all that was recorded is true."""
    total = truth.total_gradient
    assert _error(trajectory.total_gradient, total, total) < tolerance
    # Relative to the total gradient: it is a difference of two gradients of that size.
    assert _error(trajectory.direct_gradient, truth.direct_gradient, total) < 100 * tolerance
    if truth.cells:
        expected = truth.cell_gradient
        assert trajectory.cell_gradient is not None
        assert _error(trajectory.cell_gradient, expected, expected) < tolerance
    gates = {name: torch.stack([opened[name] for opened in truth.gates]).detach() for name in truth.gates[0]}
    assert trajectory.gates.keys() == gates.keys()
    for name, gate in gates.items():
        gate = gate.unsqueeze(1) if gate.dim() == 2 else gate
        assert _error(trajectory.gates[name], gate, gate) < tolerance
    expected = truth.weight_gradient_norm
    torch.testing.assert_close(
        trajectory.weight_gradient_norm, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max())
    )


@examples(60)
@given(loop=loops(dtypes=(torch.float64,)))
def test_everything_equals_the_loop_written_out(loop: Loop) -> None:
    """Total and direct gradients, gates, cell gradients and weight gradients, in every layer and at every time."""
    cells = loop.model()
    trajectories, _ = _watched(loop, cells)
    truths = oracle(loop, cells)
    for name, trajectory in trajectories.items():
        assert_true(trajectory, truths[int(name)], 1e-11)


@examples(40)
@given(loop=loops(dtypes=(torch.float64,)))
def test_no_direct_gradient_is_exactly_none(loop: Loop) -> None:
    """Where nothing enters a time directly the direct gradient is 0, and not what rounding leaves of a difference."""
    cells = loop.model()
    trajectories, _ = _watched(loop, cells)
    truths = oracle(loop, cells)
    for name, trajectory in trajectories.items():
        nothing = truths[int(name)].direct_gradient.flatten(2).norm(dim=2) == 0
        assert float(trajectory.direct_gradient.norm(dim=2)[nothing].sum()) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_low_precision_loops(kind: str, dtype: torch.dtype) -> None:
    """Fifty times in float32 and bfloat16: the total gradient to rounding, the direct one 0 but at the last time."""
    loop = Loop(kind, 1, 50, 4, 3, 16, dtype, True, True, True, 0, False, False, "last time", 3)
    cells = loop.model()
    trajectory = _watched(loop, cells)[0]["0"]
    (truth,) = oracle(loop, cells)
    assert trajectory.total_gradient.dtype == torch.float32
    size = truth.total_gradient.norm(dim=2).mean(1)
    ratio = trajectory.total_gradient.double().norm(dim=2).mean(1) / size
    tolerance = 1e-4 if dtype == torch.float32 else 0.2
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=tolerance, atol=0)
    assert trajectory.direct_gradient.norm(dim=2).mean(1).nonzero().flatten().tolist() == [49]
