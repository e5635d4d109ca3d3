"""From a study to its trials."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from gradscope.errors import GradscopeError, UsageError
from gradscope.study.spec.choice import parse_choices
from gradscope.study.spec.dotted import is_dotted, source_digest
from gradscope.study.spec.study_spec import Block, StudySpec
from gradscope.study.spec.task_settings import digest_of_data, kind_and_options, make_task
from gradscope.study.spec.trial import Trial


def expand_grid(spec: StudySpec) -> list[Trial]:
    """Make the trials: the product of each block's lists, the blocks one after the other, each trial once.

    Args:
        spec: the study.

    Returns:
        Trials in the order of the file.

    Raises:
        UsageError: a task cannot be made, its data not be read; or two blocks train the same setting differently.
    """
    tasks = {name: _task(name, spec) for block in spec.grid for name in block.task}
    trials: dict[str, Trial] = {}
    labels: dict[str, str] = {}
    for block in spec.grid:
        for task, cell, initialisation, clipping, seed in product(
            block.task, block.cell, block.initialisation, block.clipping, block.seed
        ):
            trial = Trial(
                task=task,
                **tasks[task],
                cell=cell,
                initialisation=initialisation,
                clipping=clipping,
                seed=seed,
                **_training(spec, block),
                exhibits=tuple(spec.watch.exhibits),
                measures=tuple(spec.watch.measures),
                modules=tuple(spec.modules),
                folder=spec.folder,
                code_digest=_code(spec, tasks[task]["kind"], cell, initialisation, clipping),
            )
            if labels.setdefault(trial.label, trial.id) != trial.id:
                raise UsageError(
                    f"two [[grid]] blocks train '{trial.label}' differently. Give the task another name in one "
                    f'of them: [task.NAME] with kind = "{tasks[task]["kind"]}"'
                )
            trials[trial.id] = trial
    return list(trials.values())


def _task(name: str, spec: StudySpec) -> dict[str, Any]:
    """Return what a trial keeps of its task, which is made here: what does not fit is refused before anything trains.

    Raises:
        UsageError: it cannot be made, or its lag does not fit into its sequences.
        GradscopeError: likewise, as the task itself says it.
    """
    kind, options = kind_and_options(name, spec.task)
    try:
        task = make_task(kind, options)
        fits = 0 < task.lag < task.length
    except GradscopeError:
        raise
    except Exception as error:  # Whatever a user's own task does.
        raise UsageError(f"task.{name}: {kind} cannot be made: {type(error).__name__}: {error}") from error
    if not fits:
        raise UsageError(
            f"task.{name}: lag {task.lag} does not fit into {task.length} times: expected 1 to {task.length - 1}"
        )
    return {"kind": kind, "options": options, "length": task.length, "data_digest": digest_of_data(kind, options)}


def _training(spec: StudySpec, block: Block) -> Mapping[str, Any]:
    """Return how a block trains: as the study says, where it says nothing else itself."""
    everywhere = {"hidden": spec.model.hidden, "every": spec.watch.every} | spec.training.model_dump()
    return {name: value if (own := getattr(block, name)) is None else own for name, value in everywhere.items()}


def _code(spec: StudySpec, kind: str, *choices: str) -> str:
    cell, *others = choices
    names = [kind, cell, *(choice.name for text in others for choice in parse_choices(text)), *spec.watch.measures]
    return source_digest([*spec.modules, *(name for name in names if is_dotted(name))])
