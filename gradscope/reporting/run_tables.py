"""A run's numbers as rows of words: its layers, its findings, what was not finite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradscope.analysis.nonfinite import NonfiniteOnset, nonfinite_onsets
from gradscope.reporting.numbers import MISSING, half_life, half_life_interval, listed, number, share
from gradscope.reporting.tables import Cell, Table, growth_half_life, number_cell, underflow_cell, verdict_cell
from gradscope.runs import Run

if TYPE_CHECKING:
    import pandas as pd

    from gradscope.analysis.decay import Decay
    from gradscope.diagnosis import Examination, Finding, LayerEvidence


@dataclass(frozen=True)
class Told:
    """A finding as the page tells it.

    Attributes:
        code: of the finding.
        severity: "error", "warning" or "info".
        where: the run where there are several, the layer, and since which iteration.
        message: what was found.
        evidence: (name, number in words).
        advice: what to try, in order.
        meaning: what it does to the training; empty where the finding does not say.
        reference: where that is argued; empty likewise.
    """

    code: str
    severity: str
    where: str
    message: str
    evidence: tuple[tuple[str, str], ...]
    advice: tuple[str, ...]
    meaning: str = ""
    reference: str = ""


def told(finding: "Finding", run: str = "") -> Told:
    """Return a finding in words.

    Args:
        finding: of `diagnose`.
        run: name of the run, where there are several.
    """
    evidence = tuple(
        (name.replace("_", " "), str(value) if isinstance(value, (str, int)) else number(value))
        for name, value in finding.evidence.items()
    )
    where = ", ".join(part for part in (run, finding.layer or "") if part)
    return Told(
        code=finding.code,
        severity=finding.severity,
        where=", ".join(part for part in (where, _since(finding)) if part),
        message=finding.message,
        evidence=evidence,
        advice=tuple(finding.advice),
        meaning=finding.meaning,
        reference=finding.reference,
    )


def _since(finding: "Finding") -> str:
    return "" if finding.iteration is None else f"since iteration {finding.iteration}"


def summary(findings: Sequence["Finding"]) -> str:
    """Return the findings of a run in one sentence."""
    serious = [finding for finding in findings if finding.severity != "info"]
    if not serious:
        return "Nothing was found that needs attention in what was recorded."
    codes = dict.fromkeys(finding.code.replace("-", " ") for finding in serious)
    layers = {code: [f.layer for f in serious if f.layer and f.code.replace("-", " ") == code] for code in codes}
    parts = [f"{code} in {listed(list(dict.fromkeys(found)))}" if found else code for code, found in layers.items()]
    sentence = listed(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def layer_table(examined: Mapping[str, "Examination"]) -> Table:
    """Return the decay of each layer, at the start and the end of training.

    Args:
        examined: run name -> what was found in it.
    """
    heads = (
        *((("Run", ""),) if len(examined) > 1 else ()),
        ("Layer", ""),
        ("Kind", ""),
        ("At the start", "verdict over the first quarter of the recorded iterations"),
        ("At the end", "verdict over the last quarter of them"),
        ("Half-life", "times, at the end, with its 95 % interval; doubling time where it explodes"),
        ("Left", "share of the gradient at the lag that the task needs, or at the first time where that is unknown"),
        ("1 % horizon", "lag from which on at most 1 % of the gradient is left"),
        ("Underflow", "lag from which the gradient is exactly 0, in all sequences or in some"),
        ("Law", "which fits better: exponential decay or a power law"),
    )
    several = len(examined) > 1
    rows = tuple(
        ("", (*((Cell(name),) if several else ()), *_layer_cells(layer)))
        for name, found in examined.items()
        for layer in found.layers
    )
    return Table(heads, rows, "Decay of the gradient in every layer")


def _layer_cells(layer: "LayerEvidence") -> tuple[Cell, ...]:
    began, ended = layer.start_verdict, layer.verdict
    return (
        Cell(layer.layer),
        Cell(layer.kind),
        verdict_cell(began.kind, began.share_at_lag, began.reason),
        verdict_cell(ended.kind, ended.share_at_lag, ended.reason),
        *_decay_cells(layer.end, ended.lag, ended.share_at_lag, mixed=layer.loss_times > 1),
    )


def _decay_cells(decay: "Decay", lag: int, left: float, *, mixed: bool) -> tuple[Cell, ...]:
    if mixed:
        # The sum over many losses is no profile of lags: a half-life of it would be read as one.
        return (*(number_cell("", float("nan")) for _ in range(3)), underflow_cell(*_zeros(decay)), Cell(""))
    horizon = decay.horizon_lag
    measured = bool(np.isfinite(decay.share).any())
    beyond = "beyond" if measured else MISSING
    interval = half_life_interval(decay.rate_low, decay.rate_high)
    return (
        number_cell(growth_half_life(decay.rate, half_life(decay.half_life)), decay.half_life, interval),
        number_cell(share(left), left, "" if np.isnan(left) else f"lag {lag}"),
        number_cell(beyond if horizon is None else f"lag {horizon}", np.inf if horizon is None else horizon),
        underflow_cell(*_zeros(decay)),
        Cell(decay.law if decay.lags_used else ""),
    )


def _zeros(decay: "Decay") -> tuple[float, float]:
    lags = (decay.all_zero_lag, decay.first_zero_lag)
    everywhere, somewhere = (np.nan if lag is None else float(lag) for lag in lags)
    return everywhere, somewhere


def nonfinite_table(run: Run) -> Table:
    """Return where values were NaN or infinite, the first to come up first.

    Args:
        run: the run; of one that was written before there was a table of this, per layer the first place and the count.
    """
    onsets = nonfinite_onsets(run.nonfinite)
    if not onsets:
        return _nonfinite_counts(run)
    what, moment = "the first to come up stands first", "the first on the way of the states or of the gradients"
    heads = (("What", what), ("Layer", ""), ("First iteration", ""), ("Time", moment), ("On the way", ""))
    rows = tuple(("", _onset_row(onset)) for onset in onsets)
    return Table(heads, rows, "What was not finite, in the order in which it came up")


def _onset_row(onset: NonfiniteOnset) -> tuple[Cell, ...]:
    iteration = number_cell(str(onset.iteration), onset.iteration)
    return Cell(onset.tensor), Cell(onset.layer or ""), iteration, Cell(onset.moment), Cell(onset.way)


def _nonfinite_counts(run: Run) -> Table:
    heads = (("Layer", ""), ("First iteration", ""), ("Times", "in that iteration"), ("Values in all", ""))
    bad = run.timesteps[run.timesteps["nonfinite"] > 0]
    rows = []
    for layer, group in bad.groupby("layer", sort=False):
        first = group[group["iteration"] == group["iteration"].min()]
        times = f"{first['time'].min()} to {first['time'].max()}"
        total = int(group["nonfinite"].sum())
        cells = (str(layer), str(first["iteration"].iloc[0]), times, str(total))
        rows.append(("", tuple(Cell(text) for text in cells)))
    return Table(heads, tuple(rows), "Gradients that were not finite")


def run_table(runs: Mapping[str, Run], examined: Mapping[str, "Examination"]) -> Table:
    """Return the runs side by side.

    Args:
        runs: name -> run.
        examined: name -> what was found in it.
    """
    heads = (
        ("Run", ""),
        ("Findings", "errors and warnings"),
        ("Layers", ""),
        ("Iterations", "logged or recorded"),
        ("Recorded", "iterations with gradients"),
        ("First loss", ""),
        ("Final loss", "mean of the last tenth"),
        ("Gradient norm", "median over the iterations, before clipping"),
        ("Complete", ""),
    )
    rows = tuple(("", _run_row(name, run, examined[name].findings)) for name, run in runs.items())
    return Table(heads, rows, "The runs side by side")


def _run_row(name: str, run: Run, findings: Sequence["Finding"]) -> tuple[Cell, ...]:
    serious = sum(finding.severity != "info" for finding in findings)
    losses = run.iterations["loss"].dropna()
    final = _final(losses)
    norm = float(run.iterations["gradient_norm"].median()) if len(run.iterations) else np.nan
    recorded = run.timesteps["iteration"].nunique()
    return (
        Cell(name),
        number_cell(str(serious), serious),
        number_cell(str(len(run.layers)), len(run.layers)),
        number_cell(str(len(run.iterations)), len(run.iterations)),
        number_cell(str(recorded), recorded),
        number_cell(number(float(losses.iloc[0])) if len(losses) else "", losses.iloc[0] if len(losses) else np.nan),
        number_cell(number(final), final),
        number_cell(number(norm), norm),
        Cell("yes" if run.complete else "no"),
    )


def _final(losses: "pd.Series[float]") -> float:
    return float(losses.iloc[-max(1, len(losses) // 10) :].mean()) if len(losses) else np.nan
