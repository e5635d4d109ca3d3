"""Data for studies, drawn with numpy from a seed."""

from gradscope.tasks.adding import Adding
from gradscope.tasks.characters import Characters
from gradscope.tasks.shown import Exhibit, Lines, Picture, Sample, Shown
from gradscope.tasks.task import Answer, Batch, Task
from gradscope.tasks.text import digest_text, read_text

__all__ = [
    "Adding",
    "Answer",
    "Batch",
    "Characters",
    "Exhibit",
    "Lines",
    "Picture",
    "Sample",
    "Shown",
    "Task",
    "digest_text",
    "read_text",
]
