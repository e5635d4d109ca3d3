"""A machine of a cluster that cannot be reached any more, though it is still running."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradscope.runs import open_run

pytestmark = pytest.mark.slow

IN_A_NETWORK_OF_ITS_OWN = ["unshare", "--map-root-user", "--net"]


def _networks_can_be_made():
    if any(shutil.which(command) is None for command in ("unshare", "nsenter", "ip")):
        return False
    made = [*IN_A_NETWORK_OF_ITS_OWN, "ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1"]
    return subprocess.run(made, capture_output=True).returncode == 0


def test_trials_of_a_machine_whose_cable_is_pulled_are_trained_elsewhere(tmp_path):
    """The worker there goes on, not knowing; its trials finish on the other, and every run folder is whole."""
    if not _networks_can_be_made():
        pytest.skip("needs unshare, nsenter and ip, and the right to make network namespaces")

    command = [*IN_A_NETWORK_OF_ITS_OWN, sys.executable, "-m", "tests.study.two_machines", str(tmp_path)]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=root)

    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["before"] == ["10.77.0.1", "10.77.0.2"]
    assert found["after"] == ["10.77.0.1"]
    assert list(found["statuses"].values()) == ["finished"] * 8
    for trial in found["statuses"]:
        run = open_run(tmp_path / "runs" / trial)
        assert run.complete
        assert run.iterations["iteration"].tolist() == sorted(set(run.iterations["iteration"]))
        assert run.timesteps["iteration"].nunique() == 75
