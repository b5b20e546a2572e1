import copy
import json
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from fedpers.data import SyntheticPeople
from fedpers.experiments import find
from fedpers.experiments.benchmarks import engine, growth, personal_fit, personal_modules
from fedpers.experiments.benchmarks.measure import Contender, Timing, in_turn, show
from fedpers.experiments.benchmarks.workload import Workload
from fedpers.models import Examples, Gaussian, Model, encode, extract, insert, load, whole
from fedpers.models.adapters import Lora
from fedpers.report.progress import Reporter
from fedpers.settings import SyntheticSettings
from fedpers.simulation import Setup, prepare
from fedpers.training import Plan, fit_devices

WORK = Workload(clients=6, per_round=4, samples=8, tokens=10, layers=1, width=64, batch_size=8)


@pytest.fixture(scope="module")
def setup() -> Iterator[Setup]:
    with WORK.model_folder() as folder:
        settings = WORK.settings(folder, engine={"workers": 0})
        yield prepare(settings, find("conventional").build, Reporter(silent=True))


def test_every_device_has_the_samples_and_tokens_that_the_workload_names(setup: Setup) -> None:
    model = load(setup.spec)
    assert model.module.config.vocab_size == 30_522
    for person in setup.population.clients:
        part = encode(model, setup.population.samples(int(person), "train"))
        assert [len(ids) for ids in part.ids] == [10] * 8
        assert model.tokenizer.unk_token_id not in np.array(part.ids)


def test_the_plain_loop_trains_what_ours_trains(setup: Setup) -> None:
    # One full batch, so that the order of samples does not matter.
    model = load(setup.spec)
    part = encode(model, setup.population.samples(0, "train"))
    plan = Plan("sgd", WORK.local_lr, epochs=1, batch_size=8)
    [(trained, _)] = fit_devices(model, [setup.base], [part], plan, [np.random.default_rng(0)])
    insert(model.module, setup.base)
    engine.train_alone(model, part, WORK)
    for name, array in extract(model.module).items():
        np.testing.assert_allclose(whole(trained, setup.base)[name], array, rtol=0, atol=1e-6, err_msg=name)


def test_the_plain_fit_of_a_lora_trains_what_ours_trains() -> None:
    with WORK.model_folder() as folder:
        model = personal_fit.frozen(folder, WORK, "cpu")
        personal_fit.add_lora(model)
        [part] = personal_fit.people(model, WORK, 1)
    start = extract(model.module)
    assert sum(array.size for array in start.values()) < 5_000
    [(trained, _)] = fit_devices(model, [start], [part], personal_fit.PLAN, [np.random.default_rng(0)])
    personal_fit.fit_lora(model, part)
    for name, array in extract(model.module).items():
        np.testing.assert_allclose(whole(trained, start)[name], array, rtol=0, atol=1e-5, err_msg=name)


def test_the_plain_fit_of_a_mean_trains_what_ours_trains() -> None:
    # Next to no spread, so that draws of another generator are the same up to rounding.
    still = Gaussian(spread=1e-7)
    with WORK.model_folder() as folder:
        model = personal_fit.frozen(folder, WORK, "cpu")
        [part] = personal_fit.people(model, WORK, 1)
    start = still.start(1, model.width)
    draws = [np.random.default_rng(0)]
    [(trained, _)] = fit_devices(model, [start], [part], personal_fit.PLAN, draws, still)
    mean = personal_fit.fit_mean(model, part, still.spread).numpy()
    np.testing.assert_allclose(whole(trained, start)["mean"], mean, rtol=0, atol=1e-5)
    assert np.abs(mean - start["mean"]).max() > 5e-4


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's
def test_the_plain_training_of_a_module_trains_what_ours_trains() -> None:
    # One batch, so that the order of samples does not matter.
    made = SyntheticPeople(SyntheticSettings(samples_per_person=8, text_words=6), seed=0, size=3)
    plan = replace(personal_modules.PLAN, batch_size=8)
    model = personal_modules.language_model(made, layers=1, width=32, device="cpu")
    [part, *_] = personal_modules.histories(model, made)
    adapter = Lora()
    start = adapter.start(model.module, 0)
    plain = get_peft_model(copy.deepcopy(model.module), adapter.config(model.module))
    exported = {
        name: torch.from_numpy(value) for name, value in adapter.exported(model.module, start).items()
    }
    set_peft_model_state_dict(plain, exported)
    draws = [np.random.default_rng(0)]
    [(trained, _)] = fit_devices(model, [start], [part], plan, draws, adapter)
    personal_modules.fit_alone(plain, part, plan, int(model.tokenizer.pad_token_id))
    found = get_peft_model_state_dict(plain)
    ours = adapter.exported(model.module, whole(trained, start))
    assert found.keys() == ours.keys()
    for name, value in found.items():
        np.testing.assert_allclose(ours[name], value.detach().numpy(), rtol=0, atol=1e-5)
    assert any(np.abs(ours[name]).max() > 5e-4 for name in ours if "lora_B" in name)


def test_a_history_is_cut_to_its_first_items() -> None:
    made = SyntheticPeople(SyntheticSettings(samples_per_person=8, text_words=6), seed=0, size=3)
    [part, *_] = personal_modules.histories(personal_modules.language_model(made, 1, 32, "cpu"), made)
    cut = personal_modules.first(part, 3)
    assert (len(cut), cut.ids, cut.answers) == (3, part.ids[:3], (part.answers or [])[:3])


def test_every_length_of_history_is_timed_as_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed: list[set[int]] = []

    def contenders(model: Model, parts: list[Examples], plan: Plan, device: str) -> dict[str, Contender]:
        timed.append(set(map(len, parts)))
        return {"fedpers": lambda: 1.0}

    monkeypatch.setattr(personal_modules, "contenders", contenders)
    sizes = "--histories 3,12 --samples 4 --clients 2 --layers 1 --width 32 --words 6 --times 1"
    monkeypatch.setattr(sys, "argv", ["personal_modules", *sizes.split()])
    personal_modules.main()
    assert timed == [{3}, {12}]
    assert "of 3 items" in capsys.readouterr().out


def test_contenders_work_in_turn_and_their_median_counts(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def contender(name: str, seconds: list[float]) -> Contender:
        def work() -> float:
            order.append(name)
            return seconds.pop(0)

        return work

    timings = in_turn({"a": contender("a", [9, 3, 1, 2]), "limit": contender("limit", [9, 1, 1, 4])}, 3)
    assert order == ["a", "limit"] * 4  # the first turn is not counted
    assert timings == [Timing("a", (3, 1, 2)), Timing("limit", (1, 1, 4))]
    capsys.readouterr()
    show("engine", timings, "limit", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["seconds"] == {"a": 2, "limit": 1}
    assert shown["of_limit"] == {"a": 1, "limit": 1}  # the median of 3, 1 and 1/2, not the medians' quotient
    show("engine", timings, "limit", as_json=False)
    assert "2.00" in capsys.readouterr().out


def test_rounds_of_ours_and_of_the_limit_take_time(setup: Setup) -> None:
    with engine.ours(setup) as round_of_ours:
        assert round_of_ours() > 0
    assert engine.limit(setup, WORK)() > 0
    assert engine.plain_loop(setup, WORK)() > 0


def test_memory_counts_a_process_and_its_children() -> None:
    # A child that holds 200 million bytes for a second.
    hold = "import time; block = bytearray(b'x') * 200_000_000; time.sleep(1)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    _, gigabytes = growth.watched([sys.executable, "-c", start])
    assert 0.2 < gigabytes < 0.5
