"""What the user sees while trials run: a bar on a terminal, a few plain lines anywhere else."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from gradscope.study.training.outcome import Outcome

# On a pipe, one line whenever another quarter is done.
_PARTS = 4


class StudyProgress:
    """Counts the trials that are done, running and failed, and guesses the time left.

    Args:
        console: where to show it; a bar if that is a terminal.
        total: trials to run.
        workers: how many run at once; None where nobody knows, since workers come and go or train several together.
    """

    def __init__(self, console: Console, total: int, workers: int | None) -> None:
        self._console = console
        self._total = total
        self._workers = workers
        self._done = self._failed = self._diverged = 0
        self._began = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal and self._total:
            self._bar = Progress(
                SpinnerColumn(),
                BarColumn(bar_width=24),
                TextColumn("{task.description}"),
                _TimeLeft(),
                console=self._console,
                transient=True,
            )
            self._bar.add_task(self._words(), total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, *outcomes: Outcome) -> None:
        """Count trials that have just ended, together."""
        before = self._done
        self._done += len(outcomes)
        self._failed += sum(one.status == "failed" for one in outcomes)
        self._diverged += sum(one.status == "diverged" for one in outcomes)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], advance=len(outcomes), description=self._words())
        elif self._done * _PARTS // self._total > before * _PARTS // self._total:
            taken = time.monotonic() - self._began
            left = taken / self._done * (self._total - self._done)
            when = f"about {left:.0f} s left" if self._done < self._total else f"in {taken:.0f} s"
            self._console.print(f"{self._words()}, {when}", highlight=False, soft_wrap=True)

    def _words(self) -> str:
        left = self._total - self._done
        running = "" if self._workers is None else f", {min(max(self._workers, 1), left)} running"
        diverged = f", {self._diverged} diverged" if self._diverged else ""
        return f"{self._done} of {self._total} trials done{running}, {self._failed} failed{diverged}"


class _TimeLeft(ProgressColumn):
    """The time left, from the mean pace so far: trials of different cells take different times."""

    def render(self, task: Task) -> Text:
        if not task.completed or task.total is None or task.elapsed is None:
            return Text("starting", style="progress.remaining")
        left = round(task.elapsed / task.completed * (task.total - task.completed))
        return Text(f"{left // 60}:{left % 60:02d} left", style="progress.remaining")
