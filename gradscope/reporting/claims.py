"""Published claims and whether the study reproduced them, as rows to read."""

from dataclasses import dataclass

import pandas as pd

from gradscope.reporting.numbers import counted, listed

_TONES = {"reproduced": "marginal", "contradicted": "exploding", "not told apart": "unclear", "not tried": "mixed"}


@dataclass(frozen=True)
class Claim:
    """One claim, held against one task.

    Attributes:
        text: what was published.
        source: where.
        task: what it was held against; empty where it spans several or none.
        outcome: what came out.
        tone: that, as a colour of the page.
        detail: the numbers.
    """

    text: str
    source: str
    task: str
    outcome: str
    tone: str
    detail: str


def claims(expectations: pd.DataFrame) -> tuple[str, tuple[Claim, ...]]:
    """Return the claims of a study, and what came out of them in a sentence.

    Args:
        expectations: `Comparison.expectations`.

    Returns:
        The sentence, empty without claims; the claims.
    """
    if expectations.empty:
        return "", ()
    found = tuple(
        Claim(
            row["claim"],
            row["source"],
            row["task"],
            row["outcome"],
            _TONES[row["outcome"]],
            row["detail"],
        )
        for _, row in expectations.iterrows()
    )
    counts = expectations["outcome"].value_counts()
    parts = [f"{counts[outcome]} {outcome}" for outcome in _TONES if outcome in counts]
    return f"Of {counted(len(found), 'published claim')} held against these trials: {listed(parts)}.", found
