"""How the bytes for kept states are spent over a training."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.instrument.recording import state_budget
from gradscope.instrument.recording.state_budget import StateBudget


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), total=st.integers(1, 2_000))
def test_never_more_than_the_budget(sizes: list[int], total: int) -> None:
    """Whatever the layers' sizes are; and of an iteration that is kept to its end, every layer is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_budget, "STATE_BYTES", total)
        budget = StateBudget()
    used = 0
    for iteration in range(300):
        allowed = [budget.allows(size, iteration) for size in sizes]
        used += sum(size for size, kept in zip(sizes, allowed, strict=True) if kept)
        assert used <= total
        assert allowed == sorted(allowed, reverse=True)
        if any(allowed) and not all(allowed):
            assert f"from iteration {iteration} on" in str(budget.dropped())


def test_it_lasts_for_thirty_two_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every eighth of it goes to half as many of the iterations; then nothing more is kept, and that is said."""
    monkeypatch.setattr(state_budget, "STATE_BYTES", 16)
    budget = StateBudget()
    kept = [iteration for iteration in range(1_000) if budget.allows(1, iteration)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(kept)]
    assert gaps == [1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128]
    assert kept[-1] > 31 * 16
    assert budget.dropped() == f"not kept from iteration {kept[-1] + 256} on: the budget of 0 MB was used up"


def test_all_is_kept_while_there_is_room() -> None:
    """A short training loses nothing, and nothing is said."""
    budget = StateBudget()
    assert all(budget.allows(1_000, iteration) for iteration in range(1_000))
    assert budget.dropped() is None
