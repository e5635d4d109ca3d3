"""Which iterations the clipping rules judge."""

import pandas as pd

from gradscope.runs import Run

_FEWEST = 10


def late_recorded(run: Run) -> pd.DataFrame:
    """Return the later half of the iterations whose clipping was recorded; no rows if that is fewer than ten."""
    recorded = run.iterations[run.iterations["clip_coefficient"].notna()]
    late = recorded.iloc[len(recorded) // 2 :]
    return late if len(late) >= _FEWEST else late.iloc[:0]
