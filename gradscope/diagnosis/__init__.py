"""What is wrong, the evidence for it and what to try: one rule a file."""

from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.examination import Examination, diagnose, examine
from gradscope.diagnosis.finding import SEVERITIES, Finding, Severity
from gradscope.diagnosis.story import Event, story

__all__ = [
    "SEVERITIES",
    "Event",
    "Examination",
    "Finding",
    "LayerEvidence",
    "Severity",
    "diagnose",
    "examine",
    "story",
]
