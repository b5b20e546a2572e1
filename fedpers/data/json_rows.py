"""JSON Lines, read at once by Arrow where it can, else line by line.

Arrow wants one type a column; what it refuses is read again by the plain reader, which takes every mix of
types and can say which line is at fault. Both give the same table.
"""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import pyarrow as pa
import pyarrow.json

from fedpers.data.formats import (
    BLOCK_BYTES,
    Raw,
    check_columns,
    check_utf8,
    line_place,
    pick,
    row_place,
    wanted,
)
from fedpers.errors import InputError
from fedpers.settings import DataSettings

SNIFFED_LINES = 1000
KINDS = MappingProxyType({str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()})
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_jsonl(file: str, data: bytes, settings: DataSettings) -> Raw:
    """Reads one JSON object a line, or one JSON list of objects."""
    names = wanted(settings)
    if data.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"[":
        return Raw(file, _table(file, _listed(file, data), names, row_place), row_place, names)
    place = line_place(data)
    table = read_fast(file, data, names)
    if table is None:
        table = read_plain(file, data, names)
    return Raw(file, table, place, names)


def read_fast(file: str, data: bytes, names: Mapping[str, str]) -> pa.Table | None:
    """Reads JSON Lines with Arrow, or returns None where a column's type is unclear or changes."""
    schema = _sniff(data, names)
    if schema is None:
        return None
    how = pa.json.ReadOptions(block_size=BLOCK_BYTES)
    parse = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        table = pa.json.read_json(io.BytesIO(data), how, parse)
        # Arrow's JSON reader takes any bytes for a string; only a full validation looks at them.
        table.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return pick(file, table, names)


def read_plain(file: str, data: bytes, names: Mapping[str, str]) -> pa.Table:
    """Reads JSON Lines one by one; an error names the line."""
    return _table(file, _lines(file, data), names, line_place(data))


def _sniff(data: bytes, names: Mapping[str, str]) -> pa.Schema | None:
    kinds: dict[str, pa.DataType | None] = {}
    for line in itertools.islice(io.BytesIO(data), SNIFFED_LINES):
        try:
            row = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):
            return None
        if not isinstance(row, dict):
            return None
        found = {name: row[name] for name in names.values() if row.get(name) is not None}
        kinds = {name: KINDS.get(type(value)) for name, value in found.items()} | kinds
    if any(kinds.get(name) is None for name in names.values()):
        return None
    return pa.schema(list(kinds.items()))


def _lines(file: str, data: bytes) -> Iterator[dict[str, object]]:
    for number, line in enumerate(data.removeprefix(BYTE_ORDER_MARK).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
        except UnicodeDecodeError as error:
            raise InputError(f"{file}, line {number}: not UTF-8; convert the file to UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}, line {number}: not a sound JSON object; {_why(error)}") from error
        if not isinstance(row, dict):
            raise InputError(f"{file}, line {number}: each line must be a JSON object")
        yield row


def load_json(file: str, data: bytes) -> object:
    """Reads a file that is one JSON value."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        check_utf8(file, data)
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"{file}, line {error.lineno}: not sound JSON; {_why(error)}") from error
    except RecursionError as error:
        raise InputError(f"{file}: not sound JSON; {_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[0].lower()}{error.msg[1:]} (column {error.colno})"
    return "it is nested too deeply"


def _listed(file: str, data: bytes) -> Iterator[dict[str, object]]:
    rows = load_json(file, data)
    for position, row in enumerate(rows if isinstance(rows, list) else [rows]):
        if not isinstance(row, dict):
            raise InputError(f"{file}, {row_place(position)}: each entry must be a JSON object")
        yield row


def _table(
    file: str, rows: Iterable[dict[str, object]], names: Mapping[str, str], place: Callable[[int], str]
) -> pa.Table:
    seen: dict[str, None] = {}
    columns: dict[str, list[str | None]] = {role: [] for role in names}
    for position, row in enumerate(rows):
        seen |= dict.fromkeys(row)
        for role, name in names.items():
            value = row.get(name)
            if isinstance(value, list | dict):
                what = "a list" if isinstance(value, list) else "an object"
                raise InputError(
                    f"{file}, {place(position)}: {name!r} holds {what}; it must hold a plain value"
                )
            columns[role].append(printed(value))
    there = check_columns(file, names, seen)
    return pa.table({role: strings(columns[role]) for role in there})


def printed(value: object) -> str | None:
    """Returns a JSON value as text, or None for a missing one.

    >>> printed(4.0), printed(True), printed(float("nan")), printed("4.0")
    ('4', 'true', None, '4.0')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def strings(values: list[str | None]) -> pa.ChunkedArray:
    """Makes an Arrow column; half a surrogate pair, as cut tweets have, becomes a question mark."""
    try:
        return pa.chunked_array([pa.array(values, pa.string())])
    except UnicodeEncodeError:
        sound = [None if value is None else value.encode(errors="replace").decode() for value in values]
        return pa.chunked_array([pa.array(sound, pa.string())])
