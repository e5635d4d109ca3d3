"""What each initialisation promises, read off the parameters."""

import pytest
import torch
from torch import nn

from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.cells.initialisations import initialise
from gradscope.errors import UsageError

HIDDEN = 24
MODULES = {
    "rnn": lambda: nn.RNN(3, HIDDEN),
    "lstm": lambda: nn.LSTM(3, HIDDEN),
    "gru": lambda: nn.GRU(3, HIDDEN),
    "lstm deep": lambda: nn.LSTM(3, HIDDEN, num_layers=2, bidirectional=True),
}


def _blocks(module):
    """The recurrent matrix of each gate, layer and direction."""
    weights = [weight for name, weight in module.named_parameters() if name.startswith("weight_hh")]
    return [block for weight in weights for block in weight.detach().split(HIDDEN)]


def _acting_biases(module):
    """bias_ih + bias_hh of each layer and direction, by gate: (layer, gate, hidden)."""
    named = dict(module.named_parameters())
    sums = [(named[n] + named[n.replace("ih", "hh")]).detach() for n in named if n.startswith("bias_ih")]
    return torch.stack(sums).unflatten(1, (-1, HIDDEN))


@pytest.mark.parametrize("kind", MODULES)
def test_orthogonal_is_orthogonal_gate_by_gate(kind):
    """Each gate's recurrent matrix times its transpose is the identity, and no two gates share one."""
    module = MODULES[kind]()
    initialise(module, "orthogonal")

    blocks = _blocks(module)
    for block in blocks:
        torch.testing.assert_close(block @ block.T, torch.eye(HIDDEN), atol=1e-5, rtol=0)
    assert len({block.numpy().tobytes() for block in blocks}) == len(blocks)


def test_orthogonal_takes_a_gain():
    """All singular values of each gate's recurrent matrix are the gain."""
    module = nn.LSTM(3, HIDDEN)
    initialise(module, "orthogonal", 1.5)

    for block in _blocks(module):
        torch.testing.assert_close(torch.linalg.svdvals(block), torch.full((HIDDEN,), 1.5))


@pytest.mark.parametrize(("name", "variance"), [("xavier", 2 / 400), ("kaiming", 2 / 200)])
@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM])
def test_matrices_have_the_variance_that_was_proposed(name, variance, make):
    """Gate by gate, not that of the stacked matrix; biases are 0."""
    torch.manual_seed(0)
    module = make(200, 200)
    initialise(module, name)

    for block in (*module.weight_hh_l0.detach().split(200), *module.weight_ih_l0.detach().split(200)):
        assert block.var().item() == pytest.approx(variance, rel=0.05)
    assert not module.bias_ih_l0.any()
    assert not module.bias_hh_l0.any()


def test_uniform_draws_every_parameter():
    """All parameters lie between the bounds and fill them."""
    module = nn.GRU(3, HIDDEN)
    initialise(module, "uniform", 0.08)

    values = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    assert values.abs().max().item() == pytest.approx(0.08, rel=0.01)
    assert values.std().item() == pytest.approx(0.08 / 3**0.5, rel=0.05)


@pytest.mark.parametrize("kind", MODULES)
def test_identity_is_the_identity_with_zero_biases(kind):
    """Le, Jaitly & Hinton: W_hh = I, b = 0; with gates, gate by gate."""
    module = MODULES[kind]()
    initialise(module, "identity")

    for block in _blocks(module):
        assert torch.equal(block, torch.eye(HIDDEN))
    assert torch.equal(_acting_biases(module), torch.zeros_like(_acting_biases(module)))


@pytest.mark.parametrize("kind", MODULES)
def test_normal_draws_every_parameter(kind):
    """All parameters, biases too, have the deviation asked for."""
    torch.manual_seed(0)
    module = MODULES[kind]()
    initialise(module, "normal", 0.001)

    values = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    assert values.std().item() == pytest.approx(0.001, rel=0.1)
    assert values.mean().item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("kind", ["lstm", "gru", "lstm deep"])
def test_forget_bias_counts_once(kind):
    """The sum of both bias vectors equals the forget bias (GRU: on the update gate); other gates stay as they were."""
    module = MODULES[kind]()
    before = _acting_biases(module)
    initialise(module, "forget-bias", 1.0)

    after = _acting_biases(module)
    assert torch.equal(after[:, 1], torch.ones_like(after[:, 1]))
    others = [gate for gate in range(after.shape[1]) if gate != 1]
    assert torch.equal(after[:, others], before[:, others])


def test_forget_bias_sets_the_share_that_a_gru_keeps():
    """With large bias a GRU whose weights are zero keeps sigmoid(b) of its state at each time."""
    module = nn.GRU(1, 1)
    initialise(module, "normal", 1e-12)
    initialise(module, "forget-bias", 3.0)

    _, last = module(torch.zeros(2, 1, 1), torch.ones(1, 1, 1))

    assert last.item() == pytest.approx(torch.sigmoid(torch.tensor(3.0)).item() ** 2, rel=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_chrono_spreads_the_memories_evenly(kind):
    """1 / (1 - sigmoid(b)) is uniform on [2, Tmax]: its distribution stays within the Kolmogorov-Smirnov bound."""
    torch.manual_seed(0)
    many = 4000
    module = nn.LSTM(1, many) if kind == "lstm" else nn.GRU(1, many)
    initialise(module, "chrono", 100.0)

    named = dict(module.named_parameters())
    gates = (named["bias_ih_l0"] + named["bias_hh_l0"]).detach().double().split(many)
    memory = (1 / (1 - torch.sigmoid(gates[1]))).sort().values
    expected = (memory - 2) / 98
    distance = (torch.arange(1, many + 1) / many - expected).abs().max().item()
    assert distance < 1.63 / many**0.5  # the 1 % critical value
    if kind == "lstm":
        assert torch.equal(gates[0], -gates[1])


def test_default_is_what_torch_does():
    """The same seed gives the parameters of a fresh module."""
    module = nn.LSTM(3, HIDDEN)
    torch.manual_seed(5)
    initialise(module, "default")
    torch.manual_seed(5)

    for mine, fresh in zip(module.parameters(), nn.LSTM(3, HIDDEN).parameters(), strict=True):
        assert torch.equal(mine, fresh)


@pytest.mark.parametrize("entry", INITIALISATION_TABLE)
def test_every_entry_of_the_table_works_and_has_a_reference(entry):
    """The table that studies are checked with and the functions cover the same names."""
    argument = None if INITIALISATION_TABLE[entry].argument == "none" else 3.0
    initialise(nn.GRU(2, 4), entry, argument)

    assert INITIALISATION_TABLE[entry].reference


@pytest.mark.parametrize(
    ("module", "name", "argument", "words"),
    [
        (nn.RNN(1, 2), "savier", None, "unknown initialisation 'savier': there are default"),
        (nn.RNN(1, 2), "normal", None, "normal needs a number: standard deviation"),
        (nn.RNN(1, 2), "normal", -1.0, "a number above 0"),
        (nn.RNN(1, 2), "xavier", 1.0, "takes no number"),
        (nn.RNN(1, 2), "orthogonal", 0.0, "a number above 0"),
        (nn.RNN(1, 2), "chrono", 10.0, "nn.RNN has none"),
        (nn.LSTM(1, 2), "chrono", 2.0, "a number above 2"),
        (nn.LSTM(1, 2), "forget-bias", float("inf"), "a finite number"),
        (nn.LSTM(1, 2, bias=False), "forget-bias", 1.0, "bias=False"),
        (nn.LSTM(1, 4, proj_size=2), "identity", None, "square"),
    ],
)
def test_what_cannot_be_done_is_refused(module, name, argument, words):
    """An unknown name, a missing or impossible number, a module without that gate or bias."""
    with pytest.raises(UsageError, match=words):
        initialise(module, name, argument)
