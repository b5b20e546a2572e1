"""Lists that people type: entries parted by commas."""

from __future__ import annotations

import math

from fedpers.errors import InputError


def parts(text: str) -> list[str]:
    """Returns the entries without the blanks around them.

    >>> parts("0, one,")
    ['0', 'one', '']
    """
    return [part.strip() for part in text.split(",")]


def names(text: str) -> list[str]:
    """Returns the entries that are not empty.

    >>> names("idfree, oppu,")
    ['idfree', 'oppu']
    """
    return [part for part in parts(text) if part]


def numbers(text: str) -> list[tuple[str, float]]:
    """Returns each entry with the number that it is, not-a-number for none.

    >>> numbers("inf, 0.5,much")
    [('inf', inf), ('0.5', 0.5), ('much', nan)]
    """
    return [(part, _number(part)) for part in parts(text)]


def whole_numbers(option: str, text: str, example: str) -> list[int]:
    """Returns the entries as different whole numbers from 0.

    Args:
        option: What the list was given as, such as `--seeds`.
        text: The list.
        example: A list as it may be.

    Raises:
        InputError: They are none, or one is there twice.
    """
    entries = parts(text)
    found = [int(part) for part in entries if part.isdecimal()]
    if len(set(found)) < len(entries):
        raise InputError(
            f"{option} {text!r}: give different whole numbers from 0, parted by commas, as in {example}"
        )
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
