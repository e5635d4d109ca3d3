"""A comparison made by hand: exponential decay at known rates, so that a page can be held against the truth."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from gradscope.study.comparing.comparison import Comparison

COMPARED = ("trials", "settings", "lags", "heat", "losses", "clipping")
"""Tables of a comparison that say in each row of which setting it is."""

TASKS = {"adding": (100, 99, 1 / 6), "text": (50, 49, 2.9)}
RATES = {
    ("rnn_tanh", "default"): -0.25,
    ("rnn_tanh", "normal(0.001)"): -5.0,
    ("rnn_tanh", "orthogonal"): -0.02,
    ("rnn_relu", "default"): -0.6,
    ("rnn_relu", "identity"): 0.04,
    ("lstm", "default"): -0.7,
    ("lstm", "forget-bias(1)"): -0.31,
    ("lstm", "chrono"): -0.012,
    ("gru", "default"): -0.68,
    ("gru", "chrono"): -0.02,
}
CLIPPINGS = ("norm(1.0)", "value(0.01)")
SEEDS = (0, 1, 2)
ITERATIONS = 200


def _verdict(rate: float, lag: int) -> str:
    if rate > 0:
        return "exploding"
    return "vanishing" if np.exp(rate * lag) < 0.01 else "marginal"


def made_comparison(*, title: str = "Which recurrent cells lose their gradient?") -> Comparison:
    """Return a comparison of two tasks, four cells, a few initialisations and clippings, three seeds."""
    rng = np.random.default_rng(0)
    trials, lags, heat, losses, clipping = [], [], [], [], []
    grid = [(task, cell, init, "none") for task in TASKS for cell, init in RATES]
    grid += [(task, cell, "default", clip) for task in TASKS for cell in ("rnn_tanh", "lstm") for clip in CLIPPINGS]
    for task, cell, init, clip in grid:
        length, lag, baseline = TASKS[task]
        for seed in SEEDS:
            keys = {"task": task, "cell": cell, "initialisation": init, "clipping": clip, "seed": seed}
            end = RATES[cell, init] * rng.normal(1, 0.04)
            start = end * 1.4 if end < 0 else end / 4
            final = baseline * (0.2 if abs(end) < 0.05 else 1.02)
            failed = (cell, init, seed) == ("rnn_relu", "identity", 2)
            status = "diverged" if failed else "finished"
            trials.append(_trial(keys, status, start, end, lag, baseline, final, rng))
            for phase, rate in (("start", start), ("end", end)):
                at = np.arange(length)
                norm = (0.1 * np.exp(rate * at)).astype(np.float32).astype(float)
                lags.append(
                    pd.DataFrame(
                        keys
                        | {"phase": phase, "lag": at, "norm": norm, "share": norm / norm[0], "zero_share": norm == 0}
                    ).astype({"zero_share": float})
                )
            if init == "default" and seed == 0 and clip == "none":
                heat.extend(_heat(keys, length, start, end))
            at = np.arange(ITERATIONS)
            curve = final + (baseline * 1.5 - final) * np.exp(-at / 40) + rng.normal(0, 0.03 * baseline, ITERATIONS)
            losses.append(pd.DataFrame(keys | {"iteration": at, "loss": curve}))
            if clip != "none":
                clipping.append(
                    keys
                    | {
                        "clipped_share": 0.8 if "value" in clip else 0.1,
                        "coefficient_median": 0.4,
                        "coefficient_q10": 0.1,
                        "coefficient_q90": 0.9,
                        "cosine_median": 0.93 if "value" in clip else 1.0,
                        "norm_median": 0.7,
                        "norm_q90": 2.5,
                    }
                )
    frame = pd.DataFrame(trials)
    return Comparison(
        spec=_spec(title),
        trials=frame,
        settings=_settings(frame),
        lags=pd.concat(lags, ignore_index=True),
        heat=pd.concat(heat, ignore_index=True),
        losses=pd.concat(losses, ignore_index=True),
        clipping=pd.DataFrame(clipping),
        provenance={
            "command": "gradscope study vanishing --quick",
            "versions": {"gradscope": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
            "seeds": list(SEEDS),
            "machine": "2 cores, Linux",
            "started": "2026-01-02T03:04:05",
            "seconds": 93.2,
            "trials": len(frame),
            "reused": 4,
            "failed": 2,
            "mode": "quick",
        },
    )


def _spec(title: str) -> Any:
    question = "How far back does the gradient of each recurrent cell reach, before and after training?"
    return SimpleNamespace(name="vanishing", title=title, question=question)


def _trial(
    keys: dict[str, Any], status: str, start: float, end: float, lag: int, baseline: float, final: float, rng: Any
) -> dict[str, Any]:
    shares = np.exp(end * lag)
    return keys | {
        "trial": f"{abs(hash(tuple(keys.values()))):016x}"[:16],
        "status": status,
        "reason": "" if status == "finished" else "the loss became infinite in iteration 41",
        "loss_first": baseline * 2.5,
        "loss_final": final * rng.normal(1, 0.02),
        "baseline": baseline,
        "baseline_meaning": "always answering the mean",
        "iterations": ITERATIONS,
        "seconds": 3.0,
        "lag": lag,
        "start_rate": start,
        "start_rate_low": start - abs(start) * 0.05,
        "start_rate_high": start + abs(start) * 0.05,
        "start_verdict": _verdict(start, lag),
        "rate": end,
        "rate_low": end - abs(end) * 0.05,
        "rate_high": end + abs(end) * 0.05,
        "half_life": np.log(2) / abs(end),
        "share_at_lag": float(np.float32(shares)),
        "zeros": 0,
        "first_zero_lag": 18 if end < -4 else np.nan,
        "all_zero_lag": 19 if end < -4 else np.nan,
        "verdict": _verdict(end, lag),
        "clipped_share": np.nan,
        "clip_coefficient_median": np.nan,
        "clip_cosine_median": np.nan,
        "gradient_norm_median": 0.3,
    }


def _heat(keys: dict[str, Any], length: int, start: float, end: float) -> list[pd.DataFrame]:
    rows = []
    for iteration in range(0, ITERATIONS, 10):
        rate = start + (end - start) * iteration / ITERATIONS
        back = np.arange(length)[::-1]
        norm = (0.1 * np.exp(rate * back)).astype(np.float32).astype(float)
        rows.append(
            pd.DataFrame(
                keys | {"layer": "", "iteration": iteration, "time": np.arange(length), "total_gradient_norm": norm}
            )
        )
    return rows


def _settings(trials: pd.DataFrame) -> pd.DataFrame:
    finished = trials[trials["status"] == "finished"]
    by = ["task", "cell", "initialisation", "clipping"]
    grouped = finished.groupby(by, sort=False)
    averaged = [
        "lag",
        "baseline",
        "rate",
        "rate_low",
        "rate_high",
        "half_life",
        "share_at_lag",
        "first_zero_lag",
        "all_zero_lag",
    ]
    averaged += ["start_rate", "start_rate_low", "start_rate_high"]
    table = grouped[averaged].mean()
    table["seeds"] = grouped["seed"].nunique()
    table["trials"] = trials.groupby(by, sort=False)["seed"].count()
    table["start_half_life"] = np.log(2) / table["start_rate"].abs()
    table["start_share_at_lag"] = np.exp(table["start_rate"] * table["lag"])
    table["zeros"] = 0
    table["verdict"] = grouped["verdict"].first()
    table["start_verdict"] = grouped["start_verdict"].first()
    table["baseline_meaning"] = grouped["baseline_meaning"].first()
    table["loss_final_mean"] = grouped["loss_final"].mean()
    table["loss_final_low"] = grouped["loss_final"].min()
    table["loss_final_high"] = grouped["loss_final"].max()
    table["clipped_share"] = np.nan
    table["verdict_reason"] = "Made by hand."
    table["start_verdict_reason"] = "Made by hand."
    return table.reset_index()
