"""Hooks on live training, and the recorder that ties them together."""

from gradscope.instrument.probes import ProbeAt
from gradscope.instrument.recorder import Recorder
from gradscope.instrument.schedules import At, Budget, Every, Schedule
from gradscope.instrument.trajectory import Trajectory
from gradscope.instrument.watching import watch

__all__ = ["At", "Budget", "Every", "ProbeAt", "Recorder", "Schedule", "Trajectory", "watch"]
