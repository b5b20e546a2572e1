from pathlib import Path

import pytest

from fedpers.errors import InputError, WriteError
from fedpers.runs import new_run, reopen, result_of, write_result
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


def test_a_result_whose_writing_is_cut_off_leaves_the_run_to_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_run(tmp_path / "run", "any", small()) as folder:
        pass

    def write_half(path: Path, text: str, **given: str) -> int:
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", write_half)
        with pytest.raises(WriteError, match=r"result\.json: No space left on device$"):
            write_result(folder, {"accuracy": 0.5})
    assert reopen(folder)[1] == []
    write_result(folder, {"accuracy": 0.5})
    assert result_of(folder) == {"accuracy": 0.5}


def test_a_disk_that_is_full_before_a_run_has_begun_is_the_folders_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str, **given: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match=r"No space left on device; give another --out$"):
        fail_after_a_part(tmp_path / "run")
