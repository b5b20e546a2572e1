from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file

from fedpers import files
from fedpers.errors import WriteError
from fedpers.files import save_whole, write_whole, writing


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_text_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    write_whole(tmp_path / "note.txt", "first")
    write_whole(tmp_path / "note.txt", "zweitens, für immer")
    assert (tmp_path / "note.txt").read_bytes() == "zweitens, für immer".encode()
    assert names(tmp_path) == ["note.txt"]


def test_arrays_come_back_as_they_were_however_they_lay_in_memory(tmp_path: Path) -> None:
    arrays = {"turned": np.arange(6.0).reshape(2, 3).T, "whole": np.arange(3)}
    save_whole(tmp_path / "a.safetensors", arrays)
    found = load_file(tmp_path / "a.safetensors")
    assert {name: found[name].tolist() for name in arrays} == {k: a.tolist() for k, a in arrays.items()}
    assert names(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize(
    ("cut_off", "raised"),
    [(OSError(28, "No space left on device"), WriteError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_what_is_cut_off_leaves_the_file_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_off: BaseException, raised: type[BaseException]
) -> None:
    def half(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise cut_off

    save_whole(tmp_path / "a.safetensors", {"one": np.ones(2)})
    monkeypatch.setattr(files, "save_file", half)
    with pytest.raises(raised):
        save_whole(tmp_path / "a.safetensors", {"one": np.zeros(2)})
    assert load_file(tmp_path / "a.safetensors")["one"].tolist() == [1, 1]
    assert names(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize(
    "failure",
    [kind("No space left") for kind in (OSError, SafetensorError, Exception)],  # the last is tokenizers'
    ids=repr,
)
def test_what_the_disk_refuses_is_one_line(failure: Exception) -> None:
    with (
        pytest.raises(WriteError, match=r"^cannot write run/model: No space left$"),
        writing(Path("run/model")),
    ):
        raise failure


def test_a_mistake_while_something_is_written_is_not_taken_for_the_disks() -> None:
    with pytest.raises(ValueError, match="no such array"), writing(Path("run/model")):
        raise ValueError("no such array")
