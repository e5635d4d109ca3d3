"""How a comparison was made: what a reader needs to make it again."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version

import gradscope
from gradscope.study.spec.trial import Trial

_PACKAGES = ("torch", "numpy", "pandas", "dask")


def versions() -> dict[str, str]:
    """Return the versions that the numbers may depend on."""
    packages = {name: version(name) for name in _PACKAGES}
    return {"gradscope": gradscope.__version__, "python": sys.version.split()[0], **packages}


def machine() -> dict[str, str | int]:
    """Return what ran it: system, processor and cores; no name that would tell whose machine it is."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
    }


def seeds(trials: Sequence[Trial]) -> list[int]:
    """Return the seeds in use."""
    return sorted({trial.seed for trial in trials})


def _processor() -> str:
    """Return the processor's name; platform.processor() is empty on most Linux systems."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - no folder of the user's
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
