"""What takes a recurrent module from one time to the next, for PyTorch's modules and for the user's own cells."""

import inspect
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.equations import StepWeights, elman_time, gru_time, lstm_time
from gradscope.errors import UsageError

State = Tensor | tuple[Tensor, ...]
"""What a cell carries from time to time, as its forward takes and returns it: h, or for an LSTM (h, c)."""

BoundStep = Callable[[Float[Tensor, "batch input"], State], State]
"""One time of one layer whose weights are known: (input, state) -> state."""


@runtime_checkable
class StepFunction(Protocol):
    """One time of a kind of cell."""

    def __call__(self, module: Any, input: Float[Tensor, "batch input"], state: State, /) -> State:  # noqa: ANN401
        """Return the next state.

        Written in differentiable torch operations, without in-place changes and without decisions that depend on
        values, so that it runs under torch.func.vmap, jvp and vjp. Sequences of a batch must not see one another.

        Args:
            module: the cell, whose weights it reads.
            input: of this time.
            state: of the time before, in the form that the module's forward takes it.

        Returns:
            The state after this time, in the same form.
        """


def register_cell(module_class: type[nn.Module], step_function: StepFunction) -> None:
    """Teach gradscope a cell of your own; a second registration of a class replaces the first.

    Args:
        module_class: the cell's class; subclasses that keep its forward count as this cell too.
        step_function: `step(module, input, state) -> state`, pure and differentiable; see `StepFunction`.

    Raises:
        UsageError: the class is no nn.Module, or the function cannot be called with (module, input, state).
    """
    if not (isinstance(module_class, type) and issubclass(module_class, nn.Module)):
        raise UsageError(
            f"register_cell expects a class derived from torch.nn.Module, got {_in_words(module_class)}: "
            "pass the class itself, not an instance"
        )
    _check_step_function(module_class, step_function)
    _STEP_FUNCTIONS[module_class] = step_function


def _check_step_function(module_class: type[nn.Module], step_function: object) -> None:
    expected = f"the step function of {module_class.__name__} must be callable as step(module, input, state)"
    if not callable(step_function):
        raise UsageError(f"{expected}, got {_in_words(step_function)}")
    try:
        signature = inspect.signature(step_function)
    except ValueError:  # some builtins do not tell theirs
        return
    try:
        signature.bind(None, None, None)
    except TypeError as error:
        name = getattr(step_function, "__name__", type(step_function).__name__)
        raise UsageError(f"{expected}, got {name}{signature} ({error})") from None


def step_function_of(module: nn.Module) -> StepFunction:
    """Return the step function of the most derived registered class that `module` is an instance of.

    Raises:
        UsageError: none of its classes is registered, or it overrides the forward of the one that is.
    """
    known = next((base for base in type(module).__mro__ if base in _STEP_FUNCTIONS), None)
    if known is None:
        raise UsageError(
            f"gradscope knows no step function for {type(module).__name__}; it knows those of "
            f"{', '.join(known_cells())}. Teach it with gradscope.register_cell(module_class, step), where "
            "step(module, input, state) returns the next state."
        )
    if type(module).forward is not known.forward:
        raise UsageError(
            f"{type(module).__name__} overrides the forward of {known.__name__}, whose step function may no longer be "
            f"right: call gradscope.register_cell({type(module).__name__}, step) with its own"
        )
    return _STEP_FUNCTIONS[known]


def known_cells() -> list[str]:
    """Return the names of all registered classes."""
    return sorted(module_class.__name__ for module_class in _STEP_FUNCTIONS)


def cell_step(module: nn.Module) -> BoundStep:
    """Return one time of a cell as a function of input and state.

    Returns:
        The registered step function with `module` filled in.
    """
    step_function = step_function_of(module)
    return lambda x, state: step_function(module, x, state)


def step_of(module: nn.Module) -> BoundStep:
    """Return one time of a cell, or of a fused module that has one layer and one direction.

    Returns:
        A function (input, state) -> state.

    Raises:
        UsageError: the module has several layers or directions, or is not known.
    """
    if not isinstance(module, nn.RNNBase):
        return cell_step(module)
    if module.num_layers > 1 or module.bidirectional:
        raise UsageError(
            f"this {type(module).__name__} has {module.num_layers} layers in {1 + module.bidirectional} directions, "
            "each with dynamics of its own: choose one with layer_step(module, layer, reverse)"
        )
    return layer_step(module)


def layer_step(module: nn.RNNBase, layer: int = 0, reverse: bool = False) -> BoundStep:
    """Return one time of one layer and direction of an nn.RNN, nn.GRU or nn.LSTM.

    The state is h (batch, hidden), for an LSTM (h, c); with proj_size h is (batch, proj_size). The weights are read at
    each call. Of a reverse direction this is the step from a time to the one BEFORE it: give it the sequence reversed.

    Args:
        module: the module.
        layer: from 0.
        reverse: the second direction of a bidirectional module.

    Returns:
        A function (input (batch, size of the layer's input), state) -> state.

    Raises:
        UsageError: the module has no such layer or direction, or is none of the three.
    """
    modes = ("RNN_TANH", "RNN_RELU", "GRU", "LSTM")
    if not isinstance(module, nn.RNNBase) or module.mode not in modes:
        raise UsageError(f"layer_step expects an nn.RNN, nn.GRU or nn.LSTM, got {_in_words(module)}: try cell_step")
    if not 0 <= layer < module.num_layers:
        raise UsageError(f"{type(module).__name__} has layers 0 to {module.num_layers - 1}, got layer {layer}")
    if reverse and not module.bidirectional:
        raise UsageError(f"this {type(module).__name__} has one direction: it was made with bidirectional=False")
    if module.mode == "LSTM":
        return lambda x, state: lstm_time(step_weights(module, layer, reverse), x, _pair(state))
    if module.mode == "GRU":
        return lambda x, state: gru_time(step_weights(module, layer, reverse), x, _single(state))
    relu = module.mode == "RNN_RELU"
    return lambda x, state: elman_time(
        step_weights(module, layer, reverse), x, _single(state), "relu" if relu else "tanh"
    )


def step_weights(module: nn.RNNBase, layer: int = 0, reverse: bool = False) -> StepWeights:
    """Return the weights of one layer and direction as they are now."""
    suffix = f"_l{layer}{'_reverse' if reverse else ''}"
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ()))
    weights = StepWeights(*(getattr(module, name + suffix) for name in names))
    return weights._replace(projection=getattr(module, "weight_hr" + suffix)) if module.proj_size else weights


def _cell_weights(module: nn.RNNCellBase) -> StepWeights:
    return StepWeights(module.weight_ih, module.weight_hh, module.bias_ih, module.bias_hh)


def _elman_cell_step(module: nn.RNNCell, x: Tensor, state: State) -> State:
    relu = module.nonlinearity == "relu"
    return elman_time(_cell_weights(module), x, _single(state), "relu" if relu else "tanh")


def _gru_cell_step(module: nn.GRUCell, x: Tensor, state: State) -> State:
    return gru_time(_cell_weights(module), x, _single(state))


def _lstm_cell_step(module: nn.LSTMCell, x: Tensor, state: State) -> State:
    return lstm_time(_cell_weights(module), x, _pair(state))


def _single(state: State) -> Tensor:
    if not isinstance(state, Tensor):
        raise UsageError(f"the state of an RNN or GRU is one Tensor (batch, hidden), got {_in_words(state)}")
    return state


def _pair(state: State) -> tuple[Tensor, Tensor]:
    if isinstance(state, Tensor) or len(state) != 2:
        raise UsageError(f"the state of an LSTM is a tuple (h, c) of Tensors (batch, hidden), got {_in_words(state)}")
    return state[0], state[1]


def _in_words(thing: object) -> str:
    if isinstance(thing, Tensor):
        return f"a Tensor of shape {tuple(thing.shape)}"
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    return f"{len(thing)} of them in a tuple" if isinstance(thing, tuple) else f"a {type(thing).__name__}"


_STEP_FUNCTIONS: dict[type[nn.Module], StepFunction] = {
    nn.RNNCell: _elman_cell_step,
    nn.GRUCell: _gru_cell_step,
    nn.LSTMCell: _lstm_cell_step,
}
