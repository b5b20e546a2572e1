"""LaMP's and OPPU's JSON files as records: who, their history's items, and their questions with answers.

LaMP (Salemi et al., ACL 2024, arXiv 2304.11406) keeps a split in two files, x_questions.json and
x_outputs.json. OPPU (Tan et al., EMNLP 2024, arXiv 2402.04401) keeps one record a person; its released folder
parts the people whose adapters are trained from all others, on whom the base is trained.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedpers.data.formats import content, row_place
from fedpers.data.json_rows import load_json
from fedpers.data.lamp_items import Entry, needed, value_of
from fedpers.errors import InputError

QUESTIONS = re.compile(r"questions\.json(\.gz)?$")
OTHERS = re.compile(r"user_others\.json(\.gz)?$")
TARGETS = re.compile(r"user_[a-z]+_\d+_history\.json(\.gz)?$")  # top_100 or, for tweets, more_100
ANSWERS = re.compile(r"user_(?!others)\w+_label\.json(\.gz)?$")
PROFILES = re.compile(r"profile_user_\w+\.json(\.gz)?$")
RECORD = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*\{")
HISTORY = re.compile(rb'"profile"\s*:\s*\[\s*[\]{]')
LOOKED_AT_BYTES = 1 << 20


@dataclass(frozen=True)
class Question:
    """A question with its answer; `place` finds it in its file."""

    id: str
    asked: str
    gold: str
    place: str


@dataclass(frozen=True)
class Record:
    """A person's history and questions, or as much of them as one entry of a file holds."""

    user: str
    history: list[Entry]
    questions: list[Question]
    place: str


@dataclass(frozen=True)
class Records:
    """One file's records.

    Attributes:
        file: What an error calls the file.
        records: In the file's order.
        joined: Whether several records may be of one person.
        declared: The task id that the file or its answers give, if any.
        public: Whether these are the people on whom the base is trained.
    """

    file: str
    records: list[Record]
    joined: bool
    declared: str | None
    public: bool = False


@dataclass(frozen=True)
class Found:
    """All that belongs together: the files' records, texts that describe people, and what was left out."""

    parts: list[Records]
    profiles: dict[str, str]
    notes: list[str]


def looks_like_lamp(path: Path) -> bool:
    """Tells whether a file, or the first file of such a name in a folder, begins as a list of records."""
    if path.is_dir():
        found = [*_named(path, TARGETS), *_named(path, OTHERS), *_question_files(path)]
        return bool(found) and looks_like_lamp(found[0])
    if not path.name.endswith((".json", ".json.gz")) or not path.is_file():
        return False
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(LOOKED_AT_BYTES)
    except (OSError, EOFError, zlib.error):
        return False  # whoever reads the file says what is wrong with it
    return RECORD.match(start) is not None and HISTORY.search(start) is not None


def read_files(path: Path) -> Found:
    """Reads a file, or the files of a folder that belong together.

    Raises:
        InputError: A file is missing, is not in one of the layouts or breaks a rule.
    """
    if not path.is_dir():
        part = _read_file(path)
        there = {record.user for record in part.records}
        told = _profiles_of(path.parent)  # of people in other files too
        return Found([part], {user: text for user, text in told.items() if user in there}, [])
    if _named(path, TARGETS) or _named(path, OTHERS):
        return _read_released(path)
    return _read_splits(path)


def _named(folder: Path, name: re.Pattern[str]) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if name.match(entry.name))


def _question_files(folder: Path) -> list[Path]:
    """Returns a folder's files of questions, or else those of the folders in it."""
    for pattern in ("*", "*/*"):
        if found := sorted(entry for entry in folder.glob(pattern) if QUESTIONS.search(entry.name)):
            return found
    return []


def _read_splits(folder: Path) -> Found:
    files = _question_files(folder)
    if not files:
        raise InputError(
            f"{folder} has neither *questions.json nor user_others.json or user_top_100_history.json: "
            "name a folder with LaMP's or OPPU's files, or a file"
        )
    answered = [file for file in files if _answers_of(file)]
    if not answered:
        raise InputError(
            f"{folder}: {files[0].name} has no {_answers_name(files[0])} beside it, nor has another"
        )
    notes = [
        f"{file.name} was left out: it has no {_answers_name(file)}" for file in files if file not in answered
    ]
    return Found([_read_file(file) for file in answered], {}, notes)


def _read_released(folder: Path) -> Found:
    files = [(file, False) for file in _named(folder, TARGETS)] + [
        (file, True) for file in _named(folder, OTHERS)
    ]
    parts = [_read_file(file, public) for file, public in files]
    where: dict[str, str] = {}
    for part in parts:
        for record in part.records:
            other = where.setdefault(record.user, part.file)
            if other != part.file:
                raise InputError(
                    f"{record.place} is also in {other}: nobody may be in both; remove the record from one"
                )
    profiles = _profiles_of(folder)
    strangers = len(profiles.keys() - where.keys())
    notes = [f"{strangers:,} profiles of people who are in no other file were left out"] if strangers else []
    return Found(parts, {user: text for user, text in profiles.items() if user in where}, notes)


def _profiles_of(folder: Path) -> dict[str, str]:
    """Returns the texts that a folder's files of profiles hold of people, by name."""
    profiles: dict[str, str] = {}
    for file in _named(folder, PROFILES):
        profiles |= _outputs(str(file), _entries(file))
    return profiles


def _read_file(path: Path, public: bool = False) -> Records:
    """Reads a file of questions, or of people with their questions."""
    entries = _entries(path)
    file = str(path)
    if not entries:
        raise InputError(f"{file} is an empty list: it must hold records with a profile")
    if "query" in entries[0]:
        declared, golds = _labels_of(path)
        people = [_person(f"{file}, {row_place(row)}", entry, golds) for row, entry in enumerate(entries)]
        _once(file, "user", (record.user for record in people))
        _once(file, "question", (question.id for record in people for question in record.questions))
        return Records(file, people, False, declared, public)
    answers = _answers_of(path)
    if answers is None:
        raise InputError(f"{file} has no answers: put its {_answers_name(path)} beside it")
    declared, golds = _golds(answers)
    ids = [_id(f"{file}, {row_place(row)}", entry) for row, entry in enumerate(entries)]
    _once(file, "question", ids)
    _check_match(file, str(answers), ids, golds)
    records = [
        _question(f"{file}, question {number!r}", number, entry, golds[number])
        for number, entry in zip(ids, entries, strict=True)
    ]
    return Records(file, records, True, declared)


def _question(place: str, number: str, entry: Entry, gold: str) -> Record:
    """Reads a record of LaMP: one question with the history it may look into."""
    user = _id(place, entry, "user_id") if "user_id" in entry else number
    question = Question(number, needed(place, entry, "input"), gold, place)
    return Record(user, _listed(place, entry, "profile"), [question], place)


def _person(place: str, entry: Entry, golds: dict[str, str]) -> Record:
    """Reads a record of OPPU: one person with all their questions."""
    user = _id(place, entry, "user_id")
    place = f"{place.rpartition(', row ')[0]}, user {user!r}"
    questions = []
    for row, query in enumerate(_listed(place, entry, "query")):
        number = _id(f"{place}, query {row + 1}", query)
        where = f"{place}, query {number!r}"
        gold = golds[number] if "gold" not in query and number in golds else needed(where, query, "gold")
        questions.append(Question(number, needed(where, query, "input"), gold, where))
    return Record(user, _listed(place, entry, "profile"), questions, place)


def _entries(path: Path) -> list[Entry]:
    rows = load_json(str(path), content(path))
    if not isinstance(rows, list):
        way = "; name the file of questions beside it" if isinstance(rows, dict) and "golds" in rows else ""
        raise InputError(f"{path}: its top level must be a list of records{way}")
    return _objects(str(path), rows)


def _objects(where: str, rows: Sequence[object]) -> list[Entry]:
    entries: list[Entry] = []
    for row, entry in enumerate(rows):
        if not isinstance(entry, dict):
            raise InputError(f"{where}, {row_place(row)}: each entry must be a JSON object")
        entries.append(entry)
    return entries


def _listed(place: str, entry: Entry, key: str) -> list[Entry]:
    rows = entry.get(key)
    if not isinstance(rows, list):
        what = "its value is no list" if key in entry else "there is no such key"
        raise InputError(f"{place}: {key!r} must be a list of objects, but {what}")
    return _objects(f"{place}, {key}", rows)


def _id(place: str, entry: Entry, key: str = "id") -> str:
    found = needed(place, entry, key)
    if not found.strip():
        raise InputError(f"{place}: {key!r} is empty; every record needs one")
    return found


def _golds(path: Path) -> tuple[str | None, dict[str, str]]:
    """Reads a file of answers: the task's id, and the answer to each question's id."""
    top = load_json(str(path), content(path))
    if not isinstance(top, dict):
        raise InputError(f"{path}: its top level must be an object with task and golds")
    return value_of(str(path), top, "task") or None, _outputs(str(path), _listed(str(path), top, "golds"))


def _outputs(file: str, entries: Sequence[Entry]) -> dict[str, str]:
    places = [f"{file}, {row_place(row)}" for row in range(len(entries))]
    ids = [_id(place, entry) for place, entry in zip(places, entries, strict=True)]
    _once(file, "id", ids)
    texts = [needed(place, entry, "output") for place, entry in zip(places, entries, strict=True)]
    return dict(zip(ids, texts, strict=True))


def _answers_name(path: Path) -> str:
    return QUESTIONS.sub("outputs.json", path.name) if QUESTIONS.search(path.name) else "*outputs.json"


def _answers_of(path: Path) -> Path | None:
    """Returns the file of answers beside a file of questions."""
    if not QUESTIONS.search(path.name):
        raise InputError(f"{path}: name it *questions.json and put its answers, *outputs.json, beside it")
    name = _answers_name(path)
    return next(
        (path.with_name(each) for each in (name, f"{name}.gz") if path.with_name(each).exists()), None
    )


def _labels_of(path: Path) -> tuple[str | None, dict[str, str]]:
    """Reads the answers beside OPPU's files, which need some only where questions come without a gold."""
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    own = [path.with_name(f"{stem}_label.json{end}") for end in ("", ".gz")]
    others = _named(path.parent, ANSWERS) if TARGETS.match(path.name) else []
    found = [file for file in (*own, *others) if file.exists()]
    return _golds(found[0]) if found else (None, {})


def _once(file: str, kind: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        more = f" (and {len(twice) - 1:,} more do)" if len(twice) > 1 else ""
        raise InputError(
            f"{file}: the {kind} id {twice[0]!r} stands there more than once{more}; ids must differ"
        )


def _check_match(file: str, answers: str, ids: Sequence[str], golds: dict[str, str]) -> None:
    """Raises an InputError unless every question has an answer and every answer a question."""
    asked = set(ids)
    lacking = [number for number in ids if number not in golds]
    stray = [number for number in golds if number not in asked]
    if lacking or stray:
        parts = [(lacking, "questions without an answer"), (stray, "answers without a question")]
        told = [f"{what}: {len(some):,} (first {some[0]!r})" for some, what in parts if some]
        raise InputError(f"{file} and {answers} do not match; {', '.join(told)}")
