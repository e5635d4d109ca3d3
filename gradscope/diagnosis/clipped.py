"""Which iterations the clipping rules judge, and what they advise."""

import numpy as np
import pandas as pd

from gradscope.analysis.clip_recommendation import ClipRecommendation, recommend_threshold
from gradscope.analysis.clipping import CLIPPED_BELOW
from gradscope.analysis.counterfactual import logged_norms
from gradscope.analysis.onset import first_lasting
from gradscope.runs import Run

_FEWEST = 10


def clip_recorded(run: Run) -> pd.DataFrame:
    """Return the iterations whose clipping was recorded."""
    return run.iterations[run.iterations["clip_coefficient"].notna()]


def late_recorded(run: Run) -> pd.DataFrame:
    """Return the later half of the iterations whose clipping was recorded; no rows if that is fewer than ten."""
    recorded = clip_recorded(run)
    late = recorded.iloc[len(recorded) // 2 :]
    return late if len(late) >= _FEWEST else late.iloc[:0]


def clips(run: Run) -> bool:
    """Return whether any gradient of the later half of those recorded was clipped."""
    recorded = clip_recorded(run)
    return bool((recorded["clip_coefficient"].iloc[len(recorded) // 2 :] < CLIPPED_BELOW).any())


def clipped_since(run: Run) -> int | None:
    """Return the first iteration that was clipped, and the next recorded one too."""
    recorded = clip_recorded(run)
    clipped = recorded["clip_coefficient"].to_numpy(dtype=np.float64) < CLIPPED_BELOW
    return first_lasting(recorded["iteration"].tolist(), clipped)


def recommendation(run: Run) -> ClipRecommendation | None:
    """Return the threshold that the logged norms recommend; None if there are too few."""
    return recommend_threshold(logged_norms(run.iterations))
