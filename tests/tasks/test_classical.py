"""The classical memory tasks: copying, temporal order, recall."""

import math

import numpy as np
import pytest

from gradscope.errors import UsageError
from gradscope.tasks.copy_memory import CopyMemory
from gradscope.tasks.recall import Recall
from gradscope.tasks.temporal_order import TemporalOrder


def test_copy_asks_for_the_first_ten_symbols_at_the_last_ten_times():
    """Decoding the first inputs gives the targets; a recall sign stands right before the answers, else blanks."""
    task = CopyMemory(wait=30)

    inputs, targets = task.batch(np.random.default_rng(0), 16)

    codes = inputs.argmax(axis=2)
    assert inputs.shape == (50, 16, 10)
    assert inputs.sum(axis=2).tolist() == [[1.0] * 16] * 50
    np.testing.assert_array_equal(codes[:10], targets)
    assert set(codes[10:39].ravel()) == {8}
    assert set(codes[39]) == {9}
    assert set(codes[40:].ravel()) == {8}
    assert set(targets.ravel()) == set(range(8))


@pytest.mark.parametrize(("wait", "published"), [(100, 0.1733), (500, 0.0400)])
def test_copy_baseline_is_the_published_one(wait, published):
    """10 ln 8 / (T + 20), here taken at the ten answered times alone."""
    task = CopyMemory(wait=wait)

    assert task.published_baseline == pytest.approx(published, abs=5e-5)
    assert task.baseline * task.answered / task.length == pytest.approx(task.published_baseline)


def test_copy_lag_is_the_distance_of_every_answer_from_its_symbol():
    """The k-th answer stands as far from the k-th symbol as any other."""
    task = CopyMemory(wait=30)

    assert {task.length - task.answered + place - place for place in range(10)} == {task.lag} == {40}


def test_temporal_order_is_named_by_its_two_symbols():
    """The class is twice the first symbol plus the second; each lies in its tenth of the sequence."""
    inputs, targets = TemporalOrder(length=100).batch(np.random.default_rng(1), 400)
    codes = inputs.argmax(axis=2)
    places, sequences = np.nonzero(codes >= 4)
    order = np.lexsort((places, sequences))
    places, symbols = places[order].reshape(400, 2), (codes[places, sequences] - 4)[order].reshape(400, 2)

    np.testing.assert_array_equal(2 * symbols[:, 0] + symbols[:, 1], targets)
    assert (places[:, 0].min(), places[:, 0].max()) == (10, 19)
    assert (places[:, 1].min(), places[:, 1].max()) == (40, 49)
    assert set(targets) == {0, 1, 2, 3}
    assert TemporalOrder(length=100).baseline == pytest.approx(math.log(4))


def test_recall_asks_for_the_sign_of_the_first_input():
    """The noise after it never reaches it in size."""
    task = Recall(lag=20)
    inputs, targets = task.batch(np.random.default_rng(2), 200)

    np.testing.assert_array_equal(inputs[0, :, 0] > 0, targets == 1)
    assert set(np.abs(inputs[0, :, 0])) == {1.0}
    assert inputs[1:].std() == pytest.approx(0.2, rel=0.05)
    assert (task.length, task.lag) == (21, 20)


@pytest.mark.parametrize("task", [CopyMemory(wait=5), TemporalOrder(length=20), Recall(lag=5)])
def test_same_seed_gives_the_same_batch(task):
    """Data depends on the generator alone, and has the types that torch takes."""
    first, second = (task.batch(np.random.default_rng(7), 4) for _ in range(2))

    np.testing.assert_array_equal(first.inputs, second.inputs)
    np.testing.assert_array_equal(first.targets, second.targets)
    assert first.inputs.dtype == np.float32
    assert first.targets.dtype == np.int64


@pytest.mark.parametrize("make", [lambda: CopyMemory(wait=0), lambda: TemporalOrder(length=9), lambda: Recall(lag=0)])
def test_what_is_too_short_is_refused(make):
    """With a size to try."""
    with pytest.raises(UsageError, match="try"):
        make()
