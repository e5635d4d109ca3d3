"""What the networks of a study showed, scored or lost of their gradient, over all tasks, as parts of one sentence."""

from collections.abc import Iterator
from itertools import takewhile

import pandas as pd

from gradscope.reporting.answer import reference_clipping
from gradscope.reporting.learning import errors_at_stops, learned, percent, trivial_error
from gradscope.reporting.learning import name as name_of
from gradscope.reporting.measured import told_last
from gradscope.reporting.numbers import after, counted, half_life, listed, number
from gradscope.reporting.tables import JUDGED, tone

_OUTCOMES = {
    "vanishing": "vanishes",
    "exploding": "explodes",
    "marginal": "still arrives",
    "unclear": "stays unclear",
}


def shown_clause(exhibits: pd.DataFrame, settings: pd.DataFrame) -> str:
    """Say how wrong is what the networks of each task showed first, after the first stop and after the last.

    Args:
        exhibits: `Comparison.exhibits`.
        settings: `Comparison.settings`; where they have several tasks, those that showed something are named.

    Returns:
        Empty where nothing was shown.
    """
    if exhibits.empty:
        return ""
    ends = {task: _ends(errors_at_stops(rows)) for task, rows in _tasks(exhibits)}
    several = len(set(settings["task"])) > 1
    alike = len({tuple(found) for found in ends.values()}) == 1
    said = []
    for task, found in ends.items():
        errors = [number(error, 2) + ("" if alike else f" {after(at)}") for at, error in found.items()]
        said.append(listed(errors) + (f" in {task}" if several else ""))
    stops = f"{listed([after(at) for at in next(iter(ends.values()))])}, " if alike else ""
    mean = number(trivial_error(exhibits), 2)
    return f"{exhibits['name'].iloc[0]}: {stops}an error of {', '.join(said)} (always answering the mean: {mean})"


def measured_clauses(shown: pd.DataFrame, settings: pd.DataFrame) -> list[str]:
    """Say what each measure tells of the networks; how all of its words begin is said once.

    Args:
        shown: `Comparison.shown`.
        settings: `Comparison.settings`.

    Returns:
        A clause a measure.
    """
    clauses = []
    for _, rows in told_last(shown).groupby("name", sort=False):
        words = [str(words) for words in rows["told"]]
        begin = _common(words)
        several = len(set(rows["task"])) > 1
        names = [f"{row['task']}, " * several + _setting(row, settings) for _, row in rows.iterrows()]
        ends = [
            each.removeprefix(begin) + (f" ({of})" if len(names) > 1 else "")
            for each, of in zip(words, names, strict=True)
        ]
        clauses.append(begin + (", " if begin else "; ").join(ends))
    return clauses


def scored_clause(settings: pd.DataFrame, scores: pd.DataFrame) -> str:
    """Say how good each setting is at last on data held out, the best first.

    Args:
        settings: `Comparison.settings`.
        scores: `Comparison.scores`.

    Returns:
        Empty where nothing was scored.
    """
    if scores.empty:
        return ""
    known = settings[settings["score"].notna()]
    several = len(set(known["task"])) > 1
    said = [
        f"{percent(row['score'])} with {_setting(row, settings)}" + f" on {row['task']}" * several
        for _, row in known.sort_values("score", ascending=False).iterrows()
    ]
    return f"{next(name for name in known['score_name'] if name)} at the end: {listed(said)}" if said else ""


def judged_clause(settings: pd.DataFrame) -> str:
    """Say of each task in how many settings the gradient vanishes, explodes or arrives, and how many solve it.

    Args:
        settings: `Comparison.settings`.

    Returns:
        Empty where there is no verdict.
    """
    clipping, several = reference_clipping(settings), len(set(settings["task"])) > 1
    clauses = []
    for task, rows in _tasks(settings):
        judged = rows[(rows["clipping"] == clipping) & rows["verdict"].isin(JUDGED)]
        outcomes = pd.Series([tone(*one) for one in zip(judged["verdict"], judged["share_at_lag"], strict=True)])
        which = "without clipping" if clipping == "none" else f"with clipping {clipping}"
        counts = [
            f"{words} in {(outcomes == one).sum()}" for one, words in _OUTCOMES.items() if (outcomes == one).any()
        ]
        if counts:
            counts[0] += f" of {counted(len(judged), 'setting')} {which}"
            lag = f" (lag {judged['lag'].max():.0f})" if judged["lag"].notna().any() else ""
            place = f"on {task}{lag} " if several else ""
            solving = learned(rows)[0].strip(". ")
            clauses.append(f"{place}the gradient {listed(counts)}" + (f", and {solving}" if solving else ""))
    return "; ".join(clauses)


def halving_clause(settings: pd.DataFrame) -> str:
    """Say within how many times the gradient of each setting halves at the end of training.

    Args:
        settings: `Comparison.settings`, of one task.

    Returns:
        Empty where there are several tasks, or there is no verdict.
    """
    known = settings[settings["verdict"].isin(JUDGED) & (settings["rate"] < 0)]
    if known.empty or len(set(settings["task"])) > 1:
        return ""
    halves = [f"{half_life(row['half_life'])} times in {_setting(row, settings)}" for _, row in known.iterrows()]
    return f"at the end the gradient halves every {listed(halves)}"


def _tasks(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for task, rows in table.groupby("task", sort=False):
        yield str(task), rows


def _ends(errors: dict[int, float]) -> dict[int, float]:
    stops = list(errors)
    return {at: errors[at] for at in dict.fromkeys((stops[0], stops[-1]))}


def _setting(row: pd.Series, settings: pd.DataFrame) -> str:
    """Return a setting by its cell alone where no other setting of its task has that cell."""
    own = settings[settings["task"] == row["task"]]
    return str(row["cell"]) if (own["cell"] == row["cell"]).sum() == 1 else name_of(row, own)


def _common(words: list[str]) -> str:
    """Return how all of the words begin, up to a comma or a colon; empty for a single one."""
    alike = takewhile(lambda signs: len(set(signs)) == 1, zip(*words, strict=False)) if len(words) > 1 else ()
    same = "".join(signs[0] for signs in alike)
    return same[: max(same.rfind(sign) for sign in (", ", ": ")) + 2] if ", " in same or ": " in same else ""
