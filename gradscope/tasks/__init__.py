"""Data for studies, drawn with numpy from a seed."""

from gradscope.tasks.adding import Adding
from gradscope.tasks.characters import Characters
from gradscope.tasks.task import Batch, Task
from gradscope.tasks.text import digest_text, read_text

__all__ = ["Adding", "Batch", "Characters", "Task", "digest_text", "read_text"]
