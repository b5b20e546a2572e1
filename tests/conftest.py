"""What tests share: a small world of made-up people, and Ray, started once for the whole suite."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from fedpers.cli import main
from fedpers.experiments import own_sections
from fedpers.models import quiet_transformers
from fedpers.report.progress import Reporter
from fedpers.settings import Settings, resolve

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

Run = Callable[..., tuple[int, str, str]]

SMALL: dict[str, dict[str, Any]] = {
    "data": {"clients": 6, "public_people": 8, "held_out_people": 2},
    "synthetic": {"samples_per_person": 12, "plain_words": 60},
    "model": {"hidden_size": 16, "heads": 2, "max_tokens": 32, "vocabulary": 200},
    "federation": {"rounds": 3, "clients_per_round": 4, "eval_every": 2},
    "central": {"base_epochs": 1},
    "engine": {"workers": 0, "cohort_size": 2},
}


def small(**sections: dict[str, Any]) -> Settings:
    """Returns settings of a run that takes about a second, with some sections changed."""
    return resolve([SMALL, sections], own_sections())


@pytest.fixture(autouse=True, scope="session")
def as_in_a_run() -> None:
    """Fixes torch's threads and quiets transformers, as every run does.

    Tests compare bits, and tiny models are faster so; they read what is printed.
    """
    torch.set_num_threads(1)
    quiet_transformers()


@pytest.fixture
def silent() -> Reporter:
    return Reporter(silent=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Returns what calls the command line in an empty folder: exit status, output, error output."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fedpers", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def shared() -> Path:
    """Returns the folder of real data and vocabularies, or skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("real data (../shared/data) is not there")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Starts Ray for all tests that need it."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # Ray spells it so
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()
