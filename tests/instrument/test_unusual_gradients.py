"""Gradients that come by another way than one backward pass from the loss: asked for, differentiated, complex."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_sequence

import gradscope
from tests.instrument.loops import calls_of
from tests.instrument.training import make_model
from tests.oracles import unroll
from tests.strategies import KINDS, make_layer


def _batch(seed: int = 0, time: int = 7) -> Tensor:
    return torch.randn((4, time, 3), generator=torch.Generator().manual_seed(seed))


def _clips(folder: Path) -> Tensor:
    return torch.tensor(gradscope.open_run(folder).iterations["clip_coefficient"].to_numpy())


def test_a_gradient_that_is_only_asked_for_is_not_taken_for_the_updates(tmp_path: Path) -> None:
    """A saliency map after clipping: what the update was clipped from is still that of the loss."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        for seed in range(3):
            optimizer.zero_grad()
            model(_batch(seed)).square().sum().backward()
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.1)))
            inputs = _batch(seed).requires_grad_()
            torch.autograd.grad(model(inputs).sum(), inputs)
            optimizer.step()
    iterations = gradscope.open_run(tmp_path / "run").iterations
    np.testing.assert_allclose(iterations["gradient_norm"], norms, rtol=1e-5)
    torch.testing.assert_close(_clips(tmp_path / "run"), 0.1 / torch.tensor(norms).double(), rtol=1e-5, atol=0)


def test_gradients_put_in_place_by_hand_have_no_clipping(tmp_path: Path) -> None:
    """No backward pass reached a parameter: nothing is compared with the gradients of the iteration before."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameters = list(model.parameters())
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        for seed in range(3):
            loss = model(_batch(seed)).square().sum()
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            optimizer.step()
    run = gradscope.open_run(tmp_path / "run")
    assert "clip_coefficient" not in run.iterations or run.iterations["clip_coefficient"].isna().all()
    assert run.timesteps["iteration"].nunique() == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_penalty_is_said_not_to_be_seen(kind: str, tmp_path: Path) -> None:
    """The gradient of a gradient enters inside the fused function: its pass is left out, the one before it is exact."""
    layer = make_layer(kind, 3, 5).double()
    inputs = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    with (
        pytest.warns(UserWarning, match="did not record a pass through l0.*create_graph=True"),
        gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder,
    ):
        output = layer(inputs)[0]
        (gradient,) = torch.autograd.grad(output.sum(), inputs, create_graph=True)
        first = recorder.latest["l0"]
        (output.square().mean() + gradient.square().sum()).backward()
        recorder.end_iteration()
    nothing = torch.zeros(2, 5)
    truth = unroll(layer, inputs.detach(), lambda outputs, _last, _cell: outputs.sum(), nothing, nothing)
    torch.testing.assert_close(first.total_gradient, truth.total_gradient, rtol=1e-10, atol=1e-12)
    assert calls_of(tmp_path / "run", "l0") == {0: 6}


@pytest.mark.parametrize("kind", [*KINDS, "cell"])
def test_a_jacobian_in_one_backward_pass_is_left_out(kind: str, tmp_path: Path) -> None:
    """Several gradients at once cannot be read: that pass is said to be missing, the one of the loss is exact."""
    layer = nn.GRUCell(3, 5).double() if kind == "cell" else make_layer(kind, 3, 5).double()
    inputs = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)

    def last_state() -> Tensor:
        if kind != "cell":
            return torch.as_tensor(layer(inputs)[0][-1])
        state = torch.zeros(2, 5, dtype=torch.float64)
        for one in inputs:
            state = layer(one, state)
        return state

    with (
        pytest.warns(UserWarning, match="did not record a pass through .*is_grads_batched=True"),
        gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder,
    ):
        state = last_state()
        units = torch.eye(5, dtype=torch.float64)[:, None].expand(5, 2, 5)
        (jacobian,) = torch.autograd.grad(state, inputs, units, is_grads_batched=True, retain_graph=True)
        state.square().sum().backward()
        recorder.end_iteration()

    assert jacobian.shape == (5, 6, 2, 3)
    assert list(calls_of(tmp_path / "run", *recorder.latest).values()) == [6]
    (newest,) = recorder.latest.values()
    torch.testing.assert_close(newest.total_gradient[-1], 2 * state.detach(), rtol=1e-12, atol=0)
    assert (newest.total_gradient.norm(dim=2) > 0).all()


def test_an_ordinary_second_backward_pass_is_still_seen(tmp_path: Path) -> None:
    """retain_graph=True differentiates nothing."""
    layer = make_layer("gru", 3, 5)
    with warnings.catch_warnings(), gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        warnings.simplefilter("error")
        output = layer(torch.randn(6, 2, 3))[0]
        output.sum().backward(retain_graph=True)
        output.square().sum().backward()
        recorder.end_iteration()
    assert calls_of(tmp_path / "run", "l0") == {0: 6, 1: 6}


def test_complex_parameters_beside_a_recurrent_layer(tmp_path: Path) -> None:
    """Their norm is that of both parts; the recording goes on."""

    class Rotated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 4, batch_first=True)
            self.turn = nn.Parameter(torch.randn(4, dtype=torch.complex64))

        def forward(self, inputs: Tensor) -> Tensor:
            return (self.rnn(inputs)[0] * self.turn).abs()

    model = Rotated()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(), gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        warnings.simplefilter("error")
        model(_batch()).square().mean().backward()
        norm = float(model.turn.grad.abs().square().sum().sqrt())
        optimizer.step()
    rows = gradscope.open_run(tmp_path / "run").parameters.set_index("parameter")
    assert rows.loc["turn", "gradient_norm"] == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("made", [lambda: nn.LSTM(3, 4), lambda: nn.GRUCell(3, 4)], ids=["fused", "cell"])
def test_torch_func_is_said_and_does_not_end_recording(made: object, tmp_path: Path) -> None:
    """What torch.func differentiates has no graph; the backward passes after it are recorded."""
    module = made()

    def value(parameters: dict[str, Tensor]) -> Tensor:
        inputs, total = torch.ones(5, 2, 3), torch.zeros(())
        if isinstance(module, nn.LSTM):
            return functional_call(module, parameters, (inputs,))[0].square().mean()
        state = torch.zeros(2, 4)
        for now in inputs:
            state = functional_call(module, parameters, (now, state))
            total = total + state.square().mean()
        return total

    own = dict(module.named_parameters())
    with (
        pytest.warns(UserWarning, match=r"did not record a pass .* torch\.func"),
        gradscope.watch(module, run=tmp_path / "run", schedule=1) as recorder,
    ):
        torch.func.grad(value)({name: parameter.detach() for name, parameter in own.items()})
        value(own).backward()
        recorder.end_iteration()
    assert len(gradscope.open_run(tmp_path / "run").timesteps) == 5


def test_a_forward_pass_without_gradients_under_torch_func_says_nothing() -> None:
    """As in an evaluation: nothing of it was to be recorded."""
    layer = make_layer("gru", 3, 5)

    def evaluated(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return layer(inputs)[0].sum()

    with warnings.catch_warnings(record=True) as said, gradscope.watch(layer, schedule=1):
        warnings.simplefilter("always")
        torch.func.jacfwd(lambda scale: scale * evaluated(torch.ones(6, 2, 3)))(torch.ones(()))
    assert not [one for one in said if str(one.message).startswith("gradscope")]


@pytest.mark.filterwarnings("ignore:The tensor attribute:UserWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_tracing_and_exporting_in_the_middle_write_down_the_users_model_alone(tmp_path: Path) -> None:
    """A trace is checked against a second run; an exported program holds none of gradscope's operations."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    bare = torch.export.export(make_model("gru"), (_batch(),)).graph_module.code
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        for _ in range(3):
            optimizer.zero_grad()
            model(_batch()).sum().backward()
            optimizer.step()
            traced = torch.jit.trace(model, (_batch(),))
            assert torch.export.export(model, (_batch(),)).graph_module.code == bare
    torch.testing.assert_close(traced(_batch()), model(_batch()))
    assert gradscope.open_run(tmp_path / "run").timesteps["iteration"].nunique() == 3


def test_packed_sequences_under_a_default_device(tmp_path: Path) -> None:
    """Batch sizes are on the CPU all the same."""
    layer = make_layer("lstm", 3, 5)
    packed = pack_sequence([torch.randn(6, 3), torch.randn(4, 3)])
    with warnings.catch_warnings(), gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        warnings.simplefilter("error")
        with torch.device("meta"):
            output = layer(packed)[0]
        output.data.sum().backward()
        recorder.end_iteration()
    assert len(gradscope.open_run(tmp_path / "run").timesteps) == 6


def test_many_windows_of_many_layers_between_two_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is backward passes that are counted: each goes through every layer and direction of a deep network."""
    monkeypatch.setattr("gradscope.instrument.attachment._MOST_BACKWARDS", 20)
    layer = nn.GRU(2, 2, num_layers=4, bidirectional=True)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with warnings.catch_warnings(), gradscope.watch(layer, optimizer, run=tmp_path / "run", schedule=1):
        warnings.simplefilter("error")
        for _ in range(20):
            layer(torch.randn(2, 1, 2))[0].sum().backward()
        optimizer.step()
    assert calls_of(tmp_path / "run", "l2_reverse") == dict.fromkeys(range(20), 2)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_training_does_not_write_into_the_run_of_its_parent(tmp_path: Path) -> None:
    """It says that it does not record, and trains on; the parent's rows are the parent's."""
    model = make_model("gru")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        model(_batch()).sum().backward()
        optimizer.step()

    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        step()
        child = os.fork()
        if child == 0:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                for _ in range(3):
                    step()
            os._exit(0 if [*map(str, said)] and "in the process that trains" in str(said[0].message) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        step()
    run = gradscope.open_run(tmp_path / "run")
    assert run.complete
    assert run.iterations["iteration"].tolist() == [0, 1]


def test_warnings_of_the_users_are_shown_as_often_as_without(tmp_path: Path) -> None:
    """Filters are the process's own: a stack called layer by layer must not reset what was shown already."""

    class Talkative(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 4, num_layers=2)

        def forward(self, inputs: Tensor) -> Tensor:
            warnings.warn("of the user", stacklevel=1)
            return self.rnn(inputs)[0]

    model = Talkative()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        with gradscope.watch(model, run=tmp_path / "run", schedule=1) as recorder:
            for _ in range(4):
                model(torch.randn(5, 2, 3)).sum().backward()
                recorder.end_iteration()
    assert [str(one.message) for one in shown] == ["of the user"]
