"""A layer is read too early where its first time alone has a gradient, and only there."""

import pytest
import torch
from torch import nn

import gradscope


def _found(folder, answer, lengths=None, times=12):
    """Layers of a bidirectional GRU that are told to be read too early; the answer is taken of its output."""
    layer, inputs = nn.GRU(2, 4, bidirectional=True), torch.randn(times, 3, 2)
    with gradscope.watch(layer, run=folder, schedule=1) as recorder:
        for _ in range(8):
            packed = inputs if lengths is None else nn.utils.rnn.pack_padded_sequence(inputs, lengths)
            output, last = layer(packed)
            if lengths is not None:
                output, _ = nn.utils.rnn.pad_packed_sequence(output)
            answer(output, last).square().sum().backward()
            recorder.end_iteration()
            layer.zero_grad()
    found = [finding for finding in gradscope.diagnose(folder) if finding.code == "read-too-early"]
    return [(finding.layer, finding.severity, finding.iteration) for finding in found]


@pytest.mark.parametrize(
    ("answer", "layers"),
    [
        (lambda output, _: output[-1], ["l0_reverse"]),
        (lambda output, _: output[0], ["l0"]),
        (lambda _, last: last, []),
        (lambda output, _: output, []),
        (lambda output, _: output.amax(0), []),
        (lambda output, _: output[5], []),
    ],
    ids=["last output", "first output", "last states", "all outputs", "maximum", "middle"],
)
def test_a_direction_is_read_too_early_where_it_begins(tmp_path, answer, layers):
    """The reverse direction begins at the last time: its output there has seen one input."""
    assert _found(tmp_path / "run", answer) == [(layer, "warning", 0) for layer in layers]


def test_so_it_is_at_the_end_of_each_packed_sequence(tmp_path):
    """Sequences of 12, 9 and 5 times, each answered at its own end."""
    lengths = torch.tensor([12, 9, 5])
    found = _found(tmp_path / "run", lambda output, _: output[lengths - 1, torch.arange(3)], lengths)
    assert found == [("l0_reverse", "warning", 0)]


def test_a_sequence_of_one_time_is_read_where_it_ends(tmp_path):
    """There is no other."""
    assert _found(tmp_path / "run", lambda output, _: output[-1], times=1) == []
