"""Decoders: calls of nn.RNN, nn.GRU and nn.LSTM for one time after the other are one recurrence a layer."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch import nn

import gradscope
from gradscope.dynamics import total_gradient
from gradscope.probing.capture import capture
from tests.examples import examples
from tests.probing.models import CELLS
from tests.strategies import KINDS, make_layer

INPUTS, HIDDEN = 3, 4


@dataclass(frozen=True)
class Case:
    """What is drawn: a stack, a batch, and what the loop around it does."""

    kind: str
    layers: int
    batch_first: bool
    batch: int | None
    times: int
    feedback: bool
    outputs: frozenset[int]
    states: frozenset[int]
    cuts: frozenset[int]
    given_state: bool
    frozen: bool
    seed: int

    def stack(self, **options):
        """Return the fused module."""
        torch.manual_seed(self.seed)
        options = {"num_layers": self.layers, "batch_first": self.batch_first, **options}
        return make_layer(self.kind, INPUTS, HIDDEN, **options).double()

    def inputs(self):
        """Return inputs (time, batch, input), unbatched (time, input)."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.times, INPUTS) if self.batch is None else (self.times, self.batch, INPUTS)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def state(self):
        """Return h, for an LSTM (h, c), (layers, batch, hidden), or None if the loop begins without."""
        if not self.given_state:
            return None
        generator = torch.Generator().manual_seed(self.seed + 1)
        shape = (self.layers, HIDDEN) if self.batch is None else (self.layers, self.batch, HIDDEN)
        parts = tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
        return parts if self.kind == "lstm" else parts[0]

    def loss(self, outputs, states):
        """Return a loss on some outputs (batch, hidden), and on all parts of some states (layers, batch, hidden)."""
        value = sum((out**3).sum() + out.sum() for t, out in enumerate(outputs) if t in self.outputs)
        for t, state in enumerate(states):
            if t in self.states:
                for n, part in enumerate((state,) if isinstance(state, torch.Tensor) else state, start=1):
                    weights = torch.linspace(-1, n, part.numel(), dtype=torch.float64).view_as(part)
                    value = value + (weights * part.square()).sum()
        return value


@st.composite
def cases(draw, **fixed):
    """Draw a case in which the loss is of one output or state at least."""
    count = draw(st.integers(1, 6))
    some = st.frozensets(st.integers(0, count - 1))
    drawn = {
        "kind": st.sampled_from(KINDS),
        "layers": st.integers(1, 3),
        "batch_first": st.booleans(),
        "batch": st.sampled_from([None, 1, 2]),
        "feedback": st.booleans(),
        "outputs": some,
        "states": some,
        "cuts": st.one_of(st.just(frozenset()), some),
        "given_state": st.booleans(),
        "frozen": st.booleans(),
        "seed": st.integers(0, 999),
    } | {name: st.just(value) for name, value in fixed.items()}
    case = Case(times=count, **{name: draw(strategy) for name, strategy in drawn.items()})
    if case.outputs or case.states:
        return case
    return Case(**{**vars(case), "outputs": frozenset([count - 1])})


def change(state, function):
    """Return the state with each of its parts changed."""
    return tuple(map(function, state)) if isinstance(state, tuple) else function(state)


class Decoder(nn.Module):
    """One call a time; what it put out comes back into the next input if it is fed back."""

    def __init__(self, case, rnn):
        super().__init__()
        self.case, self.rnn = case, rnn
        self.back = nn.Linear(rnn.proj_size or rnn.hidden_size, INPUTS).double() if case.feedback else None

    def forward(self, x, state):
        """Return outputs and states of all times."""
        axis = 1 if self.rnn.batch_first and x.dim() == 3 else 0
        outputs, states = [], []
        for t, given_now in enumerate(x):
            if t in self.case.cuts and state is not None:
                state = change(state, torch.Tensor.detach)
            fed_back = self.back(outputs[-1]) if self.back and outputs else 0.0
            output, state = self.rnn((given_now + fed_back).unsqueeze(axis), state)
            outputs.append(output.squeeze(axis))
            states.append(state)
        return outputs, states


def written_out(case, decoder, x, state):
    """Return (total, direct) gradients of each layer over the full state, of a loop over torch's cells.

    A state is copied for whatever looks at it from outside the layer: what comes back to the copies is direct.
    """
    stack, is_lstm, cells = decoder.rnn, case.kind == "lstm", []
    for layer in range(case.layers):
        suffix = f"_l{layer}"
        cell = CELLS[stack.mode.replace("RELU", "TANH")](HIDDEN if layer else INPUTS, HIDDEN).double()
        cell.load_state_dict({n.removesuffix(suffix): p for n, p in stack.named_parameters() if n.endswith(suffix)})
        if stack.mode == "RNN_RELU":
            cell.nonlinearity = "relu"
        cells.append(cell)
    x = x if x.dim() == 3 else x.unsqueeze(1)
    parts = tuple(torch.zeros(case.layers, x.shape[1], HIDDEN).double() for _ in range(1 + is_lstm))
    if state is not None:
        parts = tuple(p.reshape(parts[0].shape) for p in ((state,) if isinstance(state, torch.Tensor) else state))
    newest = [torch.cat([part[layer] for part in parts], -1) for layer in range(case.layers)]
    carried, seen, outputs, states = [[] for _ in cells], [[] for _ in cells], [], []
    for t, given_now in enumerate(x):
        flowing = given_now + (decoder.back(outputs[-1]) if decoder.back and outputs else 0.0)
        for layer, cell in enumerate(cells):
            before = newest[layer].detach() if t in case.cuts else newest[layer]
            after = cell(flowing, tuple(before.chunk(2, -1)) if is_lstm else before)
            newest[layer] = torch.cat(after, -1) if is_lstm else after * 1.0
            carried[layer].append(newest[layer])
            seen[layer].append(newest[layer].clone())
            for kept in (carried[layer][-1], seen[layer][-1]):
                kept.retain_grad()
            flowing = seen[layer][-1][:, :HIDDEN]
        outputs.append(flowing)
        full = torch.stack([of_layer[-1] for of_layer in seen])
        states.append(tuple(full.chunk(2, -1)) if is_lstm else full)
    case.loss(outputs, states).backward()

    def gradients(tensors):
        return torch.stack([torch.zeros_like(z) if z.grad is None else z.grad for z in tensors])

    return [(gradients(carried[layer]), gradients(seen[layer])) for layer in range(case.layers)]


def assert_close(actual, expected):
    """To the rounding of float64."""
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)


def total(recurrence):
    """Return the total gradient of a recurrence."""
    return total_gradient(recurrence.step, recurrence.inputs, recurrence.state, recurrence.direct)


@examples(80)
@given(cases())
def test_every_layer_gets_the_gradients_of_a_loop_over_cells(case):
    """With outputs fed back, a loss on outputs and states of any time, states detached on the way, frozen weights."""
    event(case.kind)
    decoder = Decoder(case, case.stack()).requires_grad_(not case.frozen)
    x, state = case.inputs(), case.state()

    found = capture(decoder, (x, state), lambda both: case.loss(*both))

    expected = written_out(case, decoder.requires_grad_(), x, state)
    assert [(r.name, r.call, len(r.inputs)) for r in found] == [
        (f"rnn.l{layer}", 0, case.times) for layer in range(case.layers)
    ]
    for recurrence, (by_every_path, direct) in zip(found, expected, strict=True):
        assert_close(recurrence.direct, direct)
        if not case.cuts:
            assert_close(total(recurrence), by_every_path)


@examples(40)
@given(cases(feedback=False, cuts=frozenset()), st.integers(0, 2))
def test_it_is_what_the_whole_sequence_at_once_is(case, projection):
    """Inputs, the state before the first time, direct and total gradients; an LSTM's projection as well."""
    stack = case.stack(**({"proj_size": projection} if case.kind == "lstm" else {}))
    x, state = case.inputs(), case.state()
    if state is not None and projection and case.kind == "lstm":
        state = state[0][..., :projection].contiguous(), state[1]
    of_last = Case(**{**vars(case), "states": case.states & {case.times - 1}})

    def loss(outputs, last):
        return of_last.loss(outputs, [last] * case.times) + 0 * outputs[0].sum()

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = stack

        def forward(self, x, state):
            turned = case.batch_first and x.dim() == 3
            sequence, last = self.rnn(x.transpose(0, 1) if turned else x, state)
            return (sequence.transpose(0, 1) if turned else sequence), last

    at_once = capture(Whole(), (x, state), lambda both: loss(*both))
    found = capture(Decoder(case, stack), (x, state), lambda both: loss(both[0], both[1][-1]))

    for stepped, whole in zip(found, at_once, strict=True):
        assert (stepped.name, stepped.kind, stepped.call, stepped.place) == (whole.name, whole.kind, 0, whole.place)
        assert_close(stepped.inputs, whole.inputs)
        assert_close(stepped.state, whole.state)
        assert_close(stepped.direct, whole.direct)
        assert_close(total(stepped), total(whole))


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_at_the_end_enters_the_upper_layer_there_alone(kind):
    """Before, its direct gradient is 0 and not what rounding leaves, in float32 too."""
    torch.manual_seed(0)
    rnn = make_layer(kind, INPUTS, HIDDEN, num_layers=2)

    def loss(model_output):
        return model_output.square().sum()

    found = capture(Stepped(rnn), torch.randn(6, 2, INPUTS), loss)
    assert not found[1].direct[:-1].any()
    assert found[1].direct[-1].any()
    assert found[0].direct[:-1].any()


class Stepped(nn.Module):
    """One call a time; hands the state on as `hand_on` makes it, and returns the last output."""

    def __init__(self, rnn, hand_on=lambda _, state: state):
        super().__init__()
        self.rnn, self.hand_on = rnn, hand_on

    def forward(self, x):
        """Read (time, batch, input)."""
        state = None
        for now in x.split(1):
            output, state = self.rnn(now, hx=state)
            state = self.hand_on(output, state)
        return output


def same_numbers(one, other):
    """Assert that models whose state goes on in the same way have the same recurrences."""
    x = torch.randn(5, 2, INPUTS, dtype=torch.float64)
    pairs = list(zip(*(capture(model, x, lambda y: y.square().sum()) for model in (one, other)), strict=True))
    for mine, its in pairs:
        assert len(mine.inputs) == len(its.inputs) == 5
        assert_close(mine.direct, its.direct)
        assert mine.direct.any()


@pytest.mark.parametrize(
    "hand_on",
    [
        lambda output, _: output,
        lambda output, _: output * torch.ones(2, 1).double(),
        lambda _, state: torch.stack([part.clone() for part in state.unbind(1)], 1),
        lambda _, state: state.mul_(1.0),
        lambda _, state: 0.5 * state + 0.5 * state,
    ],
    ids=["output", "masked with ones", "taken apart", "in place", "through two paths"],
)
def test_the_state_may_take_any_way_on_which_it_stays_as_it_is(hand_on):
    """It came from the call before all the same, and nothing of it is direct."""
    torch.manual_seed(0)
    rnn = nn.GRU(INPUTS, HIDDEN).double()
    same_numbers(Stepped(rnn, hand_on), Stepped(rnn))


@pytest.mark.parametrize(
    "hand_on",
    [
        lambda _, state: state.detach().requires_grad_(),
        lambda _, state: 0.5 * state + 0.5 * state.detach(),
        lambda output, _: output.detach(),
    ],
    ids=["none", "half", "detached output"],
)
def test_what_the_way_of_the_state_lets_through_is_what_came_through_time(hand_on):
    """All, a part or nothing of it: the rest is no direct gradient with the sign turned."""
    torch.manual_seed(0)
    rnn, x = nn.GRU(INPUTS, HIDDEN).double(), torch.randn(5, 2, INPUTS, dtype=torch.float64)
    (found,), (whole,) = (
        capture(model, x, lambda y: y.square().sum()) for model in (Stepped(rnn, hand_on), Stepped(rnn))
    )
    assert not found.direct[:-1].any()
    assert_close(found.direct, whole.direct)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_state_that_was_changed_begins_another_recurrence(in_place):
    """As in a loop over a cell: what the call is handed is not what the one before it returned."""

    def reset(_, state):
        return state.mul_(0.5) if in_place else 0.5 * state

    found = capture(Stepped(nn.GRU(INPUTS, HIDDEN), reset), torch.randn(4, 2, INPUTS), lambda y: y.sum())
    assert [(r.name, r.call, len(r.inputs)) for r in found] == [("rnn.l0", call, 1) for call in range(4)]


@examples(20)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 2),
    st.lists(st.booleans(), min_size=1, max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_streams_that_take_turns_are_recurrences_of_their_own(kind, layers, turns, same_words, cut):
    """Each with the numbers that it has alone, though both may read the same and so have the same states."""
    torch.manual_seed(0)
    rnn = make_layer(kind, INPUTS, HIDDEN, num_layers=layers).double()
    x = torch.randn(2, len(turns), 2, INPUTS, dtype=torch.float64)
    x[1] = x[0] if same_words else x[1]
    turns = [int(turn) for turn in turns]

    class Turns(nn.Module):
        def __init__(self, streams):
            super().__init__()
            self.rnn, self.streams = rnn, streams

        def forward(self, x):
            states, outputs = {}, [[], []]
            for turn in turns:
                if turn in self.streams:
                    state = states.get(turn)
                    state = change(state, torch.Tensor.detach) if cut and state is not None else state
                    output, states[turn] = self.rnn(x[turn][len(outputs[turn])].unsqueeze(0), state)
                    outputs[turn].append(output)
            return outputs

    def loss(outputs):
        return sum((1 + stream) * output.square().sum() for stream in (0, 1) for output in outputs[stream])

    both = capture(Turns({0, 1}), x, loss)
    order = list(dict.fromkeys(turns))
    alone = [each for stream in order for each in capture(Turns({stream}), x, loss)]

    assert [r.call for r in both] == [call for call in range(len(order)) for _ in range(layers)]
    for mine, its in zip(both, alone, strict=True):
        assert_close(mine.inputs, its.inputs)
        assert_close(mine.direct, its.direct)


def test_a_loop_without_a_graph_is_one_recurrence():
    """What the loss takes from its output is direct, and nothing goes back in time."""

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder, self.head = Stepped(nn.GRU(INPUTS, HIDDEN)), nn.Linear(HIDDEN, 1)

        def forward(self, x):
            with torch.no_grad():
                output = self.decoder(x)
            return self.head(output)

    (found,) = capture(Features(), torch.randn(3, 2, INPUTS), lambda y: y.sum())
    assert [bool(of_time.any()) for of_time in found.direct] == [False, False, True]


def test_a_state_in_another_dtype_begins_another_recurrence():
    """As under autocast, where a loop keeps its state in float32."""
    model = Stepped(nn.LSTM(INPUTS, HIDDEN), lambda _, state: tuple(part.float() for part in state))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = capture(model, torch.randn(3, 2, INPUTS), lambda y: y.float().sum())
    assert [len(r.inputs) for r in found] == [1, 1, 1]


def test_calls_that_are_handed_no_state_are_recurrences_of_their_own():
    """Each of one time, with the gradient of its own output."""

    def forget(_, state):
        return None

    found = capture(Stepped(nn.LSTM(INPUTS, HIDDEN), forget), torch.randn(3, 2, INPUTS), lambda y: y.sum())
    assert [(r.call, len(r.inputs)) for r in found] == [(0, 1), (1, 1), (2, 1)]
    assert [bool(r.direct.any()) for r in found] == [False, False, True]


def test_a_sequence_at_once_and_what_it_hands_on_are_two():
    """An encoder's last state gets its gradient from the decoder, which is the same module called for one time each."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(INPUTS, HIDDEN)

        def forward(self, x):
            _, state = self.rnn(x)
            for _ in range(3):
                output, state = self.rnn(x[-1:], state)
            return output

    encoder, decoder = capture(Both(), torch.randn(5, 2, INPUTS), lambda y: y.sum())
    assert [(r.call, len(r.inputs)) for r in (encoder, decoder)] == [(0, 5), (1, 3)]
    assert encoder.direct[-1].any()
    assert not encoder.direct[:-1].any()


def test_two_directions_are_recurrences_call_by_call():
    """The reverse direction of one time has nothing to read; all of the gradient is direct."""
    rnn = nn.GRU(INPUTS, HIDDEN, bidirectional=True)
    found = capture(Stepped(rnn), torch.randn(3, 2, INPUTS), lambda y: y.sum())
    assert [(r.name, r.call, len(r.inputs)) for r in found] == [
        (name, call, 1) for call in range(3) for name in ("rnn.l0", "rnn.l0_reverse")
    ]
    assert all(r.direct.any() for r in found)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_decoder_has_one_row_a_layer(layers):
    """In the summary, of all its times, and it is judged by them."""
    torch.manual_seed(0)
    model = Stepped(nn.RNN(INPUTS, HIDDEN, num_layers=layers))
    probe = gradscope.probe(model, torch.randn(30, 2, INPUTS), lambda y: y.square().sum())
    assert probe.summary["layer"].tolist() == [f"rnn.l{layer}" for layer in range(layers)]
    assert probe.summary["times"].tolist() == [30] * layers
    assert probe.summary["verdict"].tolist() == ["vanishing"] * layers
    assert probe.times.groupby("layer").size().tolist() == [30] * layers


def test_the_model_is_left_as_it_was():
    """No gradient is accumulated, no hook stays, and it computes what it did."""
    model, x = Stepped(nn.LSTM(INPUTS, HIDDEN, num_layers=2)), torch.randn(5, 2, INPUTS)
    before, seen = model(x), []
    capture(model, x, lambda y: seen.append(y) or y.sum())
    assert torch.equal(before, seen[0])
    assert torch.equal(before, model(x))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
