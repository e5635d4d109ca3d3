"""What is wrong, the evidence for it and what to try: one rule a file."""

from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.examination import Examination, diagnose, examine
from gradscope.diagnosis.finding import SEVERITIES, Finding, Severity

__all__ = ["SEVERITIES", "Examination", "Finding", "LayerEvidence", "Severity", "diagnose", "examine"]
