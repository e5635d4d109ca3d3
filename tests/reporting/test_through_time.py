"""Total beside direct gradient, drawn."""

import math
from collections.abc import Sequence

import pandas as pd
import pytest

from gradscope.reporting.figures.through_time import gradient_plate
from gradscope.reporting.panel import Plate
from gradscope.reporting.svg import SvgInliner


def _plate(direct: Sequence[float], phases: Sequence[str] = ("end",)) -> Plate:
    rows = {"lag": [0, 1, 2], "total_gradient_norm": [1.0, 0.5, 0.2], "direct_gradient_norm": direct}
    tables = [pd.DataFrame(rows | {"phase": phase}) for phase in phases]
    return gradient_plate({"l0": pd.concat(tables)}, SvgInliner())


@pytest.mark.parametrize(
    ("direct", "keys", "alone", "unknown"),
    [
        ([1.0, 0.0, 0.0], ["total gradient", "direct gradient"], True, False),
        ([1.0, 0.4, 0.1], ["total gradient", "direct gradient"], False, False),
        ([1.0, math.nan, 0.0], ["total gradient", "direct gradient"], True, True),
        ([math.nan] * 3, ["total gradient"], False, True),
    ],
    ids=["one answer", "an answer at every time", "some unknown", "states from a tap"],
)
def test_only_what_is_drawn_is_explained(direct: list[float], keys: list[str], alone: bool, unknown: bool) -> None:
    """No entry for a line that is not there, and no reading that does not hold."""
    plate = _plate(direct)
    assert [key.label for key in plate.keys] == keys
    assert ("through time alone" in plate.caption) is alone
    assert ("not known" in plate.caption) is unknown
    assert ("the direct one is unknown" in plate.panels[0].svg) is (len(keys) == 1)


def test_phases_are_told_apart_where_there_are_two() -> None:
    """The end alone needs no entry."""
    assert [key.label for key in _plate([0.0] * 3, ("start", "end")).keys[1:]] == ["end of training", "start"]
    assert "the first and the last quarter" in _plate([0.0] * 3, ("start", "end")).caption
    assert "the first and" not in _plate([0.0] * 3).caption
