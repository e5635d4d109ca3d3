"""What every case has to fulfil."""

import math

from gradscope.truth.case import TruthCase


def assert_holds(case: TruthCase, checks: int) -> None:
    """Run a case: so many numbers, each as known within its tolerance, and a figure that shows them."""
    outcome = case.run()
    wrong = [
        f"{check.what}: expected {check.expected:.9g} within {check.tolerance:.1e}, got {check.got:.9g}"
        for check in outcome.checks
        if not check.holds
    ]
    assert wrong == []
    assert len(outcome.checks) == checks
    for curve in outcome.picture.curves:
        assert len(curve.x) == len(curve.got) == len(curve.x if curve.expected is None else curve.expected)
        assert all(math.isfinite(value) for value in (*curve.x, *curve.got, *(curve.expected or ())))
