"""What a server sees of single devices when a finished run goes on for one more round, and the truth.

A reply holds the whole table of word embeddings as float32 (`fedpers.engine.reply`). The list of rows that a
device trained (`fedpers.models.Rows`) stays on it: the server has to compare the table with what it sent,
and a row that training left as it was looks like any other. Beside it the reply tells how many texts the
device has, how many samples it went through, and its mean training loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from fedpers.data import Ints, Population
from fedpers.dp import Guard, bounded
from fedpers.engine import MemoryStates, Order, Site, Work, Worker
from fedpers.errors import InputError
from fedpers.method import Device, Method, Phase, Update, device_of
from fedpers.models import (
    IDENTIFIER_WORDS,
    Arrays,
    Examples,
    Model,
    ModelSpec,
    Rows,
    groups_of,
    whole,
    word_table,
)
from fedpers.models.families import Doubles
from fedpers.privacy.updates import row_norms
from fedpers.seeds import stream
from fedpers.settings import Settings

_REST = "rest"  # all of an update but its tables of words, as one number: its norm


@dataclass(frozen=True)
class Tables:
    """Where an update tells of words.

    Attributes:
        words: Name of the word embedding.
        identifiers: Name of the table that identifiers are read with: the same, or a second one.
        candidates: All words but the special ones, which are in everybody's texts and no secret (words,).
    """

    words: str
    identifiers: str
    candidates: Ints

    @property
    def names(self) -> tuple[str, ...]:
        """The tables, each once."""
        return tuple(dict.fromkeys((self.words, self.identifiers)))


@dataclass(frozen=True)
class Sight:
    """One device's update as the server sees it, and what the attack is judged by.

    Attributes:
        person: The person's number.
        texts: How many texts the device has, which the server is told.
        moved: The rows of each table that differ from the broadcast, by the table's name.
        rest: L2 norm of the change of all other parameters.
        present: The words of the person's texts as they were read, the identifier's too if they are read
            with the same table, rising.
        identifier: The identifier's tokens, in order; none without.
    """

    person: int
    texts: int
    moved: Mapping[str, Rows]
    rest: float
    present: Ints
    identifier: Ints

    @property
    def norm(self) -> float:
        """L2 norm of the whole update."""
        return math.hypot(self.rest, *(np.linalg.norm(rows.change) for rows in self.moved.values()))

    def clipped(self, bound: float) -> dict[str, Rows]:
        """Returns the rows of the update after the device has cut its whole norm to a bound."""
        rest = np.array([self.rest], dtype=np.float32)
        zeros = {name: np.zeros(1, np.float32) for name in (*self.moved, _REST)}
        # Only the norm of the rest counts for the share that is left, so one number stands for it.
        cut, _ = bounded({**self.moved, _REST: rest}, zeros, Guard(bound))
        return {name: rows for name, rows in cut.items() if isinstance(rows, Rows)}


def seen_rows(value: npt.NDArray[np.floating] | Rows, broadcast: npt.NDArray[np.floating]) -> Rows:
    """Returns the rows of a table that the server sees to differ from what it sent.

    Args:
        value: The table as trained, whole or as the rows that a device trained.
        broadcast: The table as sent (words, width).
    """
    sent = whole({"": value}, {"": broadcast})[""]
    change = np.subtract(sent, broadcast, dtype=np.float32)
    index = np.flatnonzero(change.any(axis=1))
    return Rows(index, change[index], len(change))


def total(parts: Sequence[Rows]) -> Rows:
    """Returns the sum of several devices' changes of one table."""
    index = np.unique(np.concatenate([part.index for part in parts]))
    change = np.zeros((len(index), parts[0].change.shape[1]), dtype=np.float64)
    for part in parts:
        change[np.searchsorted(index, part.index)] += part.change
    return Rows(index, change, parts[0].height)


def along(rows: Rows, directions: Doubles | None) -> Rows:
    """Returns the changes of rows along some directions (width, directions) only; all of them for None."""
    return rows if directions is None else replace(rows, change=rows.change @ directions)


def norms_of(rows: Rows) -> Doubles:
    """Returns how far every row of the whole table moved (words,)."""
    norms = np.zeros(rows.height)
    norms[rows.index] = row_norms(rows.change)
    return norms


def sending_phase(method: Method) -> int:
    """Returns the number of the last phase in which clients' devices send updates.

    Raises:
        InputError: There is none.
    """
    sending = [
        number
        for number, phase in enumerate(method.phases)
        if phase.central is not None and phase.people == "clients"
    ]
    if not sending:
        raise InputError(
            f"no client's device sends an update in a run of {method.name}, so there is none to read: give a "
            "run of conventional or user-identifier, say"
        )
    return sending[-1]


def tables_of(model: Model, arrays: Arrays, phase: Phase) -> Tables:
    """Returns where a phase's updates tell of words.

    Args:
        model: The model.
        arrays: All its shared parameters.
        phase: Whose devices train them, but for some groups perhaps.

    Raises:
        InputError: Its devices do not train the word embedding.
    """
    words, second = word_table(model), f"{IDENTIFIER_WORDS}.weight"
    if words not in _sent(model, arrays, phase):
        raise InputError(
            f"devices do not train the word embedding in the phase {phase.name!r}, so their updates hold no "
            "row of a word: give a run that trains the whole model"
        )
    candidates = np.setdiff1d(np.arange(len(arrays[words])), model.tokenizer.all_special_ids)
    return Tables(words, second if second in arrays else words, candidates)


def sights(
    settings: Settings,
    laid: tuple[Method, Population, ModelSpec],
    model: Model,
    arrays: Arrays,
    persons: Sequence[int],
) -> Iterator[Sight]:
    """Has devices train one more round, as in the run, and shows each one's update.

    Personal states are as enrolled.

    Args:
        settings: The run's.
        laid: Method, people and model, as laid out from them.
        model: The loaded model.
        arrays: What the server sends.
        persons: Whose devices.
    """
    method, population, spec = laid
    number = sending_phase(method)
    phase = method.phases[number]
    tables, sent = tables_of(model, arrays, phase), _sent(model, arrays, phase)
    order = Order(
        *("train", {name: arrays[name] for name in sent}, number, phase.rounds + 1, phase.part),
        frozen={name: array for name, array in arrays.items() if name not in sent},
    )
    seed, engine = settings.run.seed, settings.engine
    clients = tuple(one.client for one in method.phases)
    worker = Worker(
        Site(spec, population, clients, seed, engine.threads, engine.device), states=MemoryStates()
    )
    first_state = phase.client.enrol(model, population, seed)
    for person in persons:
        work = worker.do(order, [person])
        assert isinstance(work, Work)
        [update] = work.uploads
        assert isinstance(update, Update)
        draw = stream(seed, "device-train", number, order.round, person)  # what the worker gives a device
        device = device_of(population, person, phase.part, first_state(person), draw)
        yield _sight(tables, device, phase.client.encode(model, device), update, order.arrays)


def public_shares(model: Model, population: Population, height: int) -> Doubles | None:
    """Returns in which share of public texts each word is (words,), in [0, 1]; None without such texts.

    Args:
        model: Whose tokenizer holds.
        population: The people.
        height: Words of the whole table.
    """
    texts = [
        text
        for person in population.public
        for text in population.people.samples(person).take(population.positions(person, "all")).texts
    ]
    if not texts:
        return None
    counts = np.zeros(height)
    for tokens in model.tokens(texts):
        counts[np.unique(tokens).astype(np.int64)] += 1
    return counts / len(texts)


def _sent(model: Model, arrays: Arrays, phase: Phase) -> list[str]:
    """Returns the names of the parameters that devices train and send."""
    groups = groups_of(model.module)
    kept = phase.central.frozen if phase.central is not None else ()
    return [name for name in arrays if groups[name] not in kept]


def _sight(tables: Tables, device: Device, examples: Examples, update: Update, arrays: Arrays) -> Sight:
    """Returns an update as the server sees it, and what the device read."""
    moved = {name: seen_rows(update.arrays[name], arrays[name]) for name in tables.names}
    others = (
        np.linalg.norm(np.subtract(array, arrays[name], dtype=np.float64))
        for name, array in update.arrays.items()
        if name not in moved and not isinstance(array, Rows)
    )
    read = chain.from_iterable([*examples.ids, *(examples.answers or [])])
    identifier = np.asarray(device.state.get("identifier", ()), dtype=np.int64)
    return Sight(
        device.person,
        update.examples,
        moved,
        math.hypot(*others),
        np.intersect1d(np.fromiter(read, np.int64), tables.candidates),
        identifier[np.isin(identifier, tables.candidates)],
    )
