"""One finished run for all tests of its modules."""

import shutil
from pathlib import Path

import pytest

from tests.modules.owned_runs import simulated


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a run that no test may change."""
    return simulated(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Returns a copy of the run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))
