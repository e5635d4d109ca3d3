"""`gradscope run`: scripts that were never changed, run for real."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch.nn.modules import module as module_hooks

import gradscope
from gradscope.cli import main

_TRAINING = """
import torch
from torch import nn

torch.manual_seed(0)
rnn, head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 1)
optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)


def iterate():
    optimizer.zero_grad()
    loss = head(rnn(torch.randn(4, 6, 3))[0][:, -1]).square().mean()
    loss.backward()
    optimizer.step()
    return loss


for _ in range(3):
    loss = iterate()
"""

_EVERYTHING = f"""
import os, random, sys
print(sys.argv, __name__, __file__, sys.path[0], __spec__, sorted({{"torch", "numpy", "pandas"}} & set(sys.modules)))
import beside
import numpy
random.seed(5)
numpy.random.seed(5)
{_TRAINING}
import hashlib, pickle
from torch.utils.data import DataLoader


class Squares:
    def __len__(self):
        return 8

    def __getitem__(self, number):
        return rnn(torch.zeros(1, 1, 3))[0].detach().sum() * 0 + number ** 2


pickle.loads(pickle.dumps(Squares()))
if __name__ == "__main__":
    print(sum(batch.sum() for batch in DataLoader(Squares(), num_workers=2, shuffle=True)).item())
    forked = os.fork()
    if forked:
        os.waitpid(forked, 0)
        numbers = [*rnn.parameters(), *head.parameters(), rnn.weight_hh_l0.grad, loss, torch.get_rng_state()]
        seen = b"".join(each.detach().numpy().tobytes() for each in numbers)
        print(hashlib.sha256(seen).hexdigest(), torch.randn(1), random.random(), numpy.random.rand(), flush=True)
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A script changes what belongs to the process; it is run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    before = torch.optim.Optimizer.__init__, torch.Tensor.backward, list(sys.meta_path)
    yield
    assert (torch.optim.Optimizer.__init__, torch.Tensor.backward, list(sys.meta_path)) == before
    assert not module_hooks._global_forward_pre_hooks


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, ["run", *map(str, words)])


def _script(text: str, name: str = "train.py") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_script_is_run_as_python_runs_it(tmp_path: Path) -> None:
    """Its words, its path, its workers, its forks; every parameter and random number to the last bit."""
    _script(_EVERYTHING, "sub/train.py")
    _script("print('beside')", "sub/beside.py")
    words = ["sub/train.py", "--epochs", "3", "--", "-m", "--help"]
    bare = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=100)
    assert bare.returncode == 0, bare.stderr
    watched = subprocess.run(
        [sys.executable, "-m", "gradscope", "run", "--every", "1", *words], capture_output=True, text=True, timeout=100
    )
    assert watched.stdout == bare.stdout
    said = [
        "gradscope: recorded runs/train (LSTM with Linear)",
        "gradscope: next: gradscope diagnose runs/train; gradscope report runs/train",
    ]
    assert (watched.returncode, watched.stderr.splitlines()) == (0, said)
    run = gradscope.open_run(tmp_path / "runs" / "train")
    assert run.complete
    assert run.timesteps["iteration"].unique().tolist() == [0, 1, 2]


def test_what_is_recorded_and_where() -> None:
    """The first call makes runs/train, the next runs/train-2; options are those of watch; the page is written."""
    _script(_TRAINING)
    first = _run("--every", 2, "--keep", "norms", "--lag", 5, "--report", "page.html", "train.py")
    assert (first.exit_code, first.stdout) == (0, "")
    assert first.stderr.endswith("gradscope: page: page.html\n")
    assert "<h1>train</h1>" in Path("page.html").read_text(encoding="utf-8")
    run = gradscope.open_run("runs/train")
    assert run.timesteps["iteration"].unique().tolist() == [0, 2]
    assert run.iterations["loss"].notna().all()
    assert (run.metadata["keep"], run.metadata["user"]) == ("norms", {"script": "train.py", "lag": 5})
    assert (
        "recorded runs/train-2 (LSTM with Linear)\ngradscope: next: gradscope diagnose runs/train-2"
        in _run("train.py").stderr
    )
    assert "recorded here/run (LSTM with Linear)\n" in _run("--out", "here/run", "train.py").stderr
    assert len(gradscope.open_run("here/run").iterations) == 3


def test_a_module() -> None:
    """As python -m finds it, from the current folder, with its package; what is printed does not change."""
    _script("print('package')", "package/__init__.py")
    _script(
        f"import sys\nfrom package import __name__ as outer\nprint(outer, __name__, sys.argv)\n{_TRAINING}",
        "package/train.py",
    )
    done = _run("-m", "package.train", "-m", "x")
    file = Path("package/train.py").absolute()
    assert (done.exit_code, done.stdout) == (0, f"package\npackage __main__ ['{file}', '-m', 'x']\n")
    assert gradscope.open_run("runs/train").complete
    for name in ("package", "package.train"):
        sys.modules.pop(name, None)


def test_several_models() -> None:
    """Each has a run; both are named."""
    _script(f"{_TRAINING}\nrnn, head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 1)\n"
            "optimizer = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=0.1)\niterate()\n")  # fmt: skip
    done = _run("--report", "page.html", "train.py")
    assert "recorded runs/train (LSTM with Linear), runs/train.2 (GRU with Linear)\n" in done.stderr
    assert [len(gradscope.open_run(f"runs/train{end}").iterations) for end in ("", ".2")] == [3, 1]
    assert Path("page.html").is_file()


@pytest.mark.parametrize(
    ("end", "code", "complete"),
    [
        *(("raise SystemExit", 0, True), ("import sys; sys.exit(0)", 0, True), ("import sys; sys.exit(3)", 3, False)),
        *(("raise SystemExit('all wrong')", 1, False), ("raise KeyboardInterrupt", 130, False)),
        ("import gradscope; raise gradscope.UsageError('the script says so')", 1, False),
    ],
)
def test_how_a_script_ends(end: str, code: int, complete: bool) -> None:
    """Its exit code is handed on; the run is complete only if all went well."""
    _script(f"{_TRAINING}\n{end}\n")
    done = _run("train.py")
    assert done.exit_code == code
    assert f"recorded runs/train (LSTM with Linear){'' if complete else ', as far as the script came'}\n" in done.stderr
    run = gradscope.open_run("runs/train")
    assert (run.complete, len(run.iterations)) == (complete, 3)


def test_the_traceback_is_the_scripts_own() -> None:
    """Nothing of ours is in it, above or below."""
    _script(f"{_TRAINING}\nloss.backward()\n")
    done = _run("train.py")
    assert done.exit_code == 1
    line = _TRAINING.count("\n") + 2
    assert done.stderr.startswith(
        f'Traceback (most recent call last):\n  File "{Path("train.py").absolute()}", line {line}, in <module>\n'
    )
    assert "gradscope/" not in done.stderr.partition("\nRuntimeError: Trying to backward")[0]
    assert isinstance(sys.last_value, RuntimeError)
    _script("def f(:\n", "wrong.py")
    done = _run("wrong.py")
    assert done.exit_code == 1
    assert done.stderr.startswith(f'  File "{Path("wrong.py").absolute()}", line 1\n')


@pytest.mark.slow
def test_ctrl_c(tmp_path: Path) -> None:
    """Python's traceback, exit code 130, and a run that can be read."""
    _script(f"{_TRAINING}\nprint('ready', flush=True)\nwhile True:\n    iterate()\n")
    words = [sys.executable, "-m", "gradscope", "run", "train.py"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "\nKeyboardInterrupt\ngradscope: recorded runs/train (LSTM with Linear), as far as the script came\n" in said
    assert not gradscope.open_run(tmp_path / "runs" / "train").complete


def test_nothing_to_record() -> None:
    """What was missing is said at the end; the script's exit code stands."""
    _script("print('no optimizer')")
    done = _run("train.py")
    assert (done.exit_code, done.stdout) == (0, "no optimizer\n")
    assert done.stderr == "gradscope: nothing was recorded: no optimizer of torch.optim was made in this process\n"
    _script(
        _TRAINING.replace("rnn(torch.randn(4, 6, 3))[0][:, -1]", "torch.randn(4, 4)").replace("*rnn.parameters(), ", "")
    )
    done = _run("--report", "page.html", "train.py")
    assert "nothing was recorded: no model was trained in this process that holds nn.RNN" in done.stderr
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_script_without_torch() -> None:
    """It does not wait for torch to be imported."""
    _script("import sys; print('torch' in sys.modules, 'pandas' in sys.modules); sys.exit(4)")
    words = [sys.executable, "-m", "gradscope", "run", "train.py"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (4, "False False\n")
    assert done.stderr == "gradscope: nothing was recorded: the script never imported torch\n"


def test_a_run_that_cannot_be_written(unexpected_warnings: list[str]) -> None:
    """The training goes on to its end; why nothing was recorded is said there too."""
    _script(f"from pathlib import Path; Path('runs').write_text('')\n{_TRAINING}\nprint('end')")
    done = _run("train.py")
    assert (done.exit_code, done.stdout) == (0, "end\n")
    assert done.stderr.splitlines()[-1].startswith("gradscope: LSTM with Linear was not watched: Cannot write the run")
    assert len(unexpected_warnings) == 1
    unexpected_warnings.clear()


def test_a_script_that_watches_by_itself() -> None:
    """Its model is left to it, and that is said."""
    watching = "import gradscope\nrecorder = gradscope.watch(rnn, optimizer)\n"
    _script(_TRAINING.replace("\nfor _", f"{watching}\nfor _") + "recorder.close()\n")
    done = _run("train.py")
    assert done.exit_code == 0
    assert done.stderr == "gradscope: LSTM with Linear is left to the script, which watches it by itself\n"


def test_mistakes_are_one_message() -> None:
    """Each before the script has begun."""
    _script("print('began')")
    _script("", "full/file")
    mistakes: dict[tuple[str, ...], tuple[int, str]] = {
        ("nowhere.py",): (2, "there is no script nowhere.py: expected a Python file, or -m"),
        ("-m", "no.such.module"): (2, "there is no module no.such.module"),
        ("-m", "nosuch"): (2, "there is no module nosuch"),
        ("--out", "full", "train.py"): (1, "full is not an empty folder: give another"),
        ("--out", "train.py", "train.py"): (1, "train.py is not an empty folder: give another"),
        ("--out", "train.py/run", "train.py"): (1, "train.py is no folder that you may write to"),
        ("--report", "nowhere/page.html", "train.py"): (2, "--report expects a file in a folder that is there"),
        ("--report", "full", "train.py"): (2, "--report expects a file"),
        ("--every", "0", "train.py"): (2, "Invalid value for '--every'"),
        (): (2, "Missing argument 'SCRIPT'"),
    }
    for words, (code, said) in mistakes.items():
        done = _run(*words)
        assert (done.exit_code, done.stdout) == (code, ""), words
        assert said in done.stderr
        assert done.stderr.count("Error:") == 1


def test_other_forms_of_a_script() -> None:
    """A folder with a __main__.py; a file through a link, beside whose target its modules lie."""
    _script("import beside, sys; print(sys.path[0])", "app/__main__.py")
    _script("print('beside')", "app/beside.py")
    assert _run("app").stdout == "beside\napp\n"
    sys.modules.pop("beside")
    Path("link.py").symlink_to("app/__main__.py")
    assert _run("link.py").stdout == f"beside\n{Path('app').resolve()}\n"
    sys.modules.pop("beside")
