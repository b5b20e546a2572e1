"""A module taken out of a run, and used in plain peft."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from fedpers import modules
from fedpers.clients import PersonalModule
from fedpers.experiments import find, own_sections
from fedpers.method import Device, Shared, device_of
from fedpers.models import Model, extract
from fedpers.runs import settings_of
from fedpers.seeds import stream
from fedpers.settings import resolve
from fedpers.simulation import lay_out
from tests.conftest import Run
from tests.modules.owned_runs import KINDS, PEFTS_WARNINGS, names_of, simulated, strict, without_module
from tests.test_written_answers import model_folder

pytestmark = PEFTS_WARNINGS


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
    assert err.startswith(f"error: cannot write {to}: ")
    assert err.endswith("; give another folder\n")


def test_half_an_export_is_removed_and_does_not_stand_in_the_way_of_the_next(
    run: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(arrays: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    arguments = ("people", str(finished), "--export", names_of(finished)[0], "--to", "mine")
    with monkeypatch.context() as patched:
        patched.setattr("fedpers.models.adapters.export.save_file", full)
        status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err == (
        "error: cannot write mine: I/O error: No space left on device (os error 28); give another folder\n"
    )
    assert not (tmp_path / "mine").exists()
    assert run(*arguments)[0] == 0


def test_a_module_that_a_person_does_not_have_is_not_exported(run: Run, copied: Path, tmp_path: Path) -> None:
    person = names_of(copied)[1]
    for kind in KINDS[1:]:
        without_module(copied, person, kind)
    status, out, err = run("people", str(copied), "--export", person, "--to", "mine")
    assert (status, out) == (2, "")
    assert err == f"error: {person} has no module prompt k=1, only lora k=0: give one by --module\n"
    assert not (tmp_path / "mine").exists()


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
    assert err.startswith(f"error: the model in {file.parent} has the SHA-256 ")
    assert err.endswith("put the run's own model back\n")
    assert not Path("mine").exists()


def test_a_models_config_and_vocabulary_belong_to_it(run: Run, copied: Path) -> None:
    base = copied / "bases" / "base-k1"
    config, words = base / "config.json", base / "tokenizer.json"
    before = config.read_text()
    for change in (lambda: config.write_text(before.replace('"n_head": 2', '"n_head": 1')), words.unlink):
        change()
        status, _, err = run("people", str(copied), "--export", names_of(copied)[0], "--to", "mine")
        assert status == 2
        assert "put the run's own model back" in err
        config.write_text(before)


def test_a_model_that_is_gone_is_one_line(run: Run, copied: Path) -> None:
    shutil.rmtree(copied / "bases")
    status, _, err = run("people", str(copied), "--export", names_of(copied)[0], "--to", "mine")
    assert status == 2
    assert err == f"error: cannot read the model in {copied}/bases/base-k1: No such file or directory\n"
