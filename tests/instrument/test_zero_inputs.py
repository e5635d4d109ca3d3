"""What `exact="rounding"` leaves as it was, and what it may change; an LSTM in float64 is none of oneDNN's."""

import warnings
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

import gradscope
from gradscope.instrument.fused import module
from gradscope.instrument.fused.kernels import Interception, KernelArguments
from tests.oracles import unroll


@pytest.fixture
def substituted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each call of a layer whether it was given zeros."""
    given: list[bool] = []
    with_zero_inputs = module.with_zero_inputs

    def noted(arguments: object) -> object:
        made = with_zero_inputs(arguments)
        given.append(made is not None)
        return made

    monkeypatch.setattr(module, "with_zero_inputs", noted)
    return given


def _trained(
    kind: type[nn.RNNBase], exact: str | None, dtype: torch.dtype = torch.float32, **options: object
) -> tuple[list[Tensor], Tensor]:
    torch.manual_seed(0)
    model = kind(3, 16, dtype=dtype, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    batch, target = torch.randn(30, 8, 3, dtype=dtype), torch.rand(8, 1, dtype=dtype)

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
def test_an_lstm_trains_the_same_but_for_rounding(options: dict[str, object], substituted: list[bool]) -> None:
    """After 20 iterations its parameters agree to 1e-12, and the random numbers to the bit."""
    options = {"dtype": torch.float64, **options}
    (bare, number), (watched, after) = _trained(nn.LSTM, None, **options), _trained(nn.LSTM, "rounding", **options)
    assert substituted
    assert all(substituted)
    for expected, got in zip(bare, watched, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)
    assert torch.equal(number, after)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_others_stay_bit_identical_on_cpu(kind: type[nn.RNNBase], substituted: list[bool]) -> None:
    """What is inside can be seen already, and for nn.GRU the trick does not hold: none is touched."""
    (bare, _), (watched, _) = _trained(kind, None), _trained(kind, "rounding")
    assert not any(substituted)
    assert all(torch.equal(expected, got) for expected, got in zip(bare, watched, strict=True))


def test_a_frozen_layer_stays_out_of_the_graph() -> None:
    """Zeros that require a gradient do not make the output of a frozen layer require one."""
    layer = nn.LSTM(3, 4, dtype=torch.float64).requires_grad_(False)
    model = nn.Sequential(layer)
    with gradscope.watch(model, schedule=1, exact="rounding"):
        output, _ = layer(torch.randn(5, 2, 3, dtype=torch.float64))
    assert not output.requires_grad


def test_a_backward_pass_that_leaves_the_zeros_out_is_swept(substituted: list[bool]) -> None:
    """`torch.autograd.grad` goes only where it is asked to, and what is recorded is exact all the same."""
    torch.manual_seed(0)
    layer, batch = nn.LSTM(3, 4, dtype=torch.float64), torch.randn(6, 2, 3, dtype=torch.float64)
    with gradscope.watch(layer, schedule=1, exact="rounding") as recorder:
        output, _ = layer(batch)
        torch.autograd.grad(output[-1].sum(), [layer.bias_hh_l0])
        recorded = recorder.latest["l0"].total_gradient
    assert substituted == [True]
    truth = unroll(layer, batch, lambda sequence, *_: sequence[-1].sum(), torch.zeros(2, 4), torch.zeros(2, 4))
    torch.testing.assert_close(recorded, truth.total_gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_cudnn_says_nothing_of_the_longer_weights(device: str) -> None:
    """On a GPU it would warn in every recorded iteration that they are in pieces; elsewhere nothing is hidden."""

    def function(sequence: Tensor, *_: object) -> tuple[Tensor, Tensor]:
        warnings.warn("RNN module weights are not part of single contiguous chunk of memory.", stacklevel=2)
        return sequence[..., :5], sequence

    arguments = KernelArguments(
        kind="rnn_tanh",
        function=function,
        sequence=torch.empty(7, 4, 3, device=device),
        batch_sizes=None,
        initial=(torch.empty(1, 4, 5, device=device),),
        weights=(torch.empty(5, 3, device=device),),
        has_biases=False,
        layers=1,
        dropout=0.0,
        training=True,
        bidirectional=False,
        batch_first=False,
    )
    zeros = torch.empty(7, 4, 5, device=device)
    interception = Interception(lambda *_: None, lambda given: (given, zeros), lambda: None)
    expected = pytest.warns(UserWarning, match="single contiguous chunk") if device == "cpu" else nullcontext()
    with expected:
        interception._call(arguments)
