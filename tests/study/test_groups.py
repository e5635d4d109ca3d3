"""Which trials are trained together."""

import pytest

from gradscope.study.running.groups import MOST, groups_of


@pytest.fixture
def alike(make_trial):
    """Make trials that may be trained together."""

    def make(count, **settings):
        return [make_trial(**{"together": True} | settings | {"seed": seed}) for seed in range(count)]

    return make


def _sizes(groups):
    return sorted(map(len, groups))


def test_seed_start_and_clipping_may_differ(make_trial):
    """And nothing else: here the batch."""
    same = [
        make_trial(together=True, seed=seed, initialisation=start, clipping=clipping)
        for seed, start, clipping in [(0, "default", "none"), (1, "identity", "none"), (0, "default", "zclip")]
    ]
    other = make_trial(together=True, batch=4)

    groups = groups_of([same[0], other, *same[1:]], workers=0)

    assert groups == [[same[0], same[2]], [other], [same[1]]]  # halves, as for one worker


def test_nobody_is_asked_to_who_did_not_say_so(alike):
    """A study opts in."""
    assert _sizes(groups_of(alike(6, together=False), workers=1)) == [1] * 6
    assert _sizes(groups_of(alike(6), workers=1)) == [3, 3]


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "lstm"},
        {"cell": "rnn_tanh_deep"},
        {"cell": "factors"},
        {"hidden": 2048},
        {"every": 1},
        {"clipping": "mine:clip"},
        {"clipping": "omega(0.1)+norm(1.0)"},
        {"initialisation": "mine:start"},
        {"measures": ("states",)},
        {"modules": ("mine",)},
        {"task": "recall", "kind": "recall", "options": {"lag": 7, "truncate": 3}},
        {"task": "text", "kind": "writing", "options": {"text": "chinese", "length": 5, "order": "sequential"}},
    ],
)
def test_what_the_loops_cannot_do_or_does_not_pay_is_trained_alone(alike, settings):
    """Other cells, large ones, one's own parts, truncated gradients, states that are carried."""
    assert _sizes(groups_of(alike(4, **settings), workers=1)) == [1] * 4


@pytest.mark.parametrize(
    ("trials", "workers", "sizes"),
    [(1, 2, [1]), (4, 2, [1] * 4), (8, 2, [2] * 4), (25, 1, [8, 8, 9]), (100, 2, [11] * 8 + [12]), (0, 2, [])],
)
def test_every_worker_gets_work(alike, trials, workers, sizes):
    """Two groups for each, none larger than `MOST`, none much smaller than the others, no trial lost."""
    groups = groups_of(alike(trials), workers)

    assert _sizes(groups) == sizes
    assert max(sizes, default=0) <= MOST
    assert sorted(trial.seed for group in groups for trial in group) == list(range(trials))
