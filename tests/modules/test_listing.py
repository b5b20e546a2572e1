"""What a run keeps of people's modules, and how `fedpers people` lists and compares them."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from fedpers import commands, modules
from fedpers.engine.shards import files_of, people_of, read_file
from fedpers.models.adapters import cosine
from fedpers.report.progress import Reporter
from tests.conftest import Run
from tests.modules.owned_runs import KINDS, PEFTS_WARNINGS, names_of, simulated, strict, without_module

pytestmark = PEFTS_WARNINGS


# The run itself


def test_a_run_of_the_command_line_keeps_everyones_modules(run: Run, tmp_path: Path) -> None:
    given = (
        "--clients 3 --public-people 3 --held-out-people 0 --retrieved 0 --task-epochs 1 --module-epochs 1 "
        "--workers 0 --hidden-size 16 --heads 2 --max-tokens 64 --set model.answer_tokens=6 "
        "--set synthetic.samples_per_person=6 --set model.vocabulary=400"
    )
    status, out, err = run("simulate", "--method", "oppu", "--out", "here", *given.split())
    assert status == 0, err
    assert "lora k=0" in out
    assert max(map(len, out.splitlines())) <= 80
    assert len(names_of(tmp_path / "here")) == 3
    assert not (tmp_path / "here" / "states").exists()
    assert not (tmp_path / "here" / "checkpoint").exists()


def test_all_modules_are_in_one_file_under_numbers_alone(finished: Path) -> None:
    [file] = files_of(finished / "modules")
    assert len(people_of(file)) == 4
    assert all(path.split("/")[1] in KINDS for path in load_file(file))
    assert not any(name.encode() in file.read_bytes() for name in names_of(finished))


def test_a_module_is_recorded_with_what_it_stands_on(finished: Path) -> None:
    found = modules.kinds_of(finished)
    assert [kind.name for kind in found] == KINDS
    assert [kind.adapter for kind in found] == ["lora", "ia3", "prompt"] * 2
    assert [kind.base for kind in found] == ["bases/base-k0"] * 3 + ["bases/base-k1"] * 3
    assert len({kind.sha256 for kind in found}) == 2


def test_a_run_that_died_while_it_was_recorded_goes_on_to_the_same_modules(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("fedpers.runs.write_result", full)
        with pytest.raises(OSError, match="No space left"):
            simulated(tmp_path / "run", engine={"checkpoint_every": 1})
    assert files_of(tmp_path / "run" / "modules")
    commands.resume(tmp_path / "run", [], Reporter(silent=True))
    for name in ("00000.safetensors", "people.json", "kinds.json"):
        found, expected = (folder / "modules" / name for folder in (tmp_path / "run", finished))
        assert found.read_bytes() == expected.read_bytes()


# Listing


def test_people_are_listed_with_their_modules_size_and_score(run: Run, finished: Path) -> None:
    status, out, _ = run("people", str(finished), "--json")
    result = strict(out)
    assert status == 0
    assert [kind["name"] for kind in result["modules"]] == KINDS
    assert (result["module"], result["measure"]) == ("prompt k=1", "accuracy")
    assert {owner["name"] for owner in result["people"]} == set(names_of(finished))
    table = {row["person"]: row for row in pq.read_table(finished / "people.parquet").to_pylist()}
    for owner in result["people"]:
        assert owner["samples"] == table[owner["name"]]["samples"]
        assert owner["score"] == table[owner["name"]]["accuracy"]
        # Two layers: LoRA of rank 2 on 16 inputs and 48 outputs, (IA)3 on 48, 16 and 64, and 3 words of 16.
        assert owner["bytes"] == 2 * 4 * (2 * 2 * (16 + 48) + sum(ia3_sizes(finished)) + 3 * 16)


def ia3_sizes(folder: Path) -> list[int]:
    [file] = files_of(folder / "modules")
    [(_, state)] = read_file(file, people_of(file)[0])
    return [array.size for path, array in state.items() if path.startswith("ia3 k=0/")]


def test_the_list_is_a_table_80_columns_wide(run: Run, finished: Path) -> None:
    status, out, _ = run("people", str(finished))
    assert status == 0
    assert "4 people with modules" in out
    assert all(name in out for name in (*names_of(finished), *KINDS))
    assert max(map(len, out.splitlines())) <= 80


def test_people_are_listed_as_they_fare_with_the_module_that_is_asked_for(run: Run, copied: Path) -> None:
    table = pq.read_table(copied / "people.parquet")
    place = table.column_names.index("lora k=0")
    pq.write_table(table.set_column(place, "lora k=0", [np.full(4, 0.125)]), copied / "people.parquet")
    _, out, _ = run("people", str(copied), "--module", "lora k=0", "--json")
    assert [owner["score"] for owner in strict(out)["people"]] == [0.125] * 4
    _, out, _ = run("people", str(copied), "--module", "lora k=0")
    assert out.count(" 0.125 ") == 4
    assert "The accuracy is that with lora k=0." in out


def test_people_are_listed_by_what_their_run_is_judged_by(run: Run, copied: Path) -> None:
    result = json.loads((copied / "result.json").read_text())
    (copied / "result.json").write_text(json.dumps(result | {"measure": "rouge_1"}))
    assert "ROUGE-1" in run("people", str(copied))[1].splitlines()[1]
    assert run("people", str(copied), "--strata")[1].startswith("Mean ROUGE-1 over people")


def test_a_name_in_brackets_is_printed_as_it_is(run: Run, copied: Path) -> None:
    file = copied / "modules" / "people.json"
    file.write_text(file.read_text().replace("reader", "[/b]:cat:"))
    for flags in ((), ("--compare",)):
        status, out, _ = run("people", str(copied), *flags)
        assert status == 0
        assert "[/b]:cat:0000" in out


def test_a_person_whose_texts_were_not_scored_is_listed_without_a_score(run: Run, tmp_path: Path) -> None:
    folder = simulated(tmp_path / "few", federation={"eval_clients": 2}, oppu={"retrieved": "0"})
    status, out, _ = run("people", str(folder), "--json")
    assert status == 0
    assert sum(owner["score"] is None for owner in strict(out)["people"]) == 2
    assert run("people", str(folder))[0] == 0


# Comparing


def test_every_two_people_are_compared_by_the_mean_cosine_of_their_arrays(run: Run, finished: Path) -> None:
    status, out, _ = run("people", str(finished), "--compare", "--module", "lora k=0", "--json")
    result = strict(out)
    assert status == 0
    assert (result["module"], len(result["pairs"])) == ("lora k=0", 6)
    kind = modules.find_kind(finished, "lora k=0")
    for pair in result["pairs"]:
        one, other = (modules.module_of(finished, pair[side], kind) for side in ("first", "second"))
        assert pair["cosine"] == pytest.approx(cosine(one, other), abs=1e-9)
    cosines = [pair["cosine"] for pair in result["pairs"]]
    assert cosines == sorted(cosines, reverse=True)


def test_who_lacks_a_kind_of_module_is_not_compared_by_it(run: Run, finished: Path, copied: Path) -> None:
    without_module(copied, names_of(copied)[0], "ia3 k=0")
    status, out, _ = run("people", str(copied), "--compare", "--module", "ia3 k=0", "--json")
    assert status == 0
    [_, *others] = names_of(finished)
    assert {name for pair in strict(out)["pairs"] for name in (pair["first"], pair["second"])} == set(others)
    _, out, _ = run("people", str(copied), "--compare", "--module", "lora k=0", "--json")
    assert len(strict(out)["pairs"]) == 6


def test_the_comparison_is_a_table_with_its_spread(run: Run, finished: Path) -> None:
    status, out, _ = run("people", str(finished), "--compare")
    assert status == 0
    assert "prompt k=1: cosine of 6 pairs" in " ".join(out.split())
    assert "median" in out
    assert max(map(len, out.splitlines())) <= 80


def test_people_are_parted_by_the_length_of_their_history(run: Run, finished: Path) -> None:
    status, out, _ = run("people", str(finished), "--strata", "--json")
    assert status == 0
    for stratum in strict(out)["strata"]:
        assert (stratum["fewest"], stratum["most"], stratum["people"]) == (7, 7, 1)
        assert set(stratum["means"]) == {"base k=0", "base k=1", *KINDS}


def test_the_lengths_stand_side_by_side_however_many_modules_there_are(run: Run, finished: Path) -> None:
    status, out, _ = run("people", str(finished), "--strata")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].rstrip() == "Mean accuracy over people, by the length of their history"
    assert lines[1].split() == ["items", *["7", "..", "7"] * 4]
    assert all(any(line.startswith(f"{phase} ") for line in lines) for phase in ("base k=0", *KINDS))
    assert max(map(len, lines)) <= 80
