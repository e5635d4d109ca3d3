"""What a notebook shows: a probe's numbers with figures, and remedies that were tried."""

from gradscope.notebooks.probed import Probe, probe
from gradscope.notebooks.tried import WhatIf, what_if

__all__ = ["Probe", "WhatIf", "probe", "what_if"]
