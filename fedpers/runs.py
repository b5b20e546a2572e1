"""A run's folder: everything that tells what was run and what came out.

settings.json     every setting, as resolved
versions.json     fedpers, its commit, and the libraries that can change a number
data.json         a digest of everyone's texts and labels, to go on with the same
metrics.jsonl     one line a round or epoch
people.parquet    test samples and right answers of every person
model/            the best parameters with config and tokenizer, loadable with transformers
result.json       what the command printed
checkpoint/       what is needed to go on, until the run has come to its end
updates.json      what `fedpers attack update` printed

If it was asked for also:
rounds/           the aggregate of every so many rounds
personal/         everyone's personal state, to be attacked
membership-*.json what `fedpers attack membership` printed, of texts or people and by what is seen
membership/       the shadow runs of that

Of a method whose people keep what is theirs also:
modules/          their modules, in a few files that one person's can be read from
bases/            the models that these stand on

After an anonymous phase also:
received.safetensors   the records as the server got them
stages.safetensors     what each phase but the last ended with, and the run's best parameters
private.safetensors    what it did not get: whose each record is, and everyone's private distribution
attribution.json       what `fedpers attack attribution` printed
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

from fedpers.data import People
from fedpers.engine import files_of, has_checkpoint
from fedpers.errors import InputError, StoppedError, WriteError
from fedpers.evaluation import Scores
from fedpers.files import beside, save_whole, write_whole, writing
from fedpers.models import Arrays, ModelSpec, detach, insert, load
from fedpers.records import Crossing, Records
from fedpers.settings import Settings

_LIBRARIES = (
    "fedpers",
    "flwr",
    "ray",
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "bm25s",
    "opacus",
    "numpy",
    "datasets",
)
BEST = "best"  # what a run's best parameters are called among those of its phases
_DEFAULT_PARENT = Path("runs")
_SETTINGS, _VERSIONS, _DATA, _RESULT = "settings.json", "versions.json", "data.json", "result.json"
_ADDITIONS = "additions.safetensors"
_ROUNDS, _MEMBERSHIP = "rounds", "membership"
_STATES = ("modules", "personal")  # where people's states may be
_RECEIVED, _PRIVATE, _STAGES = "received.safetensors", "private.safetensors", "stages.safetensors"


@contextmanager
def new_run(out: Path | None, name: str, settings: Settings) -> Iterator[Path]:
    """Makes the folder of a new run, records what is about to run, and yields the folder.

    If the input turns out to be unusable, or somebody stops it before a part of the run is in the folder,
    the folder is removed again, so that the next command can name it.

    Args:
        out: Where to; by default a new folder under runs/, named by time and `name`.
        name: What is run.
        settings: All settings.

    Raises:
        InputError: The folder holds something already, or cannot be written.
    """
    folder = out or unused(_DEFAULT_PARENT / f"{datetime.now():%Y%m%d-%H%M%S}-{name}")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} is not empty, and a run is never overwritten: give another --out")
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / _SETTINGS, settings.model_dump())
        _write_json(folder / _VERSIONS, versions())
    except OSError as error:
        raise InputError(
            f"cannot write to the run's folder {folder}: {error.strerror}; give another --out"
        ) from error
    except WriteError as error:
        raise InputError(f"{error}; give another --out") from error
    try:
        yield folder
    except (InputError, StoppedError, KeyboardInterrupt):
        if {file.name for file in folder.iterdir()} <= {_SETTINGS, _VERSIONS, _DATA}:
            shutil.rmtree(folder)
        raise


def checkpoints(folder: Path) -> Path:
    """Returns where the checkpoints of a run are, while it is not at its end."""
    return folder / "checkpoint"


def can_go_on(folder: Path) -> bool:
    """Tells whether a run that has not come to its end left something to go on from."""
    return has_checkpoint(checkpoints(folder)) and not (folder / _RESULT).exists()


def way_on(folder: Path) -> str:
    """Returns how to go on with a run that was cut off."""
    return f"to go on: fedpers simulate --resume {folder}"


def reopen(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Returns the settings of a run that was cut off, nested by section, and what differs today.

    Raises:
        InputError: There is no run, or it has come to its end.
    """
    settings = settings_of(folder)
    try:
        before = json.loads((folder / _VERSIONS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no run to resume: {error}") from error
    if (folder / _RESULT).exists():
        raise InputError(f"the run in {folder} has come to its end: its result is in {_RESULT}")
    now = versions()
    changed = [
        f"{name} was {before.get(name)} and is {now[name]}" for name in now if before.get(name) != now[name]
    ]
    return settings, changed


def write_data(folder: Path, people: People) -> None:
    """Records what the people of a run wrote, as a digest."""
    _write_json(folder / _DATA, {"sha256": people.digest()})


def check_data(folder: Path, people: People) -> None:
    """Compares people with those that a run began with, if that is recorded.

    Raises:
        InputError: They are others, or wrote something else or in another order.
    """
    if (folder / _DATA).exists() and _read_json(folder, _DATA, "run")["sha256"] != people.digest():
        raise InputError(
            f"the data has changed since the run in {folder} began, and texts are dealt out by their places, "
            "so it might train on what it is tested on: put the data back as it was, or start the run again"
        )


def write_history(folder: Path, history: list[dict[str, float]], suffix: str = "") -> None:
    """Records the metrics of each round or epoch, a line each; a suffix tells several runs apart."""
    lines = [json.dumps(record) for record in history]
    write_whole(folder / f"metrics{suffix}.jsonl", "\n".join(lines) + "\n")


def write_people(
    folder: Path,
    people: People,
    scores: Scores,
    further: Mapping[str, npt.NDArray[Any]] = MappingProxyType({}),
) -> None:
    """Records how each person's test texts were answered, with further numbers of each person by name."""
    table = pa.table(
        {
            "person": [people.name(person) for person in scores.persons],
            "samples": scores.total,
            "correct": scores.correct,
            "accuracy": scores.by_person,
            **{name: scores.means_by_person(name) for name in scores.measures},
            **further,
        }
    )
    path = folder / "people.parquet"
    with writing(path), beside(path) as unfinished:
        pq.write_table(table, unfinished)


def write_model(folder: Path, spec: ModelSpec, arrays: Arrays) -> None:
    """Saves parameters, config and tokenizer into a folder, so that transformers' Auto classes load them.

    What a method added to the model is written beside it, under the names that the parameters have here.
    """
    model = load(spec)
    insert(model.module, arrays)
    detach(model.module)
    with writing(folder):
        model.module.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
    plain = {name for name, _ in model.module.named_parameters()}
    if added := {name: array for name, array in arrays.items() if name not in plain}:
        save_whole(folder / _ADDITIONS, added)


def read_model(folder: Path) -> Arrays:
    """Returns the parameters that `write_model` wrote, additions included."""
    files = [folder / "model.safetensors", folder / _ADDITIONS]
    return {name: array for file in files if file.exists() for name, array in load_file(file).items()}


def write_stages(folder: Path, stages: Mapping[str, Arrays]) -> None:
    """Records the parameters that phases ended with, by the phase's name."""
    flat = {f"{stage}/{name}": array for stage, arrays in stages.items() for name, array in arrays.items()}
    save_whole(folder / _STAGES, flat)


def read_stages(folder: Path) -> dict[str, Arrays]:
    """Returns the parameters that phases ended with, by the phase's name."""
    stages: dict[str, Arrays] = {}
    for path, array in load_file(folder / _STAGES).items():
        stage, _, name = path.partition("/")
        stages.setdefault(stage, {})[name] = array
    return stages


def write_round(folder: Path, phase: int, number: int, arrays: Arrays) -> None:
    """Keeps a round's aggregate."""
    with writing(folder / _ROUNDS):
        (folder / _ROUNDS).mkdir(exist_ok=True)
    save_whole(folder / _ROUNDS / f"{phase:02d}-{number:06d}.safetensors", arrays)


def round_files(folder: Path) -> list[Path]:
    """Returns the files of the aggregates that a run kept, in order; `read_arrays` reads one."""
    return sorted((folder / _ROUNDS).glob("*.safetensors"))


def read_arrays(path: Path) -> Arrays:
    """Returns the parameters in a file."""
    return dict(load_file(path))


def kept_states(folder: Path, *, owned: bool) -> Path:
    """Returns where a run keeps people's states: as their modules, or only to be attacked."""
    return folder / _STATES[0 if owned else 1]


def state_files(folder: Path) -> list[Path]:
    """Returns the files of people's states that a run kept."""
    return [path for name in _STATES for path in files_of(folder / name)]


def shadows(folder: Path) -> Path:
    """Returns where the shadow runs of attacks on membership are."""
    return folder / _MEMBERSHIP


def remove_membership(folder: Path) -> list[str]:
    """Removes the shadow runs and results of attacks on membership, and returns what there was.

    Shadow runs hold how likely a model finds everyone's texts, and no person's part can be taken out of them.
    """
    kept = shadows(folder)
    found = [f"shadow runs in {_MEMBERSHIP}"] if kept.exists() else []
    if found:
        shutil.rmtree(kept)
    for path in sorted(folder.glob(f"{_MEMBERSHIP}-*.json")):
        path.unlink()
        found.append(f"result in {path.name}")
    return found


def write_crossing(folder: Path, crossing: Crossing) -> None:
    """Records what crossed the border, and apart from it what did not."""
    persons = np.array(sorted(crossing.states), dtype=np.int64)
    theta = {
        f"theta/{name}": np.stack([crossing.states[person][name] for person in persons.tolist()])
        for name in next(iter(crossing.states.values()), {})
    }
    save_whole(folder / _RECEIVED, crossing.records.arrays())
    save_whole(folder / _PRIVATE, {"senders": crossing.senders, "persons": persons, **theta})


def read_crossing(folder: Path) -> Crossing:
    """Returns what crossed the border in a run, and what did not.

    Raises:
        InputError: There is no such run, or nothing crossed.
    """
    if not (folder / _RESULT).exists():
        raise InputError(f"{folder} holds no finished run: give the folder that `fedpers simulate` printed")
    if not has_crossing(folder):
        raise InputError(
            f"the run in {folder} uploaded no records with user embeddings, so there is nothing to "
            "attribute: run `fedpers simulate --method idfree`"
        )
    private = load_file(folder / _PRIVATE)
    senders, persons = private.pop("senders"), private.pop("persons").tolist()
    names = {path: path.removeprefix("theta/") for path in private}
    states = {person: {names[path]: private[path][k] for path in private} for k, person in enumerate(persons)}
    return Crossing(Records.of(load_file(folder / _RECEIVED)), senders, states)


def settings_of(folder: Path) -> dict[str, Any]:
    """Returns the settings of a run, nested by section.

    Raises:
        InputError: There is no run.
    """
    settings = _read_json(folder, _SETTINGS, "run")
    return {**settings.pop("own"), **settings}


def has_crossing(folder: Path) -> bool:
    """Tells whether user embeddings crossed the border in a run."""
    return (folder / _RECEIVED).exists()


def result_of(folder: Path, name: str = "result") -> dict[str, Any]:
    """Returns what a command printed that made a run, or that attacked it.

    Raises:
        InputError: There is no such run, or it has not come to its end.
    """
    return _read_json(folder, f"{name}.json", "finished run")


def write_result(folder: Path, result: Mapping[str, Any], name: str = "result") -> None:
    """Records what a command printed."""
    _write_json(folder / f"{name}.json", result)


def versions() -> dict[str, str | None]:
    """Returns the versions of everything that can change a number, and the commit if there is one."""
    found: dict[str, str | None] = {name: version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), **found, "commit": _commit()}


def _commit() -> str | None:
    """Returns the commit of the checkout that fedpers runs from, with a mark if files were changed."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def unused(folder: Path) -> Path:
    """Returns the folder, or the first of folder-2, folder-3, ... that does not exist."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return candidate


def _read_json(folder: Path, name: str, what: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no {what}: {error.strerror if isinstance(error, OSError) else error}"
        ) from error
    return found


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2) + "\n")
