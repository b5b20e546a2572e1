from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from fedpers import files
from fedpers.files import save_whole, write_whole


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


@pytest.mark.parametrize("cut_off", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_is_cut_off_leaves_the_file_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_off: BaseException
) -> None:
    def half(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise cut_off

    save_whole(tmp_path / "a.safetensors", {"one": np.ones(2)})
    monkeypatch.setattr(files, "save_file", half)
    with pytest.raises(type(cut_off)):
        save_whole(tmp_path / "a.safetensors", {"one": np.zeros(2)})
    assert load_file(tmp_path / "a.safetensors")["one"].tolist() == [1, 1]
    assert names(tmp_path) == ["a.safetensors"]
