"""What an answer in words is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One thing that the study found.

    Attributes:
        kind: the verdict that it is about, or "aside".
        head: its first words, set apart.
        text: the rest.
        lines: a list under it.
    """

    kind: str
    head: str
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskAnswer:
    """What the study found on one task.

    Attributes:
        task: its name.
        lede: the answer in a sentence or two.
        statements: what it rests on, verdict by verdict.
    """

    task: str
    lede: str
    statements: tuple[Statement, ...]
