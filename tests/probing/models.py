"""Stacks of recurrent layers written out with torch's cells, so that autograd shows every state."""

import torch
from torch import nn

CELLS = {"RNN_TANH": nn.RNNCell, "GRU": nn.GRUCell, "LSTM": nn.LSTMCell}


class Tagger(nn.Module):
    """A fused module with a head at every time."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn
        self.head = nn.Linear(rnn.hidden_size * (1 + rnn.bidirectional), 1)

    def forward(self, x):
        """Return (batch, time, 1) or (time, batch, 1)."""
        return self.head(self.rnn(x)[0])


class Loop(nn.Module):
    """A cell called in a loop; the head looks at every second time."""

    def __init__(self, cell, hidden=4):
        super().__init__()
        self.cell, self.head = cell, nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        """Read (time, batch, input)."""
        outputs = []
        for xt in x:
            state = self.cell(xt, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return self.head(torch.stack(outputs[1::2]))


def gradients_by_hand(module, x, loss):
    """Return {(layer, direction): (total, direct)} over the full state, in the order of the run, by autograd alone.

    Args:
        module: a fused module, time first, without projection.
        x: (time, batch, input), float64.
        loss: of the top sequence and the last h of every layer and direction.
    """
    cells, directions = {}, 1 + module.bidirectional
    sequence, totals, exported, lasts = x, {}, {}, []
    for layer in range(module.num_layers):
        outputs = []
        for direction in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            weights = {n.removesuffix(suffix): p for n, p in module.named_parameters() if n.endswith(suffix)}
            cell = cells[layer, direction] = CELLS[module.mode](sequence.shape[-1], module.hidden_size).double()
            cell.load_state_dict(weights)
            size = module.hidden_size * (1 + (module.mode == "LSTM"))
            z, states, hidden = torch.zeros(x.shape[1], size, dtype=x.dtype), [], []
            for xt in sequence.flip(0) if direction else sequence:
                after = cell(xt, tuple(z.chunk(2, -1)) if module.mode == "LSTM" else z)
                z = torch.cat(after, -1) if module.mode == "LSTM" else after
                states.append(z)
                hidden.append(z[:, : module.hidden_size] * 1.0)
            totals[layer, direction], exported[layer, direction] = states, hidden
            lasts.append(hidden[-1])
            outputs.append(torch.stack(hidden[::-1] if direction else hidden))
        sequence = torch.cat(outputs, -1)
    value = loss(sequence, torch.stack(lasts))
    return {
        place: tuple(
            torch.stack(torch.autograd.grad(value, tensors, retain_graph=True)) for tensors in (states, exported[place])
        )
        for place, states in totals.items()
    }
