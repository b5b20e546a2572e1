"""One file's rows as they are, before any is judged; and the readers of CSV, TSV and Parquet.

Only the needed columns are converted, so nothing in another column can stop a reading.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from fedpers.errors import InputError
from fedpers.lists import parts
from fedpers.settings import DataSettings

BLOCK_BYTES = 1 << 24
MOST_LISTED = 20


@dataclass(frozen=True)
class Raw:
    """The rows of one file.

    Attributes:
        file: What an error calls the file.
        table: Columns user, text (string) and, where there are some and they are read, label or tag
            (string) and time (any type).
        place: Turns a row's position, from 0, into the words that find it, such as "line 7".
        names: What the file calls each of those columns.
    """

    file: str
    table: pa.Table
    place: Callable[[int], str]
    names: Mapping[str, str]


def content(path: Path) -> bytes:
    """Returns a file's bytes, decompressed where they are gzip's."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if path.suffix != ".gz" and data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        why = "is cut short" if isinstance(error, EOFError) else "is not a sound gzip file"
        raise InputError(f"{path} {why}: fetch or compress it again") from error


def wanted(settings: DataSettings) -> dict[str, str]:
    """Returns the columns to read: our name of each -> the source's name.

    Several text columns are read as text, text+1, and so on. Next words need no label. Where hashtags are
    asked for, the label is a tag, and may be missing.

    >>> wanted(DataSettings(text_column="title,body", label_column="stars"))
    {'user': 'user_id', 'text': 'title', 'text+1': 'body', 'label': 'stars'}
    """
    first, *others = parts(settings.text_column)
    further = {f"text+{number}": name for number, name in enumerate(others, 1)}
    names = {"user": settings.user_column, "text": first, **further}
    if settings.answer != "next-word":
        names["label" if settings.hashtags is None else "tag"] = settings.label_column
    return names if settings.time_column is None else names | {"time": settings.time_column}


def check_columns(file: str, names: Mapping[str, str], there: Iterable[str]) -> dict[str, str]:
    """Returns the wanted columns that are there, which a tag need not be.

    Raises:
        InputError: Another one is not there, or one is there more than once.
    """
    columns = list(there)
    for role, name in names.items():
        if columns.count(name) > 1:
            raise InputError(f"{file} has {columns.count(name)} columns {name!r}: rename all but one")
        if name not in columns and role != "tag":
            near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            more = f", and {len(columns) - MOST_LISTED} more" if len(columns) > MOST_LISTED else ""
            # A broken header may hold line breaks, which have no place in a one-line error.
            listed = " ".join(", ".join(columns[:MOST_LISTED]).split()) + more or "none"
            flag = f"--{role.partition('+')[0]}-column"
            raise InputError(
                f"{file} has no column {name!r}: {hint}set {flag} to one that is there ({listed})"
            )
    return {role: name for role, name in names.items() if name in columns}


def row_place(row: int) -> str:
    """Finds a row by its number among the data rows.

    >>> row_place(0)
    'row 1'
    """
    return f"row {row + 1}"


def line_place(data: bytes) -> Callable[[int], str]:
    """Returns what finds a row by its line, in a file with one row a line and perhaps blank lines."""

    def place(row: int) -> str:
        filled = (number for number, line in enumerate(data.split(b"\n"), 1) if line.strip())
        return f"line {next(itertools.islice(filled, row, None))}"

    return place


def check_utf8(file: str, data: bytes) -> None:
    """Raises an InputError that names the first line that is not UTF-8."""
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{file}, line {number}: not UTF-8; convert the file to UTF-8") from error


def as_text(file: str, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Prints an Arrow column: 4.0 becomes "4", true "true", and not-a-number a missing value."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_nested(column.type):
        raise InputError(f"{file}: column {name!r} holds {column.type}; it must hold plain values")
    try:
        return _floats(column) if pa.types.is_floating(column.type) else column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{file}: column {name!r} holds {column.type}, which is no text: store it as UTF-8 strings"
        ) from error


def _floats(column: pa.ChunkedArray) -> pa.ChunkedArray:
    column = pc.if_else(pc.is_nan(column), None, column)
    whole = pc.and_(pc.equal(column, pc.round(column)), pc.less(pc.abs(column), 2.0**53))
    integers = pc.if_else(whole, column, 0).cast(pa.int64())
    return pc.if_else(whole, integers.cast(pa.string()), column.cast(pa.string()))


def pick(file: str, table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """Returns the wanted columns under our names, as text but for the time."""
    return pa.table(
        {
            role: table[name] if role == "time" else as_text(file, name, table[name])
            for role, name in names.items()
        }
    )


def blank(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Tells which texts (rows,) are missing or hold nothing but white space."""
    trimmed = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
    empty: npt.NDArray[np.bool_] = pc.equal(trimmed, "").to_numpy()
    return empty


def read_csv(file: str, data: bytes, settings: DataSettings) -> Raw:
    """Reads comma-separated values below a header."""
    return _read_separated(file, data, settings, ",")


def read_tsv(file: str, data: bytes, settings: DataSettings) -> Raw:
    """Reads tab-separated values below a header, quoted as in CSV where a text needs it."""
    return _read_separated(file, data, settings, "\t")


def _read_separated(file: str, data: bytes, settings: DataSettings, delimiter: str) -> Raw:
    names = check_columns(file, wanted(settings), _header(file, data, delimiter))
    table = parse_separated(
        file,
        data,
        pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        list(dict.fromkeys(names.values())),  # one column may have two roles
    )
    picked = pick(file, table, names)
    for role in {"label", "tag"} & names.keys():
        # A file without types prints whole floats as 4.0 and a missing label as nothing at all.
        label = pc.replace_substring_regex(picked[role], r"^(-?[0-9]+)\.0+$", r"\1")
        label = pc.if_else(pc.equal(label, ""), None, label)
        picked = picked.set_column(picked.column_names.index(role), role, label)
    return Raw(file, picked, row_place, names)


def _header(file: str, data: bytes, delimiter: str) -> list[str]:
    lines = codecs.iterdecode(io.BytesIO(data), "utf-8-sig")
    try:
        return next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])
    except UnicodeDecodeError as error:
        raise InputError(f"{file}, line 1: not UTF-8; convert the file to UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{file}: its first line is no header of column names") from error


def parse_separated(
    file: str,
    data: bytes,
    how: pa.csv.ReadOptions,
    parse: pa.csv.ParseOptions,
    columns: list[str],
) -> pa.Table:
    """Reads columns of delimited text as strings, with one thread so that an error knows its row."""
    convert = pa.csv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.string()))
    try:
        return pa.csv.read_csv(io.BytesIO(data), how, parse, convert)
    except pa.ArrowException as error:
        if "UTF8" in str(error):
            check_utf8(file, data)
        found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if not found:
            raise InputError(f"{file} is not sound delimited text: a quote is probably left open") from error
        row = int(found[1]) - (0 if how.column_names else 1)
        raise InputError(
            f"{file}, row {row}: {found[3]} fields where {found[2]} belong; is a quote left open or missing?"
        ) from error


def read_parquet(file: str, data: bytes, settings: DataSettings) -> Raw:
    """Reads the needed columns of a Parquet file."""
    try:
        source = pa.parquet.ParquetFile(pa.BufferReader(data))
        names = check_columns(file, wanted(settings), source.schema_arrow.names)
        table = source.read(columns=list(dict.fromkeys(names.values())))
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not a sound Parquet file: fetch or write it again") from error
    return Raw(file, pick(file, table, names), row_place, names)
