import json
import os
import subprocess
import sys
from pathlib import Path

from fedpers.experiments import find
from fedpers.models import digest
from fedpers.report.progress import Reporter
from fedpers.simulation import prepare, simulate
from tests.conftest import small

ROOT = Path(__file__).resolve().parents[2]


def test_two_nodes_give_the_bits_of_this_process(silent: Reporter) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.two_nodes"],
        cwd=ROOT,
        env={**os.environ, "RAY_worker_niceness": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    here = simulate(prepare(small(), find("user-identifier").build, silent), silent)
    assert found == {"digest": digest(here.arrays), "nodes": 2}
