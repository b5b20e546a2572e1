"""Times of writing as numbers: plain numbers, ISO dates, and dates as Twitter printed them."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

TWEET_DATE = r"^\w{3} \w{3} \d{2} \d{2}:\d{2}:\d{2} (?P<zone>[A-Z]{3}) \d{4}$"
ZONE_HOURS = MappingProxyType({"UTC": 0, "GMT": 0, "PDT": -7, "PST": -8, "EDT": -4, "EST": -5})


def seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns times as float64, null where a value is no time.

    Numbers stay as they are; dates become seconds since 1970, in UTC where they name no zone. Of numbers and
    dates in one column the fewer are no times.
    """
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _since_1970(column.cast(pa.timestamp("us", tz=kind.tz), safe=False))
    if pa.types.is_date(kind):
        return _since_1970(column.cast(pa.timestamp("us")))
    numbers = _numbers(column)
    if numbers is not None:
        return numbers
    texts = column.cast(pa.string())
    dates = _iso_seconds(texts)
    if dates.null_count < len(dates) / 2:
        return dates
    each = pa.array([_one_number(value) for value in texts.to_pylist()], pa.float64())
    return pa.chunked_array([each]) if each.null_count < dates.null_count else dates


def _since_1970(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.divide(moments.cast(pa.int64()).cast(pa.float64()), 1e6)


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if pa.types.is_boolean(column.type):
        return None
    try:
        numbers = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _iso_seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(column)
    try:
        return _since_1970(trimmed.cast(pa.timestamp("us")))
    except pa.ArrowInvalid:
        # Arrow takes dates with zones and dates without only apart, and does not say which one failed.
        return pa.chunked_array([pa.array([_one_iso(value) for value in trimmed.to_pylist()], pa.float64())])


def _one_number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if isfinite(number) else None


def _one_iso(value: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat(value or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def tweet_seconds(dates: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns seconds since 1970 of dates as Twitter printed them; null for what is no such date."""
    zones = pc.struct_field(pc.extract_regex(dates, pattern=TWEET_DATE), "zone")
    names = pa.array(list(ZONE_HOURS))
    behind = pa.array([-3600 * hours for hours in ZONE_HOURS.values()]).take(pc.index_in(zones, names))
    local = pc.strptime(
        pc.replace_substring_regex(dates, r" [A-Z]{3} (\d{4})$", r" \1"),
        format="%a %b %d %H:%M:%S %Y",
        unit="s",
        error_is_null=True,
    )
    return pc.add(local.cast(pa.int64()), behind).cast(pa.float64())
