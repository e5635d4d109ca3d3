"""From a study to its trials."""

from itertools import product
from pathlib import Path

from gradscope.study.spec import StudySpec
from gradscope.study.trial import Trial
from gradscope.tasks import Characters, digest_text, read_text


def expand_grid(spec: StudySpec) -> list[Trial]:
    """Make the trials: the product of each block's lists, the blocks one after the other, each trial once.

    Args:
        spec: the study.

    Returns:
        Trials in the order of the file.

    Raises:
        UsageError: the study uses a text that cannot be read or learned from.
    """
    path, digest = _text(spec) if any("text" in block.task for block in spec.grid) else ("", "")
    trials = [
        _trial(spec, path, digest, task, cell, initialisation, clipping, seed)
        for block in spec.grid
        for task, cell, initialisation, clipping, seed in product(
            block.task, block.cell, block.initialisation, block.clipping, block.seed
        )
    ]
    return list(dict.fromkeys(trials))


def _text(spec: StudySpec) -> tuple[str, str]:
    """Return the text's absolute path, for workers in other folders, and its digest."""
    given = spec.task.text.path
    text = read_text(given)
    # Made here and thrown away: a window that does not fit must be refused before anything trains.
    Characters(spec.task.text.length, spec.task.text.lag, text)
    return str(Path(given).expanduser().resolve()) if given else "", digest_text(text)


def _trial(
    spec: StudySpec, path: str, digest: str, task: str, cell: str, initialisation: str, clipping: str, seed: int
) -> Trial:
    settings = spec.task.adding if task == "adding" else spec.task.text
    return Trial(
        task=task,
        length=settings.length,
        lag=settings.lag,
        text_path=path if task == "text" else "",
        text_digest=digest if task == "text" else "",
        cell=cell,
        initialisation=initialisation,
        clipping=clipping,
        seed=seed,
        hidden=spec.model.hidden,
        iterations=spec.training.iterations,
        batch=spec.training.batch,
        optimizer=spec.training.optimizer,
        learning_rate=spec.training.learning_rate,
        every=spec.watch.every,
    )
