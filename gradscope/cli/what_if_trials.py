"""`gradscope study what-if`: remedies tried on the models of a study, one page."""

import json
import math
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from gradscope import __version__
from gradscope.cli.json_alone import json_alone
from gradscope.cli.places import page_in
from gradscope.errors import GradscopeError

if TYPE_CHECKING:
    from gradscope.reporting.remedies import Subject
    from gradscope.runs.places import Place
    from gradscope.study.spec.loading import Mode
    from gradscope.study.training.what_if import StudyModel

NAME = "what-if"
TITLE = "Remedies, tried"
QUESTION = "Which remedy lets the gradient of a model reach further back, which lowers its loss, and by how much?"
SECONDS, QUICK_SECONDS = 240, 60

_STUDY = "vanishing"
_PART = ("task=adding", "cell=rnn_tanh,lstm")
"""Of that study, where neither a study nor a part is named: what vanishes, and what was made not to."""


def run_what_if(
    of: str | None,
    remedies: Sequence[str],
    out: "Place",
    *,
    mode: "Mode",
    settings: Sequence[str],
    only: Sequence[str],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Try remedies, print what they moved, and write the page.

    Args:
        of: study whose models are tried.
        remedies: what to try; none for the usual ones.
        out: folder of the page.
        mode: quick or default.
        settings: changes of the study's fields.
        only: conditions on its trials.
        dry_run: print what would be trained, and stop.
        as_json: print the tables as JSON on stdout.
    """
    with json_alone(as_json):
        models = _models(of, mode, settings, only)
    from gradscope.remedies.catalogue import find_remedies

    names = [remedy.name for remedy in find_remedies(remedies or None)]
    if dry_run:
        _print_plan(models, names, as_json)
        return
    from gradscope.study.running.place import prepare_folder

    prepare_folder(out)
    target = page_in(out, NAME)
    began = time.perf_counter()
    with json_alone(as_json):
        subjects = _try(models, names)
    from gradscope.reporting.remedies import remedy_page

    page = remedy_page(subjects, _facts(models, time.perf_counter() - began), target)
    if as_json:
        click.echo(json.dumps([_data(subject) for subject in subjects], indent=2))
    else:
        _tell(subjects)
    click.echo(f"report: {page}", err=as_json)


def _models(of: str | None, mode: "Mode", settings: Sequence[str], only: Sequence[str]) -> "list[StudyModel]":
    from gradscope.study.spec.catalogue import find_study
    from gradscope.study.spec.grid import expand_grid
    from gradscope.study.spec.loading import load_study
    from gradscope.study.spec.selection import select_trials

    spec = load_study(find_study(of or _STUDY), mode, settings)
    chosen = only or (_PART if of is None else ())
    trials = select_trials(expand_grid(spec), chosen)
    from gradscope.study.training.what_if import study_models

    return study_models(trials)


def _try(models: "Sequence[StudyModel]", remedies: Sequence[str]) -> "list[Subject]":
    import torch

    from gradscope.reporting.remedies import Subject
    from gradscope.study.training.attempt import one_line
    from gradscope.study.training.what_if import try_on

    threads = torch.get_num_threads()
    # The matrices are small: threads would only wait for one another.
    torch.set_num_threads(1)
    try:
        subjects = []
        for model in models:
            trials = try_on(model, remedies, lambda name, model=model: click.echo(f"{model.name}: {name}", err=True))  # type: ignore[misc]
            subjects.append(Subject(model.name, trials))
        return subjects
    except KeyboardInterrupt:
        raise GradscopeError("interrupted: no report was written") from None
    except GradscopeError:
        raise
    except Exception as error:  # Whatever a user's own cell or task does.
        raise GradscopeError(
            f"{model.name}: {one_line(error)}. No report was written. Keep to others with --only"
        ) from error
    finally:
        torch.set_num_threads(threads)


def _print_plan(models: "Sequence[StudyModel]", remedies: Sequence[str], as_json: bool) -> None:
    count = sum(len(model.seeds) for model in models) * (1 + len(remedies))
    if as_json:
        listed = [{"model": model.name, "seeds": list(model.seeds)} for model in models]
        click.echo(json.dumps({"models": listed, "remedies": list(remedies), "trainings": count}, indent=2))
        return
    for model in models:
        click.echo(f"{model.name}, seeds {', '.join(map(str, model.seeds))}: {', '.join(remedies)}")
    click.echo(f"{count} trainings at most, of {models[0].trial.iterations} iterations")


def _tell(subjects: "Sequence[Subject]") -> None:
    from gradscope.remedies.wording import effect_on_gradient, effect_on_loss, summary

    for subject in subjects:
        click.echo(subject.name)
        for sentence in summary(subject.trials.table):
            click.echo(f"  {sentence}")
        for _, row in subject.trials.table.iloc[1:].iterrows():
            click.echo(f"  {row['remedy']:<18}gradient: {effect_on_gradient(row)}; loss: {effect_on_loss(row)}")
        for each in subject.trials.not_tried:
            click.echo(f"  {each.remedy:<18}not tried: {each.reason}")


def _data(subject: "Subject") -> dict[str, Any]:
    rows = subject.trials.table.to_dict("records")
    return {
        "model": subject.name,
        "remedies": [{str(key): _plain(value) for key, value in row.items()} for row in rows],
        "not_tried": [{"remedy": each.remedy, "reason": each.reason} for each in subject.trials.not_tried],
    }


def _plain(value: object) -> object:
    """Return a value that JSON has: null for NaN and infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _facts(models: "Sequence[StudyModel]", seconds: float) -> dict[str, object]:
    import torch

    trial = models[0].trial
    return {
        "models": [model.name for model in models],
        "seeds": list(models[0].seeds),
        "iterations": trial.iterations,
        "optimizer": f"{trial.optimizer}, learning rate {trial.learning_rate:g}, {trial.batch} sequences",
        "seconds": seconds,
        "gradscope": __version__,
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "machine": platform.machine(),
        "command": shlex.join(["gradscope", *sys.argv[1:]]),
    }
