from pathlib import Path

import pytest

from fedpers.errors import InputError
from fedpers.runs import new_run
from tests.conftest import small


@pytest.mark.parametrize("stop", [InputError("no such model"), KeyboardInterrupt()])
def test_a_run_that_never_began_leaves_no_folder(tmp_path: Path, stop: BaseException) -> None:
    with pytest.raises(type(stop)), new_run(tmp_path / "run", "any", small()):
        raise stop
    assert not (tmp_path / "run").exists()


def fail_after_a_part(out: Path) -> None:
    with new_run(out, "any", small()) as folder:
        (folder / "metrics.jsonl").write_text("{}")
        raise InputError("a later seed fails")


def test_a_part_of_a_run_is_kept_with_its_settings(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        fail_after_a_part(tmp_path / "run")
    names = {file.name for file in (tmp_path / "run").iterdir()}
    assert names == {"metrics.jsonl", "settings.json", "versions.json"}
