"""The recurrent parts of a model."""

from torch import nn

from gradscope.errors import UsageError
from gradscope.instrument.fused import FUSED, FusedSource
from gradscope.instrument.source import Source


def find_sources(model: nn.Module) -> list[Source]:
    """Return what can be watched in `model`.

    Raises:
        UsageError: there is nothing.
    """
    found: list[Source] = [
        FusedSource(name, module) for name, module in model.named_modules() if isinstance(module, FUSED)
    ]
    if not found:
        raise UsageError(_nothing_recurrent(model))
    return found


def _nothing_recurrent(model: nn.Module) -> str:
    inside = sorted({type(module).__name__ for module in model.modules() if module is not model})
    return (
        f"gradscope watches nn.RNN, nn.GRU and nn.LSTM, and {type(model).__name__} has none of them: "
        f"{'inside it are ' + ', '.join(inside) if inside else 'it has no submodules'}. "
        "Pass the model that holds the recurrent module."
    )
