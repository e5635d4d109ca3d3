"""The sections of a run's page about its weights and what was recorded: parameters, clipping, non-finite, metadata."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from gradscope.analysis.clipping import Quantiles, clipping_statistics
from gradscope.reporting.facts import facts
from gradscope.reporting.figures.trends import Trend, trend_panel
from gradscope.reporting.numbers import counted, number, share
from gradscope.reporting.panel import Plate
from gradscope.reporting.run_tables import nonfinite_table
from gradscope.reporting.sections import Section, line_keys
from gradscope.reporting.svg import SvgInliner
from gradscope.runs import Run

MOST_LINES = 12
"""Parameters that are drawn."""

HEALTHY_UPDATE = 1e-3
"""An update of a thousandth of the weight is what trainings that go well tend to show."""


def parameters_section(runs: Mapping[str, Run], inliner: SvgInliner) -> Iterator[Section]:
    """Give the section about parameters: gradient, weight, update.

    Args:
        runs: name -> run.
        inliner: of the page.

    Yields:
        One section, none if no parameter was recorded.
    """
    plates = [
        plate
        for name, run in runs.items()
        if len(run.parameters) and (plate := _parameter_plate(name if len(runs) > 1 else "", run, inliner)).panels
    ]
    if plates:
        yield Section("parameters", "Parameters", plates=plates)


def _parameter_plate(name: str, run: Run, inliner: SvgInliner) -> Plate:
    table = run.parameters
    names = [str(parameter) for parameter in dict.fromkeys(table["parameter"])]
    shown = names[:MOST_LINES]
    rows = table[table["parameter"].isin(shown)].rename(columns={"parameter": "line"})
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = rows["update_norm"] / rows["weight_norm"].where(rows["weight_norm"] > 0)
    trends = (
        Trend("gradient norm", rows.assign(value=rows["gradient_norm"]), shown, "norm, before clipping"),
        Trend("weight norm", rows.assign(value=rows["weight_norm"]), shown, "norm"),
        Trend("update / weight", rows.assign(value=ratio).dropna(subset="value"), shown, "ratio", guide=HEALTHY_UPDATE),
    )
    rest = f" {len(names) - len(shown)} more parameters are not drawn." if len(names) > len(shown) else ""
    return Plate(
        title=name or "Norms of each parameter",
        caption=(
            "Gradient and weight norms of each parameter, and how large each update is beside the weight that it "
            "changes; the dotted level is 0.001. These norms sum over all times: they can look healthy while the "
            "gradient of the "
            "first times is exactly 0." + rest
        ),
        panels=[panel for trend in trends if (panel := trend_panel(trend, inliner)) is not None],
        keys=line_keys(shown),
    )


def clipping_section(runs: Mapping[str, Run], inliner: SvgInliner) -> Iterator[Section]:
    """Give the section about clipping.

    Args:
        runs: name -> run.
        inliner: of the page.

    Yields:
        One section, none if no gradient was seen both before and after clipping.
    """
    pairs, plates = [], []
    for name, run in runs.items():
        found = clipping_statistics(run.iterations)
        if not found.recorded:
            continue
        heading = name if len(runs) > 1 else ""
        if not found.clipped:
            looked = counted(found.recorded, "recorded iteration")
            words = f"Never, in {looked}: the optimiser got the gradients as they were."
            pairs.append((heading, [("Fired", words), ("Gradient norm", _quantiles(found.norm))]))
            continue
        told = [
            (
                "Fired",
                f"in {found.clipped} of {counted(found.recorded, 'recorded iteration')} ({share(found.clipped_share)})",
            ),
            ("Gradient norm before", _quantiles(found.norm)),
            ("Coefficient", _quantiles(found.coefficient)),
            ("Direction kept (cosine)", _quantiles(found.cosine)),
        ]
        pairs.append((heading, told))
        plates.append(_clipping_plate(heading, run, inliner))
    if pairs:
        yield Section("clipping", "Clipping", facts=pairs, plates=plates)


def _quantiles(found: Quantiles) -> str:
    return f"{number(found.median)} (10 % to 90 %: {number(found.q10)} to {number(found.q90)})"


def _clipping_plate(name: str, run: Run, inliner: SvgInliner) -> Plate:
    rows = run.iterations[run.iterations["clip_coefficient"].notna()]
    names = ["before", "after"]
    norms = pd.concat(
        [
            rows[["iteration"]].assign(line=line, value=rows[column])
            for line, column in zip(names, ("gradient_norm", "clipped_gradient_norm"), strict=True)
        ]
    )
    trends = (
        Trend("gradient norm", norms, names, "norm of all parameters"),
        Trend("coefficient", rows.assign(line="before", value=rows["clip_coefficient"]), names, "after / before"),
        Trend(
            "direction kept",
            rows.assign(line="before", value=rows["clip_cosine"]),
            names,
            "cosine",
            logarithmic=False,
            limits=_cosines(rows),
        ),
    )
    return Plate(
        title=name or "Before and after",
        caption=(
            "The norm of the gradient of all parameters before and after clipping, how much it was shortened, and "
            "how much its direction was bent (1: not at all). A coefficient that is always below 1 is no guard "
            "against rare explosions: it sets the size of every step."
        ),
        panels=[panel for trend in trends if (panel := trend_panel(trend, inliner)) is not None],
        keys=line_keys(names),
    )


def _cosines(rows: pd.DataFrame) -> tuple[float, float]:
    """Return limits that show 1 and do not blow up rounding."""
    lowest = float(rows["clip_cosine"].min()) if rows["clip_cosine"].notna().any() else 0.9
    return min(lowest, 0.9) - 0.02, 1.02


def nonfinite_section(runs: Mapping[str, Run]) -> Iterator[Section]:
    """Give the section about values that were not finite.

    Args:
        runs: name -> run.

    Yields:
        One section, none without recordings.
    """
    if not any(len(run.timesteps) or len(run.nonfinite) for run in runs.values()):
        return
    tables = [table for run in runs.values() if (table := nonfinite_table(run)).rows]
    text = "" if tables else "No hidden state and no gradient was NaN or infinite in what was recorded."
    yield Section("finite", "Not finite", text, tables=tables)


_RECORDING = ("schedule", "keep", "recorded", "dropped", "overhead", "dtype", "gradscope", "torch", "python", "started")
_COUNTS = ("iterations logged or recorded", "iterations with gradients")


def made_section(runs: Mapping[str, Run]) -> Iterator[Section]:
    """Give the section about what was recorded, what it cost, and the metadata.

    Args:
        runs: name -> run.

    Yields:
        One section.
    """
    pairs = []
    for name, run in runs.items():
        own = {key: run.metadata[key] for key in _RECORDING if key in run.metadata}
        user = run.metadata.get("user")
        rest = {key: value for key, value in run.metadata.items() if key not in {*_RECORDING, "user", "parameters"}}
        counts = (len(run.iterations), run.timesteps["iteration"].nunique())
        made = {"run": name, **dict(zip(_COUNTS, counts, strict=True)), **_cost(own), **rest}
        pairs.append((name if len(runs) > 1 else "", facts(made)))
        if isinstance(user, Mapping) and user:
            pairs.append((f"Metadata of {name}" if len(runs) > 1 else "Metadata that were given", facts(user)))
    yield Section("made", "What was recorded", facts=pairs)


def _cost(own: dict[str, object]) -> dict[str, object]:
    overhead = own.get("overhead")
    if isinstance(overhead, (int, float)):
        own["overhead"] = f"{share(float(overhead))} of the training's time"
    return own
