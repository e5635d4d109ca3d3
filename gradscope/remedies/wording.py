"""What a comparison says of each remedy, in words. No torch here."""

import math
from typing import Any

import pandas as pd

from gradscope.analysis.wording import number
from gradscope.remedies.comparing import UNCHANGED_NAME, Change


def change(row: "pd.Series[Any]", column: str) -> Change:
    """Return a row's change in a column."""
    return Change(*(float(row.get(f"{column}_change{end}", math.nan)) for end in ("", "_low", "_high")))


def effect_on_gradient(row: "pd.Series[Any]") -> str:
    """Say what a remedy did to the way back through time.

    Returns:
        For instance `decays more slowly`; of a loss at several times, what became of the horizon.
    """
    if row["remedy"] == UNCHANGED_NAME:
        return ""
    rate = change(row, "rate")
    if not math.isnan(rate.mean):
        return {1: _rate_rose(row, rate), -1: _rate_fell(row, rate), 0: _no_difference(rate)}[rate.moved]
    horizon = change(row, "horizon")
    if math.isnan(horizon.mean):
        return "not measured"
    return {1: "reaches further", -1: "reaches less far", 0: _no_difference(horizon)}[horizon.moved]


def _rate_rose(row: "pd.Series[Any]", rate: Change) -> str:
    if row["rate"] <= 0:
        return "decays more slowly"
    return "grows faster" if row["rate"] - rate.mean > 0 else "grows"


def _rate_fell(row: "pd.Series[Any]", rate: Change) -> str:
    if row["rate"] > 0:
        return "grows more slowly"
    return "no longer grows" if row["rate"] - rate.mean > 0 else "decays faster"


def effect_on_loss(row: "pd.Series[Any]") -> str:
    """Say what a remedy did to the loss.

    Returns:
        For instance `lower`, `diverged in 2 of 5 seeds`.
    """
    if row["diverged"]:
        return f"diverged in {row['diverged']} of {row['seeds']} seeds"
    if row["remedy"] == UNCHANGED_NAME:
        return ""
    loss = change(row, "loss")
    return {1: "higher", -1: "lower", 0: _no_difference(loss)}[loss.moved]


def summary(table: pd.DataFrame) -> list[str]:
    """Say which remedies moved what.

    Args:
        table: of `compare`.

    Returns:
        One sentence on the loss, one on the gradient, and one on what changed nothing.
    """
    tried = table[table["remedy"] != UNCHANGED_NAME]
    if tried.empty:
        return ["No remedy was tried."]
    # Where some seeds diverged, the others alone say nothing good of a remedy.
    lower = _ordered(tried[tried["diverged"] == 0], "loss", rising=True)
    said = [
        _sentence(lower, "The loss came out lower under", "No remedy lowered the loss beyond what the seeds scatter."),
        _on_gradient(tried, grows=bool((table.loc[table["remedy"] == UNCHANGED_NAME, "rate"] > 0).any())),
    ]
    same = tried.loc[tried["identical"], "remedy"].tolist()
    if same:
        said.append(f"Never acted, or changed nothing: {', '.join(same)}.")
    return said


def _on_gradient(tried: pd.DataFrame, *, grows: bool) -> str:
    if tried["rate_change"].isna().all():
        kept = _ordered(tried, "horizon", rising=False)
    elif grows:
        tamed = _ordered(tried, "rate", rising=True)
        return _sentence(tamed, "The gradient grew less under", "None let the gradient grow less on its way back.")
    else:
        kept = _ordered(tried, "rate", rising=False)
    return _sentence(kept, "The gradient reached further back under", "None let the gradient reach further back.")


def _ordered(tried: pd.DataFrame, column: str, *, rising: bool) -> list[str]:
    wanted = -1 if rising else 1
    moved = tried.loc[[change(row, column).moved == wanted for _, row in tried.iterrows()]]
    moved = moved.sort_values(f"{column}_change", ascending=rising)
    return [
        f"{row['remedy']} ({_signed(change(row, column).mean)}, {_signed(change(row, column).low)} to "
        f"{_signed(change(row, column).high)})"
        for _, row in moved.iterrows()
    ]


def _sentence(found: list[str], begin: str, nothing: str) -> str:
    return f"{begin} {', '.join(found)}." if found else nothing


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{number(abs(value))}"


def _no_difference(seen: Change) -> str:
    return "no change" if seen.low == seen.high == 0 else "no difference seen"
