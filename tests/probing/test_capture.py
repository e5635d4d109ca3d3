"""What probe sees of a model against the same model written out with torch's cells."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradscope.cells.step_functions import register_cell
from gradscope.dynamics import total_gradient
from gradscope.errors import UsageError
from gradscope.probing.capture import capture
from tests.probing.models import Loop, Tagger, gradients_by_hand

KINDS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Whole(nn.Module):
    """Hands out everything that a fused module returns."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x):
        """Return the sequence and the last h, in the module's layout."""
        sequence, last = self.rnn(x)
        return sequence, last[0] if isinstance(last, tuple) else last


@given(
    st.sampled_from(sorted(KINDS)), st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 99)
)
def test_every_layer_gets_the_gradients_that_autograd_sends_it(kind, layers, both, batch_first, frozen, seed):
    """Direct and total gradients of all layers and directions, of a loss on all times and on the last states."""
    torch.manual_seed(seed)
    module = KINDS[kind](2, 3, num_layers=layers, bidirectional=both, batch_first=batch_first).double()
    module.requires_grad_(not frozen)
    x = torch.randn(5, 2, 2, dtype=torch.float64)

    def loss(sequence, last):
        return sequence.pow(3).sum() + (last * torch.arange(1, last.numel() + 1).view_as(last)).sum()

    found = capture(
        Whole(module),
        x.transpose(0, 1) if batch_first else x,
        lambda output: loss(output[0].transpose(0, 1) if batch_first else output[0], output[1]),
    )

    expected = gradients_by_hand(module.requires_grad_(), x, loss)
    assert [(r.place.layer, int(r.place.reverse)) for r in found] == list(expected)
    for recurrence, (total, direct) in zip(found, expected.values(), strict=True):
        hidden = direct.shape[-1]
        torch.testing.assert_close(recurrence.direct[..., :hidden], direct, rtol=1e-9, atol=1e-12)
        assert not recurrence.direct[..., hidden:].any()
        actual = total_gradient(recurrence.step, recurrence.inputs, recurrence.state, recurrence.direct)
        torch.testing.assert_close(actual, total, rtol=1e-9, atol=1e-12)


def test_layers_have_the_names_of_their_weights():
    """Module path and PyTorch's suffix, layer by layer, direction by direction."""
    model = Tagger(nn.GRU(2, 3, num_layers=2, bidirectional=True))
    found = capture(model, torch.randn(4, 1, 2), lambda y: y.sum())
    assert [r.name for r in found] == ["rnn.l0", "rnn.l0_reverse", "rnn.l1", "rnn.l1_reverse"]
    assert [r.name for r in capture(nn.GRU(2, 3), torch.randn(4, 1, 2), lambda y: y[0].sum())] == ["GRU.l0"]


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_loop_over_a_cell_is_one_recurrence(kind, given_state, frozen):
    """Its direct gradient is 0 where the head does not look, and its total gradient is autograd's."""
    torch.manual_seed(0)
    cell = getattr(nn, kind)(2, 4).double()
    model = Loop(cell).double().requires_grad_(not frozen)
    x = torch.randn(6, 3, 2, dtype=torch.float64)
    parts = tuple(torch.randn(2, 3, 4, dtype=torch.float64))
    state = (parts if kind == "LSTMCell" else parts[0]) if given_state else None

    (found,) = capture(model, (x, state), lambda y: y.square().sum())

    model.requires_grad_()
    zeros = torch.zeros(3, 4, dtype=torch.float64)
    state = ((zeros, zeros) if kind == "LSTMCell" else zeros) if state is None else state
    z, states = torch.cat(state, -1) if kind == "LSTMCell" else state, []
    for xt in x:
        z = torch.cat(cell(xt, tuple(z.chunk(2, -1))), -1) if kind == "LSTMCell" else cell(xt, z)
        states.append(z)
    hidden = torch.stack([z[:, :4] for z in states])
    expected = torch.autograd.grad(model.head(hidden[1::2]).square().sum(), states)
    actual = total_gradient(found.step, found.inputs, found.state, found.direct)
    torch.testing.assert_close(actual, torch.stack(expected), rtol=1e-9, atol=1e-12)
    assert torch.equal(found.direct[0::2], torch.zeros_like(found.direct[0::2]))
    assert (found.name, found.kind, found.call) == ("cell", kind, 0)


@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
@pytest.mark.parametrize("frozen", [False, True])
def test_what_a_detach_stops_is_no_direct_gradient_with_the_sign_turned(kind, frozen):
    """It never came to the state before the detach, and so is not taken off what did: nothing."""
    torch.manual_seed(0)

    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = getattr(nn, kind)(2, 4)

        def forward(self, x):
            state = None
            for time, xt in enumerate(x):
                if time == 3:
                    state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
                state = self.cell(xt, state)
            return state[0] if isinstance(state, tuple) else state

    model = Windows().double().requires_grad_(not frozen)
    (found,) = capture(model, torch.randn(5, 3, 2, dtype=torch.float64), lambda y: y.square().sum())

    reached = found.direct.flatten(1).norm(dim=1) > 0
    assert reached.tolist() == [False] * 4 + [True]


def test_a_state_that_was_changed_begins_another_sequence():
    """Two halves with a fresh state between them are two runs of three times."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(2, 3)

        def forward(self, x):
            ends = []
            for half in x.chunk(2):
                h = torch.zeros(1, 3)
                for xt in half:
                    h = self.cell(xt, h)
                ends.append(h)
            return torch.stack(ends)

    found = capture(Twice(), torch.randn(6, 1, 2), lambda y: y.sum())
    assert [(r.call, len(r.inputs)) for r in found] == [(0, 3), (1, 3)]


def test_calls_of_a_module_are_numbered():
    """An encoder and a decoder that share a GRU."""

    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(2, 2)

        def forward(self, x):
            sequence, last = self.rnn(x)
            return self.rnn(sequence, last)[0]

    found = capture(Again(), torch.randn(4, 1, 2), lambda y: y.sum())
    assert [(r.name, r.call) for r in found] == [("rnn.l0", 0), ("rnn.l0", 1)]
    assert not torch.equal(found[1].state, torch.zeros_like(found[1].state))


class Doubled(nn.Module):
    """A user's cell that holds one of torch's."""

    def __init__(self):
        super().__init__()
        self.inner = nn.GRUCell(2, 4)

    def forward(self, x, h):
        """Return twice the inner cell's answer."""
        return 2 * self.inner(x, torch.zeros(len(x), 4, dtype=x.dtype) if h is None else h)


def test_a_taught_cell_is_one_recurrence_and_what_is_inside_it_none():
    """The inner cell is part of the outer one's step."""
    register_cell(Doubled, lambda module, x, h: module(x, h))
    found = capture(Loop(Doubled()), torch.randn(4, 1, 2), lambda y: y.sum())
    assert [(r.name, r.kind) for r in found] == [("cell", "Doubled")]


def test_the_model_is_left_as_it_was():
    """Parameters, gradients, buffers, random numbers, hooks: nothing has changed."""
    torch.manual_seed(0)
    model = Tagger(nn.LSTM(2, 3))
    model.rnn = nn.LSTM(2, 3)
    model.norm, model.dropout = nn.BatchNorm1d(1), nn.Dropout(0.5)
    model.forward = lambda x: model.dropout(model.norm(model.head(model.rnn(x)[0]).flatten(0, 1)))
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()

    capture(model, torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(1)), lambda y: y.square().sum())

    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_no_hook_stays_when_the_loss_fails():
    """The user's own exception passes through."""
    model = Tagger(nn.GRU(2, 3))
    with pytest.raises(ZeroDivisionError):
        capture(model, torch.randn(4, 2, 2), lambda y: y.sum() / (1 // 0))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (nn.Linear(2, 2), lambda y: y.sum(), r"nothing recurrent ran in Linear.*register_cell"),
        (Tagger(nn.GRU(2, 3)), "mse", r"one differentiable number, got 'mse': try loss=lambda"),
        ("gru", lambda y: y, r"expects an nn.Module first, got str"),
        (Tagger(nn.GRU(2, 3)), lambda y: y, r"one differentiable number, got a Tensor of shape \(4, 2, 1\)"),
        (Tagger(nn.GRU(2, 3)), lambda y: y.sum().item(), "got a float"),
        (
            Tagger(nn.GRU(2, 3, num_layers=2, dropout=0.5)),
            lambda y: y.sum(),
            r"dropout between layers.*model.eval\(\)",
        ),
    ],
)
def test_what_cannot_be_probed_is_said(model, loss, message):
    """What was expected, what was got, what to try."""
    with pytest.raises(UsageError, match=message):
        capture(model, torch.randn(4, 2, 2), loss)


def test_packed_input_is_refused():
    """With what to do instead."""
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(4, 2, 2), [4, 2])
    with pytest.raises(UsageError, match="pad the batch"):
        capture(nn.GRU(2, 3), packed, lambda y: y[0].data.sum())


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "rnn"), reason="this PyTorch has one setting for all products")
def test_a_model_whose_products_are_exact_by_pytorchs_newer_settings(monkeypatch):
    """They are left as they were, and so is whether cuDNN is used."""
    monkeypatch.setattr(torch.backends.cudnn.rnn, "fp32_precision", "ieee")
    module = nn.GRU(2, 3)
    (found,) = capture(module, torch.randn(5, 2, 2), lambda output: output[0].sum())
    assert found.name.startswith("GRU")
    assert torch.backends.cudnn.enabled
    assert torch.backends.cudnn.rnn.fp32_precision == "ieee"
