"""What is shown, as JSON says it."""

import json

import numpy as np
import pytest

from gradscope.tasks.shown import Exhibit, Lines, Picture, Sample, as_json, of_kind


@pytest.mark.parametrize(
    ("shown", "kind"),
    [
        (Exhibit("a", np.arange(2.0), np.array([np.nan, 1]), np.array([np.inf, 1])), "curve"),
        (Lines("b", "x", "y", np.arange(2), {"one": np.array([0.5, np.nan])}), "lines"),
        (Picture("c", "x", "y", np.array([[1.0, np.nan], [0.0, 2.0]])), "picture"),
        (Sample("d", "text"), "sample"),
    ],
)
def test_everything_shown_survives_json(shown, kind):
    """Its kind, its name and its numbers; what is not finite is null."""
    said = json.loads(json.dumps(as_json(shown), allow_nan=False))

    assert said["kind"] == kind
    assert said["name"] == shown.name
    assert of_kind([said, {"name": "old"}], kind)[0] == said


def test_missing_numbers_are_none():
    """In a matrix too."""
    assert as_json(Picture("c", "x", "y", np.array([[1.0, np.nan]])))["values"] == [[1.0, None]]


def test_without_a_kind_it_is_a_curve():
    """Outcomes that were written before there were kinds."""
    assert of_kind([{"name": "old"}], "curve") == [{"name": "old"}]
