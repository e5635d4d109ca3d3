"""What a study shows of a network besides its numbers: pictures, lines and texts, as plain values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped


class Exhibit(NamedTuple):
    """The network's answer over the truth.

    Attributes:
        name: what is shown.
        x: position of each point.
        truth: what is right there; NaN where nothing is.
        answer: what the network said; NaN where it was not asked.
    """

    name: str
    x: Float[np.ndarray, " point"]
    truth: Float[np.ndarray, " point"]
    answer: Float[np.ndarray, " point"]


class Lines(NamedTuple):
    """Quantities against another one.

    Attributes:
        name: what is shown.
        x_name: what is across.
        y_name: what is up.
        x: positions.
        lines: name of a line -> its values; NaN where it has none.
        log_y: whether they are to be seen on a logarithmic axis.
        told: the finding in a sentence, from these numbers.
        limits: ends of the axis; None fits it to the values.
    """

    name: str
    x_name: str
    y_name: str
    x: Shaped[np.ndarray, " point"]
    lines: Mapping[str, Shaped[np.ndarray, " point"]]
    log_y: bool = False
    told: str = ""
    limits: tuple[float, float] | None = None


class Picture(NamedTuple):
    """A matrix of sizes, on a logarithmic colour scale.

    Attributes:
        name: what is shown.
        x_name: what its columns are.
        y_name: what its rows are, the first at the bottom.
        values: of row and column; NaN where there is nothing.
        told: the finding in a sentence, from these numbers.
    """

    name: str
    x_name: str
    y_name: str
    values: Shaped[np.ndarray, "row column"]
    told: str = ""


class Sample(NamedTuple):
    """A piece of text that the network wrote.

    Attributes:
        name: how it was written.
        text: the text.
    """

    name: str
    text: str


Shown = Exhibit | Lines | Picture | Sample

_KINDS: Mapping[type, str] = {Exhibit: "curve", Lines: "lines", Picture: "picture", Sample: "sample"}


def as_json(shown: Shown) -> dict[str, Any]:
    """Return what is shown as JSON can say it: its fields and its `kind`; None stands for a number that is missing."""
    return {"kind": _KINDS[type(shown)]} | {name: _plain(value) for name, value in shown._asdict().items()}


def of_kind(shown: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Return those of one kind, of what `as_json` made.

    Args:
        shown: the dictionaries; without a `kind` one is a curve.
        kind: `curve`, `lines`, `picture` or `sample`.
    """
    return [one for one in shown if one.get("kind", "curve") == kind]


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a field holds
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, float):
        # Eight digits are more than a figure shows; a whole outcome stays small.
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return value
