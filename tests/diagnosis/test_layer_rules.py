"""Where rules about a layer draw their lines: planted runs on both sides of them."""

import numpy as np
import pytest

from gradscope.diagnosis import diagnose
from gradscope.runs import RunWriter, open_run
from tests.planted import EVERY_TIME, LAST_TIME_ONLY, LAYER, exponential, flush, plant, timesteps


def _found(run, code):
    return next((finding for finding in diagnose(run) if finding.code == code), None)


def _with(folder, metadata, *, rate=-0.01, times=60, norms=None, gates=None, states=None, **columns):
    """Eight iterations of one layer, with further columns of timesteps, gates and states."""
    writer = RunWriter(folder, metadata)
    for iteration in range(8):
        decaying = exponential(rate, noise=0.1, seed=iteration, times=times)
        tables = flush(iteration, decaying if norms is None else norms, **columns)
        keys = {"iteration": np.full(times, iteration), "layer": [LAYER] * times, "call": np.zeros(times, dtype=int)}
        if gates:
            rows = [
                {**keys, "time": np.arange(times), "gate": [gate] * times,
                 **{name: np.full(times, value) for name, value in zip(("mean", "low", "high"), values, strict=True)}}
                for gate, values in gates.items()
            ]  # fmt: skip
            tables["gates"] = {name: np.concatenate([np.asarray(row[name]) for row in rows]) for name in rows[0]}
        if states is not None:
            tables["states"] = {
                **keys,
                "sequence": np.zeros(times, dtype=int),
                "time": np.arange(times),
                "hidden": list(states),
                "total_gradient": list(np.ones_like(states)),
            }
        writer.write(tables)
    writer.close()
    return open_run(folder)


def _kind(kind, lag=40, **user):
    return {"layers": {LAYER: {"kind": kind}}, "user": {"lag": lag, **user}}


@pytest.mark.parametrize(
    ("gate", "rate", "fires"),
    [((0.5, 0.0, 0.0), -0.5, True), ((0.5, 0.0, 0.05), -0.5, False), ((0.95, 0.0, 0.9), -0.5, False),
     ((0.5, 0.0, 0.0), -0.01, False)],
    ids=["closed", "a few units open", "open", "closed, yet the gradient arrives"],
)  # fmt: skip
def test_a_forget_gate_is_too_low_only_where_nothing_gets_past_it(tmp_path, gate, rate, fires):
    """Units that stay open remember for the others, and a gradient that arrives needs no gate."""
    finding = _found(_with(tmp_path, _kind("lstm"), rate=rate, gates={"forget": gate}), "forget-gate-too-low")
    assert (finding is not None) == fires
    if finding is not None:
        assert finding.evidence["time_constant"] == pytest.approx(-1 / np.log(0.5))
        assert finding.evidence["time_constant_is"] == "at most"
        assert finding.iteration == 0


@pytest.mark.parametrize(
    ("gates", "stuck"),
    [
        ({"forget": (0.99, 0.0, 1.0), "input": (0.01, 1.0, 0.0)}, None),
        ({"forget": (0.5, 0.0, 0.0), "input": (0.01, 1.0, 0.0)}, "input"),
        ({"forget": (0.5, 0.5, 0.5), "output": (0.5, 0.48, 0.48)}, "output"),
        ({"output": (0.5, 0.4, 0.4)}, None),
    ],
    ids=["chrono", "nothing gets in", "switches", "free enough"],
)
def test_gates_are_stuck_where_that_is_no_memory(tmp_path, gates, stuck):
    """An open forget gate with a closed input gate beside it is what chrono initialisation sets."""
    finding = _found(_with(tmp_path, _kind("lstm"), gates=gates), "saturated-gates")
    assert (finding is not None) == (stuck is not None)
    if finding is not None:
        assert f"{stuck}_closed" in finding.evidence
        assert "forget_open" not in finding.evidence


@pytest.mark.parametrize(("dead", "severity"), [(7, None), (8, "warning"), (16, "error")])
def test_half_of_the_units_must_be_dead(tmp_path, dead, severity):
    """A layer without a single unit left is an error."""
    states = np.ones((60, 16))
    states[:, :dead] = 0.0
    finding = _found(_with(tmp_path, _kind("rnn_relu"), states=states), "dead-units")
    assert (finding.severity if finding else None) == severity
    assert finding is None or finding.evidence["dead"] == dead
    assert _found(_with(tmp_path / "tanh", _kind("rnn_tanh"), states=states), "dead-units") is None


@pytest.mark.parametrize(("lag", "fires"), [(59, False), (60, True), (200, True)])
def test_truncation_is_too_short_from_the_first_lag_that_is_missing(tmp_path, lag, fires):
    """Sixty times have lags 0 to 59."""
    run = plant(tmp_path, lambda i: exponential(-0.01, noise=0.1, seed=i), metadata={"user": {"lag": lag}})
    finding = _found(run, "truncation-too-short")
    assert (finding is not None) == fires
    if finding is not None:
        assert finding.evidence["reach"] == 59
        # A geometric series cut after 60 terms (truth T14: relative bias lambda^K).
        assert finding.evidence["missing_share"] == pytest.approx(np.exp(-0.01 * 60), rel=0.1)


def test_a_gradient_that_goes_no_time_back_asks_for_the_state_to_be_handed_on(tmp_path):
    """A cell that is called anew at each time; and of a way of no times nothing is left or missing."""
    finding = _found(plant(tmp_path, lambda _: np.ones((1, 4)), metadata={"user": {"lag": 9}}), "truncation-too-short")
    assert finding.message == "The gradient can travel no time step back and the task has to look 9 back."
    assert "state = cell(x, state)" in finding.advice[0]
    assert finding.evidence == {"reach": 0, "lag": 9}


@pytest.mark.parametrize(("kind", "fires"), [("gru", True), ("rnn_relu", False)])
def test_relu_units_that_are_off_are_no_truncation(tmp_path, kind, fires):
    """Sequences of sixty times, cut after thirty: longer ones help neither, but a gru is cut by a detach() alone."""
    norms = exponential(-0.01)
    norms[:30] = 0.0
    run = _with(tmp_path, _kind(kind), norms=norms)
    assert (_found(run, "truncation-too-short") is not None) == fires
    assert _found(run, "gradient-cut-off").severity == "error"


def test_a_layer_that_is_read_too_early_has_no_truncation(tmp_path):
    """Its gradient enters at the first of sixty times: longer sequences would not help."""
    norms = np.zeros((60, 4))
    norms[0] = 1.0
    found = _with(tmp_path, _kind("gru"), norms=norms, direct_gradient_norm=norms[:, 0])
    assert _found(found, "truncation-too-short") is None
    assert _found(found, "read-too-early").severity == "error"


@pytest.mark.parametrize(
    ("lyapunov", "largest"),
    [
        ([0.1, -0.3], 0.1),
        (0.2, 0.2),
        ({"exponents": [-0.5, 0.3], "low": 0.2, "high": 0.4}, 0.3),
        ({LAYER: [0.05]}, 0.05),
        ({LAYER: {"exponents": [0.05], "low": 0.01, "high": 0.09}}, 0.05),
        ({"exponents": [0.3], "low": -0.1, "high": 0.7}, None),
        ([-0.1], None),
        ([], None),
        (["fast"], None),
        ([float("inf")], None),
        ({"exponents": None}, None),
        (True, None),
    ],
)
def test_exponents_of_a_probe_decide(tmp_path, lyapunov, largest):
    """Chaos is an exponent above 0 with its interval; what is no number is taken as unknown."""
    finding = _found(_with(tmp_path, _kind("gru", lyapunov=lyapunov)), "chaotic-dynamics")
    assert (finding.evidence["largest_exponent"] if finding else None) == largest
    if finding is not None:
        assert finding.evidence["predictability_time"] == pytest.approx(np.log(2) / largest)


@pytest.mark.parametrize(("state", "fires"), [(1.0, True), (1.2, False)], ids=["bounded", "unstable"])
def test_a_gradient_that_grows_is_chaos_only_over_a_bounded_state(tmp_path, state, fires):
    """A linear net that runs away has the same gradient."""
    hidden = np.full(60, 2.0) * state ** np.arange(60)
    run = _with(tmp_path, _kind("rnn_tanh"), rate=0.15, hidden_norm=hidden)
    assert (_found(run, "chaotic-dynamics") is not None) == fires
    assert (_found(run, "hidden-state-growth") is not None) == (not fires)


@pytest.mark.parametrize("hidden", [np.arange(1.0, 61.0), np.sqrt(np.arange(1.0, 61.0)), np.ones(60)])
def test_a_sum_is_no_growth_that_feeds_on_itself(tmp_path, hidden):
    """A counter, a random walk, a settled state."""
    assert _found(_with(tmp_path, _kind("rnn_relu"), hidden_norm=hidden), "hidden-state-growth") is None


@pytest.mark.parametrize(
    ("start", "of_units", "of_gates"),
    [
        (
            0.1,
            "Lower the learning rate or clip the norm: the units were",
            "Lower the learning rate or clip the norm: they",
        ),
        (0.95, "Scale the inputs", "Start with smaller input and recurrent weights"),
    ],
    ids=["free at the start", "saturated from the start"],
)
def test_what_was_free_at_the_start_asks_for_smaller_steps(tmp_path, start, of_units, of_gates):
    """And what was saturated from the start for smaller inputs and weights."""
    writer = RunWriter(tmp_path, _kind("lstm"))
    for iteration in range(8):
        share = start if iteration == 0 else 0.95
        tables = flush(iteration, exponential(-0.01), saturation=np.full(60, share))
        tables["gates"] = {
            "iteration": np.full(60, iteration),
            "layer": [LAYER] * 60,
            "call": np.zeros(60, dtype=int),
            "time": np.arange(60),
            "gate": ["output"] * 60,
            "mean": np.full(60, 0.5),
            "low": np.full(60, share / 2),
            "high": np.full(60, share / 2),
        }
        writer.write(tables)
    writer.close()
    run = open_run(tmp_path)
    assert _found(run, "saturated-units").advice[0].startswith(of_units)
    assert _found(run, "saturated-gates").advice[0].startswith(of_gates)


@pytest.mark.parametrize(("saturation", "said"), [(0.6, True), (0.3, False)])
def test_a_gradient_that_vanishes_in_saturated_units_asks_for_scaled_inputs(tmp_path, saturation, said):
    """Another start of the recurrent weights does not help there."""
    tanh = _with(tmp_path / "tanh", _kind("rnn_tanh"), rate=-1.0, saturation=np.full(60, saturation))
    ends = (0.5, saturation / 2, saturation / 2)
    gated = _with(tmp_path / "gru", _kind("gru"), rate=-1.0, gates={"reset": ends, "update": ends})
    advice = [_found(run, "vanishing-gradient").advice[0] for run in (tanh, gated)]
    assert [one.startswith("Scale the inputs to about 1") for one in advice] == [said] * 2
    assert [f"{saturation:.0%}".replace("%", " %") in one for one in advice] == [said] * 2


def test_one_gate_that_is_open_on_purpose_is_no_saturation(tmp_path):
    """Chrono initialisation opens one and closes another; the output gate is free."""
    gates = {"forget": (0.95, 0.0, 0.95), "input": (0.05, 0.95, 0.0), "output": (0.5, 0.0, 0.0)}
    run = _with(tmp_path, _kind("lstm"), rate=-1.0, gates=gates)
    assert _found(run, "vanishing-gradient").advice[0].startswith("Start with a larger forget-gate bias")


def test_a_gate_at_one_end_alone_is_held_there_by_its_bias(tmp_path):
    """Forget gates below 0.1 in every case; gates that are at both ends are thrown about by their inputs."""
    held = _found(_with(tmp_path / "held", _kind("lstm"), gates={"forget": (0.04, 1.0, 0.0)}), "saturated-gates")
    thrown = _found(_with(tmp_path / "thrown", _kind("lstm"), gates={"output": (0.5, 0.48, 0.48)}), "saturated-gates")
    assert held.advice[0].startswith("Look at the bias of the forget gate:")
    assert not any("bias" in advice for advice in thrown.advice)


def test_a_layer_below_another_is_told_where_its_many_gradients_come_from(tmp_path):
    """A loss at the last time only would change nothing there: the layer above sends a gradient back at every time."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(8):
        lower, upper = (
            timesteps(iteration, exponential(-0.01), layer=layer, loss=loss)
            for layer, loss in (("rnn.l0", EVERY_TIME), ("rnn.l1", LAST_TIME_ONLY))
        )
        both = {column: [*np.asarray(lower[column]), *np.asarray(upper[column])] for column in lower}
        writer.write({"iterations": {"iteration": [iteration]}, "timesteps": both})
    writer.close()
    finding = _found(open_run(tmp_path), "loss-at-many-times")
    assert finding.layer == "rnn.l0"
    assert "it comes through rnn.l1, the layer above" in finding.message
    assert "uppermost layer" in finding.advice[0]


def test_saturation_is_judged_at_the_end(tmp_path):
    """Units at their flat ends in nine of ten cases, and since when."""
    run = _with(tmp_path, _kind("rnn_tanh"), saturation=np.full(60, 0.95))
    finding = _found(run, "saturated-units")
    assert (finding.evidence["saturated_share"], finding.iteration) == (pytest.approx(0.95), 0)
    assert _found(_with(tmp_path / "free", _kind("rnn_tanh"), saturation=np.full(60, 0.85)), "saturated-units") is None


@pytest.mark.parametrize(
    ("kind", "lag", "said"),
    [
        ("lstm", 1, "Start with a larger forget-gate bias: 1 is enough here."),
        ("gru", 3, "Start with a larger update-gate bias: 1 is enough here."),
        ("gru", 59, "Start with a larger update-gate bias: 3.2 keeps a tenth over 59 time steps."),
    ],
)
def test_a_larger_bias_is_never_a_negative_one(tmp_path, kind, lag, said):
    """Over a few times a tenth is kept by a gate that is nearly closed."""
    metadata = _kind(kind) | {"user": {"lag": lag}}
    advice = _found(_with(tmp_path, metadata, rate=-5.0), "vanishing-gradient").advice
    assert advice[0].startswith(said)
    assert "Sequences cut to about 1 time step teach this layer as much." in advice
