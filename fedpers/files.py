"""Files that are never there in part: written under another name, then renamed.

That a file is there tells later commands that something came to its end: a run by its result, a cell of a
study by its record. Half a file would tell it of what was cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save_file

from fedpers.errors import WriteError


def write_whole(path: Path, text: str) -> None:
    """Writes text as UTF-8; a file that was there stays as it was until all of the new one is.

    Raises:
        WriteError: It cannot be written.
    """
    with writing(path), beside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def save_whole(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes arrays as safetensors, in the same way."""
    with writing(path), beside(path) as unfinished:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, unfinished)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Makes one line of what goes wrong with the disk in the block, in which a file or folder is written.

    Raises:
        WriteError: It cannot be written.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError | SafetensorError) and type(error) is not Exception:  # tokenizers'
            raise
        reason = error.strerror if isinstance(error, OSError) else None
        raise WriteError(f"cannot write {path}: {reason or error}") from error


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yields where to write a file, which takes its name once all of it is written, and else goes again."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        yield unfinished
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.replace(path)
