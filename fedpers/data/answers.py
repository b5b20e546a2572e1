"""What is to be predicted of each row: its class, a text to be written, or each next word of its own text."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedpers.data.formats import Raw, blank
from fedpers.data.hashtags import with_tags
from fedpers.errors import InputError
from fedpers.settings import DataSettings

LONGEST_WORD = 40  # characters; texts with a longer one are left out (IDfree-PL's released code)


def answered(raw: Raw, table: pa.Table, settings: DataSettings, left_out: Counter[str]) -> pa.Table:
    """Returns the rows that have what is to be predicted, with the columns that hold it; tags are yet many.

    Raises:
        InputError: The file has no labels, and a class or a text is to be predicted.
    """
    if settings.hashtags is not None:
        return with_tags(raw, table, left_out)
    if settings.answer == "next-word":
        rows = _with_next_words(table, left_out)
        kept = [name for name in rows.column_names if name != "label"]
        return _unlabelled(rows.select(kept))
    if "label" not in table.column_names:
        raise InputError(f"{raw.file} holds texts without labels: use --answer next-word")
    there = pc.is_valid(table["label"])
    if settings.answer == "text":
        there = pc.and_(there, pa.array(~blank(table["label"])))
    rows = table.filter(there)
    left_out[f"without {raw.names['label']}"] += table.num_rows - rows.num_rows
    if settings.answer == "class":
        return rows
    names = ["target" if name == "label" else name for name in rows.column_names]
    return _unlabelled(rows.rename_columns(names))


def _with_next_words(table: pa.Table, left_out: Counter[str]) -> pa.Table:
    """Returns the rows in whose text there is a next word to tell."""
    words = [(text or "").split() for text in table["text"].to_pylist()]
    short = np.array([len(own) < 2 for own in words], dtype=bool)
    long = np.array([any(len(word) > LONGEST_WORD for word in own) for own in words], dtype=bool) & ~short
    left_out["of fewer than 2 words"] += int(short.sum())
    left_out[f"with a word over {LONGEST_WORD} characters"] += int(long.sum())
    return table.filter(pa.array(~(short | long)))


def _unlabelled(table: pa.Table) -> pa.Table:
    return table.append_column("label", pa.array([""] * table.num_rows, pa.string()))
