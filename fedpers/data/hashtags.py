"""Hashtags to recommend: which ones a row carries, the most frequent as classes, texts without the answer.

The second task of PerPLM (Oba, Yoshinaga & Toyoda, 2023, arXiv 2309.07727). How its data were made could not
be obtained; what counts as a hashtag and which rows are kept is our choice.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from fedpers.data.formats import Raw, blank
from fedpers.errors import InputError
from fedpers.settings import DataSettings

_ADDRESS = r"\b[a-z][a-z\d+.-]*://\S*"  # whose part behind a sign is no tag
_SIGNS = "#\uff03"  # the second is the full-width sign of Japanese and Chinese keyboards
_LETTER = r"[^\W\d_]"  # "#1" is a number, no hashtag


def check_hashtags(settings: DataSettings) -> None:
    """Raises an InputError if hashtags go with no other setting that says what is predicted."""
    asked = f"--hashtags {settings.hashtags} makes classes"
    if settings.answer != "class":
        raise InputError(f"{asked}, which --answer {settings.answer} is not for: use --answer class")
    if settings.rating_bins is not None:
        raise InputError(f"{asked}, and so does --rating-bins {settings.rating_bins}: leave one out")


def with_tags(raw: Raw, table: pa.Table, left_out: Counter[str]) -> pa.Table:
    """Returns the rows that have a tag, with the column tags: those in the tag column, else in the text."""
    if "tag" in table.column_names:
        rows = table.filter(pa.array(~blank(table["tag"])))
        left_out[f"without {raw.names['tag']}"] += table.num_rows - rows.num_rows
        tags = [[_folded(tag.strip().lstrip(_SIGNS).lstrip())] for tag in rows["tag"].to_pylist()]
        kept = rows.drop_columns("tag").append_column("tags", _lists(tags))
    else:
        rows = table.drop_columns("label") if "label" in table.column_names else table
        tags = [tags_in(text or "") for text in rows["text"].to_pylist()]
        kept = rows.append_column("tags", _lists(tags))
    there = np.array([any(own) for own in tags], dtype=bool)
    left_out["without a hashtag"] += int((~there).sum())
    return kept.filter(pa.array(there))


def labelled(
    table: pa.Table, settings: DataSettings, left_out: Counter[str]
) -> tuple[pa.Table, tuple[str, ...]]:
    """Returns the rows with exactly one of the most frequent tags, and these tags, the most frequent first.

    The tag becomes the label and leaves the text.

    Args:
        table: Columns text and tags, and others.
        settings: How many tags to take.
        left_out: Rows that are left out, by why.

    Raises:
        InputError: There are fewer tags than asked for.
    """
    tags: list[list[str]] = table["tags"].to_pylist()
    classes = _most_frequent(tags, settings)
    known = [[tag for tag in own if tag in classes] for own in tags]
    left_out[f"without one of the {len(classes)} most frequent tags"] += sum(not own for own in known)
    left_out[f"with several of the {len(classes)} most frequent tags"] += sum(len(own) > 1 for own in known)
    rows = table.filter(pa.array([len(own) == 1 for own in known], pa.bool_())).drop_columns("tags")
    labels = [own[0] for own in known if len(own) == 1]
    texts = [without(text, tag) for text, tag in zip(rows["text"].to_pylist(), labels, strict=True)]
    rows = rows.set_column(rows.column_names.index("text"), "text", pa.array(texts, pa.string()))
    rows = rows.append_column("label", pa.array(labels, pa.string()))
    empty = blank(rows["text"])
    left_out["of nothing but the tag"] += int(empty.sum())
    return rows.filter(pa.array(~empty)), tuple(classes)


def tags_in(text: str) -> list[str]:
    """Returns the different hashtags of a text, without their signs and in lower case, in order.

    >>> tags_in("No.1 #Sports fan&#x27;s day #sports #Día #1 https://x.org/#about")
    ['sports', 'día']
    """
    return list(dict.fromkeys(_folded(found[1]) for found in _hashtag().finditer(text) if found[1]))


def without(text: str, tag: str) -> str:
    """Returns a text without a hashtag, wherever it occurs; the plain word stays.

    >>> without("#Go team, go!#GO #gone https://x.org/#go", "go")
    'team, go! #gone https://x.org/#go'
    """

    def left(found: re.Match[str]) -> str:
        return "" if found[1] and _folded(found[1]) == tag else found[0]

    # A tag of a column may be more than a word, such as new-york.
    return _shown(tag).sub(left, text).strip()


def _most_frequent(tags: Sequence[Sequence[str]], settings: DataSettings) -> dict[str, int]:
    """Returns the tags that most rows carry, with how many do; of equally frequent ones the first by name."""
    counts = Counter(tag for own in tags for tag in own)
    asked = f"--hashtags {settings.hashtags}"
    if not counts:
        raise InputError(
            f"{asked}: {settings.data} has no hashtag, neither in a column {settings.label_column!r} nor in "
            "its texts; name the column that holds them by --label-column"
        )
    if len(counts) == 1:
        raise InputError(f"{asked}: {settings.data} has one tag only, {min(counts)!r}, and 2 are needed")
    assert settings.hashtags is not None
    if settings.hashtags > len(counts):
        raise InputError(
            f"{asked} is more than there are: {settings.data} has {len(counts)} different tags; use at most "
            f"{len(counts)}"
        )
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(ranked[: settings.hashtags])


def _folded(tag: str) -> str:
    """Returns a tag in the form in which tags are compared."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", tag).casefold())


def _lists(tags: list[list[str]]) -> pa.Array:
    return pa.array(tags, pa.list_(pa.string()))


@cache
def _marks() -> str:
    """Returns what words hold besides letters, digits and underscores: accents, vowel signs and joiners."""
    marks = (chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
    return "\u200c\u200d" + "".join(marks)


@cache
def _hashtag() -> re.Pattern[str]:
    """Returns what finds a hashtag: a sign and a word with a letter; HTML's &#x27; is none.

    It also finds addresses, without a group, so that none is looked for within them.
    """
    marks = _marks()
    tag = rf"(?!(?<=&)#x[\da-f]+;)[{_SIGNS}]+([\d_{marks}]*{_LETTER}[\w{marks}]*)"
    return re.compile(rf"{_ADDRESS}|{tag}", re.IGNORECASE)


@cache
def _shown(tag: str) -> re.Pattern[str]:
    """Returns what finds a tag or any other word behind a sign, with a blank before it; and addresses."""
    word = rf"[\w{_marks()}]"
    return re.compile(rf"{_ADDRESS}|\s?[{_SIGNS}]+({re.escape(tag)}(?!{word})|{word}+)", re.IGNORECASE)
