"""Where a gradient vanishes sooner than the gates that carry it, rounding must not be what is recorded."""

import pytest
import torch
from torch import nn

import gradscope
from gradscope.instrument.fused import kernel_call, reconstruction
from tests.oracles import unroll

TIMES = 100


def _resisting_gru(*, bias: bool) -> nn.GRU:
    """A layer with update gates near 0.9 whose candidate takes back what they keep: 1e-27 of a gradient is left."""
    torch.manual_seed(0)
    layer = nn.GRU(3, 16, bias=bias)
    with torch.no_grad():
        layer.weight_hh_l0[32:] = 0.1 * layer.weight_hh_l0[32:] - 4 * torch.eye(16)
        if bias:
            layer.bias_ih_l0[:16], layer.bias_ih_l0[16:32] = 3.0, 2.0
    return layer


def _same_as_the_loop(layer: nn.RNNBase, *, exact: str, dtype: torch.dtype) -> gradscope.Trajectory:
    batch, cells = torch.randn(TIMES, 4, 3, dtype=dtype), torch.zeros(4, layer.hidden_size)
    with gradscope.watch(layer, schedule=1, exact=exact) as recorder:
        layer(batch)[0][-1].sum().backward()
        found = recorder.latest["l0"]
    truth = unroll(layer, batch, lambda sequence, *_: sequence[-1].sum(), cells, cells)
    for name in ("total_gradient", "cell_gradient"):
        expected = getattr(truth, name)
        if expected is not None:
            error = (getattr(found, name) - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
            assert error.max() < 1e-4
    weight_error = (found.weight_gradient_norm - truth.weight_gradient_norm).abs()[1:] / truth.weight_gradient_norm[1:]
    assert weight_error.max() < 1e-4
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("blocks", [1, 7])
@pytest.mark.parametrize("gates", ["recomputed", "saved"])
def test_a_gru(gates: str, blocks: int, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swept where delta_t does not bear out what z_t alone carries on, block by block."""
    monkeypatch.setattr(kernel_call, "_MANY_OPERATIONS", 0 if gates == "saved" else 1e9)
    monkeypatch.setattr(reconstruction, "_BLOCK_ELEMENTS_ON_CPU", TIMES * 4 * 16 // blocks)
    _same_as_the_loop(_resisting_gru(bias=bias), exact="bitwise", dtype=torch.float32)


def test_an_lstm_with_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of the cell's gradient, where only what comes back to h_t is known."""
    monkeypatch.setattr(reconstruction, "_BLOCK_ELEMENTS_ON_CPU", TIMES * 4 * 16 // 3)
    torch.manual_seed(0)
    layer = nn.LSTM(3, 16, dtype=torch.float64)
    with torch.no_grad():
        layer.bias_ih_l0[16:32], layer.bias_ih_l0[48:] = 2.0, 2.0
        layer.weight_hh_l0[32:48] = 0.1 * layer.weight_hh_l0[32:48] - 1.2 * torch.eye(16)
    _same_as_the_loop(layer, exact="rounding", dtype=torch.float64)


@pytest.mark.parametrize("update_bias", [0.0, 5.0])
def test_nothing_is_swept_without_need(update_bias: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PyTorch's own start, and with a long memory, delta_t bears the gradient out."""
    monkeypatch.setattr(reconstruction, "_gru_closed_loop", None)
    torch.manual_seed(0)
    layer = nn.GRU(3, 16)
    with torch.no_grad():
        layer.bias_ih_l0[16:32] += update_bias
    _same_as_the_loop(layer, exact="bitwise", dtype=torch.float32)
