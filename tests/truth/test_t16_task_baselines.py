"""T16. Source: Variance of a sum of uniforms; Arjovsky, Shah & Bengio 2016, arXiv:1511.06464."""

from gradscope.truth.task_baselines import CASE
from tests.truth.holding import assert_holds


def test_task_baselines():
    """Answers that ignore the input have the baseline loss of the task."""
    assert_holds(CASE, checks=5)
