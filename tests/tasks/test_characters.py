"""Next-character prediction."""

import numpy as np
import pytest

from gradscope.errors import UsageError
from gradscope.tasks import Characters, read_text


@pytest.fixture
def write(tmp_path):
    """Write a text and give back its path."""

    def write(text):
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        return str(tmp_path / "text.txt")

    return write


def test_windows_are_consecutive_text_and_the_target_is_what_follows(write):
    """Decoding a window and its target gives a piece of the text."""
    text = "the quick brown fox jumps over the lazy dog. " * 40
    task = Characters(length=20, path=write(text))

    inputs, targets = task.batch(np.random.default_rng(0), 16)

    assert inputs.shape == (20, 16, task.input_size)
    assert inputs.sum(axis=2).tolist() == [[1.0] * 16] * 20
    codes = np.concatenate([inputs.argmax(axis=2), targets[None]])
    for sequence in codes.T:
        assert "".join(task.alphabet[code] for code in sequence) in text


def test_baseline_is_the_entropy_of_the_letters_in_nats(write):
    """Two letters, one three times as frequent."""
    task = Characters(length=5, path=write("aaab" * 500))

    assert task.baseline == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))


def test_rare_characters_share_one_place(write):
    """A text of thousands of different characters still has inputs of 97 numbers."""
    task = Characters(length=5, path=write("".join(chr(0x4E00 + number) for number in range(3000))))

    inputs, targets = task.batch(np.random.default_rng(0), 32)

    assert task.input_size == task.output_size == 97
    assert inputs.shape == (5, 32, 97)
    assert targets.max() == 96


def test_built_in_text_is_long_english():
    """Without a path the text is the standard library's, some hundred thousand characters."""
    text = read_text()

    assert len(text) > 300_000
    assert " the " in text
    assert 2.5 < Characters().baseline < 4


def test_user_text_is_read_as_utf8(tmp_path):
    """A file of the user's own replaces the built-in text."""
    file = tmp_path / "own.txt"
    file.write_text("长江 flows. " * 200, encoding="utf-8")

    assert read_text(file) == "长江 flows. " * 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"\xff\xfe\x00" * 500, "not UTF-8 text: byte 0"),
        (b"short", "has 5 characters; .* at least 1000"),
        (b"a" * 2000, "one character only"),
    ],
)
def test_unusable_text_is_refused(tmp_path, content, words):
    """Missing, not UTF-8, too short, nothing to predict: one message that names the file."""
    file = tmp_path / "own.txt"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(UsageError, match=words) as caught:
        read_text(file)

    assert str(file) in str(caught.value)


def test_window_longer_than_the_text_is_refused(write):
    """A window and the character after it have to fit."""
    with pytest.raises(UsageError, match="windows of 2 to 1999 characters"):
        Characters(length=2000, path=write("ab" * 1000))
