"""Every rule fires on a fault planted in a real training, in every one of five seeds, and on no healthy training.

`python -m tests.diagnosis.test_hits_and_false_alarms` prints the table of hits and false alarms.
"""

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from gradscope.diagnosis import diagnose
from gradscope.diagnosis.examination import LAYER_RULES, RUN_RULES
from tests.diagnosis.trainings import FAULTY, HEALTHY, LEARNED, Training
from tests.examples import MANY

SEEDS = range(5)


def findings(training: Training, folder: Path) -> list[set[str]]:
    """The codes that are found, seed by seed."""
    return [{finding.code for finding in diagnose(training.run(folder / str(seed), seed))} for seed in SEEDS]


@pytest.mark.slow
@pytest.mark.parametrize("training", HEALTHY, ids=lambda training: training.name)
def test_a_healthy_training_has_no_findings(training, tmp_path):
    """Not even for information."""
    assert findings(training, tmp_path) == [set()] * len(SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("training", LEARNED, ids=lambda training: training.name)
def test_a_training_that_has_learned_is_no_error(training, tmp_path):
    """Its gradient grows, which is said, and clipping advised where there is none; what it learned is no error."""
    for seed in SEEDS[: 2 * MANY]:  # They are long: all seeds in `make thorough`.
        found = diagnose(training.run(tmp_path / str(seed), seed))
        assert {finding.severity for finding in found} <= {"info", "warning"}
        assert {finding.code for finding in found} <= {"exploding-gradient", "clip-never-on"}


@pytest.mark.slow
@pytest.mark.parametrize("training", FAULTY, ids=lambda training: training.name)
def test_a_planted_fault_is_found(training, tmp_path):
    """In every seed; what else a fault brings along is found too and not asked for."""
    assert [found & training.codes for found in findings(training, tmp_path)] == [training.codes] * len(SEEDS)


def test_every_rule_has_a_planted_fault():
    """As many codes are planted as there are rules, so that a new rule cannot come without a training."""
    planted = set().union(*(training.codes for training in FAULTY))
    assert len(planted) == len(LAYER_RULES) + len(RUN_RULES)


def table() -> str:
    """Train everything, and count."""
    with tempfile.TemporaryDirectory() as folder:
        named = [*HEALTHY, *FAULTY]
        found = {training.name: findings(training, Path(folder) / training.name) for training in named}
    alarms = Counter(code for training in HEALTHY for codes in found[training.name] for code in codes)
    lines = ["| Code | Planted in | Hits | False alarms |", "| --- | --- | ---: | ---: |"]
    for training in FAULTY:
        for code in sorted(training.codes):
            hits = sum(code in codes for codes in found[training.name])
            alarmed = f"{alarms[code]} of {len(HEALTHY) * len(SEEDS)}"
            lines.append(f"| `{code}` | {training.kind}: {training.name} | {hits} of {len(SEEDS)} | {alarmed} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
