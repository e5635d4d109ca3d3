"""One run folder for several processes that train together, as under DistributedDataParallel.

Each process writes parts of its own. Which of them begins the run is settled by the store of the process group: the one
that comes first. So nobody waits for a process that does not watch, and no collective is called.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from torch import distributed

from gradscope.errors import RunError
from gradscope.runs import RunWriter
from gradscope.runs.places import Place

_PATIENCE = timedelta(seconds=60)
"""How long the others wait for the first to begin: it writes one small file."""
_BEGUN = "begun "
_times_begun: Counter[str] = Counter()


def begin_or_join(folder: Place, metadata: Mapping[str, object], *, overwrite: bool) -> RunWriter:
    """Return a writer to a run that is new, or that another process of this training has just begun.

    Args:
        folder: of the run.
        metadata: of the run; in a process group, rank and number of ranks are added.
        overwrite: replace a run that was there before.

    Raises:
        RunError: a run was there before, the folder cannot be written, or the processes do not share it.
    """
    store = _store()
    if store is None:
        return RunWriter(folder, metadata, overwrite=overwrite)
    rank = distributed.get_rank()
    metadata = {**metadata, "rank": rank, "ranks": distributed.get_world_size()}
    place = str(folder.absolute())
    key = f"gradscope/{place}/{_times_begun[place]}"
    _times_begun[place] += 1
    if store.add(f"{key}/arrived", 1) == 1:
        return _begin(store, key, folder, metadata, overwrite=overwrite)
    token = _wait(store, key, folder)
    writer = RunWriter(folder, metadata, joins=rank)
    if not writer.shares_folder_with(token):
        raise RunError(
            f"The process of rank {rank} does not see the run that another process has begun in {folder}. Give a "
            "folder on a disk that all processes share, or a folder of its own to each, named by its rank."
        )
    return writer


def _store() -> Any:  # noqa: ANN401 - PyTorch's stores are written in C++
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return None
    return distributed.distributed_c10d._get_default_store()


def _begin(
    store: Any,  # noqa: ANN401
    key: str,
    folder: Place,
    metadata: Mapping[str, object],
    *,
    overwrite: bool,
) -> RunWriter:
    said = f"The process of rank {metadata['rank']} was stopped before it had begun the run {folder}."
    try:
        writer = RunWriter(folder, metadata, overwrite=overwrite)
        said = _BEGUN + writer.token
    except RunError as error:
        said = str(error)
        raise
    finally:
        store.set(f"{key}/said", said)
    return writer


def _wait(store: Any, key: str, folder: Place) -> str:  # noqa: ANN401
    try:
        store.wait([f"{key}/said"], _PATIENCE)
    except RuntimeError as error:
        raise RunError(
            f"Waited {_PATIENCE.seconds} s for another process to begin the run {folder}. {error}"
        ) from error
    said: str = store.get(f"{key}/said").decode()
    if not said.startswith(_BEGUN):
        raise RunError(said)
    return said.removeprefix(_BEGUN)
