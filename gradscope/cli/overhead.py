"""`gradscope overhead`: what watching costs on this machine, measured."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gradscope.instrument.benchmark import Overhead


@click.command(epilog="Example: gradscope overhead --repetitions 20 --iterations 100")
@click.option(
    "--repetitions", type=click.IntRange(min=1), default=40, show_default=True, help="Timed turns of each cell."
)
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Length of the training under the default schedule.",
)
@click.option("--device", default="cpu", show_default=True, help="Where to train: cpu, or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def command(repetitions: int, iterations: int, device: str, as_json: bool) -> None:
    """Measure what watching costs on this machine, on one thread.

    Bare and watched trainings of nn.RNN, nn.GRU and nn.LSTM take turns in one process; what is printed are ratios to
    the bare one. It takes a few minutes at the default length.
    """
    rows = _measure_all(repetitions, iterations, device)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        _print_table(rows)


def _measure_all(repetitions: int, iterations: int, device: str) -> "list[Overhead]":
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from gradscope.errors import UsageError
    from gradscope.instrument.benchmark import CELLS, SIZES, Length, measure

    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise UsageError(f"--device expects cpu, or cuda where PyTorch sees a GPU, got {device!r}.")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    rows = []
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("measuring", total=len(SIZES) * len(CELLS) * (2 * (repetitions + 3) + iterations))
            for size in SIZES:
                for cell in CELLS:
                    progress.update(task, description=f"{cell} {size}")
                    length = Length(repetitions, iterations)
                    rows.append(measure(cell, size, length, device, tick=lambda: progress.advance(task)))
    finally:
        torch.set_num_threads(threads)
    return rows


def _print_table(rows: "list[Overhead]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("cell", "size", title="Time of an iteration, as a ratio to the bare one", title_justify="left")
    for name in ("bare", "recorded", "idle", "default schedule"):
        table.add_column(name, justify="right")
    for row in rows:
        ratios = (f"x{ratio:.3f}" for ratio in (row.recorded, row.idle, row.default_schedule))
        table.add_row(row.cell, row.size, f"{row.bare_milliseconds:.2f} ms", *ratios)
    console = Console()
    console.print(table)
    console.print(
        "recorded: an iteration that is recorded. idle: one that is watched and not recorded. "
        "default schedule: a whole training under Budget(0.05). T times, N sequences, H units; one thread."
    )
