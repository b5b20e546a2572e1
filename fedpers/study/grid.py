"""The cells of a study, each with its settings as they are run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

from fedpers.comparison import Where
from fedpers.errors import InputError, unknown
from fedpers.experiments import find, own_sections
from fedpers.report.study_plots import is_number
from fedpers.settings import RunSettings, Settings, resolve
from fedpers.study.description import Gain, Layer, OwnCell, Plot, Study
from fedpers.study.measures import check_measure, split

NO_LABEL = "-"  # shown on an axis that a cell has no label on
# What changes no result; and what no setting of a study's can change, with the reason.
_FREE = ("workers", "ray_address", "checkpoint_every", "state_folder", "keep_rounds", "keep_states")
_DECIDED = {
    "engine.workers": "is set by --jobs",
    "run.seed": "is set by --seeds, or seeds = [...] in the study's file",
    "engine.keep_rounds": "is of runs with a folder of their own",
    "engine.keep_states": "is of runs with a folder of their own",
}


@dataclass(frozen=True, eq=False)
class Cell:
    """A place in the grid; every cell is itself only, though two may have the same settings.

    Attributes:
        labels: Its label on each axis.
        where: Whether it trains central or federated.
        settings: All its settings but the seed.
    """

    labels: Mapping[str, str]
    where: Where
    settings: Settings

    @property
    def name(self) -> str:
        """Its labels, to be read by people."""
        return " ".join(label for label in self.labels.values() if label != NO_LABEL)


@dataclass(frozen=True)
class Task:
    """One run of a cell.

    Attributes:
        cell: Which.
        seed: With which seed.
    """

    cell: Cell
    seed: int

    @property
    def name(self) -> str:
        """The cell and the seed, to be read by people."""
        return f"{self.cell.name}, seed {self.seed}"

    @property
    def settings(self) -> Settings:
        """All settings of the run, in one process."""
        settings = self.cell.settings
        run = RunSettings(method=settings.run.method, seed=self.seed)
        engine = settings.engine.model_copy(update={"workers": 0})
        return settings.model_copy(update={"run": run, "engine": engine})

    @property
    def digest(self) -> str:
        """A hash of all that can change the run's result but the code."""
        settings = self.settings.model_dump()
        for name in _FREE:
            del settings["engine"][name]
        text = json.dumps([self.cell.where, settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def file(self) -> str:
        """The name of the file that the run's record is in."""
        plain = re.sub(r"[^\w.]+", "-", f"{self.cell.name} seed {self.seed}").strip("-").lower()
        return f"{plain}-{self.digest}.json"


def cells_of(study: Study, layers: Sequence[Layer] = ()) -> list[Cell]:
    """Returns the cells of a study: those of their own, then the product of its axes.

    Args:
        study: The study.
        layers: Settings of all cells that go before the file's, but not before what an axis or cell sets.

    Raises:
        InputError: A setting or label is unknown or breaks a rule, a layer sets what an axis sets, or
            anything what a study decides itself.
    """
    for layer in layers:
        _check_layer(study, layer)
    found = [_own_cell(study, cell, layers) for cell in study.cells]  # baselines mostly
    found += [_product_cell(study, placed, layers) for placed in _product(study)]
    if not found:
        raise InputError("a study needs axes with values, or cells of its own")
    names = [cell.name for cell in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two cells have the labels {twice!r}: give one of them others")
    _check_shown(study, found)
    return found


def baseline_of(cell: Cell, labels: Mapping[str, str], cells: Sequence[Cell]) -> Cell | None:
    """Returns the cell that another is compared with, or None if there is none but itself.

    It is the one that differs by these labels only or, without such a one, the one that has no others.
    """
    nearest = {**cell.labels, **labels}
    bare = {name: labels.get(name, NO_LABEL) for name in cell.labels}
    for wanted in (nearest, bare):
        for other in cells:
            if dict(other.labels) == wanted:
                return None if other is cell and labels else other
    return None


def figures_of(columns: Sequence[str], figures: Mapping[str, Any]) -> list[tuple[dict[str, str], float]]:
    """Returns a paper's numbers, nested by label, each with all its labels.

    >>> figures_of(["kind", "length"], {"none": 0.4, "digits": {"5": 0.5}})
    [({'kind': 'none', 'length': '-'}, 0.4), ({'kind': 'digits', 'length': '5'}, 0.5)]
    """
    first, *rest = columns
    found = []
    for label, figure in figures.items():
        if isinstance(figure, Mapping):
            found += [({first: label, **labels}, value) for labels, value in figures_of(rest, figure)]
        else:
            found.append(({first: label} | dict.fromkeys(rest, NO_LABEL), float(figure)))
    return found


def _product(study: Study) -> Iterator[dict[str, str]]:
    """Gives the labels of each cell of the product of a study's axes that is not left out."""
    for labels in study.left_out:
        for axis, label in labels.items():
            if axis not in study.axes:
                raise unknown("axis to leave out of", axis, study.axes)
            if label not in study.axes[axis]:
                raise unknown(f"value of {axis} to leave out", label, study.axes[axis])
    for values in product(*study.axes.values()) if study.axes else ():
        placed = dict(zip(study.axes, values, strict=True))
        if not any(labels.items() <= placed.items() for labels in study.left_out):
            yield placed


def _product_cell(study: Study, placed: Mapping[str, str], layers: Sequence[Layer]) -> Cell:
    return _cell(study, placed, [study.axes[axis][label] for axis, label in placed.items()], layers)


def _own_cell(study: Study, cell: OwnCell, layers: Sequence[Layer]) -> Cell:
    own = {**cell.settings, **({"where": cell.where} if cell.where else {})}
    return _cell(study, cell.labels, [own], layers)


def _cell(
    study: Study, placed: Mapping[str, str], own: Sequence[Mapping[str, Any]], layers: Sequence[Layer]
) -> Cell:
    labels = {column: placed.get(column, NO_LABEL) for column in study.columns}
    where = [value["where"] for value in own if "where" in value]
    settings = [{name: fields for name, fields in value.items() if name != "where"} for value in own]
    try:
        if where and where[-1] not in get_args(Where):
            raise unknown("place to train", where[-1], get_args(Where))
        for given in (study.settings, *settings):
            _check_undecided(given, _DECIDED)
        resolved = resolve([study.settings, *layers, *settings], own_sections())
        find(resolved.run.method)
    except InputError as error:
        raise InputError(f"cell {' '.join(placed.values())}: {error}") from None
    return Cell(labels, where[-1] if where else study.where, resolved)


def _check_layer(study: Study, layer: Layer) -> None:
    """Raises an InputError if a layer sets what the study, one of its axes or a flag sets."""
    resolve([layer], own_sections())
    reasons = {
        f"{section}.{field}": f"is set by the study's {axis}"
        for axis, values in study.axes.items()
        for value in values.values()
        for section, fields in value.items()
        if isinstance(fields, Mapping)
        for field in fields
    }
    _check_undecided(layer, {**_DECIDED, **reasons})


def _check_undecided(given: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Raises an InputError if settings hold one that has no effect, given why, by its name."""
    for section, fields in given.items():
        for field in fields if isinstance(fields, Mapping) else ():
            if reason := reasons.get(f"{section}.{field}"):
                raise InputError(f"{section}.{field} {reason}: leave it out")


def _check_shown(study: Study, cells: Sequence[Cell]) -> None:
    """Raises an InputError if a measure, gain, figure or picture is of something that isn't there."""
    sets = {phase.name for c in cells for phase in find(c.settings.run.method).build(c.settings).phases}
    known = {axis: {cell.labels[axis] for cell in cells} for axis in study.columns}
    numeric = {axis for axis, labels in known.items() if all(map(is_number, labels - {NO_LABEL}))}
    for measure in study.measures.values():
        check_measure(measure, sets)
    for heading, gain in study.gains.items():
        _check_gain(heading, gain, sets, known)
    for heading, published in study.published.items():
        _check_figures(f"published.{heading}", published.figures, list(known.items()), numeric)
    if study.plot:
        _check_plot(study.plot, cells, known, numeric, bool(study.gains))


def _check_gain(heading: str, gain: Gain, sets: set[str], known: Mapping[str, set[str]]) -> None:
    over = gain.over or gain.of
    for measure in (gain.of, over):
        check_measure(measure, sets, summed=True)
    if split(gain.of)[1] != split(over)[1]:
        raise InputError(f"gains.{heading}: {gain.of} and {over} are different measures: compare the same")
    if not gain.baseline and gain.of == over:
        raise InputError(f"gains.{heading}: nothing to compare with: give baseline labels, or over")
    for axis, label in gain.baseline.items():
        if axis not in known:
            raise unknown(f"axis of gains.{heading}", axis, known)
        if label not in known[axis]:
            raise unknown(f"label of gains.{heading}", label, known[axis])


def _check_plot(
    plot: Plot, cells: Sequence[Cell], known: Mapping[str, set[str]], numeric: set[str], gains: bool
) -> None:
    if plot.kind == "people":
        if not gains:
            raise InputError("plot.kind 'people' draws gains: describe one under [gains.HEADING]")
        return
    if plot.x is None:
        raise InputError("plot.x is missing: the axis that lines run along")
    for axis in (plot.x, *([plot.lines] if plot.lines else [])):
        if axis not in known:
            raise unknown("axis of the plot", axis, known)
    if plot.x not in numeric:
        raise InputError(f"plot.x {plot.x!r}: lines run along an axis whose labels are numbers")
    _check_lines(plot.x, plot.lines, cells)


def _check_lines(x: str, lines: str | None, cells: Sequence[Cell]) -> None:
    """Raises an InputError if several cells would be at the same place of the same line."""
    placed = [cell.labels for cell in cells if is_number(cell.labels[x])]
    for axis in cells[0].labels:
        if axis not in (x, lines) and len({labels[axis] for labels in placed}) > 1:
            raise InputError(
                f"plot.lines is missing: the axis that tells the lines apart, such as {axis!r}"
                if lines is None
                else f"plot.lines {lines!r}: cells on one line differ by {axis!r} too; leave the plot out"
            )


def _check_figures(
    place: str, figures: Mapping[str, Any], known: Sequence[tuple[str, set[str]]], numeric: set[str]
) -> None:
    """Raises an InputError if a figure is no number, or of no cell; numbers may go beyond a numeric axis."""
    if not known:
        raise InputError(f"{place}: nested deeper than cells have labels")
    (axis, labels), *rest = known
    for label, figure in figures.items():
        if label not in labels and not (axis in numeric and is_number(label)):
            raise unknown(f"label of {place}", label, labels)
        if isinstance(figure, Mapping):
            _check_figures(f"{place}.{label}", figure, rest, numeric)
        elif isinstance(figure, bool) or not isinstance(figure, int | float):
            raise InputError(f"{place}.{label} {figure!r}: give a number")
