"""run.json: what a run is, written whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gradscope.errors import RunError
from gradscope.runs.layout import FORMAT, RUN_FILE, is_run_file
from gradscope.runs.places import Place, Remote, exists, read, sizes


@dataclass(frozen=True)
class Manifest:
    """The content of run.json.

    Attributes:
        writer: Name of the writer whose parts belong to the run; parts of earlier attempts are not read.
        metadata: What the writer said about the run.
        complete: Whether the run was closed; False while it is written, and for ever after a crash.
        flushes: How many flushes a complete run has, None before that.
    """

    writer: str
    metadata: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    flushes: int | None = None

    @property
    def rank(self) -> int:
        """Return which process of a training in several wrote it; 0 for a training in one."""
        rank = self.metadata.get("rank")
        return rank if type(rank) is int else 0

    def closed(self, flushes: int, extra: Mapping[str, object]) -> "Manifest":
        """Return the manifest of the finished run, its metadata merged with `extra`."""
        return replace(self, metadata={**self.metadata, **extra}, complete=True, flushes=flushes)


def manifest_content(folder: Place, manifest: Manifest) -> bytes:
    """Return what is written into run.json, or another process's file, of that folder.

    Raises:
        RunError: The metadata cannot be said in JSON.
    """
    content = {
        "format": FORMAT,
        "writer": manifest.writer,
        "complete": manifest.complete,
        "flushes": manifest.flushes,
        "metadata": manifest.metadata,
    }
    try:
        return f"{json.dumps(content, indent=2, default=_plain)}\n".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RunError(f"The metadata of the run {folder} cannot be written as JSON: {error}.") from error


def read_manifests(folder: Place) -> dict[int, Manifest]:
    """Return rank -> what run.json, or that process's file, says, in the order of ranks.

    Raises:
        RunError: There is no run, or a file is not what a writer writes.
    """
    first = read_manifest(folder)
    others = sorted(name for name in sizes(folder) if name != RUN_FILE and is_run_file(name))
    found = {manifest.rank: manifest for manifest in (*(read_manifest(folder, name) for name in others), first)}
    return dict(sorted(found.items()))


def read_manifest(folder: Place, name: str = RUN_FILE) -> Manifest:
    """Return what run.json, or another process's file, says.

    Raises:
        RunError: There is none, or it is not what a writer writes.
    """
    path = folder / name
    try:
        text = read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(_absent(folder)) from None
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror or error}.") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(_damaged(path, f"it is not JSON ({error})")) from None
    return _parse(path, content)


def _parse(path: Place, content: object) -> Manifest:
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise RunError(_damaged(path, 'it has no "format"'))
    if content["format"] > FORMAT:
        raise RunError(
            f"{path} was written by a newer gradscope (format {content['format']}, this one reads up to {FORMAT}): "
            "upgrade with pip install -U gradscope-rnn."
        )
    writer, metadata, flushes = content.get("writer"), content.get("metadata"), content.get("flushes")
    if not isinstance(writer, str) or not isinstance(metadata, dict):
        raise RunError(_damaged(path, 'it has no "writer" or no "metadata"'))
    if flushes is not None and type(flushes) is not int:
        raise RunError(_damaged(path, '"flushes" is not a whole number'))
    return Manifest(writer, metadata, content.get("complete") is True, flushes)


def _absent(folder: Place) -> str:
    if isinstance(folder, Remote):
        what = f"it has no {RUN_FILE}" if exists(folder.bucket) else "there is no such bucket"
        return f"There is no run at {folder}: {what}. Give the URL that watch(run=...) was given."
    if not folder.exists():
        return f"There is no run at {folder}: the folder does not exist. Give the folder that watch(run=...) was given."
    if not folder.is_dir():
        return f"{folder} is a file, not a run folder. Give the folder that watch(run=...) was given."
    inside = sorted(child.parent.name for child in folder.glob(f"*/{RUN_FILE}"))[:3]
    hint = f" It holds runs, though: try {folder / inside[0]}." if inside else ""
    return f"{folder} is not a run folder: it has no {RUN_FILE}.{hint}"


def _damaged(path: Place, why: str) -> str:
    return (
        f"{path} is damaged: {why}. gradscope writes this file whole or not at all, so something else changed it; "
        "restore it from a copy, or record the run again."
    )


def _plain(value: object) -> object:
    # numpy scalars and arrays become numbers, everything else that JSON does not know its text.
    to_list = getattr(value, "tolist", None)
    return to_list() if callable(to_list) else str(value)
