"""Hooks on live training, and the recorder that ties them together."""

from gradscope.instrument.recorder import Recorder
from gradscope.instrument.schedules import At, Budget, Every, Schedule
from gradscope.instrument.trajectory import Trajectory
from gradscope.instrument.watching import watch

__all__ = ["At", "Budget", "Every", "Recorder", "Schedule", "Trajectory", "watch"]
