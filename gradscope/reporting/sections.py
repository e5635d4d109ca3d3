"""The sections of a run's page; one that has nothing to show is left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from gradscope.diagnosis import Examination, LayerEvidence
from gradscope.reporting.figures.heatmap import heatmap_plate
from gradscope.reporting.figures.lags import CAPTION_OF_RUNS, Frame, ceiling, lag_plate
from gradscope.reporting.figures.losses import loss_plate
from gradscope.reporting.figures.through_time import gate_plate, gradient_plate
from gradscope.reporting.figures.trends import Trend, trend_panel
from gradscope.reporting.numbers import counted
from gradscope.reporting.panel import Key, Panel, Plate
from gradscope.reporting.phases import in_phases, lag_table, newest_calls, recorded_layers, with_lag
from gradscope.reporting.run_tables import layer_table
from gradscope.reporting.svg import SvgInliner
from gradscope.reporting.tables import Table
from gradscope.runs import Run

MOST_LAYERS = 12
"""Layers that are drawn; the table names all of them."""
_OWN_COLUMNS = {
    "iteration",
    "loss",
    "gradient_norm",
    "clipped_gradient_norm",
    "clip_coefficient",
    "clip_cosine",
    "learning_rate",
    "seconds",
}


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        anchor: its id.
        title: its heading.
        text: a paragraph under it.
        tables: then these tables,
        plates: then these figures,
        facts: then these (heading, names and values).
    """

    anchor: str
    title: str
    text: str = ""
    tables: Sequence[Table] = field(default_factory=tuple)
    plates: Sequence[Plate] = field(default_factory=tuple)
    facts: Sequence[tuple[str, Sequence[tuple[str, str]]]] = field(default_factory=tuple)


def gradient_section(
    runs: Mapping[str, Run], examined: Mapping[str, Examination], inliner: SvgInliner
) -> Iterator[Section]:
    """Give the section about the gradient through time: how far it reaches in each layer, and how that changes.

    Args:
        runs: name -> run.
        examined: run name -> what was found in it.
        inliner: of the page.

    Yields:
        One section, none without recordings.
    """
    layers = list(dict.fromkeys(layer.layer for found in examined.values() for layer in found.layers))
    if not layers:
        return
    hidden = len(layers) - MOST_LAYERS
    text = f"The figures show the first {MOST_LAYERS} of {len(layers)} layers." if hidden > 0 else ""
    plates = [
        *_lag_plates(examined, layers[:MOST_LAYERS], inliner),
        *_time_plates(runs, examined, layers[:MOST_LAYERS], inliner),
    ]
    yield Section("gradient", "Gradient through time", text, tables=[layer_table(examined)], plates=plates)


def _lag_plates(examined: Mapping[str, Examination], layers: Sequence[str], inliner: SvgInliner) -> Iterator[Plate]:
    lags = lag_table(examined, layers)
    if lags.empty:
        return
    wanted = {layer.lag for found in examined.values() for layer in found.layers} - {None}
    lag = float(next(iter(wanted)) or 0) if len(wanted) == 1 else np.nan
    frame = Frame(list(examined), lag, ceiling(lags))
    yield lag_plate(lags, "Share of the gradient against lag", frame, inliner, CAPTION_OF_RUNS)


def _time_plates(
    runs: Mapping[str, Run], examined: Mapping[str, Examination], layers: Sequence[str], inliner: SvgInliner
) -> Iterator[Plate]:
    """Yield the figures over time: a panel a layer for one run; for several, a figure a layer and a panel a run."""
    if len(runs) == 1:
        (name,) = runs
        panels = {layer.layer: (name, layer) for layer in examined[name].layers if layer.layer in layers}
        yield from _time_pair("", panels, runs, inliner)
        return
    for chosen in layers:
        panels = {name: (name, layer) for name in runs for layer in examined[name].layers if layer.layer == chosen}
        yield from _time_pair(f"{chosen}: ", panels, runs, inliner)


def _time_pair(
    prefix: str, panels: Mapping[str, tuple[str, LayerEvidence]], runs: Mapping[str, Run], inliner: SvgInliner
) -> Iterator[Plate]:
    """Yield total beside direct gradient, and the gradient through training; panel title -> (run, layer)."""
    rows = {title: newest_calls(runs[name].timesteps, layer.layer) for title, (name, layer) in panels.items()}
    # Where sequences end at different times a time of the batch is no lag: there shares against lag say it all.
    phased = {
        title: in_phases(runs[name], layer.layer, with_lag(rows[title], layer.layer))
        for title, (name, layer) in panels.items()
        if not layer.ends_differ
    }
    where = {title: words for title, (_, layer) in panels.items() if (words := _where(layer))}
    plates = [gradient_plate(phased, inliner)] if phased else []
    for plate in (*plates, heatmap_plate("Through training", rows, inliner, where=where)):
        yield replace(plate, title=prefix + plate.title)


def _where(layer: LayerEvidence) -> str:
    """Return where the loss enters a layer, empty if it does so at the last time alone."""
    if layer.loss_times > 1:
        return f"the loss enters at {layer.loss_times} times"
    if layer.ends_differ:
        return "the loss is at each sequence's own end"
    rows = layer.timesteps
    last = rows.groupby(["iteration", "call"])["time"].transform("max")
    entered = rows.loc[rows["direct_gradient_norm"].ne(0) & rows["direct_gradient_norm"].notna(), "time"]
    if entered.eq(last[entered.index]).all():
        return ""
    at = entered.unique()
    if len(at) > 1:
        return "the loss is before the end"
    return f"the loss is at time {at[0]}" if at[0] else "the loss is at the bottom"


def gates_section(runs: Mapping[str, Run], inliner: SvgInliner) -> Iterator[Section]:
    """Give the section about gates.

    Args:
        runs: name -> run.
        inliner: of the page.

    Yields:
        One section, none if no layer has gates.
    """
    plates = []
    for name, run in runs.items():
        seen = set(run.gates["layer"])
        for layer in [layer for layer in recorded_layers(run) if layer in seen][:MOST_LAYERS]:
            rows = in_phases(run, layer, newest_calls(run.gates, layer))
            gates = [(str(gate), table) for gate, table in rows.groupby("gate", sort=False)]
            title = f"{name}: {layer}" if len(runs) > 1 else layer
            if gates:
                plates.append(gate_plate(title, gates, inliner))
    if plates:
        yield Section("gates", "Gates", plates=plates)


def loss_section(runs: Mapping[str, Run], inliner: SvgInliner) -> Iterator[Section]:
    """Give the section about the loss and whatever else was logged.

    Args:
        runs: name -> run.
        inliner: of the page.

    Yields:
        One section, none if nothing was logged.
    """
    parts = [
        run.iterations[["iteration", "loss"]].dropna().assign(panel="loss", series=name, seed=0)
        for name, run in runs.items()
    ]
    logged_losses = pd.concat(parts, ignore_index=True)
    losses = logged_losses[np.isfinite(logged_losses["loss"].to_numpy(float))]
    infinite = len(logged_losses) - len(losses)
    plates = []
    if len(losses):
        plate = loss_plate(losses, "Loss", list(runs), np.nan, "", inliner)
        panels = [replace(panel, title="") for panel in plate.panels]
        caption = "As it was logged, averaged over short stretches."
        if infinite:
            caption += f" {counted(infinite, 'infinite loss', 'infinite losses')} cannot be drawn."
        plates.append(
            replace(plate, title="", caption=caption, topic="", panels=panels, keys=plate.keys if len(runs) > 1 else ())
        )
    logged = _logged(runs, inliner)
    if logged:
        keys = line_keys(list(runs)) if len(runs) > 1 else []
        plates.append(Plate("What else was logged", "", logged, keys))
    if plates:
        yield Section("loss", "Loss", plates=plates)


def _logged(runs: Mapping[str, Run], inliner: SvgInliner) -> list[Panel]:
    columns = dict.fromkeys(c for run in runs.values() for c in run.iterations.columns if c not in _OWN_COLUMNS)
    panels = []
    for column in columns:
        parts = [
            run.iterations[["iteration", column]].dropna().rename(columns={column: "value"}).assign(line=name)
            for name, run in runs.items()
            if column in run.iterations and pd.api.types.is_numeric_dtype(run.iterations[column])
        ]
        if parts:
            trend = Trend(str(column), pd.concat(parts), list(runs), str(column), logarithmic=False)
            panels.append(trend_panel(trend, inliner))
    return [panel for panel in panels if panel is not None]


def line_keys(names: Sequence[str]) -> list[Key]:
    """Return the legend of lines without markers, coloured by their place."""
    return [Key(name, index, marked=False) for index, name in enumerate(names)]
