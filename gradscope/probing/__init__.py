"""The dynamics of a user's model on a batch of its own: what is measured, as tables."""

from gradscope.probing.measure import ProbeTables, measure_model

__all__ = ["ProbeTables", "measure_model"]
