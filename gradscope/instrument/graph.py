"""Reading the autograd graph that PyTorch builds for a recurrent layer on CPU, one node per time.

On CPU nn.RNN and nn.GRU are loops in C++: the output is a stack of h_0 .. h_{T-1}, each with its own node. A pre-hook
on such a node receives the total gradient of h_t from the backward pass itself, and a GRU's nodes hold the gates that
its forward pass computed. Where the graph looks different (cuDNN, another PyTorch) the functions return None, and the
caller recomputes and sweeps instead, to the same numbers.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

_TRANSPOSED = {"TransposeBackward0", "TransposeBackward1"}  # batch_first


def nodes_per_time(output: Tensor, times: int, *, bidirectional: bool, packed: bool) -> list[list[Node]] | None:
    """Return the node of each h_t in the order of times, for each direction, or None where the layer is one node.

    Args:
        output: of a single layer.
        times: how many there are.
        bidirectional: whether the output holds two directions side by side.
        packed: whether the output is the rows of a packed sequence.
    """
    node = output.grad_fn
    if node is not None and node.name() in _TRANSPOSED:
        node = node.next_functions[0][0]
    joined = [node] if not bidirectional else _inputs(node, "CatBackward0", 2)
    found = [_inputs(direction, "CatBackward0" if packed else "StackBackward0", times) for direction in joined or []]
    return found if found and all(found) else None


def _inputs(node: Node | None, name: str, count: int) -> list[Node]:
    if node is None or node.name() != name:
        return []
    nodes = [below for below, _ in node.next_functions if below is not None]
    return nodes if len(nodes) == count else []


def hook_nodes(nodes: list[Node], hook: Callable[[Tensor | None], None]) -> None:
    """Have `hook` called with the gradient of each node's first output, before anything else happens to it."""
    # The way of Tensor.register_hook, for nodes whose tensor nobody holds: one dictionary for all of them costs a tenth
    # of a pre-hook each.
    carrier = torch.empty(0)
    carrier._backward_hooks = OrderedDict({0: hook})
    for node in nodes:
        node._register_hook_dict(carrier)


SavedGates = list[tuple[Tensor, Tensor, Tensor, Tensor]]


def saved_gru_gates(nodes: list[Node]) -> SavedGates | None:
    """Return (reset, update, candidate, candidate_recurrent) of each time, or None where the graph is another one.

    Must be called between the forward and the backward pass, which frees them. The tensors come attached to the graph
    below the output's own node: whoever keeps them keeps that graph.
    """
    if _saving_is_redirected():
        return None
    try:
        return [_gates_at(node) for node in nodes]
    except (AttributeError, IndexError, ValueError):  # Another PyTorch builds another graph.
        return None


def _gates_at(node: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # noqa: ANN401 - attributes differ by node
    # h_t = (h_{t-1} - n) * z + n,  n = tanh(from_input + m * r)
    (product, _), (candidate, _) = node.next_functions
    gated = candidate.next_functions[0][0].next_functions[1][0]
    return gated._saved_other, product._saved_other, candidate._saved_result, gated._saved_self


def _saving_is_redirected() -> bool:
    # Under activation checkpointing or save_on_cpu, reading a saved tensor would run the user's forward pass again or
    # copy it from elsewhere. PyTorch has no public way to ask.
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None
