"""Which iterations a schedule records."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradscope import At, Budget, Every, UsageError
from gradscope.instrument.schedules import as_schedule


def test_every_records_each_nth() -> None:
    """Every(3) records 0, 3, 6, 9."""
    assert [i for i in range(10) if Every(3).wants(i)] == [0, 3, 6, 9]


def test_at_records_what_it_names() -> None:
    """At([2, 5]) records 2 and 5."""
    assert [i for i in range(10) if At([5, 2]).wants(i)] == [2, 5]


def _simulate(budget: Budget, iterations: int, idle: float, cost: float) -> list[int]:
    """Feed the schedule a training whose recorded iterations take `cost` longer."""
    recorded = []
    for i in range(iterations):
        wanted = budget.wants(i)
        recorded += [i] * wanted
        budget.observe(i, idle + cost * wanted, cost * wanted / 2, recorded=wanted)
    return recorded


def test_budget_is_dense_at_first() -> None:
    """The first powers of two are recorded however expensive that is; then it waits until they are paid."""
    assert _simulate(Budget(0.05), 1000, idle=1.0, cost=50.0) == [0, 1, 2, 4, 8, 16]


@given(fraction=st.floats(0.01, 0.5), cost=st.floats(0.05, 5.0), idle=st.floats(1e-4, 10.0))
def test_budget_keeps_its_promise(fraction: float, cost: float, idle: float) -> None:
    """Over a whole training, its first recordings included, four fifths of the fraction are spent, or all there is."""
    recorded = _simulate(Budget(fraction), 4000, idle, cost * idle)
    share = len(recorded) * cost / 4000
    spent = 0.8 * fraction
    assert share <= max(spent, 7 * cost / 4000) * 1.01
    assert share >= min(spent, cost) * 0.95 - 2 * cost / 4000


def test_budget_waits_as_long_as_a_recording_costs() -> None:
    """A recording that costs one idle iteration, at 5 % of which four are spent, comes every 25 iterations."""
    recorded = _simulate(Budget(0.05), 3000, idle=1.0, cost=1.0)
    assert recorded[:10] == [0, 1, 2, 4, 8, 16, 175, 200, 225, 250]
    assert {b - a for a, b in itertools.pairwise(recorded[6:])} == {25}


def test_budget_believes_what_is_known_last() -> None:
    """What is worked out beside the training is not known yet in the first few: they are no measure of a recording."""
    budget = Budget(0.05)
    for iteration in range(17):
        recorded = budget.wants(iteration)
        charged = 4.0 if recorded and iteration >= 4 else 0.0
        budget.observe(iteration, 1.0 + charged, charged, recorded=recorded)
    # Seven recordings of 4 idle iterations each, at 4 % of the training.
    assert not any(budget.wants(iteration) for iteration in range(17, 700))
    assert budget.wants(701)


def test_budget_pays_idle_iterations_first() -> None:
    """Where 1 % of each idle iteration is gradscope's, 3 of 4 % are left; where it is more, half is all the same."""

    def spacing(idle_own: float) -> list[int]:
        budget, recorded = Budget(0.05), []
        for i in range(2000):
            wanted = budget.wants(i)
            recorded += [i] * wanted
            budget.observe(i, 1.0 + wanted, 1.0 if wanted else idle_own, recorded=wanted)
        return [b - a for a, b in itertools.pairwise(recorded[7:])]

    assert set(spacing(0.01)) == {33, 34}
    assert set(spacing(0.02)) == set(spacing(0.06)) == {50}


def test_default_and_whole_numbers() -> None:
    """None is the default budget of 5 %, a whole number n is Every(n)."""
    assert repr(as_schedule(None)) == "Budget(0.05)"
    assert repr(as_schedule(7)) == "Every(7)"


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    """Whole numbers of any library count, and so do NumPy's floats; what is kept is Python's own."""
    assert repr(Every(np.int32(2))) == "Every(2)"
    assert repr(At(np.arange(3))) == repr(At(torch.arange(3))) == "At([0, 1, 2])"
    assert repr(as_schedule(np.int64(3))) == repr(as_schedule(torch.tensor(3))) == "Every(3)"
    assert repr(Budget(np.float32(0.25))) == "Budget(0.25)"
    assert At(np.arange(3)).wants(2)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Every(0), "Every(n) expects a whole number of at least 1, got 0."),
        (lambda: Every(2.5), "Every(n) expects a whole number of at least 1, got 2.5."),
        (lambda: Every(True), "Every(n) expects a whole number of at least 1, got True."),
        (lambda: Every(np.True_), "Every(n) expects a whole number of at least 1, got np.True_."),
        (lambda: At([True]), "At(iterations) expects whole numbers of at least 0, got True."),
        (lambda: At(np.ones(1)), "At(iterations) expects whole numbers of at least 0, got np.float64(1.0)."),
        (lambda: At([[1]]), "At(iterations) expects whole numbers of at least 0, got [1]."),
        (lambda: At(3), "At(iterations) expects a collection of whole numbers, got 3."),
        (lambda: At([1, -2]), "At(iterations) expects whole numbers of at least 0, got -2."),
        (lambda: Budget(1.5), "Budget(fraction) expects a number between 0 and 1, such as 0.05, got 1.5."),
        (lambda: Budget(10**400), f"Budget(fraction) expects a number between 0 and 1, such as 0.05, got {10**400}."),
        (lambda: Budget(True), "Budget(fraction) expects a number between 0 and 1, such as 0.05, got True."),
        (
            lambda: as_schedule(True),
            "schedule expects Every(n), At(iterations), Budget(fraction) or a whole number, got True.",
        ),
        (
            lambda: as_schedule("often"),
            "schedule expects Every(n), At(iterations), Budget(fraction) or a whole number, got 'often'.",
        ),
        (lambda: as_schedule(0), "Every(n) expects a whole number of at least 1, got 0."),
    ],
)
def test_wrong_schedules_are_refused_in_words(make: object, expected: str) -> None:
    """A schedule that cannot be is one message: what was expected, what was got."""
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == expected
