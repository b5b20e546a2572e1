"""Personal modules of a finished run: who has one, how alike they are, taking one out, and forgetting one.

A run's folder holds the modules in `modules/`: safetensors files of some hundred people each, `people.json`
with everyone's number by name, and `kinds.json` with what each module stands on. The models they stand on
are in `bases/`, ready for transformers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fedpers import runs
from fedpers.engine import files_of, people_of, read_file, write_file
from fedpers.errors import FedpersError, InputError, WriteError, unknown
from fedpers.files import beside, write_whole, writing
from fedpers.method import State
from fedpers.models import Arrays, Model, ModelSpec, load
from fedpers.models.adapters import Adapter, save_peft, similarities
from fedpers.settings import ModelSettings

_FOLDER, _BASES = "modules", "bases"
_STRATA = 4  # of people, by the length of their history
_PEOPLE, _KINDS = "people.json", "kinds.json"
_SCORES = "people.parquet"


@dataclass(frozen=True)
class Kind:
    """One kind of module of a run.

    Attributes:
        name: What it is called, such as "lora k=1".
        adapter: The kind of adapter, "lora", "ia3" or "prompt".
        base: Folder, within the run's, of the model it stands on.
        sha256: Of that model's files.
    """

    name: str
    adapter: str
    base: str
    sha256: str


@dataclass(frozen=True)
class Owner:
    """A person with modules.

    Attributes:
        name: The person's name.
        samples: Test samples.
        score: What the run is judged by, as the mean over them with one kind of module; None without any.
        bytes: Size of all of the person's modules.
    """

    name: str
    samples: int
    score: float | None
    bytes: int


@dataclass(frozen=True)
class Likeness:
    """How alike two people's modules are.

    Attributes:
        first: A person's name.
        second: Another's.
        cosine: Mean cosine of their modules' arrays, in [-1, 1].
    """

    first: str
    second: str
    cosine: float


@dataclass(frozen=True)
class Stratum:
    """People with histories of like length.

    Attributes:
        fewest: Items of the shortest history among them.
        most: Items of the longest.
        people: How many they are.
        means: What phases are judged by, as a mean over these people, by the phase's name.
    """

    fewest: int
    most: int
    people: int
    means: Mapping[str, float]


def folder_of(run: Path) -> Path:
    """Returns where a run's modules are."""
    return run / _FOLDER


def write_index(run: Path, names: Mapping[int, str], kinds: list[Kind]) -> None:
    """Records who has modules in a run, and what they stand on."""
    numbers = [person for path in files_of(folder_of(run)) for person in people_of(path)]
    _write(folder_of(run) / _PEOPLE, {names[person]: person for person in numbers})
    _write(folder_of(run) / _KINDS, [asdict(kind) for kind in kinds])


def write_base(run: Path, name: str, spec: ModelSpec, arrays: Arrays) -> tuple[str, str]:
    """Saves a model that modules stand on; returns its folder within the run's, and its SHA-256."""
    base = f"{_BASES}/{name.replace(' ', '-').replace('=', '')}"
    runs.write_model(run / base, spec, arrays)
    return base, _sha256(run / base)


def owners(run: Path, kind: Kind) -> list[Owner]:
    """Returns everyone who has modules in a run, and how they fare with one kind of them.

    Raises:
        InputError: The run has none.
    """
    names = {number: name for name, number in _people(run).items()}
    scores = {row["person"]: row for row in _scores(run).to_pylist()}
    found = []
    for path in files_of(folder_of(run)):
        for person, state in read_file(path):
            name = names[person]
            scored = scores.get(name, {"samples": 0, kind.name: None})
            size = sum(array.nbytes for array in state.values())
            found.append(Owner(name, scored["samples"], scored[kind.name], size))
    return found


def strata(run: Path) -> list[Stratum]:
    """Returns how people fare by the length of their history, a quarter of the people each.

    Raises:
        InputError: The run has no modules, or nobody has any more.
    """
    _people(run)
    table = _scores(run)
    if "history" not in table.column_names or not table.num_rows:
        raise InputError(f"{run} has nobody whose module was scored, so there is nothing to part by history")
    history = table["history"].to_numpy()
    phases = table.column_names[table.column_names.index("history") + 1 :]
    parts = [part for part in np.array_split(np.argsort(history, kind="stable"), _STRATA) if len(part)]
    return [
        Stratum(
            int(history[part].min()),
            int(history[part].max()),
            len(part),
            {phase: float(table[phase].to_numpy()[part].mean()) for phase in phases},
        )
        for part in parts
    ]


def kinds_of(run: Path) -> list[Kind]:
    """Returns the kinds of modules of a run, in the order of its phases.

    Raises:
        InputError: The run has none.
    """
    _people(run)
    return [Kind(**kind) for kind in _read(run, _KINDS)]


def find_kind(run: Path, name: str | None) -> Kind:
    """Returns a kind of module by name, or a run's last one.

    Raises:
        InputError: There is none of that name.
    """
    kinds = {kind.name: kind for kind in kinds_of(run)}
    if not kinds:
        raise InputError(f"{run} holds no personal modules: it was stopped before everyone had trained one")
    if name is None:
        return list(kinds.values())[-1]
    if name not in kinds:
        raise unknown("module", name, kinds)
    return kinds[name]


def module_of(run: Path, person: str, kind: Kind) -> Arrays:
    """Returns a person's module; no one else's is read.

    Raises:
        InputError: The person has none of this kind in this run.
    """
    number = _number(run, person)
    path = _file_of(run, number)
    if path is None:
        raise InputError(f"a --forget of {person} was cut off: run it again")
    state = dict(read_file(path, number))[number]
    found = _of_kind(state, kind)
    if not found:  # of a device that never replied in that phase
        there = sorted({name.partition("/")[0] for name in state})
        raise InputError(f"{person} has no module {kind.name}, only {', '.join(there)}: give one by --module")
    return found


def compare(run: Path, kind: Kind) -> list[Likeness]:
    """Returns how alike every two people's modules of a kind are, as OPPU measures it, most alike first."""
    names = {number: name for name, number in _people(run).items()}
    everyone = [
        (names[person], module)
        for path in files_of(folder_of(run))
        for person, state in read_file(path)
        if (module := _of_kind(state, kind))
    ]
    if len(everyone) < 2:
        return []
    stacked = {name: np.stack([module[name] for _, module in everyone]) for name in everyone[0][1]}
    cosines = similarities(stacked)
    first, second = np.triu_indices(len(everyone), 1)
    order = np.argsort(-cosines[first, second], kind="stable")
    return [
        Likeness(everyone[first[i]][0], everyone[second[i]][0], float(cosines[first[i], second[i]]))
        for i in order
    ]


def base_of(run: Path, kind: Kind) -> Model:
    """Loads the model that a kind of module stands on.

    Raises:
        InputError: Its files are not those that the modules were trained on.
    """
    base = run / kind.base
    found = _sha256(base)
    if found != kind.sha256:
        raise InputError(
            f"the model in {base} has the SHA-256 {found[:12]}..., but the modules were trained on "
            f"{kind.sha256[:12]}...: put the run's own model back"
        )
    return load(ModelSpec(ModelSettings(model=str(base)), (), 0, head="words"))


def export(run: Path, person: str, kind: Kind, adapter: Adapter, to: Path) -> str:
    """Writes a person's module into a folder as peft has it; returns the class that loads what it stands on.

    Raises:
        InputError: The folder is not empty or cannot be written, the person has no module, or the model's
            weights have changed.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise InputError(f"{to} is not empty: give another folder")
    theta = module_of(run, person, kind)
    module = base_of(run, kind).module
    try:
        with writing(to):
            save_peft(adapter, module, theta, to, str((run / kind.base).resolve()))
    except WriteError as error:
        shutil.rmtree(to, ignore_errors=True)  # half a module would stand in the way of the next try
        raise InputError(f"{error}; give another folder") from error
    return "AutoModelForSeq2SeqLM" if module.config.is_encoder_decoder else "AutoModelForCausalLM"


def forget(run: Path, person: str) -> list[str]:
    """Removes all that a run's folder holds of a person, checks it, and returns what was removed.

    Raises:
        InputError: The person has no module in this run.
        FedpersError: It cannot be removed, or something of the person is still there.
    """
    number, table = _number(run, person), _scores(run)
    path = _file_of(run, number)
    mine = dict(read_file(path, number))[number] if path else {}
    marks = _own_alone(run, number, mine)
    others = {p: state for p, state in read_file(path) if p != number} if path else {}
    try:
        with writing(run):
            if path and others:
                write_file(path, others)
            elif path:
                path.unlink()
            with beside(run / _SCORES) as unfinished:
                pq.write_table(table.filter(pc.not_equal(table["person"], person)), unfinished)
            attacks = runs.remove_membership(run)
            # The last, for who is listed there can be forgotten again where this was cut off.
            _write(folder_of(run) / _PEOPLE, {name: p for name, p in _people(run).items() if name != person})
    except WriteError as error:
        raise FedpersError(f"{person} is not forgotten: {error}; run it again once that is mended") from error
    left = list(traces(run, person, marks))
    if left:
        raise FedpersError(f"{person} is not forgotten: traces are left in {', '.join(left)}")
    return [*sorted(mine), "entry in people.json", "row in people.parquet", *attacks]


def _own_alone(run: Path, number: int, mine: State) -> State:
    """Returns a person's arrays but for those that another has too: what training left as it was."""
    shared = {
        name
        for path in files_of(folder_of(run))
        for person, state in read_file(path)
        for name, array in state.items()
        if person != number and name in mine and np.array_equal(array, mine[name])
    }
    return {name: array for name, array in mine.items() if name not in shared}


def traces(run: Path, person: str, module: State) -> Iterator[str]:
    """Gives the files of a run's folder that hold a person's name in full or an array of their module."""
    marks = [array.tobytes() for array in module.values() if np.any(array)]
    quoted = json.dumps(person).encode()
    for path in sorted(run.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            named = path.suffix in (".json", ".jsonl") and quoted in content
            listed = path.suffix == ".parquet" and person in pq.read_table(path)["person"].to_pylist()
            if named or listed or any(mark in content for mark in marks):
                yield str(path.relative_to(run))


def _people(run: Path) -> dict[str, int]:
    people: dict[str, int] = _read(run, _PEOPLE)
    return people


def _scores(run: Path) -> pa.Table:
    try:
        return pq.read_table(run / _SCORES)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {run / _SCORES}, everyone's scores: put the run's own back") from error


def _number(run: Path, person: str) -> int:
    people = _people(run)
    if person not in people:
        raise unknown("person with a module", person, people)
    return people[person]


def _file_of(run: Path, number: int) -> Path | None:
    """Returns the file that a person's module is in, None if a --forget was cut off behind it."""
    return next((path for path in files_of(folder_of(run)) if number in people_of(path)), None)


def _of_kind(state: State, kind: Kind) -> Arrays:
    mine = f"{kind.name}/"
    return {
        name.removeprefix(mine): np.asarray(array, dtype=np.float32)
        for name, array in state.items()
        if name.startswith(mine)
    }


def _sha256(base: Path) -> str:
    """Returns the digest of a model's files: weights, config and vocabulary, by name."""
    total = hashlib.sha256()
    try:
        for path in sorted(base.iterdir()):
            total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise InputError(f"cannot read the model in {base}: {error.strerror}") from error
    return total.hexdigest()


def _read(run: Path, name: str) -> Any:
    try:
        return json.loads((folder_of(run) / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{run} holds no personal modules: give the folder of a finished run of `fedpers simulate "
            "--method oppu`"
        ) from error


def _write(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, indent=2) + "\n")
