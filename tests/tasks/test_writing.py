"""Pieces of a series or a text, and what is written by a network that is known."""

import itertools

import numpy as np
import pytest

from gradscope.errors import UsageError
from gradscope.tasks.hold import Hold
from gradscope.tasks.pieces import SinePieces
from gradscope.tasks.recall import Recall
from gradscope.tasks.sampling import probabilities, write
from gradscope.tasks.writing import Writing, chinese_text


def _taken(task, size, count):
    batches = task.batches(np.random.default_rng(0), size)
    return [next(batches) for _ in range(count)]


def test_pieces_one_after_the_other_join():
    """Each batch goes on where the last one ended, strand by strand; a pass begins with a new state."""
    task = SinePieces(cut="sequential", length=10, points=100, spacing=0.1)
    batches = _taken(task, 2, 9)

    begins = [at for at, (_, anew) in enumerate(batches) if anew]
    assert begins[0] == 0
    assert len(begins) >= 2
    for (before, _), (after, anew) in itertools.pairwise(batches):
        if not anew:
            np.testing.assert_array_equal(after.inputs[0], before.targets[-1])
    assert task.carries_state


def test_pieces_at_random_are_pieces_of_the_sine():
    """Every target is the next input, and the angle grows by the spacing."""
    task = SinePieces(cut="random", length=10, points=100, spacing=0.1)
    ((batch, _),) = _taken(task, 50, 1)

    assert not task.carries_state
    np.testing.assert_array_equal(batch.inputs[1:], batch.targets[:-1])
    # sin(x + d) + sin(x - d) = 2 sin(x) cos(d)
    series = batch.inputs[:, :, 0].astype(float)
    np.testing.assert_allclose(series[2:] + series[:-2], 2 * np.cos(0.1) * series[1:-1], atol=1e-6)


def test_free_run_reads_a_piece_and_then_itself():
    """A network that answers 0.9 of its last input decays from the piece's last answer."""
    task = SinePieces(length=10, points=100, spacing=0.1)
    (shown,) = task.exhibits(lambda inputs, state: (inputs * np.float32(0.9), state), None)

    assert np.isnan(shown.answer[:10]).all()
    np.testing.assert_allclose(shown.answer[10:], np.sin(0.9) * 0.9 ** np.arange(1, 31), rtol=1e-5)


def test_too_many_strands_are_refused():
    """With what can be done about it."""
    with pytest.raises(UsageError, match="take smaller batches"):
        _taken(SinePieces(cut="sequential", length=25, points=100), 64, 1)
    with pytest.raises(UsageError, match="take smaller batches"):
        _taken(Writing("chinese", length=25, order="sequential"), 64, 1)


def test_text_in_order_is_the_text():
    """One strand, piece after piece, is the text from its first character on."""
    task = Writing("chinese", length=20, order="sequential")
    codes = np.concatenate([batch.inputs[:, 0].argmax(1) for batch, _ in _taken(task, 1, 5)])

    assert "".join(task.alphabet[code] for code in codes) == chinese_text()[:100]


def test_baseline_is_summed_where_the_loss_is():
    """The loss of 20 answers is 20 times that of one."""
    mean, total = Writing("chinese", length=20), Writing("chinese", length=20, summed=True)

    assert total.baseline == pytest.approx(20 * mean.baseline)
    assert mean.baseline < np.log(len(mean.alphabet))


def test_a_network_that_knows_the_alphabet_writes_it():
    """Almost without temperature the likeliest is drawn: here always the next place."""

    def next_place(inputs, state):
        return 5 * np.roll(inputs, 1, axis=2), state

    assert write(next_place, [0, 1], 4, 6, 0.01, np.random.default_rng(0)) == [2, 3, 0, 1, 2, 3]


def test_temperature_is_a_power_of_the_odds():
    """At half the temperature odds of 3 to 1 become 9 to 1; at twice it, their root."""
    logits = np.log([0.75, 0.25])

    for temperature, odds in ((1.0, 3.0), (0.5, 9.0), (2.0, 3**0.5)):
        first, second = probabilities(logits, temperature)
        assert first / second == pytest.approx(odds)


def test_what_is_drawn_has_the_frequencies_of_the_softmax():
    """2,000 draws of 0.7 and 0.3: five standard deviations are 0.05."""
    drawn = write(lambda _, s: (np.log([[[0.7, 0.3]]]), s), [0], 2, 2000, 1.0, np.random.default_rng(0))

    assert np.mean(drawn) == pytest.approx(0.3, abs=0.05)


def test_texts_are_written_at_each_temperature():
    """From the text's own characters."""
    task = Writing("chinese", length=10, temperatures=[0.5, 1.5], written=12)
    shown = task.exhibits(lambda x, s: (np.zeros((len(x), 1, task.output_size)), s), None)

    assert [one.name for one in shown] == ["temperature 0.5", "temperature 1.5"]
    assert all(len(one.text) == 12 for one in shown)


@pytest.mark.parametrize("wrong", [{"temperatures": []}, {"temperatures": [0.0]}, {"length": 400}])
def test_what_cannot_be_written_is_refused(wrong):
    """Temperatures above 0, pieces that fit."""
    with pytest.raises(UsageError, match=r"try \[0.5|fit, got"):
        Writing("chinese", **wrong)


def test_holding_has_the_number_first_and_nothing_after():
    """The target is the first input; its square is 1 in the mean, which is the baseline."""
    batch = Hold(lag=5).batch(np.random.default_rng(0), 4000)

    np.testing.assert_array_equal(batch.inputs[0], batch.targets)
    assert not batch.inputs[1:].any()
    assert np.mean(batch.targets**2) == pytest.approx(Hold().baseline, abs=0.1)


def test_recall_scores_the_right_answers():
    """Who looks at the first input is always right, who answers at random half of the time."""
    task = Recall(lag=5, inputs=3, scored=True)

    def looking(inputs, _):
        first = inputs[:1, :, :1]
        return np.concatenate([-first, first], axis=2), None

    assert task.score_every(16) == 100
    assert task.score(looking) == 1.0
    blind = task.score(lambda x, _: (np.random.default_rng(1).random((1, x.shape[1], 2)), None))
    assert blind == pytest.approx(0.5, abs=0.1)
    assert Recall(lag=5).score_every(16) == 0
