"""How people of a source are dealt out to their roles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedpers.data.filters import filtered, queries_of, testable, with_tests
from fedpers.data.lamp import Language, is_lamp, read_lamp
from fedpers.data.population import Part, Population
from fedpers.data.samples import Ints, People, TablePeople
from fedpers.data.sources import read
from fedpers.data.synthetic import SyntheticPeople
from fedpers.data.tasks import Task, find_task
from fedpers.errors import InputError
from fedpers.seeds import stream
from fedpers.settings import DataSettings, SyntheticSettings

_SYNTHETIC_SIZES = (1100, 200, 100)  # clients, public and held-out people when nothing is said
_LAMP_CLIENTS = 100  # of OPPU
_FEWEST = 3  # samples of a client there: a query and 2 items of history


def open_source(
    data: DataSettings, synthetic: SyntheticSettings, seed: int
) -> tuple[People, tuple[str, ...]]:
    """Returns everyone in the source, before any filter, and notes of what was left out."""
    _check_tagged(data)
    if data.data == "synthetic":
        return SyntheticPeople(synthetic, seed, data.clients or _SYNTHETIC_SIZES[0]), ()
    if is_lamp(data):
        language = _language(data)
        task = find_task(language.task, _file(data))
        return TablePeople(language.table).with_classes(task.labels), language.notes
    source = read(data)
    people = TablePeople(source.table)
    if source.classes:
        return people.with_classes(source.classes), source.notes
    return people if data.answer == "class" else people.with_classes(()), source.notes


def populate(data: DataSettings, synthetic: SyntheticSettings, seed: int) -> Population:
    """Reads the source, applies the filters and deals out the roles.

    Raises:
        InputError: More people asked for than there are, or nobody left, or a label that only the
            evaluation texts have, or settings that do not go together.
    """
    _check_tagged(data)
    made = data.data == "synthetic"
    if not made and is_lamp(data):
        return _from_lamp(data, _language(data), seed)
    if data.public_data is not None:
        raise InputError(f"--public-data is for LaMP's files, and {data.data} is none: use --public-people")
    if made:
        return _synthetic(data, synthetic, seed)
    task = _task(data)
    people, notes = open_source(data, synthetic, seed)
    assert isinstance(people, TablePeople)
    split = data.split or "random"
    if split == "given":
        if people.queries(0) is None:
            raise InputError(
                f"{data.data} has no test part of its own, as LaMP's files and LEAF's folders train and test "
                "have: use --split random or time"
            )
    elif split != "random" and people.times(0) is None:
        raise InputError(f"--split {split} needs the column that holds the time: add --time-column NAME")
    eligible, moment, left_out = with_tests(people, data, filtered(people, data))
    notes = (*notes, *left_out)
    public, held_out = data.public_people or 0, data.held_out_people or 0
    wanted = (data.clients or 1) + public + held_out
    if wanted > len(eligible):
        raise InputError(_too_many(data, len(eligible), public + held_out))
    order = stream(seed, "people").permutation(eligible)
    clients = data.clients or len(eligible) - public - held_out
    tail = len(order) - public
    population = Population(
        people,
        clients=order[:clients],
        public=order[tail:],
        held_out=order[tail - held_out : tail],
        split=split,
        moment=moment,
        max_samples=data.max_samples,
        seed=seed,
        notes=notes,
        answer=data.answer,
        irrelevant=data.irrelevant,
        task=task,
        ranked=data.hashtags is not None,
    )
    if data.answer != "class":
        return population
    # Which hashtags there are is known beforehand, so one that nobody's training texts show stays a class.
    classes = people.classes if data.hashtags is not None else _training_classes(population)
    if task is not None:
        _check_labels(data.data, task, classes)
    return replace(population, people=people.with_classes(task.labels if task else classes))


def _check_tagged(data: DataSettings) -> None:
    """Raises an InputError if hashtags are asked for of data that can have none."""
    if data.hashtags is None:
        return
    if data.data == "synthetic":
        raise InputError(
            f"--hashtags {data.hashtags} is for texts with tags, and synthetic ones have none: give --data"
        )
    if is_lamp(data):
        raise InputError(
            f"--hashtags {data.hashtags} is not for LaMP's files, which name their own task: leave it out"
        )


def _task(data: DataSettings) -> Task | None:
    """Returns the task that the settings name for a source which names none."""
    if data.task is None:
        return None
    task = find_task(data.task, _file(data))
    if bool(task.labels) != (data.answer == "class"):
        what, way = ("has labels", "class") if task.labels else ("has no labels", "text")
        raise InputError(f"--task {task.name} {what}, which --answer {data.answer} is not for: use {way}")
    return task


def _check_labels(source: str, task: Task, labels: Iterable[str]) -> None:
    if strange := sorted(set(labels) - set(task.labels)):
        raise InputError(
            f"{source}: {strange[0]!r} is no answer of the task {task.name} (these are: "
            f"{', '.join(task.labels)})"
        )


def _from_lamp(data: DataSettings, language: Language, seed: int) -> Population:
    """Deals out the people of LaMP's files: those with the longest history train, all others are public."""
    if wrong := _not_for_lamp(data):
        raise InputError(f"--{wrong} is not for LaMP's files, which say who is tested on what: leave it out")
    task = find_task(language.task, _file(data))
    table, profiles, notes = language.table, language.profiles, list(language.notes)
    people = TablePeople(table)
    eligible = _eligible(people, language, data)
    if data.clients is not None and data.clients > len(eligible):
        more = f", {data.min_samples} of both together" if data.min_samples > _FEWEST else ""
        raise InputError(
            f"--clients {data.clients} is more than there are: {data.data} has {len(eligible)} people with a "
            f"query and 2 items of history or more{more}; use at most {len(eligible)}"
        )
    history = [int((~queries_of(people, int(person))).sum()) for person in eligible]
    longest = eligible[np.argsort(-np.array(history), kind="stable")]
    names = [people.name(int(person)) for person in longest[: data.clients or _LAMP_CLIENTS]]
    others = sorted(set(map(people.name, range(len(people)))) - set(names))
    if data.public_data is not None:
        further = _further(data, names, task)
        table = pa.concat_tables([table.filter(pc.is_in(table["user"], pa.array(names))), further.table])
        people, others = TablePeople(table), sorted(set(further.table["user"].to_pylist()))
        profiles = {**further.profiles, **{name: profiles[name] for name in names if name in profiles}}
        notes += [f"{data.public_data}: {note}" for note in further.notes]
    public, left_out = _teaching(people, people.numbers(others), task)
    notes += left_out
    public = stream(seed, "people").permutation(public)
    if data.public_people is not None and data.public_people > len(public):
        raise InputError(
            f"--public-people {data.public_people} is more than there are: use at most {len(public)}, or "
            "fewer --clients, or --public-data"
        )
    return Population(
        people.with_classes(task.labels),
        clients=people.numbers(names),
        public=public[: data.public_people],
        held_out=np.array([], dtype=np.int64),
        split="given",
        max_samples=None,
        seed=seed,
        notes=tuple(notes),
        answer="class" if task.labels else "text",
        task=task,
        profiles=profiles,
        irrelevant=data.irrelevant,
    )


def _eligible(people: TablePeople, language: Language, data: DataSettings) -> Ints:
    """Returns who of LaMP's people can be a client."""
    able = testable(people, np.arange(len(people)))
    able = np.setdiff1d(able, people.numbers(language.public))
    if not len(able):
        raise InputError(f"{data.data} has nobody with a query and 2 items of history")
    counts = people.counts()[able]
    if not (counts >= data.min_samples).any():
        raise InputError(
            f"nobody in {data.data} has {data.min_samples} queries and items of history: the most is "
            f"{counts.max()}; lower --min-samples"
        )
    return able[counts >= data.min_samples]


def _teaching(people: TablePeople, public: Ints, task: Task) -> tuple[Ints, list[str]]:
    """Returns the public people from whom a task can be learned, and a note of the others.

    Where items of a history are no pairs of a text and its answer, only who has a query shows one.
    """
    if task.paired:
        return public, []
    kept = public[[bool(queries_of(people, int(person)).any()) for person in public]]
    left_out = len(public) - len(kept)
    why = f"public people were left out: they have no query, and a history of the task {task.name} no answers"
    return kept, [f"{left_out:,} {why}"] if left_out else []


def _not_for_lamp(data: DataSettings) -> str | None:
    """Returns a setting that makes no sense with LaMP's files, if one is given."""
    given = {
        "held-out-people": data.held_out_people,
        "max-samples": data.max_samples,
        "skewed": data.skewed,
        "most-active": data.most_active,
        "rating-bins": data.rating_bins,
        "split": None if data.split == "given" else data.split,
        "answer": None if data.answer == "class" else data.answer,
    }
    return next((name for name, value in given.items() if value is not None), None)


def _further(data: DataSettings, clients: Sequence[str], task: Task) -> Language:
    """Returns another source's people, as LaMP's are, but for those who are clients.

    Raises:
        InputError: A label that is none of the task's, or nobody left.
    """
    source = data.model_copy(update={"data": data.public_data, "format": "auto", "task": task.name})
    lamp = is_lamp(source)
    further = _language(source) if lamp else _as_lamp(source, task)
    others = pc.invert(pc.is_in(further.table["user"], pa.array(list(clients))))
    table = further.table.filter(others)
    if not table.num_rows:
        raise InputError(f"{data.public_data} has no people who are not clients")
    if task.labels and not lamp:
        _check_labels(source.data, task, table["label"].to_pylist())
    return replace(further, table=table)


def _as_lamp(source: DataSettings, task: Task) -> Language:
    """Reads a source of another kind as if it were LaMP's."""
    found = read(source)
    labels, rows = found.table["label"], found.table.num_rows
    timed = "time" in found.table.column_names
    columns = {
        "user": found.table["user"],
        "text": found.table["text"],
        "target": labels,
        "label": labels if task.labels else pa.array([""] * rows),
        "time": found.table["time"] if timed else pa.array(np.arange(rows, dtype=np.float64)),
        "query": pa.array(np.full(rows, not task.paired)),  # each is a text with its answer
        "item": pa.array([""] * rows),
    }
    return Language(task.name, pa.table(columns), (), {}, found.notes)


def _language(data: DataSettings) -> Language:
    return read_lamp(Path(data.data).expanduser(), _file(data), data.task)


def _file(data: DataSettings) -> Path | None:
    return Path(data.task_file).expanduser() if data.task_file else None


def _synthetic(data: DataSettings, synthetic: SyntheticSettings, seed: int) -> Population:
    if data.split not in (None, "random"):
        raise InputError("synthetic texts have no time: use --split random")
    if data.answer != "class":
        raise InputError(f"--answer {data.answer} is for real people: synthetic ones have a class to tell")
    if data.most_active is not None or data.rating_bins is not None:
        raise InputError("--most-active and --rating-bins are for real people: synthetic ones are alike")
    if data.skewed is not None:
        raise InputError("--skewed filters real people: synthetic ones are made on demand")
    asked = (data.clients, data.public_people, data.held_out_people)
    sizes = [default if size is None else size for size, default in zip(asked, _SYNTHETIC_SIZES, strict=True)]
    # Every third person has the same role, so that nobody's role changes with the number of clients.
    clients, public, held_out = (np.arange(role, 3 * size, 3) for role, size in enumerate(sizes))
    people = SyntheticPeople(synthetic, seed, 3 * max(sizes))
    return Population(people, clients, public, held_out, max_samples=data.max_samples, seed=seed)


def _too_many(data: DataSettings, there: int, others: int) -> str:
    kept = f"people with at least {data.min_samples} samples" + ("" if data.skewed is None else ", skewed")
    if data.clients and there > others:
        beside = f", {others} of them asked for as public or held-out people" if others else ""
        return (
            f"--clients {data.clients} is more than there are: {data.data} has {there} {kept}{beside}; "
            f"use at most {there - others}"
        )
    return f"{others} public and held-out people leave no client: {data.data} has {there} {kept}"


def _training_classes(population: Population) -> list[str]:
    """Returns the names of the classes that somebody's training texts show.

    Raises:
        InputError: An evaluation text has another class.
    """
    people = population.people
    trained = _classes_of(population, population.clients, ["train"])
    trained |= _classes_of(population, population.public, ["all"])
    judged = _classes_of(population, population.clients, ["validation", "test"])
    judged |= _classes_of(population, population.held_out, ["all"])
    if strange := judged - trained:
        raise InputError(_strange_label(population, min(strange), trained))
    if len(trained) < 2:
        raise InputError(
            f"every training text has the label {people.classes[min(trained)]!r}: two are needed"
        )
    return [people.classes[number] for number in sorted(trained)]


def _classes_of(population: Population, persons: Iterable[int], parts: Iterable[Part]) -> set[int]:
    found: set[int] = set()
    for person in persons:
        for part in parts:
            found.update(population.samples(person, part).labels.tolist())
    return found


def _strange_label(population: Population, label: int, trained: set[int]) -> str:
    people = population.people
    holders = [p for p in population.everyone() if label in people.samples(int(p)).labels]
    known = ", ".join(people.classes[number] for number in sorted(trained)[:20])
    holder, name = people.name(int(holders[0])), people.classes[label]
    return (
        f"label {name!r} of {holder!r} is in the evaluation texts but in nobody's training texts (labels "
        f"there: {known}): drop its rows, raise --clients, or take another --seed"
    )
