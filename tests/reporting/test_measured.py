"""What was measured of networks, on the page."""

import re

import numpy as np
import pandas as pd

from gradscope.reporting.figures.measured import lines_plate, picture_plate
from gradscope.reporting.measured import lede, measured_plates, told, written
from gradscope.reporting.svg import SvgInliner
from gradscope.reporting.theme import ZERO
from gradscope.tasks.shown import Lines, Picture, Sample, as_json

SETTINGS = pd.DataFrame({"task": "adding", "cell": ["lstm", "gru"], "initialisation": "default", "clipping": "none"})


def _lines(**changes):
    x = np.arange(1, 5)
    return Lines("error", "length", "share", x, {"measured": 0.5**x, "known": 0.5**x}, told="it halves")._replace(
        **changes
    )


def _shown(*found, cell="lstm", seed=0):
    rows = []
    for at, one in found:
        content = as_json(one)
        setting = {"task": "adding", "cell": cell, "initialisation": "default", "clipping": "none", "seed": seed}
        named = {"kind": content["kind"], "name": one.name, "iterations": at, "told": content.get("told", "")}
        rows.append(setting | named | {"content": content})
    return rows


def test_each_stop_has_a_panel_and_only_the_first_seed_is_drawn():
    """Two stops of one network; the second seed is left out."""
    shown = pd.DataFrame(_shown((0, _lines()), (200, _lines())) + _shown((0, _lines()), seed=1))

    (plate,) = measured_plates(shown, SETTINGS, SvgInliner())

    assert plate.title == "adding: error"
    assert [panel.title for panel in plate.panels] == [
        "lstm default, before training",
        "lstm default, after 200 iterations",
    ]


def test_what_is_known_is_dashed_and_has_the_colour_of_what_was_measured():
    """So that the two are seen to belong together."""
    plate = lines_plate("t", {"a": as_json(_lines(log_y=True))}, "adding", SvgInliner())

    keys = {key.label: (key.index, key.dashed) for key in plate.keys}
    assert keys == {"measured": (0, False), "known": (0, True)}
    assert "measured from 0.50 to 0.062" in plate.panels[0].svg


def test_given_limits_are_kept():
    """Gates between 0 and 1, however little they move."""
    plate = lines_plate("t", {"a": as_json(_lines(limits=(0.0, 1.0)))}, "adding", SvgInliner())

    labels = set(re.findall(r">([\d.]+)</text>", plate.panels[0].svg))
    assert {"0", "1"} <= labels


def test_lines_that_would_be_flat_have_a_scale_of_their_own():
    """States before training, beside those after it; the panel says so."""
    x = np.arange(1, 5)
    panels = {name: as_json(_lines(lines={"unit 0": scale * x})) for name, scale in (("before", 0.002), ("after", 0.2))}
    before, after = lines_plate("t", panels, "adding", SvgInliner()).panels

    assert before.note == "On a scale of its own."
    assert ">0.2</text>" not in before.svg
    assert after.note == ""
    # Given limits stay: how open a gate is, is read from 0 to 1.
    given = {name: one | {"limits": [0.0, 1.0]} for name, one in panels.items()}
    assert [panel.note for panel in lines_plate("t", given, "adding", SvgInliner()).panels] == ["", ""]


def test_a_picture_sets_zeros_apart_and_leaves_out_what_is_missing():
    """The scale says so; its ends are those of the numbers."""
    values = np.array([[1.0, np.nan], [0.0, 1e-3]])

    plate = picture_plate("t", {"a": as_json(Picture("p", "k", "t", values))}, "adding", SvgInliner())

    assert plate.scale.zero
    assert not plate.scale.missing
    assert {label for _, label in plate.scale.ticks} >= {"0.01", "0.1"}
    assert "2 by 2; the largest is 1.0." in plate.panels[0].svg
    assert ZERO.startswith("#")


def test_the_last_stop_is_told():
    """One line a network; the lede holds the first two, and where there are no more that is all."""
    rows = _shown((0, _lines(told="before")), (200, _lines(told="after"))) + _shown((200, _lines()), cell="gru")
    more = rows + _shown((200, _lines(told="it stays")), cell="janet")

    statement = told(pd.DataFrame(more), SETTINGS)

    assert statement.lines == ("lstm default: after", "gru default: it halves", "janet default: it stays")
    assert told(pd.DataFrame(rows), SETTINGS) is None
    assert lede(pd.DataFrame(rows), SETTINGS) == "lstm default: after; gru default: it halves. "
    assert told(pd.DataFrame(rows).head(0), SETTINGS) is None


def test_texts_of_the_first_network_are_shown_at_all_stops_of_others_at_the_last():
    """So that a page shows how writing was learned, and stays short."""
    texts = [(at, Sample("temperature 0.5", f"text {at}")) for at in (100, 200)]
    rows = pd.DataFrame(_shown(*texts) + _shown(*texts, cell="gru") + _shown(*texts, seed=1))

    entries = written(rows, SETTINGS)

    assert [entry.title for entry in entries] == [
        "lstm default, after 100 iterations",
        "lstm default, after 200 iterations",
        "gru default, after 200 iterations",
    ]
    assert entries[0].texts == (("temperature 0.5", "text 100"),)
    assert written(rows.head(0), SETTINGS) == ()
