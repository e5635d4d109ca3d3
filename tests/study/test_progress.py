"""What the user sees while trials run."""

import io

from rich.console import Console

from gradscope.study.running.progress import StudyProgress
from gradscope.study.training.outcome import Outcome


def test_pipe_gets_a_few_plain_lines(console):
    """Four lines, however many trials there are, without control characters."""
    with StudyProgress(console, 100, 2) as progress:
        for number in range(100):
            progress.advance(Outcome(str(number), status="failed" if number == 3 else "finished"))

    lines = console.file.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"{n} of 100 trials done" for n in (25, 50, 75, 100)]
    assert lines[0].startswith("25 of 100 trials done, 2 running, 1 failed, about ")
    assert lines[-1].startswith("100 of 100 trials done, 0 running, 1 failed, in ")
    assert "\x1b" not in console.file.getvalue()


def test_trials_that_end_together_are_counted_together(console):
    """One line for the four quarters that a group of five is, and not the time left after the first of them."""
    with StudyProgress(console, 10, None) as progress:
        for _ in range(2):
            progress.advance(*(Outcome(str(number)) for number in range(5)))

    lines = console.file.getvalue().splitlines()
    assert [line.split(", ")[:2] for line in lines] == [[f"{n} of 10 trials done", "0 failed"] for n in (5, 10)]


def test_terminal_gets_a_bar_with_counts_and_time_left():
    """Trials done, running, failed and diverged, and the time left."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with StudyProgress(console, 3, 2) as progress:
        progress.advance(Outcome("a"))
        progress.advance(Outcome("b", status="diverged"))

    shown = console.file.getvalue()
    assert "2 of 3 trials done, 1 running, 0 failed, 1 diverged" in shown
    assert " left" in shown
