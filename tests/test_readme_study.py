"""What the README shows of studies of one's own and of clusters is what runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _file(name: str) -> str:
    """Return the block whose first line names the file."""
    (block,) = re.findall(rf"^```\w+\n(# {re.escape(name)}\n.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return block


@pytest.mark.slow
def test_the_study_of_ones_own_runs_as_written(tmp_path):
    """Both files as they stand there: every trial finishes, and the user's cell is compared by its name."""
    for name in ("my_parts.py", "my-study.toml"):
        (tmp_path / name).write_text(_file(name), encoding="utf-8")
    words = [sys.executable, "-W", "error", "-m", "gradscope", "study", "my-study.toml", "--workers", "0", "--json"]

    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "12 of 12 trials done, 0 running, 0 failed" in done.stderr
    rows = json.loads(done.stdout)
    assert {(row["task"], row["cell"]) for row in rows} == {
        ("echo", "my_parts:Leaky"),
        ("echo", "rnn_tanh"),
        ("echo", "lstm"),
    }
    assert {row["lag"] for row in rows} == {39}
    assert (tmp_path / "reports" / "leaky.html").is_file()


def test_what_is_said_of_own_initialisations_and_clippings_is_so(tmp_path, monkeypatch):
    """Functions of those names and arguments are accepted and called."""
    from gradscope.study.spec.grid import expand_grid
    from gradscope.study.spec.loading import load_study
    from gradscope.study.training.attempt import attempt_trial

    parts = """
def halved(module, number):
    for parameter in module.parameters():
        parameter.mul_(0.5)

def sign(limit):
    return lambda network: [parameter.grad.sign_().mul_(limit) for parameter in network.parameters()]
"""
    (tmp_path / "readme_parts.py").write_text(_file("my_parts.py") + parts, encoding="utf-8")
    study = _file("my-study.toml").replace("my_parts", "readme_parts").replace("iterations = 60", "iterations = 2")
    study = study.replace('["default"]', '["readme_parts:halved"]').replace("norm(1.0)", "readme_parts:sign(0.01)")
    (tmp_path / "my-study.toml").write_text(study, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])

    trials = expand_grid(load_study(tmp_path / "my-study.toml"))
    chosen = [trial for trial in trials if trial.clipping != "none" and trial.seed == 0]

    assert [trial.cell for trial in chosen] == ["readme_parts:Leaky", "rnn_tanh", "lstm"]
    for trial in chosen:
        outcome = attempt_trial(trial, tmp_path / trial.id)
        assert (outcome.status, outcome.reason) == ("finished", "")


@pytest.mark.slow
def test_names_given_by_decorators_are_those_of_a_study(tmp_path):
    """The modules and names that the README gives, in a process of its own: what is added to the tables stays there.

    That such names are trained as well is seen in `tests/study/test_own_study.py`.
    """
    for name in ("my_parts.py", "my_names.py"):
        (tmp_path / name).write_text(_file(name), encoding="utf-8")
    said = dict(
        re.findall(r"`(modules|kind|cell|initialisation|clipping) = (.*?)`", README.partition("The study says")[2])
    )
    changes = {
        "[task.echo]": f"modules = {said['modules']}\n[task.echo]",
        '"my_parts:Echo"': said["kind"],
        '["my_parts:Leaky", "rnn_tanh", "lstm"]': said["cell"],
        '["default"]': said["initialisation"],
        '["none", "norm(1.0)"]': said["clipping"],
    }
    study = _file("my-study.toml")
    for shown, wanted in changes.items():
        assert shown in study
        study = study.replace(shown, wanted)
    (tmp_path / "my-study.toml").write_text(study, encoding="utf-8")
    words = [sys.executable, "-m", "gradscope", "study", "my-study.toml", "--dry-run", "--json"]

    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    named = {(trial["cell"], trial["initialisation"], trial["clipping"]) for trial in trials}
    assert named == {("leaky", "scaled(0.5)", "sign(0.01)")}
    assert [trial["seed"] for trial in trials] == [0, 1]


def test_the_cluster_script_compiles():
    """SLURM is not here; that the script is Python and names what the text names can be seen."""
    script = _file("cluster.py")
    compile(script, "cluster.py", "exec")

    assert "SLURMCluster(" in script
    for name in re.findall(r"cluster\.(?!py)(\w+)", script):
        assert name in {"job_script", "scale", "adapt", "scheduler_address"}
