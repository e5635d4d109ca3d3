"""See how gradients travel back through time while a recurrent model trains.

The names below are the public ones. They load on first use, so that `gradscope --help` does not wait for torch and
reading a report on a laptop never imports it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradscope.cells.step_functions import register_cell
    from gradscope.diagnosis import Finding, diagnose
    from gradscope.errors import GradscopeError, RunError, UsageError
    from gradscope.instrument import At, Budget, Every, ProbeAt, Recorder, Trajectory, watch
    from gradscope.notebooks import Probe, WhatIf, probe, what_if
    from gradscope.reporting import report
    from gradscope.runs import Run, open_run

__version__ = "0.1.0"

_HOME = {
    "watch": "gradscope.instrument",
    "Recorder": "gradscope.instrument",
    "Trajectory": "gradscope.instrument",
    "Every": "gradscope.instrument",
    "At": "gradscope.instrument",
    "Budget": "gradscope.instrument",
    "ProbeAt": "gradscope.instrument",
    "open_run": "gradscope.runs",
    "Run": "gradscope.runs",
    "register_cell": "gradscope.cells.step_functions",
    "diagnose": "gradscope.diagnosis",
    "Finding": "gradscope.diagnosis",
    "report": "gradscope.reporting",
    "probe": "gradscope.notebooks",
    "Probe": "gradscope.notebooks",
    "what_if": "gradscope.notebooks",
    "WhatIf": "gradscope.notebooks",
    "GradscopeError": "gradscope.errors",
    "UsageError": "gradscope.errors",
    "RunError": "gradscope.errors",
}

__all__ = [
    "At",
    "Budget",
    "Every",
    "Finding",
    "GradscopeError",
    "Probe",
    "ProbeAt",
    "Recorder",
    "Run",
    "RunError",
    "Trajectory",
    "UsageError",
    "WhatIf",
    "diagnose",
    "open_run",
    "probe",
    "register_cell",
    "report",
    "watch",
    "what_if",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    if name not in _HOME:
        raise AttributeError(f"module 'gradscope' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
