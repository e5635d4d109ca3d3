"""The page of a run, or of several side by side."""

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from gradscope.diagnosis import Examination, examine
from gradscope.errors import UsageError
from gradscope.reporting.glossary import GLOSSARY
from gradscope.reporting.numbers import counted, listed
from gradscope.reporting.page import check_target, render, write_page
from gradscope.reporting.run_tables import run_table, summary, told
from gradscope.reporting.sections import Section, gates_section, gradient_section, loss_section
from gradscope.reporting.svg import SvgInliner
from gradscope.reporting.weights import clipping_section, made_section, nonfinite_section, parameters_section
from gradscope.runs import Run, open_run
from gradscope.runs.places import Place, PlaceLike, Remote

RunLike: TypeAlias = Run | PlaceLike

_EMPTY = (
    "It holds no recorded gradient, so there is nothing to show about it. A recording is made when the loss has "
    "been sent back through a watched recurrent layer (loss.backward()) and the iteration was ended "
    "(optimizer.step(), or recorder.end_iteration() without an optimizer), in an iteration that the schedule chose."
)


def report(runs: RunLike | Sequence[RunLike], path: PlaceLike) -> Place:
    """Write the page of a run, or of several side by side, one self-contained HTML file.

    Args:
        runs: a run, its folder or URL, or several of them.
        path: of the file, or its URL in an object store; an earlier page there is replaced once the new one is whole.

    Returns:
        The path of the page.

    Raises:
        UsageError: no run was given, the path is a folder, or its folder is missing.
        RunError: a run cannot be read, or the page cannot be written.
    """
    given: list[RunLike] = [runs] if isinstance(runs, (Run, Remote, str, os.PathLike)) else list(runs)
    if not given:
        raise UsageError("A report needs at least one run, got an empty list.")
    target = check_target(path)
    opened = [one if isinstance(one, Run) else open_run(one) for one in given]
    return write_page(_document(named_runs(opened)), target)


def named_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """Return the runs under the shortest names that tell them apart: the ends of their paths.

    Args:
        runs: in the order in which they are shown; one that is given twice is shown once.
    """
    unique = list({run.path.resolve(): run for run in runs}.items())
    for depth in range(1, max(len(path.parts) for path, _ in unique) + 1):
        names = ["/".join(path.parts[-depth:]) for path, _ in unique]
        if len(set(names)) == len(names):
            break
    return dict(zip(names, (run for _, run in unique), strict=True))


def _document(runs: Mapping[str, Run]) -> str:
    examined = {name: examine(run) for name, run in runs.items()}
    body = _body(runs, examined)
    several = len(runs) > 1
    return render(
        "run.html",
        kind="runs, side by side" if several else "run",
        title=listed(list(runs)) if len(runs) <= 3 else f"{counted(len(runs), 'run')}",
        subtitle=_subtitle(runs),
        sections=[("answer", "Findings"), *((s.anchor, s.title) for s in body), ("words", "Words")],
        remarks=_remarks(runs),
        ledes=[(name if several else "", summary(examined[name].findings)) for name, run in runs.items() if _has(run)],
        findings=[
            told(finding, name if several else "") for name, found in examined.items() for finding in found.findings
        ],
        body=body,
        glossary=GLOSSARY,
    )


def _body(runs: Mapping[str, Run], examined: Mapping[str, Examination]) -> list[Section]:
    inliner = SvgInliner()
    beside = [Section("runs", "Side by side", tables=[run_table(runs, examined)])] if len(runs) > 1 else []
    return [
        *beside,
        *gradient_section(runs, examined, inliner),
        *gates_section(runs, inliner),
        *loss_section(runs, inliner),
        *clipping_section(runs, inliner),
        *parameters_section(runs, inliner),
        *nonfinite_section(runs),
        *made_section(runs),
    ]


def _has(run: Run) -> bool:
    return len(run.timesteps) > 0


def _remarks(runs: Mapping[str, Run]) -> list[str]:
    """Return what a reader has to know before trusting the page."""
    remarks = []
    for name, run in runs.items():
        who = name if len(runs) > 1 else "This run"
        if not run.complete:
            last = f" up to iteration {run.iterations['iteration'].max()}" if len(run.iterations) else ""
            remarks.append(f"{who} is still being written, or was killed: the page shows what was on disk{last}.")
        if not _has(run):
            remarks.append(f"{who} is empty. {_EMPTY}" if not len(run.iterations) else f"{who}: {_EMPTY}")
    return remarks


def _subtitle(runs: Mapping[str, Run]) -> str:
    """Return the runs in a few words: what was watched and for how long."""
    if len(runs) > 1:
        return f"{counted(len(runs), 'run')} compared, layer by layer."
    run = next(iter(runs.values()))
    layers = run.metadata.get("layers")
    kinds = [
        f"{layer} ({entry.get('kind', 'unknown')}, {entry.get('input_size', '?')} to {entry.get('hidden_size', '?')})"
        for layer, entry in (layers.items() if isinstance(layers, dict) else ())
        if isinstance(entry, dict)
    ]
    recorded = run.timesteps["iteration"].nunique()
    shown = [*kinds[:4], f"{len(kinds) - 4} more layers"] if len(kinds) > 5 else kinds
    what = f"{listed(shown)}; " if kinds else ""
    return f"{what}{counted(recorded, 'recorded iteration')} of {len(run.iterations)} on disk."
