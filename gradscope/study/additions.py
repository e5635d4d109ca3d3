"""Decorators by which a user's own tasks, cells, initialisations, clippings and measures get a name in study files."""

from gradscope.cells.cell_table import add_cell
from gradscope.cells.initialisation_table import add_initialisation
from gradscope.study.spec.clipping_table import add_clipping
from gradscope.study.spec.measure_table import add_measure
from gradscope.tasks.task_table import add_task

__all__ = ["add_cell", "add_clipping", "add_initialisation", "add_measure", "add_task"]
