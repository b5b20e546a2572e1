"""Reads LaMP's tasks: everyone's history, and the questions that are asked about it.

LaMP is Salemi et al., "LaMP: when large language models meet personalization" (ACL 2024, arXiv 2304.11406);
its files by person are those of OPPU (Tan et al., "Democratizing large language models via personalized
parameter-efficient fine-tuning", EMNLP 2024, arXiv 2402.04401). The reading is strict, as that of any other
source: a record that cannot be used stops it with the file, the record, the rule and the way out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fedpers.data.lamp_files import Question, Record, Records, looks_like_lamp, read_files
from fedpers.data.lamp_items import Entry, Layout, find_layout, moment, needed, value_of
from fedpers.data.tasks import Task, find_task
from fedpers.errors import InputError, unknown
from fedpers.settings import DataSettings

QUESTIONS_LOOKED_AT = 100
SCHEMA = pa.schema(
    {
        "user": pa.string(),
        "text": pa.string(),
        "target": pa.string(),
        "label": pa.string(),
        "time": pa.float64(),
        "query": pa.bool_(),
        "item": pa.string(),
    }
)


@dataclass(frozen=True)
class Language:
    """Everyone's histories and questions for one task.

    Attributes:
        task: The task's name.
        table: One row an item or question, person by person, a history in time order before its questions.
            Columns user, text, target (string; what is to be answered to the text), label (string; the
            target where it is one of the task's labels, else empty), time (float64; seconds since 1970, or
            the position of an item without a date; a question's is just after the last item that its own
            record knows), query (bool; whether it is a question) and item (string; its id).
        public: The people on whom the base is trained; nobody where the source does not part them off.
        profiles: Texts that describe a person, by name, where the source has some.
        notes: What was left out or read otherwise than the files say, a line each.
    """

    task: str
    table: pa.Table
    public: tuple[str, ...]
    profiles: Mapping[str, str]
    notes: tuple[str, ...]


class _Item(NamedTuple):
    """An item of a history; a date that is not there is empty."""

    id: str
    text: str
    target: str
    date: str
    record: str
    row: int

    @property
    def place(self) -> str:
        return _item_place(self.record, self.row)

    def said(self) -> tuple[str, str, str]:
        return self.text, self.target, self.date


class _Row(NamedTuple):
    """A row of the table."""

    user: str
    text: str
    target: str
    label: str
    time: float
    query: bool
    item: str


class _Asked(NamedTuple):
    """A question, and the names of the items in the history of its own record."""

    question: Question
    known: list[str]


@dataclass
class _Person:
    place: str
    public: bool
    items: dict[str, _Item] = field(default_factory=dict)
    said: dict[tuple[str, str, str], str] = field(default_factory=dict)  # the names of items by what they say
    asked: list[_Asked] = field(default_factory=list)


def is_lamp(data: DataSettings) -> bool:
    """Tells whether the settings name a file or folder of LaMP or OPPU, by their format or its content."""
    if data.format == "auto":
        return looks_like_lamp(Path(data.data).expanduser())
    return data.format == "lamp"


def read_lamp(path: Path, tasks_file: Path | None = None, name: str | None = None) -> Language:
    """Reads a file of LaMP or OPPU, with what lies beside it, or a folder of such files.

    Questions of one user_id are one person, whose history is that of all questions together, but for items
    that are one of these questions with its answer; where they name nobody, each is a person of its own,
    named by its id.

    Args:
        path: The questions of one split, a file with one record a person, or a folder.
        tasks_file: TOML with changes to the tasks; its labels are those that answers must be among.
        name: The task to be read for, by default the one that the files are laid out for.

    Raises:
        InputError: A file is missing, unreadable or has a record that breaks a rule.
    """
    found = read_files(path)
    layout, notes = _one_layout(path, found.parts)
    task = find_task(name or layout.task, tasks_file)
    counts: Counter[str] = Counter()
    people = _united(found.parts, layout, counts)
    rows = [row for name, person in people.items() for row in _rows(name, person, layout, task, counts)]
    columns = zip(*rows, strict=True)
    table = pa.table(dict(zip(SCHEMA.names, map(list, columns), strict=True)), SCHEMA)
    public = tuple(name for name, person in people.items() if person.public)
    told = (f"{what}: {count:,}" for what, count in counts.items() if count)
    return Language(task.name, table, public, found.profiles, (*found.notes, *notes, *told))


def _one_layout(path: Path, parts: Sequence[Records]) -> tuple[Layout, list[str]]:
    """Returns the layout of all files, and a note for each that names its task otherwise."""
    found = []
    for part in parts:
        item = next((record.history[0] for record in part.records if record.history), None)
        if item is None:
            raise InputError(f"{part.file} has no history to read: every profile in it is empty")
        asked = [question.asked for record in part.records for question in record.questions]
        found.append(find_layout(part.file, item, asked[:QUESTIONS_LOOKED_AT], part.declared))
    first = found[0][0]
    for part, (layout, _) in zip(parts, found, strict=True):
        if layout.task != first.task:
            raise InputError(
                f"{path} holds several tasks ({first.task} in {Path(parts[0].file).name}, {layout.task} in "
                f"{Path(part.file).name}): name one of its files"
            )
    return first, [note for _, note in found if note]


def _united(parts: Sequence[Records], layout: Layout, counts: Counter[str]) -> dict[str, _Person]:
    """Returns everyone by name, with the histories and questions of all their records."""
    people: dict[str, _Person] = {}
    seen: dict[str, str] = {}
    for part in parts:
        for record in part.records:
            person = people.setdefault(record.user, _Person(record.place, part.public))
            known = _add_items(person, record, layout, counts)
            for question in record.questions:
                if part.joined and question.id in seen:
                    raise InputError(
                        f"question {question.id!r} is in {seen[question.id]} and in {part.file}: name one of "
                        "the two files instead of the folder"
                    )
                seen[question.id] = part.file
                person.asked.append(_Asked(question, known))
    for person in people.values():
        if not person.items:
            raise InputError(
                f"{person.place}: the history holds no item with a text and an answer; leave the person out"
            )
    return people


def _add_items(person: _Person, record: Record, layout: Layout, counts: Counter[str]) -> list[str]:
    """Adds the items that the person's earlier records do not have; returns the names of the record's."""
    numbers: set[str] = set()
    new, known = [], []
    for row, entry in enumerate(record.history, 1):
        place = _item_place(record.place, row)
        number = needed(place, entry, "id")
        if number in numbers:
            raise InputError(f"{place}: the id {number!r} stands in this profile twice; ids must differ")
        numbers.add(number)
        item = _item(record.place, row, entry, layout)
        if not _is_whole(item, layout):
            counts["items of histories left out for an empty text or answer"] += 1
        elif item.said() in person.said:
            known.append(person.said[item.said()])
        else:
            new.append(item)
    for item in new:
        # Some of LaMP's ids are made of a question's number and a position, so two may run together.
        name = item.id if item.id not in person.items else f"{record.questions[0].id}/{item.id}"
        person.items[name] = item._replace(id=name)
        person.said[item.said()] = name
        known.append(name)
    return known


def _item_place(record: str, row: int) -> str:
    return f"{record}, item {row} of its profile"


def _item(record: str, row: int, entry: Entry, layout: Layout) -> _Item:
    place = _item_place(record, row)
    for key in layout.keys:
        needed(place, entry, key)
    texts = [value_of(place, entry, key) for key in layout.text]
    target = value_of(place, entry, layout.target)
    shown = "\n".join(text for text in texts if text.strip())
    date = value_of(place, entry, "date")
    return _Item(value_of(place, entry, "id"), shown, target.strip(), date, record, row)


def _is_whole(item: _Item, layout: Layout) -> bool:
    has_text = bool(item.text) or not layout.text
    return has_text and (bool(item.target) or layout.target not in layout.keys)


def _rows(name: str, person: _Person, layout: Layout, task: Task, counts: Counter[str]) -> list[_Row]:
    """Returns a person's rows: the history in time order, then the questions."""
    history = []
    for time, item in _in_time_order(list(person.items.values()), counts):
        answer = _answer(item.place, item.target, task) if task.paired else item.target
        label = answer if task.labels and task.paired else ""
        history.append(_Row(name, item.text, answer, label, time, False, item.id))
    times = {row.item: row.time for row in history}
    questions, told = [], set()
    for question, known in person.asked:
        text = layout.question(question.asked)
        if text is None:
            counts["questions taken whole, as nothing shows where their text begins"] += 1
            text = question.asked.strip()
        if not text or not question.gold.strip():
            counts["questions left out for an empty text or answer"] += 1
            continue
        answer = _answer(question.place, question.gold.strip(), task)
        told.add(_mark(layout.item(question.asked), answer, layout, task))
        # What other records know besides came at the question's own time, or after it.
        last = max((times[number] for number in known), default=history[0].time - 1)
        time = math.nextafter(last, math.inf)
        questions.append(_Row(name, text, answer, answer if task.labels else "", time, True, question.id))
    kept = [row for row in history if _mark(row.text.strip(), row.target, layout, task) not in told]
    left_out = "items of histories left out for being a question of the same person with its answer"
    counts[left_out] += len(history) - len(kept)
    return kept + questions


def _mark(text: str, answer: str, layout: Layout, task: Task) -> tuple[str, str]:
    """Returns what an item and the question that asks for it have in common.

    Where they are no pairs of a text and its answer, it is the text of items that show one (a paper's title,
    next to which stands what it cites), else all that the item says (a tweet).
    """
    if not layout.text:
        return "", answer
    return text, answer if task.paired else ""


def _in_time_order(items: Sequence[_Item], counts: Counter[str]) -> list[tuple[float, _Item]]:
    """Returns items by their time, or by their position where one of them has no date."""
    if not all(item.date.strip() for item in items):
        counts["people with undated items, whose history stays in the file's order"] += 1
        return [(float(position), item) for position, item in enumerate(items)]
    return sorted(((_time(item), item) for item in items), key=lambda pair: pair[0])


def _time(item: _Item) -> float:
    time = moment(item.date)
    if time is None:
        raise InputError(
            f"{item.place}: the date {item.date!r} is no time; write an ISO date such as 2009-04-06, a year "
            "or a number"
        )
    return time


def _answer(place: str, answer: str, task: Task) -> str:
    """Returns an answer, which has to be one of the task's labels if it has some."""
    if task.measure == "mae":
        answer = re.sub(r"\.0+$", "", answer)
    if task.labels and answer not in task.labels:
        raise unknown(f"label of {task.name} in {place}:", answer, task.labels)
    return answer
