"""A person who is forgotten, and everyone else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from fedpers import modules
from fedpers.engine.shards import files_of, read_file
from tests.conftest import Run
from tests.modules.owned_runs import PEFTS_WARNINGS, names_of, simulated, strict

pytestmark = PEFTS_WARNINGS


def test_a_person_who_is_forgotten_leaves_no_trace(run: Run, copied: Path) -> None:
    person = names_of(copied)[2]
    number = json.loads((copied / "modules" / "people.json").read_text())[person]
    [file] = files_of(copied / "modules")
    [(_, mine)] = read_file(file, number)
    assert [*modules.traces(copied, person, mine)] == [
        "modules/00000.safetensors",
        "modules/people.json",
        "people.parquet",
    ]
    status, out, err = run("people", str(copied), "--forget", person, "--json")
    assert status == 0, err
    assert strict(out)["removed"] == [*sorted(mine), "entry in people.json", "row in people.parquet"]
    assert [*modules.traces(copied, person, mine)] == []
    assert not any(person.encode() in path.read_bytes() for path in copied.rglob("*") if path.is_file())


def test_shadow_runs_and_results_of_attacks_on_membership_go_with_a_person(run: Run, copied: Path) -> None:
    (copied / "membership" / "text").mkdir(parents=True)
    save_file({"module": np.zeros(3)}, copied / "membership" / "text" / "shadow-000.safetensors")
    (copied / "membership-text-module.json").write_text("{}")
    status, out, err = run("people", str(copied), "--forget", names_of(copied)[0])
    assert status == 0, err
    said = "the shadow runs in membership, the result in membership-text-module.json."
    assert said in " ".join(out.split())
    assert not list(copied.glob("membership*"))


@pytest.mark.parametrize("cut_off", ["fedpers.modules.pq.write_table", "fedpers.modules.write_whole"])
def test_who_could_not_be_forgotten_on_a_full_disk_can_be_forgotten_later(
    cut_off: str, run: Run, finished: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    [_, person, *_] = names_of(copied)
    with monkeypatch.context() as patched:
        patched.setattr(cut_off, full)
        status, out, err = run("people", str(copied), "--forget", person)
    assert (status, out) == (1, "")
    told = f"cannot write {copied}: No space left on device; run it again once that is mended"
    assert err == f"error: {person} is not forgotten: {told}\n"
    assert run("people", str(copied), "--json")[0] == 0
    assert run("people", str(copied), "--forget", person)[0] == 0
    assert not any(person.encode() in path.read_bytes() for path in copied.rglob("*") if path.is_file())
    assert len(names_of(copied)) == len(names_of(finished)) - 1


def test_everyone_else_keeps_what_is_theirs(run: Run, finished: Path, copied: Path) -> None:
    person = names_of(copied)[0]
    assert run("people", str(copied), "--forget", person)[0] == 0
    assert names_of(copied) == names_of(finished)[1:]
    for kind in modules.kinds_of(copied):
        for other in names_of(copied):
            kept, known = (modules.module_of(folder, other, kind) for folder in (copied, finished))
            assert all((kept[name] == known[name]).all() for name in known)
    listed = {owner.name for owner in modules.owners(copied, modules.find_kind(copied, None))}
    assert listed == set(names_of(finished)) - {person}


@pytest.mark.parametrize(
    ("plant", "where"),
    [
        (lambda folder, name, array: (folder / "notes.json").write_text(json.dumps([name])), "notes.json"),
        (
            lambda folder, name, array: save_file({"x": array}, folder / "model" / "old.safetensors"),
            "model/old.safetensors",
        ),
        (lambda folder, name, array: (folder / "left.bin").write_bytes(b"ab" + array.tobytes()), "left.bin"),
    ],
    ids=["name", "array", "bytes"],
)
def test_a_trace_that_is_left_is_found_and_named(
    plant: Callable[[Path, str, Any], None], where: str, run: Run, copied: Path
) -> None:
    person = names_of(copied)[0]
    module = modules.module_of(copied, person, modules.find_kind(copied, "ia3 k=0"))
    plant(copied, person, next(iter(module.values())))
    status, out, err = run("people", str(copied), "--forget", person)
    assert (status, out) == (1, "")
    assert err == f"error: {person} is not forgotten: traces are left in {where}\n"


def test_people_who_learned_alike_can_be_forgotten(run: Run, tmp_path: Path) -> None:
    # With a single step LoRA's second matrix moves alone, and the first one stays what everyone began with.
    folder = simulated(
        tmp_path / "alike",
        oppu={"module": "lora", "retrieved": "0", "module_epochs": 1, "module_batch_size": 100},
    )
    status, _, err = run("people", str(folder), "--forget", names_of(folder)[0])
    assert status == 0, err


def test_the_last_person_can_be_forgotten_and_then_there_is_nobody(run: Run, copied: Path) -> None:
    for person in names_of(copied):
        assert run("people", str(copied), "--forget", person)[0] == 0
    assert files_of(copied / "modules") == []
    status, out, _ = run("people", str(copied), "--json")
    assert (status, strict(out)["people"]) == (0, [])
    for flag in ("--compare", "--strata"):
        status, _, err = run("people", str(copied), flag)
        assert status == 2
        assert err.count("\n") == 1


def test_nobody_is_half_forgotten_where_the_scores_cannot_be_read(run: Run, copied: Path) -> None:
    (copied / "people.parquet").unlink()
    before = files_of(copied / "modules")[0].read_bytes()
    status, _, err = run("people", str(copied), "--forget", names_of(copied)[0])
    assert status == 2
    assert err.startswith(f"error: cannot read {copied}/people.parquet, everyone's scores: ")
    assert files_of(copied / "modules")[0].read_bytes() == before
