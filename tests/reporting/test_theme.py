"""Colours that can be told apart, in both themes and by colour-blind readers."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest

from gradscope.reporting import theme

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    """Return linear RGB of #rrggbb."""
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Return the contrast of WCAG 2."""
    low, high = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Return CIELAB of linear RGB."""
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_contrast_on_the_page(palette: Mapping[str, str]) -> None:
    """Text has 4.5 to 1, lines of figures 3 to 1."""
    text = ["ink", "muted", "link", "vanishing", "exploding", "marginal"]
    assert min(contrast(palette[name], palette["page"]) for name in text) >= 4.5
    lines = [f"series-{index}" for index in range(theme.SERIES)]
    assert min(contrast(palette[name], palette["page"]) for name in lines) >= 3.0


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_series_are_told_apart(palette: Mapping[str, str], sight: str) -> None:
    """Any two lines differ by at least 25 in CIELAB, ten times what can just be seen."""
    seen = [lab(np.array(SIGHT[sight]) @ linear(palette[f"series-{index}"])) for index in range(theme.SERIES)]
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)) >= 25


def test_both_themes_name_the_same_colours() -> None:
    """No variable is missing in the dark."""
    assert set(theme.LIGHT) == set(theme.DARK)


def test_many_lines_differ_in_colour_or_marker() -> None:
    """Where colours begin again the markers have moved on: 36 lines, 36 pairs."""
    assert len({(theme.series(index), theme.marker(index)) for index in range(36)}) == 36


def test_lines_of_one_colour_differ_in_style() -> None:
    """Without markers too: 24 lines, 24 pairs, and as many lines as there are colours are solid."""
    assert len({(theme.series(index), theme.dashes(index)) for index in range(24)}) == 24
    assert {theme.dashes(index) for index in range(theme.SERIES)} == {()}
    assert "-" not in {theme.line_style(index) for index in range(theme.SERIES, 24)}
