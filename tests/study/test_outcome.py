"""A trial's end on disk."""

from gradscope.study.training.outcome import Outcome, forget_outcome, read_outcome, write_outcome


def test_outcome_comes_back_as_written(tmp_path):
    """Every field survives, and no draft is left."""
    outcome = Outcome(
        "abc", {"cell": "gru"}, "diverged", "its loss became nan at iteration 3", 4, 1.5, 75, 1 / 6, "mean"
    )

    write_outcome(tmp_path / "abc", outcome)

    assert read_outcome(tmp_path / "abc") == outcome
    assert [path.name for path in (tmp_path / "abc").iterdir()] == ["outcome.json"]


def test_damaged_missing_or_forgotten_outcome_is_none(tmp_path):
    """Then the trial has to run again."""
    assert read_outcome(tmp_path) is None
    (tmp_path / "outcome.json").write_text('{"trial": ', encoding="utf-8")
    assert read_outcome(tmp_path) is None
    (tmp_path / "outcome.json").write_text('{"other": 1}', encoding="utf-8")
    assert read_outcome(tmp_path) is None
    write_outcome(tmp_path, Outcome("abc"))
    forget_outcome(tmp_path)
    assert read_outcome(tmp_path) is None
