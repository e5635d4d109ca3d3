"""`gradscope study truth`: the cases with a known answer, and their page. No grid of trainings, so no TOML file."""

import json
import platform
import shlex
import sys
import time
from typing import TYPE_CHECKING

import click

from gradscope import __version__
from gradscope.cli.places import page_in
from gradscope.errors import GradscopeError

if TYPE_CHECKING:
    from gradscope.reporting.truth import CaseResult
    from gradscope.runs.places import Place

NAME = "truth"
TITLE = "Numbers that are known"
QUESTION = "Does gradscope compute what closed forms and publications say?"
SECONDS = 60


def run_truth(out: "Place", *, as_json: bool) -> None:
    """Run all cases, print a line each, and write the page.

    Args:
        out: folder of the page.
        as_json: print every check as JSON on stdout.

    Raises:
        GradscopeError: some number is not as known.
    """
    from gradscope.study.running.place import prepare_folder

    prepare_folder(out)
    target = page_in(out, NAME)
    results = _run_cases()
    from gradscope.reporting.truth import answer, truth_page

    page = truth_page(results, _facts(), target)
    if as_json:
        click.echo(json.dumps(_rows(results), indent=2))
    click.echo(f"report: {page}", err=as_json)
    if any(result.wrong for result in results):
        raise GradscopeError(answer(results))
    click.echo(answer(results), err=as_json)


def _run_cases() -> "list[CaseResult]":
    import torch

    from gradscope.reporting.truth import CaseResult
    from gradscope.truth.catalogue import CASES

    threads = torch.get_num_threads()
    # The matrices are small: threads would only wait for one another.
    torch.set_num_threads(1)
    results = []
    try:
        for case in CASES:
            begun = time.perf_counter()
            outcome = case.run()
            results.append(CaseResult(case, outcome, time.perf_counter() - begun))
            holds = sum(check.holds for check in outcome.checks)
            click.echo(f"{case.code:<4}{case.title}: {holds} of {len(outcome.checks)} hold", err=True)
    except KeyboardInterrupt:
        raise GradscopeError("interrupted: no report was written") from None
    finally:
        torch.set_num_threads(threads)
    return results


def _rows(results: "list[CaseResult]") -> list[dict[str, object]]:
    return [
        {
            "case": result.case.code,
            "what": check.what,
            "expected": check.expected,
            "got": check.got,
            "error": check.error,
            "tolerance": check.tolerance,
            "holds": check.holds,
        }
        for result in results
        for check in result.outcome.checks
    ]


def _facts() -> dict[str, str]:
    import torch

    return {
        "gradscope": __version__,
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "machine": platform.machine(),
        "command": shlex.join(["gradscope", *sys.argv[1:]]),
    }
