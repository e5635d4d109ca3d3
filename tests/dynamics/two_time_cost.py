"""What `two_time_gradient` costs against a backward pass for each loss time: `python -m tests.dynamics.two_time_cost`.

The other way is what one would write by hand: torch's own cell unrolled once, then torch.autograd.grad of each loss_s
with respect to the states before it, the graph retained. Both are checked against each other.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradscope.dynamics import two_time_gradient

SIZES = ((50, 8, 32), (100, 16, 64), (200, 16, 64), (100, 16, 256))


def by_sweeps(cell: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    """Return G (loss time, time, batch) of loss_s = sum of h_s^2 by T backward passes."""
    states = []
    for xt in x:
        h = cell(xt, h)
        states.append(h)
    norms = x.new_zeros(len(x), len(x), x.shape[1])
    for s, state in enumerate(states):
        for k, gradient in enumerate(torch.autograd.grad(state.square().sum(), states[: s + 1], retain_graph=True)):
            norms[s, k] = gradient.norm(dim=-1)
    return norms


def seconds(run: Callable[[], object], device: str) -> float:
    """Return the shortest of three calls."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Print the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    for length, batch, hidden in SIZES:
        cell = nn.GRUCell(8, hidden).to(device)
        x, h = torch.randn(length, batch, 8, device=device), torch.zeros(batch, hidden, device=device)

        def one(cell: nn.Module = cell, x: Tensor = x, h: Tensor = h) -> Tensor:
            return two_time_gradient(cell, x, h, lambda states: states.square().sum()).norms

        def sweeps(cell: nn.Module = cell, x: Tensor = x, h: Tensor = h) -> Tensor:
            return by_sweeps(cell, x, h)

        torch.testing.assert_close(one(), sweeps(), rtol=1e-3, atol=1e-6)
        together, each = seconds(one, device), seconds(sweeps, device)
        sys.stdout.write(
            f"GRU T{length} N{batch} H{hidden}: one sweep {together:.3f} s, "
            f"T sweeps {each:.3f} s, x{each / together:.1f}\n"
        )


if __name__ == "__main__":
    main()
