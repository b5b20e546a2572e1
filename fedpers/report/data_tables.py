"""A source's description as tables for a terminal 80 columns wide."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fedpers.data.describe import Description, Spread

MOST_CLASSES = 20


def data_table(description: Description) -> RenderableType:
    """Returns the tables of a description: totals and majority rules, spreads, classes, notes."""
    parts = [_totals(description), _spreads(description)]
    if description.written is None:
        parts.append(_classes(description))
    notes = [Text(note) for note in (*_sampling(description), *description.notes)]
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts), *notes)


def _totals(description: Description) -> Table:
    table = Table("", "Value", title="Data", title_justify="left")
    table.columns[1].justify = "right"
    table.add_row("People", f"{description.people:,}")
    table.add_row("Samples", f"{description.samples:,}")
    if description.test_part is not None:
        table.add_row("Samples of its own test part", f"{description.test_part:,}")
    if description.repeated:
        table.add_row("Repeats of a text of the same person", f"{description.repeated:,}")
    written = description.written
    if written is not None:
        what = "Texts" if written.what == "text" else "Next words"
        table.add_row(f"{what} to be written", f"{written.count:,}")
        table.add_row("Different ones among them", f"{written.different:,}")
        return table
    table.add_row("Classes", f"{len(description.class_counts):,}")
    tested = f"{description.tested_samples:,} last samples"
    table.add_row(
        f"Everyone's majority class, accuracy on {tested}", _rate(description.global_majority_accuracy)
    )
    table.add_row("Each person's majority class, on the same", _rate(description.person_majority_accuracy))
    return table


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _spreads(description: Description) -> Table:
    table = Table("", *("min", "5 %", "25 %", "median", "75 %", "95 %", "max", "mean"))
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("Samples a person", *_cells(description.samples_per_person))
    table.add_row("Words a text", *_cells(description.text_words))
    if description.written is not None and description.written.words is not None:
        table.add_row("Words an answer", *_cells(description.written.words))
    return table


def _cells(spread: Spread) -> list[str]:
    quantiles = (
        spread.minimum,
        spread.percentile_5,
        spread.percentile_25,
        spread.median,
        spread.percentile_75,
        spread.percentile_95,
        spread.maximum,
    )
    return [*(f"{value:.0f}" for value in quantiles), f"{spread.mean:.1f}"]


def _classes(description: Description) -> Table:
    table = Table("Class", "Samples", "Share")
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[0].overflow = "fold"
    ranked = sorted(description.class_counts.items(), key=lambda item: -item[1])
    shares = description.class_shares()
    for name, count in ranked[:MOST_CLASSES]:
        # A name is Text, so that brackets in it are not taken for markup.
        table.add_row(Text(name), f"{count:,}", f"{100 * shares[name]:.1f} %")
    rest = ranked[MOST_CLASSES:]
    if rest:
        share = sum(shares[name] for name, _ in rest)
        total = sum(count for _, count in rest)
        table.add_row(f"{len(rest):,} more", f"{total:,}", f"{100 * share:.1f} %")
    return table


def _sampling(description: Description) -> list[str]:
    described, people = description.described_people, description.people
    if described == people:
        return []
    what = "Texts, classes and majority rules" if description.written is None else "Texts and answers"
    return [f"{what} are those of {described:,} of the {people:,} people."]
