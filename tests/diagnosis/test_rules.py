"""Each rule fires on what was planted for it and is silent on a healthy run."""

import numpy as np
import pytest

from gradscope.diagnosis import diagnose
from gradscope.runs import RunWriter, open_run
from tests.planted import EVERY_TIME, LAYER, exponential, flush, plant, timesteps


def _codes(run):
    return [(finding.code, finding.severity, finding.layer) for finding in diagnose(run)]


def _rounded(norms):
    """Norms as float32 would hold them: underflow makes exact zeros."""
    return norms.astype(np.float32).astype(np.float64)


def _noisy(rate, **shape):
    return lambda iteration: exponential(rate, noise=0.2, seed=iteration, **shape)


def _clipped(coefficient, cosine):
    return lambda iteration: {
        "loss": 1.0,
        "gradient_norm": 2.0,
        "clip_coefficient": coefficient(iteration),
        "clip_cosine": cosine(iteration),
    }


HEALTHY_LOG = _clipped(lambda iteration: 0.5 if iteration % 10 == 0 else 1.0, lambda _: 1.0)


@pytest.mark.parametrize("rate", [-0.02, 0.0])
@pytest.mark.parametrize("kind", ["rnn_tanh", "lstm"])
def test_a_healthy_run_has_no_findings(tmp_path, rate, kind):
    """A slow decay, now and then a clipped gradient whose direction stays: nothing is said."""
    layers = {LAYER: {"kind": kind}}
    run = plant(
        tmp_path,
        _noisy(rate),
        iterations=range(40),
        logged=HEALTHY_LOG,
        metadata={"layers": layers, "user": {"lag": 59}},
    )
    assert _codes(run) == []


def test_vanishing_is_an_error_where_the_task_says_how_far_back_it_looks(tmp_path):
    """The finding carries the rate with its interval, the lag and what is left there."""
    run = plant(tmp_path, _noisy(-0.3), metadata={"user": {"lag": 40}})
    (finding,) = diagnose(run)
    assert (finding.code, finding.severity, finding.layer) == ("vanishing-gradient", "error", LAYER)
    assert finding.evidence["lag"] == 40
    assert finding.evidence["rate"] == pytest.approx(-0.3, abs=0.01)
    assert finding.evidence["rate_low"] < finding.evidence["rate"] < finding.evidence["rate_high"] < 0
    assert finding.evidence["share_at_lag"] == pytest.approx(np.exp(-12), rel=0.5)
    assert "it did so from the start" in finding.message


def test_vanishing_is_a_warning_where_the_lag_is_unknown(tmp_path):
    """Judged by the whole length, and the advice says how to tell the lag."""
    (finding,) = diagnose(plant(tmp_path, _noisy(-0.3)))
    assert (finding.code, finding.severity) == ("vanishing-gradient", "warning")
    assert any("metadata={'lag': ...}" in advice for advice in finding.advice)


def test_a_lag_that_is_short_enough_keeps_the_rule_silent(tmp_path):
    """The same decay is no fault where the task looks back five times only."""
    assert _codes(plant(tmp_path, _noisy(-0.3), metadata={"user": {"lag": 5}})) == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("lstm", "forget-gate bias: 2.8"),
        ("gru", "update-gate bias: 2.8"),
        ("rnn_relu", "identity"),
        ("rnn_tanh", "LSTM or GRU"),
    ],
)
def test_the_advice_fits_the_cell(tmp_path, kind, said):
    """A gate bias b with sigmoid(b)^40 = 0.1 is 2.8."""
    run = plant(tmp_path, _noisy(-0.3), metadata={"user": {"lag": 40}, "layers": {LAYER: {"kind": kind}}})
    assert said in diagnose(run)[0].advice[0]


def test_what_training_cured_is_not_a_finding(tmp_path):
    """Vanishing at the start and gone at the end: the end counts."""
    assert _codes(plant(tmp_path, lambda i: exponential(-0.5 if i < 4 else -0.01, noise=0.1, seed=i))) == []


@pytest.mark.parametrize(
    ("rate", "severity"), [(0.15, "error"), (0.06, "warning"), (0.02, "info")], ids=["6900-fold", "34-fold", "3-fold"]
)
def test_exploding_is_as_severe_as_the_growth_over_the_lag(tmp_path, rate, severity):
    """Growth over 59 times of more than a hundred is an error, more than ten a warning."""
    (finding,) = diagnose(plant(tmp_path, _noisy(rate, sequences=64)))
    assert (finding.code, finding.severity) == ("exploding-gradient", severity)
    assert finding.evidence["growth"] == pytest.approx(np.exp(59 * rate), rel=0.4)


def test_an_explosion_that_came_late_is_told_so(tmp_path):
    """The start was not exploding, and the message says it."""
    (finding,) = diagnose(plant(tmp_path, lambda i: exponential(0.2 if i > 4 else -0.01, noise=0.1, seed=i)))
    assert "it did not at the start" in finding.message


def _growing(folder, *, late, loss, coefficient=1.0, norms=exponential):
    """A run whose gradient grows by 0.1 a time step, from the fourth of eight iterations on or from the first."""
    return plant(
        folder,
        lambda i: norms(0.1 if i >= 4 or not late else -0.01, noise=0.1, seed=i),
        logged=lambda i: {"loss": loss[i], "gradient_norm": 1.0, "clip_coefficient": coefficient, "clip_cosine": 1.0},
    )


FALLING, CONSTANT = [1.0, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.2], [1.0] * 8


@pytest.mark.parametrize(
    ("late", "loss", "coefficient", "severity"),
    [
        (True, FALLING, 1.0, "warning"),
        (True, FALLING, 0.5, "info"),
        (True, CONSTANT, 0.5, "error"),
        (True, FALLING[::-1], 1.0, "error"),
        (False, FALLING, 0.5, "error"),
    ],
    ids=["learned", "learned and clipped", "nothing learned", "the loss rises", "from the start"],
)
def test_growth_that_learning_brought_is_no_error(tmp_path, late, loss, coefficient, severity):
    """A latch that works sends a gradient back that grows: 370-fold here, and the loss is a fifth of what it was."""
    found = {f.code: f for f in diagnose(_growing(tmp_path, late=late, loss=loss, coefficient=coefficient))}
    finding = found["exploding-gradient"]
    assert finding.severity == severity
    assert ("The loss fell all the same" in finding.message) == (severity != "error")


def test_where_gradients_are_clipped_already_clipping_is_no_advice(tmp_path):
    """What is left to try is the way back itself; and a start is advised only where it was so at the start."""
    clipped = diagnose(_growing(tmp_path / "clipped", late=False, loss=CONSTANT, coefficient=0.5))[0]
    free = diagnose(_growing(tmp_path / "free", late=True, loss=CONSTANT))[0]
    assert clipped.advice[0] == "Start the recurrent weights orthogonal."
    assert not any("clip" in advice.lower() for advice in clipped.advice)
    assert free.advice[0].startswith("Clip the gradient's norm")
    assert not any("Start" in advice for advice in free.advice)


@pytest.mark.parametrize(
    ("left", "rate", "severity", "verb"),
    [(0.09, 0.1, "warning", "explodes"), (0.5, 0.02, "info", "grows"), (0.05, 0.02, None, None)],
)
def test_growth_after_a_fall_counts_as_far_as_it_was_measured(tmp_path, left, rate, severity, verb):
    """From lag 1 on by 370 or 3.3 times; but of what the readout put in, only a share goes back at all."""

    def norms(iteration):
        found = exponential(rate, noise=0.1, seed=iteration)
        found[:-1] *= left
        return found

    findings = diagnose(plant(tmp_path, norms))
    assert [finding.severity for finding in findings] == [severity] * (severity is not None)
    assert all(finding.message.startswith(f"The gradient {verb} on its way") for finding in findings)


def test_losses_at_many_times_are_information_and_no_false_verdict(tmp_path):
    """However steep the total gradient looks, nothing is said to vanish."""
    run = plant(tmp_path, _noisy(-0.5), loss=EVERY_TIME)
    assert _codes(run) == [("loss-at-many-times", "info", LAYER)]
    assert diagnose(run)[0].evidence == {"loss_times": 60}


def test_an_explosion_is_certain_even_under_losses_at_many_times(tmp_path):
    """A total gradient far larger than all that the losses put in proves growth."""
    run = plant(tmp_path, lambda i: 5000.0 * exponential(0.0, noise=0.1, seed=i), loss=EVERY_TIME)
    assert _codes(run) == [("exploding-gradient", "error", LAYER), ("loss-at-many-times", "info", LAYER)]


def test_underflow_is_told_from_a_cut(tmp_path):
    """Zeros after ever smaller norms are underflow, zeros after a healthy norm are a cut."""
    worn = plant(tmp_path / "worn", lambda i: _rounded(exponential(-2.5, noise=0.2, seed=i)))
    assert _codes(worn) == [("vanishing-gradient", "warning", LAYER), ("gradient-underflow", "warning", LAYER)]
    lag = {finding.code: finding for finding in diagnose(worn)}["gradient-underflow"].evidence["all_zero_lag"]
    norms = worn.sequence_norms(LAYER, 7)
    assert (norms[: 60 - lag] == 0).all()

    def cut(iteration):
        norms = exponential(-0.01, noise=0.1, seed=iteration)
        norms[:30] = 0.0
        return norms

    cut_off = plant(tmp_path / "cut", cut)
    assert _codes(cut_off) == [("gradient-cut-off", "error", LAYER)]
    assert diagnose(cut_off)[0].evidence["all_zero_lag"] == 30


def test_a_loss_before_the_last_time_is_not_a_cut(tmp_path):
    """Exact zeros after the loss are no underflow: lags count from the loss."""

    def early(iteration):
        norms = exponential(-0.01, noise=0.1, seed=iteration)
        norms[50:] = 0.0
        return norms

    writer = RunWriter(tmp_path, {})
    for iteration in range(8):
        norms = early(iteration)
        tables = flush(iteration, norms)
        tables["timesteps"]["direct_gradient_norm"] = np.where(np.arange(60) == 49, 1.0, 0.0)
        writer.write(tables)
    assert _codes(open_run(tmp_path)) == []


def test_a_few_dead_sequences_are_no_underflow(tmp_path):
    """Sequences whose gradient is 0 from the loss on had none to lose."""

    def partly(iteration):
        norms = exponential(-0.01, noise=0.1, seed=iteration)
        norms[:, :4] = 0.0
        return norms

    assert _codes(plant(tmp_path, partly)) == []


def test_sequences_that_are_cut_off_one_by_one_are_no_underflow(tmp_path):
    """Relu units that are all off for a sequence let nothing through, however large the gradient was before."""

    def partly(iteration):
        norms = exponential(-0.01, noise=0.1, seed=iteration)
        norms[:30, :4] = 0.0
        return norms

    assert _codes(plant(tmp_path, partly)) == []


@pytest.mark.parametrize(
    ("coefficient", "codes"),
    [
        (lambda _: 0.1, ["clip-always-on"]),
        (lambda i: 0.1 if i % 2 else 1.0, []),
        (lambda i: 0.1 if i < 10 else 1.0, []),
    ],
    ids=["always", "half", "early only"],
)
def test_clipping_always_is_found(tmp_path, coefficient, codes):
    """Every one of the later gradients clipped; half of them, or only the early ones, is fine."""
    run = plant(tmp_path, _noisy(-0.01), iterations=range(40), logged=_clipped(coefficient, lambda _: 1.0))
    assert [finding.code for finding in diagnose(run)] == codes


def test_clipping_that_bends_is_found(tmp_path):
    """A cosine of 0.8 wherever it fires is 37 degrees; unclipped iterations do not dilute it."""
    log = _clipped(lambda i: 0.5 if i % 3 == 0 else 1.0, lambda i: 0.8 if i % 3 == 0 else 1.0)
    (finding,) = diagnose(plant(tmp_path, _noisy(-0.01), iterations=range(60), logged=log))
    assert (finding.code, finding.severity, finding.layer) == ("clip-bends-direction", "warning", None)
    assert finding.evidence["angle_degrees"] == pytest.approx(36.87, abs=0.01)


def test_a_handful_of_iterations_is_too_few_to_judge_clipping(tmp_path):
    """Less than ten later iterations: silent."""
    run = plant(tmp_path, _noisy(-0.01), iterations=range(12), logged=_clipped(lambda _: 0.1, lambda _: 0.5))
    assert _codes(run) == []


def test_the_first_value_that_is_not_finite_is_located(tmp_path):
    """Iteration and time of the gradient's first failure on its way back, and the norm just before it."""

    def failing(iteration):
        norms = exponential(-0.01, noise=0.1, seed=iteration)
        if iteration >= 30:
            norms[:20] = np.nan
        return norms

    log = lambda i: {"loss": 1.0, "gradient_norm": float(i + 1) if i < 30 else float("nan")}  # noqa: E731
    found = {f.code: f for f in diagnose(plant(tmp_path, failing, iterations=range(40), logged=log))}
    assert set(found) == {"non-finite", "non-finite-norm"}
    located = found["non-finite"]
    assert (located.evidence["iteration"], located.evidence["time"], located.evidence["tensor"]) == (
        30,
        19,
        "total gradient",
    )
    assert found["non-finite-norm"].evidence == {"iteration": 30, "iterations_affected": 10}
    assert "just before was 30, the median until then 15.5" in found["non-finite-norm"].message


@pytest.mark.parametrize(("growth", "first"), [(4.0, "Clip the norm of the gradient"), (1.0, "Look at the iterations")])
def test_a_gradient_that_grew_a_thousandfold_before_asks_for_clipping_first(tmp_path, growth, first):
    """Whatever became infinite first, it is not the loss's logarithm that has to be looked at."""
    log = lambda i: {"loss": 1.0, "gradient_norm": growth**i if i < 30 else float("nan")}  # noqa: E731
    run = plant(tmp_path, _noisy(-0.01), iterations=range(40), logged=log)
    (finding,) = (finding for finding in diagnose(run) if finding.code == "non-finite-norm")
    assert finding.advice[0].startswith(first)


def test_a_state_that_is_not_finite_is_told_from_a_gradient(tmp_path):
    """States fail forwards: the first time is the earliest one."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(4):
        tables = flush(iteration, exponential(-0.01))
        hidden = np.ones(60)
        nonfinite = np.zeros(60, dtype=int)
        if iteration == 3:
            hidden[25:], nonfinite[:] = np.nan, 16
        tables["timesteps"] |= {"hidden_norm": hidden, "nonfinite": nonfinite}
        writer.write(tables)
    (finding,) = diagnose(open_run(tmp_path))
    assert (finding.evidence["tensor"], finding.evidence["time"]) == ("hidden state", 25)


def test_iterations_that_were_not_recorded_are_not_called_nan(tmp_path):
    """Most rows of a run have no gradient columns at all."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(40):
        recorded = iteration % 5 == 0
        log = {"loss": 1.0, "gradient_norm": 1.0 if recorded else None}
        writer.write(flush(iteration, exponential(-0.01, noise=0.1, seed=iteration) if recorded else None, logged=log))
    assert _codes(open_run(tmp_path)) == []


@pytest.mark.parametrize("iterations", [0, 5])
def test_a_run_without_gradients_is_not_healthy(tmp_path, iterations):
    """Nothing recorded is a finding of its own."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(iterations):
        writer.write(flush(iteration, logged={"loss": 1.0}))
    assert _codes(open_run(tmp_path)) == [("nothing-recorded", "warning", None)]


def test_findings_are_sorted_by_severity_and_then_by_the_models_layers(tmp_path):
    """The worst first; among equals the run as a whole, then layer by layer."""
    names = ["decoder.l0", "encoder.l0"]
    writer = RunWriter(tmp_path, {"layers": {name: {"kind": "gru"} for name in names}, "user": {"lag": 59}})
    log = {"gradient_norm": 1.0, "clip_coefficient": 0.1, "clip_cosine": 0.5}
    for iteration in range(40):
        tables = flush(iteration, logged=log)
        both = [
            timesteps(iteration, exponential(rate), layer=name) for name, rate in zip(names, (-0.3, 0.3), strict=True)
        ]
        tables["timesteps"] = {column: np.concatenate([np.asarray(b[column]) for b in both]) for column in both[0]
                               if column != "sequence_norms"}  # fmt: skip
        tables["timesteps"]["sequence_norms"] = [row for b in both for row in b["sequence_norms"]]
        writer.write(tables)
    assert _codes(open_run(tmp_path)) == [
        ("vanishing-gradient", "error", "decoder.l0"),
        ("exploding-gradient", "error", "encoder.l0"),
        ("clip-always-on", "warning", None),
        ("clip-bends-direction", "warning", None),
    ]


@pytest.mark.parametrize("norms", [np.ones((1, 1)), np.ones((2, 1)), np.zeros((9, 4)), np.full((9, 4), np.nan)])
def test_the_smallest_and_emptiest_recordings_are_diagnosed(tmp_path, norms):
    """One time, two times, only zeros, only NaN: no rule stumbles."""
    codes = {finding.code for finding in diagnose(plant(tmp_path, lambda _: norms))}
    assert codes == ({"non-finite"} if np.isnan(norms).any() else set())


def test_hostile_metadata_does_not_stop_a_diagnosis(tmp_path):
    """A run may come from anyone: user and layers of wrong types are taken as unknown."""
    for number, metadata in enumerate([{"user": 3}, {"user": {"lag": None}}, {"layers": [1]}]):
        (finding,) = diagnose(plant(tmp_path / str(number), _noisy(-0.3), metadata={"dtype": 32, **metadata}))
        assert (finding.code, finding.severity) == ("vanishing-gradient", "warning")


@pytest.mark.parametrize("lag", ["long", "59", -4, 0, 2.5, True, [59] * 1000])
def test_a_lag_that_cannot_be_used_is_said(tmp_path, lag):
    """Beside the verdict, which is that of a run without a lag."""
    run = plant(tmp_path, _noisy(-0.3), metadata={"user": {"lag": lag}})
    assert _codes(run) == [("vanishing-gradient", "warning", LAYER), ("unusable-lag", "info", None)]
    message = diagnose(run)[1].message
    assert f"say {'[59, 59' if isinstance(lag, list) else repr(lag)}" in message
    assert len(message) < 300
