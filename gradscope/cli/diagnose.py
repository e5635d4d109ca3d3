"""`gradscope diagnose`: what is wrong in a run, why, and what to try."""

import json
import math
import os
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from gradscope.cli.places import typed_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from gradscope.diagnosis import Event, Examination, Finding, LayerEvidence
    from gradscope.runs import Run
    from gradscope.runs.places import Place

_SEVERITIES = ("info", "warning", "error")
_TELL_THE_VERDICT = {"vanishing-gradient", "exploding-gradient", "loss-at-many-times"}
_STYLES = {"info": "cyan", "warning": "yellow", "error": "bold red"}


@click.command(epilog="Example: gradscope diagnose runs/demo --fail-on error")
@click.argument("run", type=typed_place)
@click.option("--fail-on", type=click.Choice(_SEVERITIES), help="Exit with 1 if a finding is at least this severe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
@click.pass_context
def command(ctx: click.Context, run: "Place", fail_on: str | None, as_json: bool) -> None:
    """Tell what happened in the run folder RUN, in order: what went wrong, since when, and what to try.

    The run may still be written: what is judged is what has been flushed so far.
    """
    from gradscope.diagnosis import examine, story
    from gradscope.runs import open_run

    opened = open_run(run)
    examination = examine(opened)
    events = story(opened, examination)
    if as_json:
        click.echo(json.dumps(_as_data(opened, examination, events), indent=2, allow_nan=False))
    else:
        _tell(opened, examination, events)
    if fail_on is not None and any(_reaches(finding, fail_on) for finding in examination.findings):
        ctx.exit(1)


def _reaches(finding: "Finding", severity: str) -> bool:
    return _SEVERITIES.index(finding.severity) >= _SEVERITIES.index(severity)


def _tell(run: "Run", examination: "Examination", events: "Sequence[Event]") -> None:
    from rich.console import Console

    # rich drops only the colours under NO_COLOR; without a colour system it drops bold and dim as well.
    console = Console(highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
    if not console.is_terminal:
        console = Console(highlight=False, width=100)
    recorded = run.timesteps["iteration"].nunique()
    state = "complete" if run.complete else "incomplete: still being written, or cut off"
    _line(console, (str(run.path), "bold"))
    iterations = f"{len(run.iterations):,} iteration{'s' * (len(run.iterations) != 1)}"
    _paragraph(console, f"{iterations}, {recorded:,} with gradients recorded; {state}", indent="")
    told = {finding.layer for finding in examination.findings if finding.code in _TELL_THE_VERDICT}
    for evidence in examination.layers:
        _tell_layer(console, evidence, with_reason=evidence.layer not in told)
    for event in events:
        _tell_event(console, event)
    _tell_threshold(console, run)
    console.print()
    console.print(_summary(examination))


def _tell_layer(console: "Console", evidence: "LayerEvidence", *, with_reason: bool) -> None:
    start, end = evidence.start_verdict, evidence.verdict
    course = end.kind if start.kind == end.kind else f"{start.kind} at the start, {end.kind} at the end"
    console.print()
    _line(console, (evidence.layer, "bold"), (evidence.kind, "dim"), (course, ""))
    if with_reason:
        _paragraph(console, end.reason)


def _tell_event(console: "Console", event: "Event") -> None:
    console.print()
    when = "no single iteration" if event.iteration is None else f"iteration {event.iteration:,}"
    finding = event.finding
    if finding is None:
        _line(console, (when, "dim"), (event.text, ""))
        return
    severity = (finding.severity.upper(), _STYLES[finding.severity])
    _line(console, (when, "dim"), severity, (finding.code, "bold"), (finding.layer or "whole run", "dim"))
    _paragraph(console, finding.message)
    if finding.meaning:
        _paragraph(console, f"It means: {finding.meaning}")
    if finding.advice:
        _paragraph(console, "Try:")
    for place, advice in enumerate(finding.advice, 1):
        _paragraph(console, advice, bullet=f"{place}. ")
    if finding.reference:
        _paragraph(console, f"See: {finding.reference}")


def _tell_threshold(console: "Console", run: "Run") -> None:
    from gradscope.analysis import logged_norms, recommend_threshold

    recommended = recommend_threshold(logged_norms(run.iterations))
    if recommended is not None:
        console.print()
        _line(console, ("Where to clip", "bold"), (f"as a {recommended.role}", ""))
        _paragraph(console, recommended.reason)


def _line(console: "Console", *parts: tuple[str, str]) -> None:
    from rich.text import Text

    said = [Text(_plain(text), style=style) for text, style in parts if text]
    console.print(Text("  ").join(said), soft_wrap=True)


def _paragraph(console: "Console", text: str, *, indent: str = "  ", bullet: str = "") -> None:
    from rich.text import Text

    # Wrapped here, since rich fills every line with blanks up to the width.
    hanging = indent + " " * len(bullet)
    lines = textwrap.wrap(
        _plain(text),
        max(console.width, 40),
        initial_indent=indent + bullet,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(Text("\n".join(lines)), soft_wrap=True)


def _summary(examination: "Examination") -> str:
    counts = [
        (severity, sum(finding.severity == severity for finding in examination.findings))
        for severity in reversed(_SEVERITIES)
    ]
    said = [
        f"{count} {severity}{'s' if count > 1 and severity != 'info' else ''}" for severity, count in counts if count
    ]
    return "Nothing wrong was found." if not said else f"Found: {', '.join(said)}."


def _plain(text: str) -> str:
    """Return the text without control characters: a run may come from anyone, and must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _as_data(run: "Run", examination: "Examination", events: "Sequence[Event]") -> dict[str, object]:
    return {
        "run": str(run.path),
        "complete": run.complete,
        "iterations": len(run.iterations),
        "recorded": int(run.timesteps["iteration"].nunique()),
        "layers": [_layer_data(evidence) for evidence in examination.layers],
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity,
                "layer": finding.layer,
                "message": finding.message,
                "evidence": {name: _json_number(value) for name, value in finding.evidence.items()},
                "advice": list(finding.advice),
                "meaning": finding.meaning,
                "reference": finding.reference,
                "iteration": finding.iteration,
            }
            for finding in examination.findings
        ],
        "story": [
            {
                "iteration": event.iteration,
                "code": event.finding.code if event.finding else None,
                "layer": event.finding.layer if event.finding else None,
                "text": event.text,
            }
            for event in events
        ],
        "clipping": _clipping_data(run),
    }


def _layer_data(evidence: "LayerEvidence") -> dict[str, object]:
    end, judged = evidence.end, evidence.verdict
    numbers = {
        "rate": end.rate,
        "rate_low": end.rate_low,
        "rate_high": end.rate_high,
        "half_life": end.half_life,
        "share_at_lag": judged.share_at_lag,
        "start_rate": evidence.start.rate,
    }
    return {
        "layer": evidence.layer,
        "kind": evidence.kind,
        "verdict": judged.kind,
        "start_verdict": evidence.start_verdict.kind,
        "lag": judged.lag,
        "loss_times": evidence.loss_times,
        "zeros": end.zeros,
        **{name: _json_number(value) for name, value in numbers.items()},
        "reason": judged.reason,
    }


def _clipping_data(run: "Run") -> dict[str, object] | None:
    from gradscope.analysis import logged_norms, recommend_threshold, replays

    norms = logged_norms(run.iterations)
    recommended = recommend_threshold(norms)
    if recommended is None:
        return None
    replayed = replays(norms, [recommended.threshold])
    return {
        **{name: _json_number(value) for name, value in asdict(recommended).items()},
        "replayed": [
            {
                "scheme": replay.scheme,
                "clipped_share": _json_number(replay.clipped_share),
                "coefficient_median": _json_number(replay.quantiles.median),
                "coefficient_q10": _json_number(replay.quantiles.q10),
                "largest_norm": _json_number(replay.largest_norm),
            }
            for replay in replayed
        ],
    }


def _json_number(value: float | str) -> float | str | None:
    """Return a value that JSON has: null for NaN, "inf" and "-inf" as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
