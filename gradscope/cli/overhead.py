"""`gradscope overhead`: what watching costs on this machine, measured."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gradscope.instrument.overhead.benchmark import Overhead
    from gradscope.instrument.overhead.memory_growth import MemoryGrowth
    from gradscope.instrument.overhead.peer_comparison import PeerRow
    from gradscope.instrument.overhead.trainings import Size
    from gradscope.instrument.source import Exactness

_CELLS = ("RNN", "GRU", "LSTM")
_PEERS_SIZE = "T100N16H64"
_MEMORY_SIZE = "T200N32H128"


@click.command(epilog="Example: gradscope overhead --size T100N32H128 --size T100N16H64L3B")
@click.option(
    "--cell",
    "cells",
    type=click.Choice(_CELLS, case_sensitive=False),
    multiple=True,
    help="Which cell; may be repeated. All three if left out, with --peers and --memory LSTM.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="SIZE",
    help="Times, sequences and hidden units, such as T100N16H64; L3 adds layers, B a second direction. May be "
    "repeated. 'all' are the three usual ones, T100N16H64L3B and T1000N1H64.",
)
@click.option("--repetitions", type=click.IntRange(min=1), default=8, show_default=True, help="Timed turns of each.")
@click.option(
    "--exact",
    type=click.Choice(["bitwise", "rounding"]),
    default="bitwise",
    show_default=True,
    help="As of gradscope.watch: whether a training may round otherwise where that is cheaper.",
)
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    help="Length of the training under the default schedule (200 if left out), or of that with --memory (5000).",
)
@click.option("--device", default="cpu", show_default=True, help="Where to train: cpu, or cuda.")
@click.option("--peers", is_flag=True, help="Time what else one could do to see gradients, and compare what each sees.")
@click.option("--memory", is_flag=True, help="Measure instead how much memory grows while every iteration is recorded.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def command(
    cells: tuple[str, ...],
    sizes: tuple[str, ...],
    repetitions: int,
    iterations: int | None,
    device: str,
    exact: "Exactness",
    peers: bool,
    memory: bool,
    as_json: bool,
) -> None:
    """Measure what watching costs on this machine, on one thread.

    Bare and watched trainings of nn.RNN, nn.GRU and nn.LSTM take turns in one process; what is printed are ratios to
    the bare one. It takes a few minutes at the default length.
    """
    _check(device, peers=peers, memory=memory)
    with _one_thread():
        measured: tuple[Sequence[Any], Callable[[Any], None]]
        if peers:
            chosen = _sizes(sizes or (_PEERS_SIZE,))
            measured = _measure_peers(cells or ("LSTM",), chosen, repetitions, device), _show_peers
        elif memory:
            chosen = _sizes(sizes or (_MEMORY_SIZE,))
            measured = _measure_memory(cells or ("LSTM",), chosen, iterations or 5000), _show_memory
        else:
            lengths = repetitions, iterations or 200
            measured = _measure_all(cells or _CELLS, _sizes(sizes), lengths, device, exact), _show
    rows, show = measured
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        show(rows)


def _check(device: str, *, peers: bool, memory: bool) -> None:
    import torch

    from gradscope.errors import UsageError

    if peers and memory:
        raise UsageError("--peers and --memory are two measurements: ask for one of them.")
    if memory and device != "cpu":
        raise UsageError(f"--memory is about the memory of the CPU, got --device {device}.")
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise UsageError(f"--device expects cpu, or cuda where PyTorch sees a GPU, got {device!r}.")


def _sizes(texts: Sequence[str]) -> "list[Size]":
    from gradscope.instrument.overhead.trainings import MORE_SIZES, SIZES, Size

    if not texts:
        return list(SIZES)
    return [size for text in texts for size in ((*SIZES, *MORE_SIZES) if text == "all" else (Size.parse(text),))]


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=total)
        yield lambda what: progress.update(task, advance=1, description=what)


def _measure_all(
    cells: Sequence[str], sizes: "Sequence[Size]", lengths: tuple[int, int], device: str, exact: "Exactness"
) -> "list[Overhead]":
    from gradscope.instrument.overhead.benchmark import TURNS_OF_DEFAULT, Length, measure

    rows, length = [], Length(*lengths)
    turns = 2 * (length.repetitions + 1) + TURNS_OF_DEFAULT
    with _progress(len(sizes) * len(cells) * turns) as tick:
        for size, cell in product(sizes, cells):
            rows.append(measure(cell, size, length, device, exact, partial(tick, f"{cell} {size}")))
    return rows


def _measure_peers(cells: Sequence[str], sizes: "Sequence[Size]", repetitions: int, device: str) -> "list[PeerRow]":
    from gradscope.instrument.overhead.peer_comparison import compare
    from gradscope.instrument.overhead.peers import PEERS

    rows = []
    with _progress(len(sizes) * len(cells) * len(PEERS)) as tick:
        for row in compare(cells, sizes, repetitions, device):
            tick(row.title)
            rows.append(row)
    return sorted(rows, key=lambda row: ([str(size) for size in sizes].index(row.size), cells.index(row.cell)))


def _measure_memory(cells: Sequence[str], sizes: "Sequence[Size]", iterations: int) -> "list[MemoryGrowth]":
    from gradscope.instrument.overhead.memory_growth import measure_memory

    rows, warm_up = [], min(100, iterations)
    with _progress(len(sizes) * len(cells) * iterations) as tick:
        for size, cell in product(sizes, cells):
            rows.append(measure_memory(cell, size, iterations, warm_up, partial(tick, f"{cell} {size}")))
    return rows


def _print(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], words: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for head in heads:
        table.add_column(head, justify="left" if head in {"cell", "size", "tool", "sees"} else "right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(words)


def _show(rows: "Sequence[Overhead]") -> None:
    cells = [
        (row.cell, row.size, f"{row.bare_milliseconds:.2f} ms", *(f"x{ratio:.3f}" for ratio in ratios))
        for row in rows
        for ratios in [(row.recorded, row.recorded_cpu, row.idle, row.default_schedule)]
    ]
    _print(
        "Time of an iteration, as a ratio to the bare one",
        ("cell", "size", "bare", "recorded", "processors", "idle", "default schedule"),
        cells,
        "recorded: an iteration that is recorded; on CPU a thread of its own works out what came of it, so that this "
        "takes a second processor. processors: the time of all of them. idle: watched and not recorded. "
        "default schedule: a whole training under Budget(0.05). T times, N sequences, H units; PyTorch on one thread.",
    )


def _show_peers(rows: "Sequence[PeerRow]") -> None:
    _print(
        "Time of an iteration, as a ratio to the bare training of the same fused module",
        ("tool", "cell", "size", "ratio", "sees"),
        [(row.title, row.cell, row.size, "" if row.ratio is None else f"x{row.ratio:.2f}", row.sees) for row in rows],
        "sees: what a tool left of one iteration, compared with the gradients dL/dh_t of the first layer in a loop in "
        "float64. Every iteration is recorded by every tool; one thread.",
    )


def _show_memory(rows: "Sequence[MemoryGrowth]") -> None:
    cells = [
        (
            row.cell,
            row.size,
            str(row.iterations),
            *(f"{number:.0f} MB" for number in (row.start_megabytes, row.end_megabytes, row.largest_megabytes)),
            f"{row.growth_megabytes:+.1f} MB",
            f"{row.run_megabytes:.0f} MB",
        )
        for row in rows
    ]
    _print(
        "Resident memory of a training with every iteration recorded",
        ("cell", "size", "iterations", "at first", "at the end", "largest", "growth", "run folder"),
        cells,
        f"at first: after {rows[0].warm_up} iterations. growth: from there to the largest at any moment.",
    )
