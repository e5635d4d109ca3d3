"""The recurrent parts of a model."""

from torch import nn

from gradscope.instrument.fused.module import FUSED, FusedSource
from gradscope.instrument.loops.cell_loops import find_cell_loops
from gradscope.instrument.source import Exactness, Source


def find_sources(model: nn.Module, exact: Exactness = "bitwise") -> list[Source]:
    """Return what can be watched in `model`, in its order; nothing if only a tap can tell."""
    found: dict[str, Source] = {loop.path: loop for loop in find_cell_loops(model)}
    for path, module in model.named_modules():
        if isinstance(module, FUSED):
            found[path] = FusedSource(path, module, exact)
    return [found[path] for path, _ in model.named_modules() if path in found]


def nothing_recurrent(model: nn.Module) -> str:
    """Return what to do about a model without anything that can be watched."""
    inside = sorted({type(module).__name__ for module in model.modules() if module is not model})
    return (
        "gradscope watches nn.RNN, nn.GRU and nn.LSTM, loops over nn.RNNCell, nn.GRUCell and nn.LSTMCell and over "
        f"cells taught by gradscope.register_cell, and {type(model).__name__} has none of them: "
        f"{'inside it are ' + ', '.join(inside) if inside else 'it has no submodules'}. Pass the model that holds the "
        "recurrent module, or call recorder.tap(name, h) in the loop."
    )
