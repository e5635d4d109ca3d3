"""`gradscope run`: a training script is watched, and stays as it is."""

import itertools
import os
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from gradscope.cli.first_import import when_imported
from gradscope.cli.script import NoScriptError, Script, exit_code, show
from gradscope.errors import GradscopeError, RunError, UsageError

if TYPE_CHECKING:
    from gradscope.instrument import Recorder
    from gradscope.instrument.unchanged.noticing import Noticing
    from gradscope.instrument.unchanged.together import Together

Keep = Literal["norms", "states", "full"]
Exact = Literal["bitwise", "rounding"]


@click.command(
    epilog="Example: gradscope run --out runs/first train.py --epochs 3",
    context_settings={"allow_interspersed_args": False},
)
@click.option("-m", "is_module", is_flag=True, help="SCRIPT is the name of a module, as after python -m.")
@click.option("--out", metavar="RUN", help="Folder or URL of the run. Default: the script's name, in runs.")
@click.option("--every", type=click.IntRange(min=1), metavar="N", help="Record every N-th iteration.")
@click.option("--keep", type=click.Choice(["norms", "states", "full"]), default="states", show_default=True)
@click.option("--exact", type=click.Choice(["bitwise", "rounding"]), default="bitwise", show_default=True)
@click.option("--lag", type=click.IntRange(min=1), metavar="N", help="How many times back the task has to look.")
@click.option("--report", metavar="FILE", help="At the end, write the page of what was recorded.")
@click.argument("script", metavar="SCRIPT")
@click.argument("arguments", nargs=-1, metavar="[ARGS]...", type=click.UNPROCESSED)
def command(
    script: str,
    arguments: tuple[str, ...],
    is_module: bool,
    out: str | None,
    every: int | None,
    keep: Keep,
    exact: Exact,
    lag: int | None,
    report: str | None,
) -> None:
    """Run a training script as python would, and record its recurrent models.

    The script stays as it is, and its training bit-identical; what follows SCRIPT is its own. Each model that holds
    something recurrent is watched from its first training iteration on, as by gradscope.watch, whose words --every,
    --keep and --exact are. The loss is what the script calls backward() on.
    """
    wanted = Script(script, arguments, is_module)
    _check_page(report)
    recording = _Recording(_new_run(out, wanted.name), _Settings(every, keep, exact, lag, script))
    process = os.getpid()
    error = recording.while_running(wanted)
    if os.getpid() == process:  # A fork that comes here is the script's, and ends as it wants to.
        recording.end(error)
        recording.tell(report)
    sys.exit(exit_code(error))  # type: ignore[arg-type]


def _new_run(out: str | None, name: str) -> str:
    """Return where the run goes: chosen before the script begins, so that several processes of it agree.

    Raises:
        RunError: there is something already.
    """
    if out is None:
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return str(next(run for each in names if not (run := Path("runs", each).absolute()).exists()))
    if "://" in out:
        return out
    folder = Path(out).absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if there == folder and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{out} is not an empty folder: give another, or none for a new one in runs")
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise RunError(f"{out} cannot be made: {there} is no folder that you may write to")
    return str(folder)


def _check_page(page: str | None) -> None:
    """See that a page could be written, before a long training.

    Raises:
        UsageError: there is no such folder, or it is one.
    """
    # Without `check_target`, which brings numpy: a script may still set what that reads when it is loaded.
    if page is not None and "://" not in page and (Path(page).is_dir() or not Path(page).absolute().parent.is_dir()):
        raise UsageError(f"--report expects a file in a folder that is there, such as page.html, got {page}")


@dataclass(frozen=True)
class _Settings:
    every: int | None
    keep: Keep
    exact: Exact
    lag: int | None
    script: str

    @property
    def metadata(self) -> dict[str, object]:
        return {"script": self.script, **({} if self.lag is None else {"lag": self.lag})}


class _Recording:
    """What is recorded while a script runs. Nothing of it stops the script.

    Args:
        run: where.
        settings: how.
    """

    def __init__(self, run: str, settings: _Settings) -> None:
        self._run, self._settings = run, settings
        self._noticing: Noticing | None = None
        self._here, self._came_to_its_end = Path.cwd(), True

    def while_running(self, script: Script) -> BaseException | None:
        """Run a script to its end.

        Returns:
            What it ended by, which has been shown; None if it came to its last line.

        Raises:
            NoScriptError: there is none.
        """
        no_longer = when_imported("torch", self._begin)
        try:
            script.run()
        except NoScriptError:
            self.end(None)
            raise
        except BaseException as error:  # noqa: BLE001 - Ctrl-C and sys.exit() are ends of a script too
            show(error)
            return error
        finally:
            no_longer()
        return None

    def _begin(self) -> None:
        try:
            from gradscope.instrument.unchanged.noticing import Noticing

            self._noticing = Noticing(self._watch).__enter__()
        except Exception as error:  # noqa: BLE001 - whatever it is, the script goes on
            _say(f"nothing can be watched; the script goes on. {type(error).__name__}: {error}")

    def _watch(self, together: "Together") -> "Recorder":
        """Watch a model: the first in the folder that was chosen, others beside it.

        Returns:
            Its recorder.

        Raises:
            RunError: the folder cannot be written.
        """
        from gradscope.instrument import watch
        from gradscope.runs.places import as_place, exists

        first, settings = as_place(self._run), self._settings
        number = len(self._noticing.recorders) if self._noticing is not None else 0
        while True:
            number += 1
            run = first if number == 1 else first.parent / f"{first.name}.{number}"
            try:
                return watch(
                    together.model,
                    together.optimizers,
                    run=run,
                    schedule=settings.every,
                    keep=settings.keep,
                    scaler=together.scaler,
                    metadata=settings.metadata,
                    exact=settings.exact,
                )
            except RunError:
                if not exists(run):
                    raise

    def end(self, error: BaseException | None) -> None:
        """Close the runs; those of a script that failed stay incomplete."""
        if self._noticing is not None:
            failed = None if error is None or exit_code(error) in (0, None) else error
            self._came_to_its_end = failed is None
            self._noticing.__exit__(None if failed is None else type(failed), failed, None)

    def tell(self, page: str | None) -> None:
        """Say where the runs are and what to do next; write their page if asked for.

        Args:
            page: where.
        """
        with suppress(OSError, ValueError, AttributeError):  # Closed by the script, or never there.
            sys.stdout.flush()
        others = self._noticing.not_watched if self._noticing is not None else []
        for reason in others:
            _say(reason)
        if self._noticing is not None and self._noticing.recorders:
            self._tell_runs(self._noticing)
        elif not others:
            _say(f"nothing was recorded: {self._why_nothing()}")
        if page is not None and self._noticing is not None and self._noticing.recorders:
            self._write_page(page, self._noticing)

    def _tell_runs(self, noticing: "Noticing") -> None:
        runs = [self._shown(str(each.run)) for each in noticing.recorders]
        named = [f"{run} ({name})" for run, name in zip(runs, noticing.names, strict=True)]
        so_far = "" if self._came_to_its_end else ", as far as the script came"
        _say(f"recorded {', '.join(named)}{so_far}")
        _say(f"next: gradscope diagnose {shlex.quote(runs[0])}; gradscope report {shlex.join(runs)}")

    def _write_page(self, page: str, noticing: "Noticing") -> None:
        from gradscope.reporting import report

        written = page if "://" in page else str(self._here / page)
        try:
            report([str(each.run) for each in noticing.recorders], written)
        except (GradscopeError, OSError) as error:
            _say(f"the page was not written: {error}")
        else:
            _say(f"page: {page}")

    def _why_nothing(self) -> str:
        if self._noticing is None:
            return "the script never imported torch"
        if not self._noticing.optimizers_made:
            return "no optimizer of torch.optim was made in this process"
        return (
            "no model was trained in this process that holds nn.RNN, nn.GRU, nn.LSTM, one of their cells, or a cell "
            "taught by gradscope.register_cell"
        )

    def _shown(self, run: str) -> str:
        inside = "://" not in run and Path(run).is_relative_to(self._here)
        return str(Path(run).relative_to(self._here)) if inside else run


def _say(message: str) -> None:
    click.echo(f"gradscope: {message}", err=True)
