"""The studies that come with gradscope."""

import pytest

from gradscope.errors import UsageError
from gradscope.study.running.expected import expected_seconds
from gradscope.study.spec.catalogue import built_in_studies
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.loading import load_study

STUDIES = built_in_studies()


def _trials(name, mode="default"):
    try:
        return expand_grid(load_study(STUDIES[name], mode))
    except UsageError as error:
        if "gradscope-rnn[data]" not in str(error):
            raise
        pytest.skip(f"needs the extra `data`: {error}")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_its_name_a_question_and_a_grid(name):
    """The file is called as the study is, and asks something."""
    spec = load_study(STUDIES[name])

    assert spec.name == name
    assert spec.question.endswith("?")
    assert len({trial.id for trial in _trials(name)}) == len(_trials(name))


@pytest.mark.parametrize("name", STUDIES)
def test_quick_is_a_smaller_grid_of_the_same_question(name):
    """Fewer trials or fewer iterations, never more of either."""
    quick, default = (_trials(name, mode) for mode in ("quick", "default"))

    assert sum(trial.iterations for trial in quick) < sum(trial.iterations for trial in default)
    assert {trial.cell for trial in quick} <= {trial.cell for trial in default}
    assert {trial.task for trial in quick} <= {trial.task for trial in default}


@pytest.mark.parametrize("name", STUDIES)
def test_every_claim_is_about_settings_of_the_default_grid(name):
    """A claim that no trial can speak to would be an ornament."""
    spec, trials = load_study(STUDIES[name]), _trials(name)

    for claim in spec.expect:
        for group in (claim.better, claim.worse, claim.solves, claim.fails):
            matching = [trial for trial in trials if all(getattr(trial, key) == value for key, value in group.items())]
            assert matching, (claim.claim, group)


@pytest.mark.parametrize("name", STUDIES)
def test_time_is_bearable(name, tmp_path, monkeypatch):
    """On two processors as fast as the one of the table: four minutes by default, 40 s with --quick."""
    monkeypatch.setattr("gradscope.study.running.expected._benchmark", lambda: 0.006)

    assert expected_seconds(_trials(name), tmp_path, workers=2) < 240
    assert expected_seconds(_trials(name, "quick"), tmp_path, workers=2) < 40
