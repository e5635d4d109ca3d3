"""Everything that a study file may name, each with what it is and where it comes from."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from gradscope.cells.cell_table import CELL_TABLE
from gradscope.cells.initialisation_table import INITIALISATION_TABLE, InitialisationEntry
from gradscope.study.spec.choice import written_as
from gradscope.study.spec.clipping_table import CLIPPING_TABLE, ClippingEntry
from gradscope.study.spec.measure_table import MEASURE_TABLE
from gradscope.tasks.task_table import TASK_TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping


class StudyPart(NamedTuple):
    """One thing that a study file may name.

    Attributes:
        name: what the file calls it.
        form: the name with the number that it takes, as `norm(number above 0)`.
        number: what that number is; empty where it takes none.
        meaning: what it is.
        reference: where it comes from; empty where that is nowhere.
    """

    name: str
    form: str
    number: str
    meaning: str
    reference: str


class _Entry(Protocol):
    @property
    def meaning(self) -> str: ...
    @property
    def reference(self) -> str: ...


def study_parts() -> dict[str, list[StudyPart]]:
    """Return the tables by what they hold, with what decorators added to them."""
    tables: dict[str, Mapping[str, _Entry]] = {
        "tasks": TASK_TABLE,
        "cells": CELL_TABLE,
        "initialisations": INITIALISATION_TABLE,
        "clippings": CLIPPING_TABLE,
        "measures": MEASURE_TABLE,
    }
    return {kind: [_part(name, entry) for name, entry in table.items()] for kind, table in tables.items()}


def _part(name: str, entry: _Entry) -> StudyPart:
    reference = "" if entry.reference == "-" else entry.reference
    if isinstance(entry, InitialisationEntry | ClippingEntry):
        return StudyPart(name, written_as(name, entry), entry.argument_meaning, entry.meaning, reference)
    return StudyPart(name, name, "", entry.meaning, reference)
