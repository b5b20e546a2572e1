"""Reads people's text from any source into one table, and says what was left out.

The reading is strict: a row that cannot be used as it stands stops it with the file, the row, the rule and
the way out. Only rows with nothing to predict are left out unasked, and they are counted: those without a
label, or, where the next word is to be told, without a second one, or, where a hashtag is to be
recommended, without exactly one of the most frequent.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedpers.data import corpora
from fedpers.data.answers import answered
from fedpers.data.formats import (
    Raw,
    blank,
    check_columns,
    content,
    pick,
    read_csv,
    read_parquet,
    read_tsv,
    row_place,
    wanted,
)
from fedpers.data.hashtags import check_hashtags, labelled
from fedpers.data.json_rows import read_jsonl
from fedpers.data.times import seconds
from fedpers.errors import InputError, unknown
from fedpers.settings import DataSettings

if TYPE_CHECKING:
    import datasets

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".ss", ".parquet")
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
NAMED = {"jsonl": read_jsonl, "csv": read_csv, "tsv": read_tsv, "parquet": read_parquet}
CORPORA = {
    "sentiment140": corpora.read_sentiment140,
    "leaf": corpora.read_leaf,
    "user-product": corpora.read_user_product,
}


@dataclass(frozen=True)
class Source:
    """Everyone's text, with what is predicted.

    Attributes:
        table: Columns user, text, label (string; empty unless a class is predicted); where a text is to be
            written target (string); where known time (float64; dates are seconds since 1970, numbers stay
            as they are); and where the source has a test part of its own, query (bool).
        notes: What was left out, a line each.
        classes: The only classes there are, where more is known of them than the labels tell.
    """

    table: pa.Table
    notes: tuple[str, ...]
    classes: tuple[str, ...] = ()


def read(settings: DataSettings) -> Source:
    """Reads the file, folder or Hugging Face data set that the settings name.

    Raises:
        InputError: The source is missing, unreadable or has a row that breaks a rule.
    """
    if settings.rating_bins is not None and settings.answer != "class":
        raise InputError(f"--rating-bins makes classes: leave it out with --answer {settings.answer}")
    if settings.hashtags is not None:
        check_hashtags(settings)
    left_out: Counter[str] = Counter()
    raws = _raws(settings)
    tables = [_clean(raw, settings, left_out) for raw in raws]
    columns = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    table = pa.concat_tables([table.select(columns) for table in tables])
    classes: tuple[str, ...] = ()
    if settings.hashtags is not None:
        table, classes = labelled(table, settings, left_out)
    notes = tuple(f"{_rows(count)} {why} {_were(count)} left out" for why, count in left_out.items() if count)
    if not table.num_rows:
        raise InputError(f"{settings.data} has no usable row: {'; '.join(notes) or 'it is empty'}")
    if settings.rating_bins is not None:
        names = _binned(table["label"].to_pylist(), _bounds(settings.rating_bins))
        table = table.set_column(table.column_names.index("label"), "label", pa.array(names))
    if classes and all("tag" not in raw.table.column_names for raw in raws):
        notes = (f"no column {settings.label_column!r} holds tags: they were read from the texts", *notes)
    return Source(table, notes, classes)


def _bounds(text: str) -> list[float]:
    """Reads the upper bounds of classes of numbers, rising."""
    try:
        bounds = [float(part) for part in text.split(",")]
    except ValueError:
        bounds = []
    if not bounds or bounds != sorted(set(bounds)):
        raise InputError(f"--rating-bins {text!r}: give rising numbers, parted by commas, as in 3,4")
    return bounds


def _binned(labels: Sequence[str], bounds: Sequence[float]) -> list[str]:
    """Returns the class of each number: at most the first bound, at most the second, and so on, or above."""
    classes = [*(f"<={bound:g}" for bound in bounds), f">{bounds[-1]:g}"]
    try:
        return [classes[bisect_left(bounds, float(label))] for label in labels]
    except ValueError as error:
        raise InputError(f"--rating-bins is for numbers, but a label is none: {error}") from None


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _raws(settings: DataSettings) -> list[Raw]:
    path = Path(settings.data).expanduser()
    if not path.exists():
        if settings.format in ("auto", "datasets") and _is_hub_name(settings):
            return [_read_datasets(settings.data, settings)]
        raise _missing(path)
    if path.is_dir():
        return _read_folder(path, settings)
    return [_read_file(path, settings)]


def _read_file(path: Path, settings: DataSettings) -> Raw:
    data = content(path)
    kind = _file_format(path, data) if settings.format == "auto" else settings.format
    if not data.strip():
        raise InputError(f"{path} is empty")
    if kind == "datasets":
        raise InputError(f"{path} is a file: format datasets reads a folder or a Hugging Face name")
    return CORPORA[kind](str(path), data) if kind in CORPORA else NAMED[kind](str(path), data, settings)


def _file_format(path: Path, data: bytes) -> str:
    suffix = _suffix(path)
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: cannot tell the format from the suffix {suffix!r}; rename it to one of "
            f"{', '.join(SUFFIXES)} (each also with .gz) or set --format"
        )
    if suffix in (".jsonl", ".ndjson", ".json"):
        return "leaf" if corpora.is_leaf(data) else "jsonl"
    if suffix == ".parquet":
        return "parquet"
    if corpora.is_user_product(data):
        return "user-product"
    if suffix == ".csv" and corpora.is_sentiment140(data):
        return "sentiment140"
    if suffix not in (".csv", ".tsv"):
        raise InputError(
            f"{path}: a {suffix} file is read as user-product, but its first line has no double tab; "
            "set --format to what it is"
        )
    return suffix[1:]


def _suffix(path: Path) -> str:
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()


def _read_folder(folder: Path, settings: DataSettings) -> list[Raw]:
    kind = _folder_format(folder) if settings.format == "auto" else settings.format
    if kind == "datasets":
        return [_read_datasets(str(folder), settings)]
    if kind not in ("leaf", "user-product"):
        raise InputError(f"{folder} is a folder: format {kind} reads one file; name a file in it")
    files = corpora.leaf_files(folder) if kind == "leaf" else corpora.user_product_files(folder)
    if not files:
        looked = "*.json" if kind == "leaf" else "train, dev or test *.tsv, *.txt or *.ss"
        raise InputError(f"{folder} has no file {looked}: format {kind} needs at least one")
    raws = [CORPORA[kind](str(file), content(file)) for file in files]
    if kind != "leaf" or not corpora.is_parted(folder):
        return raws
    return [_marked(raw, file.parent.name == "test") for raw, file in zip(raws, files, strict=True)]


def _marked(raw: Raw, query: bool) -> Raw:
    """Returns a file's rows with whether they are the source's own test part."""
    return replace(raw, table=raw.table.append_column("query", pa.array([query] * raw.table.num_rows)))


def _folder_format(folder: Path) -> str:
    tests: list[tuple[str, Callable[[Path], Sequence[Path]], Callable[[bytes], bool]]] = [
        ("user-product", corpora.user_product_files, corpora.is_user_product),
        ("leaf", corpora.leaf_files, corpora.is_leaf),
    ]
    for kind, files, fits in tests:
        found = files(folder)
        if found and fits(content(found[0])):
            return kind
    return "datasets"


def _is_hub_name(settings: DataSettings) -> bool:
    if settings.format == "datasets":
        return True
    path = Path(settings.data)
    local = _suffix(path) in SUFFIXES or path.parent.is_dir()
    return HUB_NAME.fullmatch(settings.data) is not None and not local


def _missing(path: Path) -> InputError:
    there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    if path.parent == Path():
        there.append("synthetic")
    there = [name for name in there if not name.startswith(".")]
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.5)
    if near:
        return InputError(f"no file or folder {path}: did you mean {path.parent / near[0]}?")
    return InputError(f"no file or folder {path}; a Hugging Face name looks like owner/name")


def _read_datasets(name: str, settings: DataSettings) -> Raw:
    rows = _load_split(name, settings.dataset_split)
    names = check_columns(name, wanted(settings), rows.column_names)
    needed = rows.select_columns(list(dict.fromkeys(names.values())))
    table: pa.Table = needed.with_format("arrow")[:]
    label = rows.features[settings.label_column] if names.keys() & {"label", "tag"} else None
    if label is not None and hasattr(label, "names"):
        position = table.column_names.index(settings.label_column)
        numbers = table[settings.label_column]
        # Hugging Face data sets mark a missing class with -1.
        known = pc.if_else(pc.less(numbers, 0), None, numbers)
        table = table.set_column(position, settings.label_column, pa.array(label.names).take(known))
    return Raw(name, pick(name, table, names), row_place, names)


def _load_split(name: str, split: str) -> datasets.Dataset:
    # The library takes a second to import, which a reader of a plain file should not pay.
    import datasets  # noqa: PLC0415

    try:
        if any((Path(name) / mark).exists() for mark in ("state.json", "dataset_dict.json")):
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name, split=split)
    except Exception as error:
        # The library lets its own errors and those of half a dozen others through.
        hides = isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__
        cause = hides or error
        why = (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")
        way = "the folder" if Path(name).is_dir() else "the name and the network, or give a local file"
        raise InputError(f"cannot load the data set {name!r}: {why}; check {way}") from error
    if isinstance(loaded, datasets.DatasetDict):
        if split not in loaded:
            raise unknown(f"split of {name}", split, [str(part) for part in loaded])
        loaded = loaded[split]
    return loaded


def _clean(raw: Raw, settings: DataSettings, left_out: Counter[str]) -> pa.Table:
    """Returns the usable rows; raises an InputError for the first row that breaks a rule."""
    table = _joined(raw.table).append_column("row", pa.array(np.arange(raw.table.num_rows)))
    rows = answered(raw, table, settings, left_out)
    _stop(raw, rows, blank(rows["user"]), f"no {raw.names['user']}; name the person or remove the row")
    empty = blank(rows["text"])
    if settings.drop_empty:
        left_out["with an empty text"] += int(empty.sum())
        rows = rows.filter(pa.array(~empty))
    else:
        _stop(raw, rows, empty, "the text is empty; fill it in, or leave such rows out with --drop-empty")
    return (_timed(raw, rows) if "time" in rows.column_names else rows).drop_columns("row")


def _joined(table: pa.Table) -> pa.Table:
    """Joins several text columns with a space; a missing one counts as empty."""
    parts = [name for name in table.column_names if name.startswith("text")]
    if len(parts) == 1:
        return table
    texts = pc.binary_join_element_wise(*(pc.fill_null(table[name], "") for name in parts), " ")
    return table.drop_columns(parts[1:]).set_column(table.column_names.index("text"), "text", texts)


def _timed(raw: Raw, rows: pa.Table) -> pa.Table:
    times = seconds(rows["time"])
    bad = times.is_null().to_numpy()
    value = rows["time"][int(np.argmax(bad))].as_py() if bad.any() else None
    rule = f"{raw.names['time']} {value!r} is no time; every row needs a number, or every row an ISO date"
    _stop(raw, rows, bad, f"{rule} such as 2009-04-06")
    return rows.set_column(rows.column_names.index("time"), "time", times)


def _stop(raw: Raw, rows: pa.Table, bad: npt.NDArray[np.bool_], rule: str) -> None:
    """Raises an InputError for the first bad row, if there is one."""
    if bad.any():
        row = rows["row"][int(np.argmax(bad))].as_py()
        raise InputError(f"{raw.file}, {raw.place(row)}: {rule}")
