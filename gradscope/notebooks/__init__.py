"""What a notebook shows: a probe's numbers with figures."""

from gradscope.notebooks.probed import Probe, probe

__all__ = ["Probe", "probe"]
