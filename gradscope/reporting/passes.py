"""Scores of tasks that go over the same data again and again, counted in passes (epochs)."""

import pandas as pd

from gradscope.reporting.learning import in_passes, score_name
from gradscope.reporting.learning import name as name_of
from gradscope.reporting.tables import Cell, Table, number_cell

_SETTING = ["cell", "initialisation", "clipping"]


def with_passes(scores: pd.DataFrame, settings: pd.DataFrame) -> pd.DataFrame:
    """Return scores with a column `pass`, from 1, where their task has passes; else as they are.

    Args:
        scores: of `Comparison.scores`, one task.
        settings: of `Comparison.settings`, the same task.
    """
    if not in_passes(settings):
        return scores
    # A score is taken after each pass and at no other time.
    return scores.assign(**{"pass": scores.groupby([*_SETTING, "seed"])["iteration"].rank().astype(int)})


def pass_table(scores: pd.DataFrame, settings: pd.DataFrame) -> Table | None:
    """Return the score after each pass, one column a setting.

    Args:
        scores: of `Comparison.scores`, one task.
        settings: of `Comparison.settings`, the same task.

    Returns:
        Means over the seeds; None where the task has no passes.
    """
    counted = with_passes(scores, settings)
    if "pass" not in counted:
        return None
    names = {tuple(row[_SETTING]): name_of(row, settings) for _, row in settings.iterrows()}
    means = counted.pivot_table(index="pass", columns=_SETTING, values="score", sort=False)
    task, what = str(settings["task"].iloc[0]), score_name(settings)
    rows = tuple(
        (task, (number_cell(str(count), float(count)), *(_percent(value) for value in row)))
        for count, row in zip(means.index, means.to_numpy(float), strict=True)
    )
    heads = (("Pass", ""), *((names[tuple(key)], "") for key in means.columns))
    return Table(heads, rows, f"{task}: {what} after each pass over the data, mean over seeds")


def _percent(value: float) -> Cell:
    return number_cell(f"{100 * value:.1f}\u202f%", value) if value == value else Cell("")
