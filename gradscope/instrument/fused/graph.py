"""Reading the autograd graph that PyTorch builds for a recurrent layer on CPU.

On CPU nn.RNN and nn.GRU are loops in C++ over W_ih x_t + b_ih, which is worked out for all times at once and then cut
up. The backward pass joins the gradients of the pieces again, and hands them to the one node below: there stands
delta_t of every time, in one tensor, as the training itself computed it. Where the graph looks different (cuDNN, no
gradient for W_ih and the input, another PyTorch) there is no such node, and the caller sweeps, to the same numbers.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

_TRANSPOSED = {"TransposeBackward0", "TransposeBackward1"}  # batch_first
_JOINED = {"CatBackward0", "SliceBackward0"}  # h_n of a packed sequence
_CUT = {"UnbindBackward0", "SliceBackward0", "NarrowBackward0"}
_FROM_STATE_TO_PROJECTION = {
    "rnn_tanh": (("TanhBackward0", 0), ("AddBackward0", 1)),
    "rnn_relu": (("ReluBackward0", 0), ("AddBackward0", 1)),
    # h_t = (h_{t-1} - n) * z + n,  n = tanh(W_in x_t + b_in + r * m)
    "gru": (("AddBackward0", 1), ("TanhBackward0", 0), ("AddBackward0", 0), ("UnsafeSplitBackward0", 0)),
}


def projection_node(kind: str, last_hidden: Tensor, direction: int) -> Node | None:
    """Return the node that computed W_ih x_t + b_ih of all times, or None where there is none to be seen.

    Args:
        kind: gru, rnn_tanh or rnn_relu.
        last_hidden: h_n of a single layer.
        direction: 0 for forwards, 1 for backwards.
    """
    node = below(last_hidden.grad_fn, "StackBackward0", direction)
    while node is not None and node.name() in _JOINED:
        node = below(node, node.name(), 0)
    for name, position in _FROM_STATE_TO_PROJECTION[kind]:
        node = below(node, name, position)
    return None if node is None or node.name() not in _CUT else below(node, node.name(), 0)


def below(node: Node | None, name: str, position: int) -> Node | None:
    """Return what a node got at a position, if it is a node of that name; None otherwise."""
    if node is None or node.name() != name or len(node.next_functions) <= position:
        return None
    return node.next_functions[position][0]


def sequence_node(output: Tensor) -> Node | None:
    """Return the node that made a layer's output sequence, time-major."""
    node = output.grad_fn
    while node is not None and node.name() in _TRANSPOSED:
        node = node.next_functions[0][0]
    return node


SavedGates = list[tuple[Tensor, Tensor, Tensor]]


def saved_gru_gates(output: Tensor, direction: int, *, bidirectional: bool) -> SavedGates | None:
    """Return (reset, update, candidate) of each time in the order of processing; None where the graph is another one.

    Must be called between the forward and the backward pass, which frees them. They come detached: attached they would
    keep the graph, whose nodes refer to the call that keeps them, in a circle that Python's collector cannot see.
    """
    if saving_is_redirected():
        return None
    node = sequence_node(output)
    if bidirectional:
        node = below(node, "CatBackward0", direction)
    if node is None or node.name() != "StackBackward0":
        return None
    try:
        saved = [_gates_at(of_time) for of_time, _ in node.next_functions]
    except (AttributeError, IndexError, ValueError):  # Another PyTorch builds another graph.
        return None
    return saved[::-1] if direction else saved


def _gates_at(node: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401 - attributes differ by node
    (product, _), (candidate, _) = node.next_functions
    gated = candidate.next_functions[0][0].next_functions[1][0]
    return gated._saved_other.detach(), product._saved_other.detach(), candidate._saved_result.detach()


def saving_is_redirected() -> bool:
    """Return whether what a forward pass saves goes elsewhere than into the graph."""
    # Under activation checkpointing or save_on_cpu, reading a saved tensor would run the user's forward pass again or
    # copy it from elsewhere. PyTorch has no public way to ask.
    return torch._C._autograd._top_saved_tensors_default_hooks(False) is not None
