"""The table that results are shown in: no borders, columns two blanks apart."""

from __future__ import annotations

from rich.table import Table


def plain_table(title: str | None) -> Table:
    """Returns an empty table, narrow enough for seven columns in 80."""
    return Table(box=None, title=title, title_justify="left", padding=(0, 2, 0, 0), pad_edge=False)
