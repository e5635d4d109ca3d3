"""What a rule has to say."""

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["info", "warning", "error"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From harmless to harmful."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing, in a run.

    Attributes:
        code: Stable name in kebab case, for scripts.
        severity: "info", "warning" or "error".
        layer: The layer it is about; None for the whole run.
        message: What was found, in words with numbers.
        evidence: The numbers it rests on, by name.
        advice: What to try, the most promising first.
        meaning: What that does to the training.
        reference: Where this is shown or argued, or what proposed the remedy.
        iteration: The recorded iteration from which on it holds; None where it holds of the run as a whole.
    """

    code: str
    severity: Severity
    layer: str | None
    message: str
    evidence: dict[str, float | int | str] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    meaning: str = ""
    reference: str = ""
    iteration: int | None = None
