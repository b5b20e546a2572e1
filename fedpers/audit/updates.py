"""What a finished run's updates reveal: the words of people's texts and their identifiers, row by row.

Devices train one more round. A server that sees each update by itself is the first attacker; one that sees
only sums of cohorts, as secure aggregation leaves it, the second. Both also meet updates that are cut to a
bound and noised: each by its own device, or the sum once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fedpers import lists, runs
from fedpers.audit.settings import UpdateSettings
from fedpers.audit.sights import Sight, Tables, public_shares, sending_phase, sights, tables_of
from fedpers.audit.word_attacker import Attacker, UpdateRow
from fedpers.data import Ints
from fedpers.errors import InputError
from fedpers.experiments import find, own_sections
from fedpers.models import Arrays, Model, extract, load
from fedpers.models.families import Doubles
from fedpers.privacy.updates import leading
from fedpers.report.progress import Reporter
from fedpers.report.update_plots import draw_recovery
from fedpers.seeds import stream
from fedpers.settings import Settings, resolve
from fedpers.simulation import lay_out, prepare
from fedpers.simulation.setup import threads

_PEOPLE = 50  # attacked, unless told otherwise
_PUBLIC = 20  # people whose devices the server imitates
_DIRECTIONS = 2  # along which it looks; one or four find about as much


def attack_updates(folder: Path, given: UpdateSettings, report: Reporter) -> dict[str, Any]:
    """Attacks the updates that people of a finished run would send next, and returns the record.

    Args:
        folder: The run's.
        given: Whose updates, and what is done to them.
        report: Where progress goes.

    Raises:
        InputError: There is no such run, it sends no updates with words in them, or a setting does not fit.
    """
    noises = parse_noise(given.noise)
    runs.result_of(folder)
    settings = resolve([runs.settings_of(folder)], own_sections())
    build = find(settings.run.method).build
    laid = method, population, spec = lay_out(settings, build)
    phase = method.phases[sending_phase(method)]
    people = how_many(given.people, len(population.clients))
    size = cohort_size(given.cohort, settings.federation.clients_per_round, people)
    if settings.privacy.dp != "none":
        report.say("the run's own differential privacy is left out: updates are bounded and noised here")
    with threads(settings.engine.threads):
        model = load(spec, settings.engine.device)
        start = given.start == "base"
        arrays = prepare(settings, build, report).base if start else _final(folder, model)
        tables = tables_of(model, arrays, phase)
        told = partial(_told, report, partial(sights, settings, laid, model, arrays))
        directions = _directions(tables, told("public people's devices", population.public[:_PUBLIC]))
        everyone = list(told("devices", population.clients[:people]))
    shares = public_shares(model, population, len(arrays[tables.words]))
    attacker = Attacker(tables, shares, given.dp_clip or _median(everyone), directions)
    rows = _rows(attacker, everyone, noises, size, settings)
    result = _record(attacker, everyone, rows, settings, folder)
    result |= {"phase": phase.name, "start": given.start, "cohort": size}
    return {**result, "files": [str(path) for path in draw_recovery(result, folder)]}


def parse_noise(text: str) -> list[float]:
    """Reads noise multipliers such as 0,0.01,0.1.

    Raises:
        InputError: They are no numbers from 0.
    """
    found = lists.numbers(text)
    for part, value in found:
        if not 0 <= value < math.inf:
            near = " (nearest: 0)" if value < 0 else ""
            raise InputError(
                f"--noise {text!r}: {part!r} is no number from 0; give multipliers of the bound, "
                f"parted by commas, as in 0,0.01,0.1,1{near}"
            )
    return [value for _, value in found]


def how_many(given: int | None, clients: int) -> int:
    """Returns how many people are attacked.

    Raises:
        InputError: More than there are.
    """
    if given is not None and given > clients:
        raise InputError(f"--people {given}: the run has {clients} clients (nearest: {clients})")
    return min(_PEOPLE, clients) if given is None else given


def cohort_size(given: int | None, usual: int, people: int) -> int:
    """Returns how many devices' updates are summed, 0 for no sums where only one person is attacked.

    Args:
        given: As asked for, or None.
        usual: Devices of a round.
        people: Who is attacked; some of them must be outside of a cohort.

    Raises:
        InputError: Nobody would be outside.
    """
    if given is not None and given >= people:
        nearest = f" (nearest: {people - 1})" if people > 1 else "; raise --people"
        raise InputError(
            f"--cohort {given}: some of the {people} people attacked must be outside of it{nearest}"
        )
    return min(usual, people // 2) if given is None else given


def _rows(
    attacker: Attacker, everyone: Sequence[Sight], noises: Sequence[float], size: int, settings: Settings
) -> list[UpdateRow]:
    """Attacks single updates, plain and noised, then sums; the people beyond whole cohorts are outsiders."""
    alone = [[sight] for sight in everyone]
    cohorts = [everyone[at : at + size] for at in range(0, len(everyone) - size + 1, size)] if size else []
    draw = stream(settings.run.seed, "update-attack")
    rows = [attacker.row(everyone, alone, noise, draw) for noise in (None, *noises)]
    if size > 1:
        rows += [attacker.row(everyone, cohorts, noise, draw) for noise in noises]
    return rows


def _record(
    attacker: Attacker,
    everyone: Sequence[Sight],
    rows: Sequence[UpdateRow],
    settings: Settings,
    folder: Path,
) -> dict[str, Any]:
    """Returns what all rows have in common, beside them."""
    moved = rows[0].moved
    lengths = [len(sight.identifier) for sight in everyone]
    return {
        "method": settings.run.method,
        "rows": [asdict(row) for row in rows],
        "people": len(everyone),
        "words": len(attacker.tables.candidates),
        "present": float(np.mean([len(sight.present) for sight in everyone])),
        "wordless": sum(not len(sight.present) for sight in everyone),
        "identifier": float(np.mean(lengths)) if any(lengths) else None,
        "second_table": attacker.tables.identifiers != attacker.tables.words,
        "every_row": moved is not None and moved.mean > 0.99,
        "dp_clip": attacker.bound,
        "within": float(np.mean([sight.norm <= attacker.bound for sight in everyone])),
        "run": str(folder),
    }


def _told(
    report: Reporter, train: Callable[[Sequence[int]], Iterator[Sight]], name: str, persons: Ints
) -> Iterator[Sight]:
    """Has some people's devices train, and counts them."""
    if len(persons):
        with report.stage(name, len(persons)) as stage:
            for sight in train(persons.tolist()):
                yield sight
                stage.advance()


def _directions(tables: Tables, public: Iterable[Sight]) -> dict[str, Doubles] | None:
    """Returns along which directions rows move on public people's devices, which the server can imitate."""
    products: dict[str, list[Doubles]] = {name: [] for name in tables.names}
    for sight in public:
        for name, rows in sight.moved.items():
            ours = rows.change[np.isin(rows.index, tables.candidates)].astype(np.float64)
            products[name].append(ours.T @ ours)
    if not all(products.values()):
        return None
    return {name: leading(found, _DIRECTIONS) for name, found in products.items()}


def _final(folder: Path, model: Model) -> Arrays:
    """Returns the shared parameters that a run ended with.

    Raises:
        InputError: Its folder holds none.
    """
    found = runs.read_model(folder / "model")
    names = extract(model.module).keys()
    if missing := names - found.keys():
        raise InputError(
            f"{folder} holds no final model of one method ({len(missing)} parameters are missing): give the "
            "folder that `fedpers simulate` printed"
        )
    return {name: found[name] for name in names}


def _median(everyone: Sequence[Sight]) -> float:
    """Returns the median norm of the updates, the bound that leaves half of them as they are."""
    found = float(np.median([sight.norm for sight in everyone]))
    if found == 0:
        raise InputError(
            "half of the updates change nothing, so their median norm is no bound: give --dp-clip"
        )
    return found
