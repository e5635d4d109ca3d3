"""Differences over seeds, held against known ones."""

import math

import numpy as np
import pandas as pd
import pytest

from gradscope.remedies.comparing import Change, compare, paired_change
from gradscope.remedies.wording import effect_on_gradient, effect_on_loss, summary


def test_a_paired_change_is_students():
    """Differences 1, 2, 3: mean 2, standard error 1/sqrt 3, and 4.3027 of them on two degrees of freedom."""
    change = paired_change([10, 20, 30], [11, 22, 33])

    assert change.mean == 2
    assert change.high - 2 == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert change.low == pytest.approx(2 - (change.high - 2))


def test_the_scatter_of_the_seeds_themselves_does_not_count():
    """What all seeds share of a difference is told apart, however much they differ."""
    before = np.random.default_rng(0).normal(scale=1e3, size=6)
    assert paired_change(before, before - 0.5).moved == -1
    assert paired_change(before, np.random.default_rng(1).normal(scale=1e3, size=6)).moved == 0


def test_intervals_hold_what_they_promise():
    """Of 2000 differences of nothing 95 % are called none, to within three standard errors."""
    rng = np.random.default_rng(2)
    called = [paired_change(rng.normal(size=4), rng.normal(size=4)).moved == 0 for _ in range(2000)]
    assert np.mean(called) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize(
    ("after", "change"),
    [
        ([math.inf, math.nan], Change(math.nan, math.nan, math.nan)),
        ([2.0, math.inf], Change(1.0, -math.inf, math.inf)),
    ],
)
def test_what_is_not_finite_enters_no_change(after, change):
    """One pair alone leaves the interval open."""
    found = paired_change([1.0, 1.0], after)
    assert [repr(float(value)) for value in vars(found).values()] == [repr(value) for value in vars(change).values()]
    assert found.moved == 0


def _row(remedy, seed, place=0, rate=-0.5, loss=1.0, **more):
    return {
        "remedy": remedy,
        "seed": seed,
        "place": place,
        "layer": f"rnn.l{place}",
        "rate": rate,
        "half_life": math.log(2) / abs(rate),
        "horizon": 5.0,
        "share_at_lag": 0.1,
        "loss": loss,
        "diverged": False,
        "iterations": 8,
        "seconds": 1.0,
        "same_batches": True,
        **more,
    }


def test_the_layer_that_decays_fastest_is_judged():
    """By its place, whatever it is called under a remedy."""
    rows = [
        _row(remedy, seed, place, rate=rate + seed / 100)
        for remedy, rates in (("unchanged", (-0.1, -0.9)), ("lstm", (-0.9, -0.3)))
        for seed in (0, 1)
        for place, rate in enumerate(rates)
    ]
    table = compare(pd.DataFrame(rows))

    assert table["layer"].tolist() == ["rnn.l1", "rnn.l1"]
    assert table.loc[1, "rate_change"] == pytest.approx(0.6)


def test_words_say_what_the_intervals_say():
    """Slower, growing, lower, diverged, and nothing."""
    losses = {"unchanged": 1.0, "better": 0.5, "worse": 1.5, "same": 1.0}
    rates = {"unchanged": -0.5, "better": -0.1, "worse": 0.2, "same": -0.5}
    rows = [_row(name, seed, loss=losses[name], rate=rates[name]) for name in losses for seed in (0, 1, 2)]
    rows += [_row("gone", seed, loss=math.inf, diverged=seed < 2) for seed in (0, 1, 2)]
    table = compare(pd.DataFrame(rows)).set_index("remedy", drop=False)

    assert [effect_on_gradient(row) for _, row in table.iterrows()][:4] == [
        "",
        "decays more slowly",
        "grows",
        "no change",
    ]
    assert [effect_on_loss(row) for _, row in table.iterrows()] == [
        "",
        "lower",
        "higher",
        "no change",
        "diverged in 2 of 3 seeds",
    ]
    assert summary(table)[0] == "The loss came out lower under better (-0.5, -0.5 to -0.5)."
    assert summary(table)[1].startswith("The gradient reached further back under worse (+0.7, ")
    assert summary(table)[2] == "Never acted, or changed nothing: same."


def test_a_gradient_that_grows_is_told_by_how_much_it_grows():
    """Of an unchanged training that explodes, what grows less is no faster decay, and is what helps."""
    rates = {"unchanged": 0.3, "tamed": 0.1, "turned": -0.2, "worse": 0.5}
    table = compare(pd.DataFrame([_row(name, seed, rate=rates[name]) for name in rates for seed in (0, 1, 2)]))

    said = [effect_on_gradient(row) for _, row in table.iterrows()]
    assert said == ["", "grows more slowly", "no longer grows", "grows faster"]
    assert summary(table)[1].startswith("The gradient grew less under turned (-0.5, ")
    assert "tamed (-0.2, " in summary(table)[1]
    assert "worse" not in summary(table)[1]


def test_what_lost_a_seed_did_not_lower_the_loss():
    """The seeds that are left are those that went well."""
    rows = [_row("unchanged", seed) for seed in (0, 1, 2)]
    rows += [_row("wild", seed, loss=math.inf if seed == 2 else 0.5, diverged=seed == 2) for seed in (0, 1, 2)]

    assert summary(compare(pd.DataFrame(rows)))[0] == "No remedy lowered the loss beyond what the seeds scatter."
