"""The command tells a story on a terminal, data to a script, and its exit code to CI."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from gradscope.cli import main
from gradscope.runs import RunWriter
from tests.planted import LAYER, exponential, flush, plant


@pytest.fixture
def vanishing(tmp_path):
    """A run whose gradient vanishes, though nobody said over which lag: a warning."""
    plant(tmp_path / "vanishing", lambda i: exponential(-0.3, noise=0.1, seed=i))
    return str(tmp_path / "vanishing")


@pytest.fixture
def healthy(tmp_path):
    """A run with nothing to find."""
    plant(tmp_path / "healthy", lambda i: exponential(-0.01, noise=0.1, seed=i))
    return str(tmp_path / "healthy")


def _diagnose(*arguments):
    return CliRunner().invoke(main, ["diagnose", *arguments])


def test_a_finding_is_told_with_its_evidence_and_advice(vanishing):
    """Since when, severity, code, layer, numbers, what it means, what to try in order, and a last line that counts."""
    result = _diagnose(vanishing)
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    assert f"iteration 0 WARNING vanishing-gradient {LAYER}" in said
    assert "shrinks by 26 % a time step back and halves every 2.3" in said
    assert "It means: What happened that long before the loss leaves next to no trace" in said
    assert "Try: 1. Use an LSTM or GRU" in said
    assert "See: Bengio, Simard & Frasconi 1994" in said
    assert result.output.endswith("\nFound: 1 warning.\n")


def test_a_healthy_run_is_told_so_with_its_verdict(healthy):
    """The reason of the verdict stands where no finding tells it."""
    said = " ".join(_diagnose(healthy).output.split())
    assert f"{LAYER} rnn_tanh marginal The gradient shrinks by 1 %" in said
    assert "enough to learn from. iteration 0 Training begins; the loss is 1." in said
    assert said.endswith("iteration 7 Training ends here; the loss is 0.125. Nothing wrong was found.")


@pytest.mark.parametrize(("severity", "code"), [("info", 1), ("warning", 1), ("error", 0)])
def test_fail_on_decides_the_exit_code(vanishing, healthy, severity, code):
    """A warning fails CI that asks for warnings or less; a healthy run never does."""
    assert _diagnose(vanishing, "--fail-on", severity).exit_code == code
    assert _diagnose(vanishing, "--fail-on", severity, "--json").exit_code == code
    assert _diagnose(healthy, "--fail-on", severity).exit_code == 0


def test_json_is_strict_and_complete(tmp_path):
    """Even with infinities and NaN in the evidence it is JSON that any parser takes."""
    norms = np.zeros((20, 4))
    norms[-1] = 1.0
    plant(tmp_path / "dead", lambda _: norms)
    result = _diagnose(str(tmp_path / "dead"), "--json")
    found = json.loads(result.output, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (found["complete"], found["iterations"], found["recorded"]) == (True, 8, 8)
    assert [layer["rate"] for layer in found["layers"]] == ["-inf"]
    assert [finding["code"] for finding in found["findings"]] == ["gradient-cut-off", "vanishing-gradient"]
    kept = {"code", "severity", "layer", "message", "evidence", "advice"}
    assert set(found["findings"][0]) == kept | {"meaning", "reference", "iteration"}
    assert [event["code"] for event in found["story"]] == [None, "gradient-cut-off", "vanishing-gradient", None]
    assert found["clipping"] is None


def test_json_replays_other_clippings(tmp_path):
    """A guard for the logged norms, and what the published schemes would have done to them."""
    norms = np.exp(0.1 * np.random.default_rng(0).normal(size=60))
    norms[50] = 40.0
    log = lambda iteration: {"loss": 1.0, "gradient_norm": norms[iteration]}  # noqa: E731
    plant(tmp_path / "spiky", lambda i: exponential(-0.01, noise=0.1, seed=i), iterations=range(60), logged=log)
    clipping = json.loads(_diagnose(str(tmp_path / "spiky"), "--json").output)["clipping"]
    assert (clipping["role"], clipping["outliers"], clipping["recorded"]) == ("guard", 1, 60)
    assert [replay["scheme"].split("(")[0] for replay in clipping["replayed"]] == ["norm", "AutoClip", "ZClip"]
    assert clipping["replayed"][0]["clipped_share"] == pytest.approx(1 / 60)
    said = " ".join(_diagnose(str(tmp_path / "spiky")).output.split())
    assert "Where to clip as a guard A guard at 3." in said
    largest = 40 / np.median(norms[30:])
    assert f"acts on 1 of 60 gradients (1 of them in the later half); the largest is {largest:.3g} times" in said


def test_a_run_that_is_still_written_is_read(tmp_path):
    """What has been flushed is judged, and the story says that it is not the end."""
    writer = RunWriter(tmp_path, {"layers": {LAYER: {"kind": "gru"}}})
    for iteration in range(6):
        writer.write(flush(iteration, exponential(-0.3, noise=0.1, seed=iteration)))
        said = _diagnose(str(tmp_path)).output
        counted = f"{iteration + 1} iteration{'s' * (iteration > 0)}, {iteration + 1} with gradients recorded"
        assert f"{counted}; incomplete: still being" in said
        assert "vanishing-gradient" in said


def test_what_is_piped_is_plain(vanishing):
    """No escape codes and no trailing blanks in a pipe, and torch is not imported."""
    script = "import sys; from gradscope.cli import main; main(standalone_mode=False); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, "diagnose", vanishing], capture_output=True, text=True, check=True
    )
    assert "\x1b" not in done.stdout
    assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(("variable", "coloured"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_no_color_is_honoured(vanishing, variable, coloured, monkeypatch):
    """Colours where they are asked for, none at all under NO_COLOR even on a terminal."""
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv(variable, "1")
    assert ("\x1b[" in CliRunner().invoke(main, ["diagnose", vanishing], color=True).output) == coloured


def test_a_hostile_layer_name_does_not_steer_the_terminal(tmp_path):
    """Control characters of a run folder are not printed, nor is its text taken for markup."""
    name = "rnn\x1b[2J\x1b]0;owned\x07[bold red].l0"
    plant(tmp_path, lambda _: exponential(-0.3), layer=name)
    said = _diagnose(str(tmp_path)).output
    assert "rnn?[2J?]0;owned?[bold red].l0" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("arguments", [["nowhere"], ["."], ["nowhere", "--json"]])
def test_a_path_that_is_no_run_is_one_line(tmp_path, monkeypatch, arguments):
    """Exit code 1, one message, no traceback."""
    monkeypatch.chdir(tmp_path)
    result = _diagnose(*arguments)
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
    assert result.output.startswith("Error: ")
    assert not result.exception or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("arguments", [[], ["run", "--fail-on", "fatal"], ["run", "--unknown"]])
def test_wrong_usage_is_exit_code_2(arguments):
    """Click's own message."""
    assert _diagnose(*arguments).exit_code == 2


def test_help_has_an_example():
    """The line that people copy."""
    assert "Example: gradscope diagnose runs/demo --fail-on error" in _diagnose("--help").output
