"""`fedpers people` as a person uses it on a finished run: lists, compares, exports and forgets."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from fedpers import commands, modules
from fedpers.clients import PersonalModule
from fedpers.engine.shards import files_of, people_of, read_file
from fedpers.errors import unknown
from fedpers.experiments import find, own_sections
from fedpers.method import Device, Shared, device_of
from fedpers.models import Model, extract
from fedpers.models.adapters import cosine
from fedpers.report.progress import Reporter
from fedpers.runs import settings_of
from fedpers.seeds import stream
from fedpers.settings import resolve
from fedpers.simulation import lay_out
from fedpers.strategies import TaskBase
from tests.conftest import Run, small
from tests.test_written_answers import model_folder

pytestmark = [
    # Peft asks transformers by a name that is on its way out.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]

KINDS = ["lora k=0", "ia3 k=0", "prompt k=0", "lora k=1", "ia3 k=1", "prompt k=1"]
SIZES: dict[str, dict[str, Any]] = {
    "run": {"method": "oppu"},
    "data": {"clients": 4, "public_people": 4, "held_out_people": 0},
    "synthetic": {"samples_per_person": 8, "text_words": 3},
    "model": {"max_tokens": 96, "answer_tokens": 6, "vocabulary": 400, "hidden_size": 16, "heads": 2},
    "oppu": {"module": "lora,ia3,prompt", "rank": 2, "prompt_tokens": 3, "task_epochs": 2, "module_lr": 0.05},
}


def simulated(to: Path, **changes: dict[str, Any]) -> Path:
    sections = {name: {**SIZES.get(name, {}), **changes.get(name, {})} for name in SIZES | changes}
    commands.simulate(small(**sections), to, Reporter(silent=True))
    return to


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a run that no test may change."""
    return simulated(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Returns a copy of the run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def names_of(folder: Path) -> list[str]:
    return list(json.loads((folder / "modules" / "people.json").read_text()))


def strict(text: str) -> Any:
    """Reads JSON as others than Python do, to whom NaN is none."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


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


# Exporting


def owner(folder: Path, person: str, kind: str) -> tuple[PersonalModule, Model, Device]:
    """Returns a person's client, the model under their module, and the person with the module."""
    settings = resolve([settings_of(folder)], own_sections())
    method, population, _ = lay_out(settings, find("oppu").build)
    [client] = [phase.client for phase in method.phases if phase.name == kind]
    assert isinstance(client, PersonalModule)
    found = modules.find_kind(folder, kind)
    state = {f"{kind}/{k}": array for k, array in modules.module_of(folder, person, found).items()}
    [number] = [n for n in range(len(population.people)) if population.people.name(n) == person]
    device = device_of(population, number, "all", state, stream(0, "device"))
    return client, modules.base_of(folder, found), device


def loaded(base: str, folder: Path) -> Any:
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_module_answers_in_plain_peft_as_in_fedpers(
    kind: str, run: Run, finished: Path, tmp_path: Path
) -> None:
    person = names_of(finished)[1]
    given = ["--export", person, "--to", str(tmp_path / "mine"), "--module", kind]
    status, out, err = run("people", str(finished), *given, "--json")
    assert status == 0, err
    result = strict(out)
    assert (result["person"], result["module"], result["to"]) == (person, kind, str(tmp_path / "mine"))

    client, model, device = owner(finished, person, kind)
    [answers] = client.predict(Shared(model, extract(model.module)), [device])
    exported, found = loaded(result["base"], tmp_path / "mine"), []
    for ids in client.prompts.encode(model, device).ids:  # without the module's own tokens
        written = exported.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
            max_new_tokens=model.answer_tokens,
            do_sample=False,
            pad_token_id=model.tokenizer.pad_token_id,
        )
        found.append([str(model.tokenizer.decode(written[0, len(ids) :], skip_special_tokens=True)).strip()])
    assert found == answers


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_module_scores_words_in_plain_peft_as_in_fedpers(
    kind: str, run: Run, finished: Path
) -> None:
    person = names_of(finished)[2]
    run("people", str(finished), "--export", person, "--to", "mine", "--module", kind)
    client, model, device = owner(finished, person, kind)
    exported = loaded(str(finished / modules.find_kind(finished, kind).base), Path("mine"))
    theta = {path.partition("/")[2]: torch.from_numpy(array)[None] for path, array in device.state.items()}
    with torch.inference_mode():
        for plain, ids in zip(
            client.prompts.encode(model, device).ids, client.encode(model, device).ids, strict=True
        ):
            there = exported(input_ids=torch.tensor([plain])).logits[0, -1]
            with client.adapter.applied(model.module, theta, torch.zeros(1, dtype=torch.int64)):
                here = model.module(input_ids=torch.tensor([ids])).logits[0, -1]
            torch.testing.assert_close(there, here, rtol=0, atol=1e-4)


def test_an_exported_modules_folder_is_told_how_to_be_used(run: Run, finished: Path, tmp_path: Path) -> None:
    status, out, _ = run("people", str(finished), "--export", names_of(finished)[0], "--to", "mine")
    assert status == 0
    assert "PeftModel.from_pretrained" in out
    assert {file.name for file in (tmp_path / "mine").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_what_an_export_says_can_be_copied_whatever_the_length_of_its_path(
    run: Run, finished: Path, tmp_path: Path
) -> None:
    to = tmp_path / ("long" * 25)
    _, out, _ = run("people", str(finished), "--export", names_of(finished)[0], "--to", str(to))
    assert f"  model = PeftModel.from_pretrained(base, '{to}')\n" in out


def test_a_module_on_an_encoder_and_decoder_is_exported_with_the_class_that_loads_it(
    run: Run, tmp_path: Path
) -> None:
    model = str(model_folder(tmp_path, "t5"))
    folder = simulated(
        tmp_path / "run", model={"model": model, "heads": None, "hidden_size": None}, oppu={"module": "lora"}
    )
    status, out, err = run("people", str(folder), "--export", names_of(folder)[0], "--to", "mine")
    assert status == 0, err
    assert "  base = AutoModelForSeq2SeqLM.from_pretrained(" in out


@pytest.mark.parametrize("to", ["file/mine", "/proc/mine"])
def test_a_folder_that_cannot_be_written_is_one_line(
    to: str, run: Run, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    status, out, err = run("people", str(finished), "--export", names_of(finished)[0], "--to", to)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: cannot write to {to}: ")
    assert err.endswith("; give another folder\n")


def test_one_persons_export_holds_nothing_of_another(run: Run, finished: Path, tmp_path: Path) -> None:
    first, other, *_ = names_of(finished)
    run("people", str(finished), "--export", first, "--to", "mine", "--module", "lora k=0")
    mine = load_file(tmp_path / "mine" / "adapter_model.safetensors")
    kind = modules.find_kind(finished, "lora k=0")
    own, others = (modules.module_of(finished, name, kind) for name in (first, other))
    by_name = {name.removeprefix("base_model.model.").removesuffix(".weight"): a for name, a in mine.items()}
    assert by_name.keys() == own.keys()
    assert all((by_name[name] == own[name]).all() for name in own)
    assert not any(np.array_equal(by_name[name], others[name]) for name in own)


def test_a_folder_that_holds_something_is_not_written_into(run: Run, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    status, out, err = run("people", str(finished), "--export", names_of(finished)[0], "--to", "mine")
    assert (status, out) == (2, "")
    assert err == "error: mine is not empty: give another folder\n"


def test_modules_are_not_exported_for_a_model_they_were_not_trained_on(run: Run, copied: Path) -> None:
    file = copied / "bases" / "base-k1" / "model.safetensors"
    weights = load_file(file)
    weights["transformer.wte.weight"][0, 0] += 1
    save_file(weights, file, metadata={"format": "pt"})
    status, out, err = run("people", str(copied), "--export", names_of(copied)[0], "--to", "mine")
    assert (status, out) == (2, "")
    assert err.startswith(f"error: the weights in {file.parent} have the SHA-256 ")
    assert err.endswith("put the run's own model back\n")
    assert not Path("mine").exists()


def test_a_model_that_is_gone_is_one_line(run: Run, copied: Path) -> None:
    shutil.rmtree(copied / "bases")
    status, _, err = run("people", str(copied), "--export", names_of(copied)[0], "--to", "mine")
    assert status == 2
    assert err == f"error: cannot read the model in {copied}/bases/base-k1: No such file or directory\n"


# Forgetting


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


# What cannot be done


EVERYTHING = [(), ("--compare",), ("--strata",), ("--export", "reader000000", "--to", "mine")]


@pytest.mark.parametrize("arguments", EVERYTHING, ids=str)
def test_a_run_stopped_before_its_modules_says_so(
    arguments: tuple[str, ...], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = TaskBase.aggregate_train

    def stop(self: TaskBase, server_round: int, replies: Any) -> Any:
        if server_round == 2:
            raise KeyboardInterrupt
        return train(self, server_round, replies)

    monkeypatch.setattr(TaskBase, "aggregate_train", stop)
    folder = simulated(tmp_path / "stopped")
    status, out, err = run("people", str(folder), *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_a_run_stopped_between_modules_has_those_that_everyone_trained(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, trained = PersonalModule.train, list[int]()

    def stop(self: PersonalModule, shared: Shared, cohort: Sequence[Device]) -> Any:
        trained.append(len(cohort))
        if sum(trained) > 4 + 2:  # everyone's first module, and the second one of two people
            raise KeyboardInterrupt
        return train(self, shared, cohort)

    monkeypatch.setattr(PersonalModule, "train", stop)
    folder = simulated(tmp_path / "stopped", oppu={"retrieved": "0"})
    assert [kind.name for kind in modules.kinds_of(folder)] == ["lora k=0"]
    assert len(names_of(folder)) == 4
    assert run("people", str(folder), "--compare")[0] == 0
    assert run("people", str(folder), "--export", names_of(folder)[3], "--to", "mine")[0] == 0


def test_a_run_with_one_person_has_nobody_to_compare(run: Run, copied: Path) -> None:
    for person in names_of(copied)[1:]:
        run("people", str(copied), "--forget", person)
    status, _, err = run("people", str(copied), "--compare")
    assert status == 2
    assert err == (f"error: {copied} has modules of fewer than 2 people: there is nobody to compare with\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--module", "lora k=2"], "unknown module 'lora k=2': did you mean 'lora k=1'?"),
        (
            ["--forget", "reader00000"],
            "unknown person with a module 'reader00000': did you mean 'reader000009'?",
        ),
        (["--export", "nobody", "--to", "mine"], "unknown person with a module 'nobody'"),
        (["--export", "reader000000"], "--export PERSON and --to FOLDER go together"),
        (["--to", "mine"], "--export PERSON and --to FOLDER go together"),
        (["--compare", "--forget", "reader000000"], "give one of --compare, --strata, --export and --forget"),
        (
            ["--forget", "reader000000", "--module", "lora k=0"],
            "--forget removes all modules of a person: leave out --module",
        ),
        (
            ["--strata", "--module", "lora k=0"],
            "--strata tells of every kind of module: leave out --module",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line_and_status_2(
    arguments: list[str], message: str, run: Run, finished: Path
) -> None:
    status, out, err = run("people", str(finished), *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [(), ("--compare",), ("--strata",), ("--forget", "reader000000")], ids=str
)
def test_a_folder_without_modules_says_what_to_give(arguments: tuple[str, ...], run: Run) -> None:
    status, out, err = run("people", "nowhere", *arguments)
    assert (status, out) == (2, "")
    assert err == (
        "error: nowhere holds no personal modules: give the folder of a finished run of `fedpers simulate "
        "--method oppu`\n"
    )


@pytest.mark.parametrize("damaged", ["people.parquet", "modules/kinds.json", "modules/00000.safetensors"])
def test_a_damaged_file_of_a_run_is_one_line(damaged: str, run: Run, copied: Path) -> None:
    (copied / damaged).write_bytes(b"x")
    status, out, err = run("people", str(copied))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert str(copied) in err


def test_a_name_that_is_not_there_lists_the_first_names_only() -> None:
    message = str(unknown("person", "p", [f"reader{number:03d}" for number in range(25)]))
    assert message.endswith("reader018, reader019, and 5 more)")
