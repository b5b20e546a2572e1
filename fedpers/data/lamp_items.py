"""How LaMP's files lay out each task: the keys of a history's items, and where a question's text begins.

The tables are part of tasks.toml. Files name their tasks unreliably (LaMP_2 was the news task and is now the
movie task, OPPU's files say LaMP_8), so what the items hold decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from fedpers.data.json_rows import printed
from fedpers.data.tasks import given
from fedpers.data.times import tweet_seconds
from fedpers.errors import InputError

Entry = Mapping[str, object]


@dataclass(frozen=True)
class Layout:
    """One task's way of being laid out.

    Attributes:
        task: The task's name.
        ids: What LaMP's and OPPU's files call the task.
        keys: What every item of a history has.
        extra: What it may have besides, next to id and date.
        text: The keys of the text that is shown, in order.
        target: The key of what was answered to it.
        start: What stands before the text in a question's input.
    """

    task: str
    ids: tuple[str, ...]
    keys: tuple[str, ...]
    extra: tuple[str, ...]
    text: tuple[str, ...]
    target: str
    start: re.Pattern[str]

    def question(self, asked: str) -> str | None:
        """Returns the text within a question's input, or None where nothing shows its beginning.

        Of a citation it keeps the title and both options.
        """
        found = self.start.search(asked)
        if found is None:
            return None
        if parts := found.groupdict():
            return f"{parts['title']} reference: [1] - {parts['first']} [2] - {parts['second']}"
        return asked[found.end() :].strip()

    def item(self, asked: str) -> str:
        """Returns the text of the item that a question's input asks for: of a citation the title alone."""
        found = self.start.search(asked)
        if found is None:
            return asked.strip()
        return str(found.groupdict().get("title", asked[found.end() :])).strip()


def layouts() -> list[Layout]:
    """Returns every task's layout."""
    return [
        Layout(
            name,
            tuple(table["lamp"]["ids"]),
            tuple(table["lamp"]["keys"]),
            tuple(table["lamp"].get("extra", ())),
            tuple(table["lamp"]["text"]),
            table["lamp"]["target"],
            re.compile(table["lamp"]["start"], re.IGNORECASE | re.DOTALL),
        )
        for name, table in given().items()
    ]


def find_layout(
    file: str, item: Entry, asked: Sequence[str], declared: str | None
) -> tuple[Layout, str | None]:
    """Returns the layout of a file, and a note where the file says something else.

    The keys of an item narrow the choice; then counts how many questions begin as the task's do, then how
    many keys are known, then what the file says.

    Args:
        file: What an error calls the file.
        item: One item of a history.
        asked: Inputs of questions.
        declared: The task id the file gives, if any.
    """
    fitting = [layout for layout in layouts() if all(key in item for key in layout.keys)]
    if not fitting:
        known = "; ".join(f"{layout.task}: {', '.join(layout.keys)}" for layout in layouts())
        there = ", ".join(item) or "none"
        raise InputError(f"{file}: items with the keys {there} fit no task of LaMP ({known})")

    def merit(layout: Layout) -> tuple[int, int, bool, int]:
        begun = sum(layout.question(text) is not None for text in asked)
        known = sum(key in item for key in (*layout.keys, *layout.extra))
        return begun, known, declared in layout.ids, len(layout.keys)

    best = max(fitting, key=merit)
    if declared is None or declared in best.ids:
        return best, None
    return best, f"{file} names its task {declared}, but its items are those of {best.task}"


def value_of(place: str, entry: Entry, key: str) -> str:
    """Returns a value as text, empty for none; half a surrogate pair becomes a question mark."""
    value = entry.get(key)
    if isinstance(value, str) and value.isascii():
        return value
    if isinstance(value, list | dict):
        raise InputError(f"{place}: {key!r} must be a plain value, not a list or an object")
    return (printed(value) or "").encode(errors="replace").decode()


def needed(place: str, entry: Entry, key: str) -> str:
    """Returns the value of a key that must be there."""
    if key not in entry:
        raise InputError(f"{place}: the key {key!r} is missing; its keys are {', '.join(entry) or 'none'}")
    return value_of(place, entry, key)


def moment(date: str) -> float | None:
    """Returns a date as seconds since 1970, a year or month as its beginning, a number as itself; else None.

    Four digits alone are a year, eight a day.

    >>> moment("1970-01-02"), moment("1971"), moment("1970-02"), moment("1234567890"), moment("May")
    (86400.0, 31536000.0, 2678400.0, 1234567890.0, None)
    """
    day = date.strip()
    if re.fullmatch(r"\d{4}(-\d\d)?", day):
        day += "-01" if len(day) == 7 else "-01-01"
    # Numbers of other lengths are no days, though some of 13 digits would pass for one with its hours.
    if re.fullmatch(r"\d{8}", day) or not re.fullmatch(r"\d+(\.\d*)?", day):
        try:
            found = datetime.fromisoformat(day)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            pass
    try:
        number = float(day)
    except ValueError:
        seconds: float | None = tweet_seconds(pa.chunked_array([[day]]))[0].as_py()
        return seconds
    return number if math.isfinite(number) else None
