"""Reports: one self-contained HTML file for a run, for several side by side, and for a study."""

from gradscope.reporting.run import report
from gradscope.reporting.study import study_page

__all__ = ["report", "study_page"]
