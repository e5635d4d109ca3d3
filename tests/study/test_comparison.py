"""Comparing trials by what they left on disk."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gradscope.errors import RunError
from gradscope.runs import open_run
from gradscope.study.comparing.comparison import Comparison, compare
from gradscope.study.comparing.evidence import read_evidence
from gradscope.study.comparing.series import layer_words, time_rows
from tests.study.made_trials import write_trial

SPEC = SimpleNamespace(name="made", title="Made", question="What?")


def _compare(folders: list[Path]) -> Comparison:
    return compare(SPEC, folders, {"command": "none"})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two cells, two initialisations, two seeds; one trial diverged, one failed, one was killed."""
    root = tmp_path_factory.mktemp("runs")
    rows = [
        ("lstm", "default", -0.01, "finished"),
        ("rnn_tanh", "default", -0.5, "finished"),
        ("rnn_tanh", "normal(0.001)", -8.0, "finished"),
        ("rnn_relu", "identity", 0.1, "finished"),
    ]
    made = [
        write_trial(root, f"{cell}-{init}-{seed}", rate=rate, cell=cell, initialisation=init, seed=seed, status=status)
        for seed in (0, 1)
        for cell, init, rate, status in rows
    ]
    made.append(
        write_trial(root, "d", rate=0.11, cell="rnn_relu", initialisation="identity", seed=2, status="diverged")
    )
    made.append(write_trial(root, "f", rate=-0.5, cell="rnn_tanh", seed=2, status="failed"))
    made.append(write_trial(root, "k", rate=-0.5, cell="lstm", seed=2, status=None))
    return made


@pytest.fixture(scope="module")
def comparison(folders: list[Path]) -> Comparison:
    """The comparison of those trials."""
    return _compare(folders)


def test_rates_are_those_that_were_written(comparison: Comparison) -> None:
    """The rate at the end is the chosen one, at the start it is half of it."""
    settings = comparison.settings.set_index(["cell", "initialisation"])
    expected = {("lstm", "default"): -0.01, ("rnn_tanh", "default"): -0.5}
    for key, rate in expected.items():
        assert settings.loc[key, "rate"] == pytest.approx(rate, rel=0.02)
        assert settings.loc[key, "start_rate"] == pytest.approx(rate / 2, rel=0.02)
        assert settings.loc[key, "half_life"] == pytest.approx(np.log(2) / abs(rate), rel=0.02)


def test_verdicts_follow_the_rule(comparison: Comparison) -> None:
    """Each setting gets the verdict that its rate and its lag of 39 call for."""
    verdicts = comparison.settings.set_index(["cell", "initialisation"])["verdict"].to_dict()
    assert verdicts == {
        ("lstm", "default"): "marginal",
        ("rnn_tanh", "default"): "vanishing",
        ("rnn_tanh", "normal(0.001)"): "vanishing",
        ("rnn_relu", "identity"): "exploding",
    }


def test_the_interval_spans_those_of_the_seeds(tmp_path: Path) -> None:
    """What is said of a setting holds for each of its seeds, and the reason says what the interval is."""
    rates = (-0.2, -0.3, -0.4)
    made = [write_trial(tmp_path, str(seed), rate=rate, seed=seed) for seed, rate in enumerate(rates)]
    found = _compare(made)
    setting = found.settings.iloc[0]
    assert setting["rate_low"] == found.trials["rate_low"].min()
    assert setting["rate_high"] == found.trials["rate_high"].max()
    assert "95 % intervals of the seeds from -0.4" in setting["verdict_reason"]


def test_seeds_that_disagree_in_direction_leave_a_setting_marginal(tmp_path: Path) -> None:
    """One seed that grows and two that shrink: neither verdict holds for all."""
    made = [write_trial(tmp_path, str(seed), rate=rate, seed=seed) for seed, rate in enumerate((-0.2, 0.05, -0.4))]
    assert _compare(made).settings["verdict"].tolist() == ["marginal"]


def test_underflow_is_kept_as_exact_zeros(comparison: Comparison) -> None:
    """A rate of -8 ends in exact zeros: counted, and as shares of zeros at each lag."""
    row = comparison.settings.set_index("initialisation").loc["normal(0.001)"]
    assert row["zeros"] > 0
    assert row["all_zero_lag"] == 14  # exp(-8 * 14) is below half of the smallest float32, 1.4e-45
    lags = comparison.lags.query("initialisation == 'normal(0.001)' and phase == 'end' and lag >= 14")
    assert (lags["norm"] == 0).all()
    assert (lags["zero_share"] == 1).all()


def test_a_trial_that_did_not_finish_keeps_its_reason(comparison: Comparison) -> None:
    """Failed, diverged and killed trials stay in the table, each with a reason."""
    lost = comparison.trials[comparison.trials["status"] != "finished"].set_index("trial")
    assert lost[["status", "reason"]].to_dict("index") == {
        "k": {"status": "failed", "reason": "it was stopped before it finished"},
        "f": {"status": "failed", "reason": "it failed in iteration 7"},
        "d": {"status": "diverged", "reason": "it diverged in iteration 7"},
    }


def test_failed_trials_do_not_count_and_diverged_ones_do(comparison: Comparison) -> None:
    """Leaving out what diverged would hide the very explosion that is looked for."""
    settings = comparison.settings.set_index(["cell", "initialisation"])
    assert settings[["seeds", "trials"]].to_dict("index") == {
        ("lstm", "default"): {"seeds": 2, "trials": 3},
        ("rnn_tanh", "default"): {"seeds": 2, "trials": 3},
        ("rnn_tanh", "normal(0.001)"): {"seeds": 2, "trials": 2},
        ("rnn_relu", "identity"): {"seeds": 3, "trials": 3},
    }
    assert settings.loc[("rnn_relu", "identity"), "loss_final_mean"] == np.inf


def test_final_loss_is_the_mean_of_the_last_tenth(comparison: Comparison) -> None:
    """The last tenth of 16 iterations is two of them."""
    assert comparison.settings.set_index("cell").loc["lstm", "loss_final_mean"] == pytest.approx(0.1)


def test_settings_stand_in_the_order_of_the_study(comparison: Comparison) -> None:
    """Rows of one cell stand together, cells in the order in which the study names them."""
    assert list(comparison.settings["cell"]) == ["lstm", "rnn_tanh", "rnn_tanh", "rnn_relu"]


def test_heat_is_of_every_layer_and_direction(tmp_path: Path) -> None:
    """Said in words; a network with one layer has no words for it."""
    stack = ["rnn.l0", "rnn.l0_reverse", "rnn.l1", "rnn.l1_reverse"]
    both = write_trial(tmp_path, "both", rate=-0.1, cell="both", layers=stack)
    one = write_trial(tmp_path, "one", rate=-0.1)

    heat = _compare([both, one]).heat

    assert heat.groupby(["cell", "layer"], sort=False).size().to_dict() == {
        ("both", "layer 1, forwards"): 16 * 40,
        ("both", "layer 1, backwards"): 16 * 40,
        ("both", "layer 2, forwards"): 16 * 40,
        ("both", "layer 2, backwards"): 16 * 40,
        ("rnn_tanh", ""): 16 * 40,
    }


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["rnn.l0", "rnn.l1"], ["layer 1", "layer 2"]),
        (["rnn.l0", "rnn.l0_reverse"], ["forwards", "backwards"]),
        (["first.l0", "second.l0"], ["first.l0", "second.l0"]),
        (["state", "rnn.l0"], ["state", "rnn.l0"]),
    ],
)
def test_a_layer_is_told_by_what_sets_it_apart(layers: list[str], words: list[str]) -> None:
    """Its place in the stack, its direction, or else its name."""
    assert [layer_words(layer, layers) for layer in layers] == words


def test_heat_is_of_the_default_and_first_seed(comparison: Comparison) -> None:
    """One trial a cell stands for it: the default if there is one, else its first initialisation."""
    chosen = comparison.heat[["cell", "initialisation", "seed"]].drop_duplicates()
    assert [tuple(row) for row in chosen.to_numpy()] == [
        ("lstm", "default", 0),
        ("rnn_tanh", "default", 0),
        ("rnn_relu", "identity", 0),
    ]
    assert len(comparison.heat) == 3 * 16 * 40


def test_clipping_is_counted(tmp_path: Path) -> None:
    """A coefficient of 0.25 in every iteration fired always."""
    found = _compare([write_trial(tmp_path, "c", rate=0.1, clipping="norm(1.0)", coefficient=0.25)])
    row = found.clipping.iloc[0]
    assert (row["clipped_share"], row["coefficient_median"], row["cosine_median"]) == (1.0, 0.25, 1.0)


def test_a_loss_at_all_times_is_not_judged(tmp_path: Path) -> None:
    """Where the loss enters at many times there is no lag profile, and no verdict is made up."""
    found = _compare([write_trial(tmp_path, "m", rate=-0.5, everywhere=True)])
    assert found.settings.loc[0, "verdict"] == "mixed"


def test_times_are_means_over_the_last_quarter(tmp_path: Path) -> None:
    """Of five recorded iterations that is one, as for every verdict; not two."""
    one = read_evidence(write_trial(tmp_path, "m", rate=-0.5, everywhere=True, iterations=5))
    rows = one.newest_calls()
    last = rows[rows["iteration"] == rows["iteration"].max()].sort_values("time")["total_gradient_norm"]
    assert rows["iteration"].nunique() == 5
    assert time_rows(one)["total_gradient_norm"].tolist() == pytest.approx(last.tolist())


def test_the_table_is_saved_beside_the_trials(comparison: Comparison, folders: list[Path]) -> None:
    """comparison.csv holds one row a trial."""
    saved = pd.read_csv(folders[0].parent / "comparison.csv")
    assert list(saved["trial"]) == list(comparison.trials["trial"])
    assert saved["rate"].to_numpy() == pytest.approx(comparison.trials["rate"].to_numpy(float), nan_ok=True)


def test_a_damaged_run_is_a_failed_trial(tmp_path: Path) -> None:
    """One damaged folder costs its own trial, not the report."""
    made = [write_trial(tmp_path, str(seed), rate=-0.5, seed=seed) for seed in (0, 1)]
    (made[1] / "run.json").write_text("{")
    found = _compare(made)
    assert list(found.trials["status"]) == ["finished", "failed"]
    assert "run.json" in found.trials.loc[1, "reason"]
    assert f"Or delete {made[1]}: then the same command trains it again" in found.trials.loc[1, "reason"]


def test_all_trials_failed_is_still_a_comparison(tmp_path: Path) -> None:
    """With nothing to judge the settings say so, and no table is missing a column."""
    found = _compare([write_trial(tmp_path, "f", rate=-0.5, status="failed")])
    assert list(found.settings["verdict"]) == ["failed"]
    assert list(found.lags.columns)[-1] == "zero_share"


def test_no_trial_at_all_is_an_error(tmp_path: Path) -> None:
    """A folder that holds nothing is refused in words."""
    with pytest.raises(RunError, match=r"no trial to compare"):
        _compare([tmp_path / "nothing"])


def test_the_same_folders_give_the_same_tables(comparison: Comparison, folders: list[Path]) -> None:
    """The bootstrap is seeded."""
    again = _compare(folders)
    pd.testing.assert_frame_equal(again.settings, comparison.settings)


def test_seeds_that_do_not_stand_together_are_pooled_all_the_same(comparison: Comparison, folders: list[Path]) -> None:
    """Norms of a setting's first seeds are read again when another one comes."""
    together = _compare(sorted(folders, key=lambda folder: folder.name))

    def in_one_order(table: pd.DataFrame) -> pd.DataFrame:
        return table.sort_values(["cell", "initialisation"]).reset_index(drop=True)

    assert together.settings["seeds"].max() == 3
    pd.testing.assert_frame_equal(in_one_order(together.settings), in_one_order(comparison.settings))


@pytest.mark.slow
def test_comparing_never_imports_torch(folders: list[Path]) -> None:
    """Who only reads a study's results does not wait for torch."""
    code = (
        "import sys, json; from pathlib import Path; from types import SimpleNamespace\n"
        "from gradscope.study.comparing.comparison import compare\n"
        "spec = SimpleNamespace(name='made', title='Made', question='What?')\n"
        "compare(spec, [Path(name) for name in json.loads(sys.argv[1])], {})\n"
        "print('torch' in sys.modules)"
    )
    names = json.dumps([str(folder) for folder in folders])
    done = subprocess.run([sys.executable, "-c", code, names], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_what_was_read_is_let_go(tmp_path, monkeypatch):
    """After the comparison no trial holds its tables: a study may be larger than the memory."""
    runs = []
    monkeypatch.setattr(
        "gradscope.study.comparing.evidence.open_run", lambda folder: runs.append(open_run(folder)) or runs[-1]
    )
    folders = [write_trial(tmp_path, f"t{seed}", rate=-0.2, seed=seed) for seed in range(3)]

    found = _compare(folders)

    assert len(found.trials) == len(runs) == 3
    held = [{name for name in vars(run) if name in {"iterations", "timesteps", "parameters", "gates"}} for run in runs]
    # Of the first one the picture over iterations and times is drawn, last of all.
    assert held == [{"timesteps"}, set(), set()]
