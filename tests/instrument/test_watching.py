"""What `watch` refuses, in words."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradscope
from tests.instrument.training import make_model


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"model": nn.GRU}, "watch expects a torch.nn.Module as model, got the class GRU."),
        ({"model": "gru"}, "watch expects a torch.nn.Module as model, got a str."),
        ({"optimizer": []}, "watch got an empty list of optimizers: leave it out if none steps."),
        ({"optimizer": 0.1}, "watch expects a torch.optim.Optimizer as optimizer, got a float."),
        ({"keep": "everything"}, "keep expects one of norms, states, full, got 'everything'."),
        ({"keep": ["states"]}, "keep expects one of norms, states, full, got ['states']."),
        ({"exact": "roughly"}, "exact expects one of bitwise, rounding, got 'roughly'."),
        ({"scaler": 1024}, "scaler expects a torch.amp.GradScaler, got a int."),
        ({"metadata": [1]}, "metadata expects a mapping that JSON can say, such as {'lag': 59}, got [1]."),
        ({"metadata": "x"}, "metadata expects a mapping that JSON can say, such as {'lag': 59}, got 'x'."),
        ({"run": 123}, "expected a path as str or Path, or a URL such as s3://bucket/folder, got 123, of type int"),
        (
            {"model": nn.ReLU()},
            "watch expects a model that can be trained, and ReLU has no parameters. Pass the module that holds them.",
        ),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict[str, object], expected: str) -> None:
    """Each is one message: what was expected, what was got; the run that would be replaced is still there."""
    gradscope.watch(make_model("gru"), run=tmp_path / "run").close()
    with pytest.raises(gradscope.UsageError) as caught:
        gradscope.watch(**{"model": make_model("gru"), "run": tmp_path / "run", "overwrite": True, **arguments})
    assert str(caught.value) == expected
    assert gradscope.open_run(tmp_path / "run").complete


def test_lazy_modules_are_run_first(tmp_path: Path) -> None:
    """Parameters without a shape are refused with what to do, and before anything is written."""
    with pytest.raises(gradscope.UsageError) as caught:
        gradscope.watch(nn.Sequential(nn.LazyLinear(3), nn.GRU(3, 4)), run=tmp_path / "run")
    assert str(caught.value) == (
        "Sequential has parameters that have no shape yet: 0.weight, 0.bias. Run one batch through the model first, "
        "then call watch."
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("lag", ["long", "59", 0, -3, 2.5, True, [59]])
def test_a_lag_that_is_none_is_refused(lag: object) -> None:
    """Verdicts are judged by it: one that could not be used would go unnoticed."""
    with pytest.raises(gradscope.UsageError, match=r"'lag'.* expects a whole number of at least 1, got") as caught:
        gradscope.watch(make_model("gru"), metadata={"lag": lag})
    assert repr(lag) in str(caught.value)


def test_a_lag_of_numpy_is_a_number(tmp_path: Path) -> None:
    """So is one that is not known, None."""
    for lag, written in ((np.int64(59), 59), (None, None)):
        gradscope.watch(make_model("gru"), run=tmp_path / "run", metadata={"lag": lag}, overwrite=True).close()
        assert gradscope.open_run(tmp_path / "run").metadata["user"] == {"lag": written}


@pytest.mark.parametrize("overwrite", [False, True])
def test_metadata_that_json_cannot_say(tmp_path: Path, overwrite: bool) -> None:
    """No folder is made, and no run replaced."""
    circular: dict[str, object] = {}
    circular["again"] = circular
    if overwrite:
        gradscope.watch(make_model("gru"), run=tmp_path / "run", metadata={"who": "first"}).close()
    for metadata, why in ((circular, "Circular reference"), ({(1, 2): 3}, "keys must be str")):
        with pytest.raises(gradscope.RunError, match=f"cannot be written as JSON: {why}"):
            gradscope.watch(make_model("gru"), run=tmp_path / "run", metadata=metadata, overwrite=overwrite)
    assert (tmp_path / "run").exists() == overwrite
    if overwrite:
        assert gradscope.open_run(tmp_path / "run").metadata["user"] == {"who": "first"}


def test_the_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative run is where it was when watching began."""
    (tmp_path / "before").mkdir()
    monkeypatch.chdir(tmp_path / "before")
    model = make_model("gru")
    with gradscope.watch(model, run="runs/x", schedule=1) as recorder:
        monkeypatch.chdir(tmp_path)
        model(torch.ones(2, 5, 3)).sum().backward()
        recorder.end_iteration()
        assert recorder.run == tmp_path / "before" / "runs" / "x"
    run = gradscope.open_run(tmp_path / "before" / "runs" / "x")
    assert run.complete
    assert len(run.timesteps) == 5


def test_nothing_recurrent() -> None:
    """A model without a recurrent module, in whose loop nothing is tapped, is told once what it has instead."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with (
        pytest.warns(UserWarning, match="Sequential has none of them: inside it are Linear, ReLU") as caught,
        gradscope.watch(model, schedule=1) as recorder,
    ):
        recorder.end_iteration()
        recorder.end_iteration()
    assert [str(one.message).startswith("Nothing is recorded. gradscope watches nn.RNN") for one in caught] == [True]


def test_copies_of_a_model_in_threads_are_refused() -> None:
    """DataParallel over several GPUs; over one, or without any, it only calls the model."""
    model = torch.nn.DataParallel(make_model("gru"))
    with gradscope.watch(model):
        pass

    model.device_ids = [0, 1]

    with pytest.raises(gradscope.UsageError, match=r"DataParallel runs copies.*DistributedDataParallel"):
        gradscope.watch(model)


def test_optimizer_of_another_model() -> None:
    """An optimiser that shares no parameter with the model is refused."""
    other = torch.optim.Adam(make_model("gru").parameters())
    with pytest.raises(gradscope.UsageError, match="updates none of the parameters of Forecaster"):
        gradscope.watch(make_model("gru"), other)


def test_a_run_that_exists_is_never_overwritten_unless_asked(tmp_path: Path) -> None:
    """The second watch on one folder is refused, names overwrite=True, and leaves the first run as it was."""
    gradscope.watch(make_model("gru"), run=tmp_path / "run", metadata={"who": "first"}).close()
    with pytest.raises(gradscope.RunError, match="overwrite=True"):
        gradscope.watch(make_model("gru"), run=tmp_path / "run")
    assert gradscope.open_run(tmp_path / "run").metadata["user"] == {"who": "first"}
    gradscope.watch(make_model("gru"), run=tmp_path / "run", metadata={"who": "second"}, overwrite=True).close()
    assert gradscope.open_run(tmp_path / "run").metadata["user"] == {"who": "second"}


def test_log_takes_single_numbers() -> None:
    """Tensors of one element and numbers are fine; anything else is refused by name."""
    with gradscope.watch(make_model("gru")) as recorder:
        recorder.log(loss=torch.tensor([1.0]), accuracy=0.5, count=3)
        with pytest.raises(gradscope.UsageError, match=r"log\(losses=...\) expects a single number, got a tensor"):
            recorder.log(losses=torch.ones(3))
        with pytest.raises(gradscope.UsageError, match="got 'high'"):
            recorder.log(loss="high")


def test_end_iteration_belongs_to_loops_without_optimizer() -> None:
    """With an optimiser its step ends the iteration, and ending it twice is refused."""
    model = make_model("gru")
    with (
        gradscope.watch(model, torch.optim.Adam(model.parameters())) as recorder,
        pytest.raises(gradscope.UsageError, match="ends the iteration already"),
    ):
        recorder.end_iteration()


def test_metadata_describes_the_model(tmp_path: Path) -> None:
    """A reader of the run learns the layers, the dtype, the schedule and what the user said."""
    model = make_model("lstm", dtype=torch.float64)
    gradscope.watch(model, run=tmp_path / "run", schedule=5, keep="norms", metadata={"lag": 7}).close()
    run = gradscope.open_run(tmp_path / "run")
    assert run.layers == ["encoder.l0"]
    described = {
        key: run.metadata[key] for key in ("dtype", "schedule", "keep", "user", "model", "recorded", "dropped")
    }
    assert described == {
        "dtype": "float64",
        "schedule": "Every(5)",
        "keep": "norms",
        "user": {"lag": 7},
        "model": "Forecaster",
        "recorded": 0,
        "dropped": {},
    }
    assert run.metadata["layers"] == {"encoder.l0": {"kind": "lstm", "input_size": 3, "hidden_size": 8}}


@pytest.mark.parametrize("assign", [True, False])
def test_parameters_that_are_replaced_later_are_told(recwarn: pytest.WarningsRecorder, assign: bool) -> None:
    """Their gradients would be missing without a word, and the optimizer updates the old ones."""
    warnings.simplefilter("always")
    model = nn.LSTM(3, 4)
    unused = nn.Parameter(torch.zeros(1))
    model.register_parameter("unused", unused)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(model, optimizer, schedule=1) as recorder:
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.randn(5, 2, 3))[0].sum().backward()
            optimizer.step()
        model.load_state_dict(model.state_dict(), assign=assign)
        for _ in range(2):
            model(torch.randn(5, 2, 3))[0].sum().backward()
            optimizer.zero_grad()
            optimizer.step()
        assert "l0" in recorder.latest
    said = [str(warning.message) for warning in recwarn if "gradscope" in str(warning.message)]
    if not assign:
        assert said == []
        return
    (message,) = said
    assert "weight_ih_l0, weight_hh_l0, bias_ih_l0 and others" in message
    assert "call watch" in message
