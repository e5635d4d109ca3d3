"""Quantiles of Student's t against tables."""

import pytest

from gradscope.analysis.student import student_quantile, student_t


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [
        (1, 12.7062),
        (2, 4.30265),
        (3, 3.18245),
        (4, 2.77645),
        (5, 2.57058),
        (10, 2.22814),
        (30, 2.04227),
        (120, 1.97993),
        (10**6, 1.95997),
    ],
)
def test_two_sided_95_percent(degrees: int, quantile: float) -> None:
    """Abramowitz & Stegun, table 26.10."""
    assert student_t(degrees) == pytest.approx(quantile, rel=3e-3)


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 63.657), (2, 9.925), (3, 5.841), (5, 4.032), (20, 2.845)])
def test_two_sided_99_percent(degrees: int, quantile: float) -> None:
    """The largest probability that is promised."""
    assert student_quantile(0.995, degrees) == pytest.approx(quantile, rel=1e-2)


def test_it_is_symmetric() -> None:
    """The lower end is the upper one with its sign changed."""
    assert student_quantile(0.1, 7) == pytest.approx(-student_quantile(0.9, 7))
