"""The table at the end of the terminal."""

import io
import math
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from gradscope.study.comparing.verdict_table import verdict_tables


def _comparison(**columns):
    row = {
        "task": "adding",
        "cell": "rnn_tanh",
        "initialisation": "forget-bias(1)",
        "clipping": "value(0.1)",
        "verdict": "vanishing",
        "half_life": 3.21,
        "rate": -0.216,
        "loss_final_mean": 0.1666,
        "lag": 75.0,
        "growth": 3e-7,
    }
    return SimpleNamespace(settings=pd.DataFrame([row | columns]))


def _printed(comparison, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(*verdict_tables(comparison))
    return console.file.getvalue().splitlines()


def test_one_line_a_setting_at_80_columns():
    """Nothing is cut or folded at the usual width of a terminal."""
    *_, line = [line for line in _printed(_comparison(), 80) if line.strip()]

    assert line.split() == ["vanishing", "rnn_tanh", "forget-bias(1)", "value(0.1)", "3.2", "<0.01", "%", "0.167"]
    assert len(line) <= 80


@pytest.mark.parametrize("width", [40, 60])
def test_verdict_is_whole_on_a_narrow_terminal(width):
    """Other columns fold, the verdict never."""
    assert any(line.strip().startswith("vanishing") for line in _printed(_comparison(), width))


@pytest.mark.parametrize(
    ("columns", "half_life"),
    [
        ({"half_life": float("inf"), "rate": 0.0}, "none"),
        ({"half_life": float("nan"), "rate": float("nan")}, "-"),
        ({"half_life": 2.0, "rate": 0.35}, "+2.0"),
    ],
)
def test_half_life_without_end_growth_and_no_number(columns, half_life):
    """A gradient that keeps, one that doubles, and one that could not be fitted."""
    *_, line = [line for line in _printed(_comparison(**columns), 80) if line.strip()]

    assert line.split()[4] == half_life


def test_each_task_says_how_far_back_it_needs_the_gradient():
    """One table a task, under the distance that its verdicts are judged by."""
    title = _printed(_comparison(), 80)[0].strip()

    assert title == "adding: must reach 75 times back; left: what the decay leaves there"


@pytest.mark.parametrize(
    ("growth", "said"),
    [
        (0.0, "0 %"),
        (3e-7, "<0.01 %"),
        (0.0235, "2.4 %"),
        (0.45, "45 %"),
        (1.0, "100 %"),
        (403.4, "x403"),
        (math.inf, ">x1e308"),
        (math.nan, "-"),
    ],
)
def test_what_is_left_in_few_characters(growth, said):
    """From nothing over next to nothing to many times over."""
    *_, line = [line for line in _printed(_comparison(growth=growth), 80) if line.strip()]

    assert line.split()[5:-1] == said.split()


def test_a_loss_of_a_billion_is_a_power_of_ten():
    """A training that exploded does not widen the table."""
    *_, line = [line for line in _printed(_comparison(loss_final_mean=288987774976.0), 80) if line.strip()]

    assert line.split()[-1] == "2.89e+11"


def test_a_diverged_seed_is_said_in_a_word():
    """Its mean loss is infinite, and no number."""
    *_, line = [line for line in _printed(_comparison(loss_final_mean=math.inf), 80) if line.strip()]

    assert line.split()[-1] == "diverged"
