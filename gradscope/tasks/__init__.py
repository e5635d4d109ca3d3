"""Data for studies, drawn with numpy from a seed."""

from gradscope.tasks.adding import Adding
from gradscope.tasks.characters import Characters
from gradscope.tasks.task import Answer, Batch, Exhibit, Task
from gradscope.tasks.text import digest_text, read_text

__all__ = ["Adding", "Answer", "Batch", "Characters", "Exhibit", "Task", "digest_text", "read_text"]
