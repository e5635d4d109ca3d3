"""What a run folder holds: the names of its files and the columns of its tables."""

import re
from typing import NamedTuple

FORMAT = 1
"""Version of the layout; a reader refuses what is newer than itself."""

RUN_FILE = "run.json"
"""Describes the run; where several processes train together, the part of the one that began it."""

COMMITTED = b"gradscope.committed"
"""Key, in an iterations part's Parquet metadata, of the parts that it commits."""

_KEYS = {"iteration": "int64", "layer": "string", "call": "int64"}
_MOMENT = {**_KEYS, "time": "int64"}

TABLES: dict[str, dict[str, str]] = {
    "iterations": {
        "iteration": "int64",
        "loss": "double",
        "gradient_norm": "double",
        "clipped_gradient_norm": "double",
        "clip_coefficient": "double",
        "clip_cosine": "double",
        "learning_rate": "double",
        "seconds": "double",
    },
    "timesteps": {
        **_MOMENT,
        "hidden_norm": "double",
        "total_gradient_norm": "double",
        "total_gradient_norm_q10": "double",
        "total_gradient_norm_q90": "double",
        "direct_gradient_norm": "double",
        "weight_gradient_norm": "double",
        "cell_norm": "double",
        "cell_gradient_norm": "double",
        "saturation": "double",
        "nonfinite": "int64",
    },
    "parameters": {
        "iteration": "int64",
        "parameter": "string",
        "gradient_norm": "double",
        "clipped_gradient_norm": "double",
        "weight_norm": "double",
        "update_norm": "double",
        "spectral_radius": "double",
    },
    "gates": {**_MOMENT, "gate": "string", "mean": "double", "low": "double", "high": "double", "log_mean": "double"},
    "states": {**_KEYS, "sequence": "int64", "time": "int64"},
    "nonfinite": {
        "iteration": "int64",
        "quantity": "string",
        "layer": "string",
        "call": "double",
        "time": "double",
        "name": "string",
    },
}
"""Each table's scalar columns in order. iterations may hold more: whatever the user logged."""

LISTS: dict[str, tuple[str, ...]] = {
    "timesteps": ("sequence_norms",),
    "parameters": ("unit_gradient_norms", "unit_weight_norms"),
    "states": ("hidden", "total_gradient"),
}
"""Columns with a list in each row: one entry a sequence (sequence_norms) or a unit (parameters, states)."""

ORDER: dict[str, tuple[str, ...]] = {
    "iterations": ("iteration",),
    "timesteps": ("iteration", "layer", "call", "time"),
    "parameters": ("iteration", "parameter"),
    "gates": ("iteration", "layer", "call", "time", "gate"),
    "states": ("iteration", "layer", "call", "sequence", "time"),
    "nonfinite": ("iteration", "quantity"),
}
"""How each table is sorted; these columns have a value in every row."""

_RANK_FILE = re.compile(r"run\.rank\d+\.json")
_PART = re.compile(rf"({'|'.join(TABLES)})-([0-9a-z]+)-(\d{{6,}})\.parquet")


class Part(NamedTuple):
    """One Parquet file of a run: which table, by which writer, in which flush."""

    table: str
    writer: str
    flush: int

    @property
    def name(self) -> str:
        """File name inside the run folder."""
        return f"{self.table}-{self.writer}-{self.flush:06d}.parquet"


def parse_part(name: str) -> Part | None:
    """Return what a file name says; None if it is not a part's."""
    found = _PART.fullmatch(name)
    return Part(found[1], found[2], int(found[3])) if found else None


def rank_file(rank: int) -> str:
    """Return the name of the file that describes what another process of the same training adds to a run."""
    return f"run.rank{rank}.json"


def is_run_file(name: str) -> bool:
    """Return whether a file of this name describes a run, or one process's part of it."""
    return name == RUN_FILE or _RANK_FILE.fullmatch(name) is not None


def temporary_name(name: str) -> str:
    """Return the name under which a file is written before it is moved into place; readers skip it."""
    return f".{name}.tmp"


def is_ours(name: str) -> bool:
    """Return whether a run's writer could have left a file of this name, finished or not."""
    if name.startswith(".") and name.endswith(".tmp"):
        name = name.removeprefix(".").removesuffix(".tmp")
    return is_run_file(name) or parse_part(name) is not None
