"""The same random numbers for every remedy."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed what a training may draw from: torch on all devices, numpy's and Python's global generators."""
    random.seed(seed)
    # numpy's takes no larger ones; the others do.
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the user's training may draw from it
    torch.manual_seed(seed)


@contextmanager
def generators_put_back() -> Iterator[None]:
    """Leave the user's random numbers as they were."""
    ours, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(ours)
            np.random.set_state(numpys)  # noqa: NPY002
