"""The first NaN or infinity of a training: which one it was, and that it is written before the process dies of it."""

import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradscope
from gradscope.instrument.parameters import ParameterRows
from gradscope.instrument.recording.pass_rows import PassRecord
from gradscope.instrument.recording.pending import IterationRecord, Pending
from gradscope.instrument.summary import Summary
from tests.instrument.conftest import Forecaster
from tests.strategies import KINDS, make_layer

pytestmark = pytest.mark.xdist_group("nonfinite")

TIMES = 7


def _spoiled(tensor: Tensor) -> Tensor:
    """Return 0, whose gradient is NaN."""
    return (tensor.sum() * 0).sqrt()


def _rows(run: Path) -> list[tuple[str, str | None, int | None, str | None]]:
    rows = gradscope.open_run(run).nonfinite
    assert set(rows["iteration"]) <= {0}
    return [
        (row.quantity, _or_none(row.layer), _or_none(row.time), _or_none(row.name))
        for row in rows.itertuples(index=False)
    ]


def _or_none(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _train(model: nn.Module, loss: Callable[[], Tensor], run: Path) -> list[tuple]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with gradscope.watch(model, optimizer, run=run, schedule=1):
        loss().backward()
        optimizer.step()
    return _rows(run)


def _batch(**nan_at: int) -> Tensor:
    batch = torch.randn((4, TIMES, 3), generator=torch.Generator().manual_seed(0))
    if "time" in nan_at:
        batch[1, nan_at["time"]] = math.nan
    return batch


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_reported_where_all_is_finite(kind: str, tmp_path: Path) -> None:
    """A healthy training has no row."""
    model = Forecaster(make_layer(kind, 3, 8, batch_first=True))
    assert _train(model, lambda: model(_batch()).sum(), tmp_path / "run") == []


def test_a_sum_that_overflows_is_no_value(tmp_path: Path) -> None:
    """States are finite that are too large for their sum."""
    layer = make_layer("rnn_relu", 3, 8, batch_first=True, bias=False)
    nn.init.constant_(layer.weight_ih_l0, 1 / 3)
    nn.init.zeros_(layer.weight_hh_l0)
    states = layer(torch.full((4, TIMES, 3), 3e37))[0].detach()
    assert states.isfinite().all()
    assert states.sum().isinf()
    assert _train(layer, lambda: layer(torch.full((4, TIMES, 3), 3e37))[0][:, -1].mean() * 0, tmp_path / "run") == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_state(kind: str, tmp_path: Path) -> None:
    """A NaN in the input is in the gates of its time first, where there are gates, then in the cell and the state."""
    model = Forecaster(make_layer(kind, 3, 8, batch_first=True))
    forwards = {"gru": ["gate"] * 2 + ["hidden"], "lstm": ["gate"] * 3 + ["cell", "hidden"]}.get(kind, ["hidden"])
    rows = _train(model, lambda: model(_batch(time=4)).sum(), tmp_path / "run")
    assert [row[:3] for row in rows[: len(forwards)]] == [(quantity, "encoder.l0", 4) for quantity in forwards]


def _computed(layer: nn.RNNBase, given: Tensor | nn.utils.rnn.PackedSequence, run: Path) -> list[tuple]:
    """Return what is on disk once the layer has computed, before any gradient comes back."""
    with gradscope.watch(layer, run=run, schedule=1):
        layer(given)
        return _rows(run)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("kind", [*KINDS, "lstm projected"])
@pytest.mark.parametrize("form", ["dense", "packed", "both directions"])
def test_a_state_as_soon_as_it_is_computed(kind: str, form: str, tmp_path: Path) -> None:
    """A NaN of one sequence is found behind the times after it, and in a packed sequence that ends before others."""
    projected = {"proj_size": 2} if kind.endswith("projected") else {}
    layer = make_layer(kind.split()[0], 3, 8, batch_first=True, bidirectional=form == "both directions", **projected)
    batch, lengths = _batch(time=4), [7, 5, 4, 7]
    given = nn.utils.rnn.pack_padded_sequence(batch, lengths, True, enforce_sorted=False) if form == "packed" else batch
    assert _computed(layer, given, tmp_path / "run") == [("hidden", "l0", 4, None)]


def test_an_infinite_state_that_the_last_time_has_forgotten(tmp_path: Path) -> None:
    """Relu makes 0 of minus infinity: from then on all is finite."""
    layer = make_layer("rnn_relu", 1, 1, bias=False)
    nn.init.constant_(layer.weight_ih_l0, 1.0)
    nn.init.constant_(layer.weight_hh_l0, -1.0)
    batch = torch.ones(TIMES, 2, 1)
    batch[3, 1] = math.inf
    states, last = layer(batch)
    assert states[3, 1].isinf().all()
    assert last.isfinite().all()
    assert _computed(layer, batch, tmp_path / "run") == [("hidden", "l0", 3, None)]


def test_a_cell_state_behind_a_finite_hidden_state(tmp_path: Path) -> None:
    """An infinite c_t hides behind tanh: it is found inside the fused module all the same."""
    layer = make_layer("lstm", 3, 8, batch_first=True)
    start = (torch.zeros(1, 4, 8), torch.full((1, 4, 8), math.inf))
    rows = _train(layer, lambda: layer(_batch(), start)[0].sum(), tmp_path / "run")
    assert rows[0] == ("cell", "l0", 0, None)
    assert "hidden" not in {row[0] for row in rows}


def test_a_total_gradient_that_overflows_on_its_way(tmp_path: Path) -> None:
    """It grows by 1e20 a time and is infinite two times before the loss; what entered directly is finite."""
    layer = make_layer("rnn_tanh", 3, 8, batch_first=True, bias=False)
    nn.init.zeros_(layer.weight_ih_l0)
    layer.weight_hh_l0.data = 1e20 * torch.eye(8)
    rows = _train(layer, lambda: layer(_batch())[0][:, -1].sum(), tmp_path / "run")
    assert rows[0] == ("total_gradient", "l0", TIMES - 3, None)
    assert {row[0] for row in rows} == {"total_gradient", "parameter_gradient"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_direct_gradient(kind: str, tmp_path: Path) -> None:
    """A loss whose gradient is NaN at one time: that is the first, at that time; the total one follows."""
    layer = make_layer(kind, 3, 8, batch_first=True)
    rows = _train(layer, lambda: _spoiled(layer(_batch())[0][:, 3]), tmp_path / "run")
    assert [row[:3] for row in rows[:2]] == [("direct_gradient", "l0", 3), ("total_gradient", "l0", 3)]


def test_a_gradient_of_a_cell_state(tmp_path: Path) -> None:
    """What reaches c_n alone is in the cell's gradient first, and one time earlier in that of the hidden state."""
    layer = make_layer("lstm", 3, 8, batch_first=True)
    rows = _train(layer, lambda: _spoiled(layer(_batch())[1][1]), tmp_path / "run")
    assert rows[:2] == [("cell_gradient", "l0", TIMES - 1, None), ("total_gradient", "l0", TIMES - 2, None)]


def test_a_gradient_of_a_parameter(tmp_path: Path) -> None:
    """One that no state has seen is named."""
    model = Forecaster(make_layer("gru", 3, 8, batch_first=True))
    rows = _train(model, lambda: model(_batch()).sum() + _spoiled(model.head.bias), tmp_path / "run")
    assert rows == [("parameter_gradient", None, None, "head.bias")]


@pytest.mark.parametrize("loss", [math.nan, math.inf, torch.tensor(math.nan)])
def test_a_loss(loss: float | Tensor, tmp_path: Path) -> None:
    """It is enough that the loss was logged, in an iteration that is not recorded too; no other number is meant."""
    model = Forecaster(make_layer("gru", 3, 8, batch_first=True))
    with gradscope.watch(model, run=tmp_path / "run", schedule=gradscope.At([])) as recorder:
        recorder.log(loss=1.0, accuracy=math.nan)
        recorder.end_iteration()
        recorder.log(loss=loss)
        rows = gradscope.open_run(tmp_path / "run").nonfinite
    assert rows[["iteration", "quantity"]].to_numpy().tolist() == [[1, "loss"]]


def test_forwards_comes_before_backwards_along_the_model(tmp_path: Path) -> None:
    """In a stack of two directions the lower layer is first, each direction at the first time that it read."""
    layer = make_layer("rnn_tanh", 3, 8, batch_first=True, num_layers=2, bidirectional=True)
    rows = _train(layer, lambda: layer(_batch(time=4))[0].sum(), tmp_path / "run")
    assert [row[:3] for row in rows[:4]] == [
        ("hidden", "l0", 4),
        ("hidden", "l0_reverse", 4),
        ("hidden", "l1", 0),
        ("hidden", "l1_reverse", TIMES - 1),
    ]
    assert rows[4][1] == "l1_reverse"
    assert [row[0] for row in rows][-1] == "parameter_gradient"


class _Loop(nn.Module):
    """A loop over a cell, its state put through `between` before it is handed on."""

    def __init__(self, between: nn.Module | None = None) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 8)
        self.between = between or nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return all states."""
        state, states = None, []
        for x in inputs.unbind(1):
            state = self.cell(x, None if state is None else self.between(state))
            states.append(state)
        return torch.stack(states, 1)


def test_in_a_loop(tmp_path: Path) -> None:
    """A state and a direct gradient, at their times."""
    model = _Loop()
    rows = _train(model, lambda: model(_batch(time=4)).sum(), tmp_path / "state")
    assert ("hidden", "cell", 4, None) in rows[:3]
    model = _Loop()
    rows = _train(model, lambda: _spoiled(model(_batch())[:, 3]), tmp_path / "direct")
    assert rows[0] == ("direct_gradient", "cell", 3, None)


def test_what_is_not_known_is_not_reported(tmp_path: Path) -> None:
    """A direct gradient that is NaN because a dropout lies between the times is no value of the training."""
    model = _Loop(nn.Dropout(0.5))
    rows = _train(model, lambda: model(_batch()).sum(), tmp_path / "run")
    assert gradscope.open_run(tmp_path / "run").timesteps["direct_gradient_norm"].isna().any()
    assert rows == []


def test_padding_is_not_reported(tmp_path: Path) -> None:
    """A NaN behind the end of a packed sequence was never computed with."""
    layer = make_layer("lstm", 3, 8, batch_first=True)
    batch = _batch()
    batch[1, 5:] = math.nan
    packed = nn.utils.rnn.pack_padded_sequence(batch, [7, 5, 4, 7], batch_first=True, enforce_sorted=False)
    assert _train(layer, lambda: layer(packed)[0].data.sum(), tmp_path / "run") == []


def test_an_iteration_is_written_once(tmp_path: Path) -> None:
    """Writing in the middle of an iteration leaves one row of it in every table, and later ones are found too."""
    model = Forecaster(make_layer("rnn_tanh", 3, 8, batch_first=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1) as recorder:
        for iteration in range(6):
            optimizer.zero_grad()
            loss = model(_batch(time=4) if iteration >= 2 else _batch()).sum()
            recorder.log(loss=loss)
            loss.backward()
            optimizer.step()
    run = gradscope.open_run(tmp_path / "run")
    assert run.iterations["iteration"].tolist() == list(range(6))
    assert len(run.timesteps) == 6 * TIMES
    assert sorted(set(run.nonfinite["iteration"])) == [2, 3, 4, 5]
    assert run.nonfinite["quantity"].tolist()[:4] == ["hidden", "loss", "total_gradient", "parameter_gradient"]
    assert np.isnan(run.nonfinite["call"]).tolist()[:4] == [False, True, False, True]


_DYING = """
import os, signal, sys, torch, gradscope
from torch import nn
how, folder = sys.argv[1:]
cell = nn.GRUCell(3, 8) if how == "loop" else nn.LSTM(3, 8)
optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
recorder = gradscope.watch(cell, optimizer, run=folder, schedule=1)
for iteration in range(100):
    batch = torch.randn(7, 4, 3)
    if iteration == 3:
        batch[2] = float("nan")
    optimizer.zero_grad()
    if how == "loop":
        state = None
        for x in batch:
            state = cell(x, state)
    else:
        state = cell(batch)[0][-1]
    loss = state.sum()
    if how == "backward":
        loss.backward()
    if loss.isnan():
        os._exit(7) if how == "exit" else os.kill(os.getpid(), signal.SIGKILL)
    if how != "backward":
        loss.backward()
    optimizer.step()
"""
DEATHS = {"loop": -signal.SIGKILL, "exit": 7, "backward": -signal.SIGKILL}


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of trainings that ended themselves, without a warning, as soon as their loss was NaN."""
    folder = tmp_path_factory.mktemp("died")
    started = {
        how: subprocess.Popen([sys.executable, "-c", _DYING, how, str(folder / how)], stderr=subprocess.PIPE)
        for how in DEATHS
    }
    said = {how: process.communicate(timeout=100)[1] for how, process in started.items()}
    assert {how: process.returncode for how, process in started.items()} == DEATHS, said
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("how", DEATHS)
def test_a_process_that_dies_of_it_leaves_it(how: str, died: Path) -> None:
    """It is on disk although the iteration never ended: of a loop, of a fused module, before and after backward."""
    run = gradscope.open_run(died / how)
    hidden = run.nonfinite[run.nonfinite["quantity"] == "hidden"]
    layer = "GRUCell" if how == "loop" else "l0"
    assert hidden[["iteration", "layer", "call", "time"]].to_numpy().tolist() == [[3, layer, 0, 2]]
    assert not run.complete
    assert run.timesteps["iteration"].max() == (3 if how == "backward" else 2)
    quantities = set(run.nonfinite["quantity"])
    assert quantities == ({"hidden"} if how != "backward" else quantities | {"gate", "total_gradient"})


class Elsewhere(Tensor):
    """Says that it is on a GPU."""

    @property
    def device(self) -> torch.device:
        """Return where nobody looks before rows are written."""
        return torch.device("cuda")


def test_what_nobody_has_looked_at_is_found_when_rows_are_written() -> None:
    """Of a pass on a GPU, of the loss and of the parameters' gradients; as they came up, iteration by iteration."""
    pending = Pending()
    for iteration in range(3):
        bad = math.nan if iteration == 1 else 1.0
        norms, total = torch.ones(TIMES, 4).double(), torch.ones(TIMES, 4).double()
        norms[3, 1], total[:5, 1] = bad, bad
        columns = torch.tensor([[1.0, 1, 1, 1], [bad, 1, 1, 1]]).double().as_subclass(Elsewhere)
        clip = torch.tensor([bad, 1, 1, 1]).as_subclass(Elsewhere)
        summary = Summary(norms.as_subclass(Elsewhere), total.as_subclass(Elsewhere))
        pending.add_pass(PassRecord("l0", iteration, 0, summary))
        loss = torch.tensor(math.inf if iteration else 1.0).as_subclass(Elsewhere)
        pending.add_iteration(IterationRecord(iteration, {"loss": loss}, ParameterRows(["a", "b"], columns, clip)))
    found = pending.tables()["nonfinite"]
    assert list(zip(*(found[name] for name in ("iteration", "quantity", "time", "name")), strict=True)) == [
        (1, "hidden", 3, None),
        (1, "loss", None, None),
        (1, "total_gradient", 4, None),
        (1, "parameter_gradient", None, "b"),
        (2, "loss", None, None),
    ]
