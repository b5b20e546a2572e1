"""A study as its TOML file describes it: a grid of runs, what is shown of them, and what a paper has there.

Shipped ones are in fedpers/experiments/studies; README's section on studies says how to write another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from fedpers import experiments
from fedpers.comparison import Where
from fedpers.errors import InputError, unknown
from fedpers.settings import Section, option, read_toml

S = TypeVar("S", bound=Section)

Layer = Mapping[str, Mapping[str, Any]]

_FOLDER = Path(experiments.__file__).parent / "studies"


class OwnCell(Section):
    """A cell beside the product of the axes."""

    labels: dict[str, str] = option(..., "Its label on each axis that it has one on.", min_length=1)
    where: Where | None = option(None, "Where it trains, if not as the others.")
    settings: dict[str, dict[str, Any]] = option({}, "Its own settings, by section.")


class Gain(Section):
    """What is compared person by person."""

    of: str = option("accuracy", "The measure that gains.")
    over: str | None = option(None, "The measure it is compared with. [the same]")
    baseline: dict[str, str] = option({}, "Labels that make a cell's baseline of it. [the cell itself]")


class Published(Section):
    """Figures of a paper for the same cells."""

    source: str = option(..., "The paper, with table or figure, and the data.", min_length=1)
    figures: dict[str, Any] = option(..., "A number for each cell, nested by its labels.", min_length=1)


class Plot(Section):
    """The picture that a study ends in."""

    kind: Literal["lines", "people"] = option(
        ..., "`lines`: the first measure over an axis; `people`: everyone's accuracy, and their gains."
    )
    x: str | None = option(None, "The axis of numbers that lines run along.")
    lines: str | None = option(None, "The axis that tells the lines apart.")


class Study(Section):
    """A grid of runs."""

    title: str = option(..., "What is studied, on one line.", min_length=1)
    about: str = option(..., "What is reproduced of which paper, and how this differs.", min_length=1)
    seeds: tuple[int, ...] = option((0,), "Seeds that every cell is run with.", min_length=1)
    where: Where = option("federated", "Whether cells train central or federated.")
    settings: dict[str, dict[str, Any]] = option({}, "Settings of all cells, by section.")
    axes: dict[str, dict[str, dict[str, Any]]] = option(
        {}, "Axes by name: a label for each value, and what it sets: settings by section, or `where`."
    )
    cells: tuple[OwnCell, ...] = option((), "Cells beside the product of the axes.")
    left_out: tuple[dict[str, str], ...] = option(
        (), "Cells of the product that are left out: those that have all these labels."
    )
    measures: dict[str, str] = option(
        {"accuracy": "accuracy"}, "What is shown, by its heading; the first has an interval.", min_length=1
    )
    gains: dict[str, Gain] = option({}, "What is compared person by person, by its heading.")
    published: dict[str, Published] = option({}, "Figures of papers beside the first measure, by heading.")
    plot: Plot | None = option(None, "The picture.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What cells have labels of: the axes, then what only cells of their own name."""
        return tuple(dict.fromkeys([*self.axes, *(name for cell in self.cells for name in cell.labels)]))


def studies() -> dict[str, Study]:
    """Returns the shipped studies by name."""
    return {path.stem: read_study(path) for path in sorted(_FOLDER.glob("*.toml"))}


def find_study(name: str) -> tuple[str, Study]:
    """Returns a study and its name, given the name or the path of a TOML file.

    Raises:
        InputError: There is none, or its file breaks a rule.
    """
    if name.endswith(".toml") or "/" in name:
        return Path(name).stem, read_study(Path(name))
    shipped = {path.stem: path for path in _FOLDER.glob("*.toml")}
    if name not in shipped:
        raise unknown("study", name, shipped)
    return name, read_study(shipped[name])


def read_study(path: Path) -> Study:
    """Reads a study's file.

    Raises:
        InputError: It cannot be read, has an unknown entry, or an entry breaks its rule.
    """
    given = read_toml(path)
    try:
        return _checked(
            Study,
            given
            | {"cells": _each(OwnCell, given, "cells")}
            | {"gains": _by_name(Gain, given, "gains")}
            | {"published": _by_name(Published, given, "published")}
            | ({"plot": _checked(Plot, given["plot"], "plot.")} if "plot" in given else {}),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _each(kind: type[S], given: Mapping[str, Any], name: str) -> list[S]:
    listed = given.get(name, [])
    if not isinstance(listed, list):
        raise InputError(f"{name} is a list: write [[{name}]] above each of its entries")
    return [_checked(kind, entry, f"{name}[{number}].") for number, entry in enumerate(listed, start=1)]


def _by_name(kind: type[S], given: Mapping[str, Any], name: str) -> dict[str, S]:
    table = given.get(name, {})
    if not isinstance(table, Mapping):
        raise InputError(f"{name} is a table: write [{name}.HEADING] above each of its entries")
    return {heading: _checked(kind, entry, f"{name}.{heading}.") for heading, entry in table.items()}


def _checked(kind: type[S], given: Any, place: str = "") -> S:
    """Returns a part of a study's file, or raises an InputError of one line with the nearest valid entry."""
    if not isinstance(given, Mapping):
        raise InputError(f"{place.rstrip('.')} is a table of {', '.join(kind.model_fields)}")
    for name in given:
        if name not in kind.model_fields:
            raise unknown("entry", f"{place}{name}", [f"{place}{field}" for field in kind.model_fields])
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(map(str, first["loc"]))
        rule = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{place}{entry}: {rule[0].lower()}{rule[1:]}") from None
