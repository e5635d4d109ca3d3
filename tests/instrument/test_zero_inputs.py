"""What `exact="rounding"` leaves as it was, and what it may change."""

import pytest
import torch
from torch import Tensor, nn

import gradscope
from tests.oracles import unroll


def _trained(kind: type[nn.RNNBase], exact: str | None, **options: object) -> tuple[list[Tensor], Tensor]:
    torch.manual_seed(0)
    model = kind(3, 16, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    batch, target = torch.randn(30, 8, 3), torch.rand(8, 1)

    def train() -> None:
        for _ in range(20):
            optimizer.zero_grad()
            (model(batch)[0][-1] - target).square().mean().backward()
            optimizer.step()

    if exact is None:
        train()
    else:
        with gradscope.watch(model, optimizer, schedule=1, exact=exact):
            train()
    return [parameter.detach().clone() for parameter in model.parameters()], torch.rand(1)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("options", [{}, {"proj_size": 5}, {"num_layers": 2, "dropout": 0.3}, {"bidirectional": True}])
def test_an_lstm_trains_the_same_but_for_rounding(options: dict[str, object]) -> None:
    """After 20 iterations its parameters agree to 1e-5, and the random numbers to the bit."""
    (bare, number), (watched, after) = _trained(nn.LSTM, None, **options), _trained(nn.LSTM, "rounding", **options)
    for expected, got in zip(bare, watched, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(number, after)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU])
def test_others_stay_bit_identical_on_cpu(kind: type[nn.RNNBase]) -> None:
    """nn.RNN has a node for each time, and for nn.GRU the trick does not hold: neither is touched."""
    (bare, _), (watched, _) = _trained(kind, None), _trained(kind, "rounding")
    assert all(torch.equal(expected, got) for expected, got in zip(bare, watched, strict=True))


def test_a_frozen_layer_stays_out_of_the_graph() -> None:
    """Zeros that require a gradient do not make the output of a frozen layer require one."""
    layer = nn.LSTM(3, 4).requires_grad_(False)
    model = nn.Sequential(layer)
    with gradscope.watch(model, schedule=1, exact="rounding"):
        output, _ = layer(torch.randn(5, 2, 3))
    assert not output.requires_grad


def test_a_backward_pass_that_leaves_the_zeros_out_is_swept() -> None:
    """`torch.autograd.grad` goes only where it is asked to, and what is recorded is exact all the same."""
    torch.manual_seed(0)
    layer, batch = nn.LSTM(3, 4), torch.randn(6, 2, 3)
    with gradscope.watch(layer, schedule=1, exact="rounding") as recorder:
        output, _ = layer(batch)
        torch.autograd.grad(output[-1].sum(), [layer.bias_hh_l0])
        recorded = recorder.latest["l0"].total_gradient
    truth = unroll(layer, batch, lambda sequence, *_: sequence[-1].sum(), torch.zeros(2, 4), torch.zeros(2, 4))
    torch.testing.assert_close(recorded.double(), truth.total_gradient, rtol=1e-4, atol=1e-7)
