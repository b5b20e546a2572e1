"""Public people's devices that learn the task together: what is sent, averaged and merged."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fedpers.engine import Order, Site, Work, Worker
from fedpers.engine.states import MemoryStates
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.method import Update
from fedpers.models import Arrays, extract, insert, load
from fedpers.models.adapters import Lora
from fedpers.report.progress import Reporter
from fedpers.seeds import word
from fedpers.simulation import Outcome, Setup, prepare, simulate
from tests.conftest import small


@cache
def setup(rounds: int = 1, training: str = "lora") -> Setup:
    settings = small(
        run={"method": "oppu"},
        model={"max_tokens": 64, "answer_tokens": 4, "vocabulary": 400},
        data={"clients": 2, "public_people": 3, "held_out_people": 0},
        federation={"rounds": rounds, "clients_per_round": 3, "strategy": "fedavg"},
        oppu={"task_stage": "federated", "task_training": training, "retrieved": "0", "task_part": "all"},
    )
    return prepare(settings, find("oppu").build, Reporter(silent=True))


@cache
def outcome(rounds: int = 1, training: str = "lora") -> Outcome:
    return simulate(setup(rounds, training), Reporter(silent=True))


def updates(arrays: Arrays, frozen: Arrays) -> list[Update]:
    """Returns what each public person's device sends in the first round, alone."""
    given = setup()
    clients = tuple(phase.client for phase in given.method.phases)
    worker = Worker(Site(given.spec, given.population, clients, given.settings.run.seed), MemoryStates())
    found = []
    for person in given.population.public:
        work = worker.do(Order("train", arrays, 0, 1, part="all", frozen=frozen), [int(person)])
        assert isinstance(work, Work)
        [update] = work.uploads
        assert isinstance(update, Update)
        found.append(update)
    return found


def test_the_model_is_the_base_with_the_mean_of_the_devices_adapters_merged() -> None:
    model = load(setup().spec)
    insert(model.module, setup().base)
    start = Lora().start(model.module, word(0, "base k=0"))
    sent = updates(start, setup().base)
    total = sum(update.examples for update in sent)
    mean = {
        name: np.sum([np.asarray(u.arrays[name], np.float64) * u.examples for u in sent], axis=0) / total
        for name in start
    }
    assert any(np.abs(mean[name]).max() > 1e-5 for name in mean if name.endswith("lora_B"))
    Lora().merge(model.module, {name: value.astype(np.float32) for name, value in mean.items()})
    merged, found = extract(model.module), outcome().stages["base k=0"].arrays
    assert found.keys() == merged.keys()
    for name in merged:
        np.testing.assert_allclose(found[name], merged[name], rtol=0, atol=1e-6)


def test_devices_send_their_adapters_and_nothing_else() -> None:
    start = Lora().start(load(setup().spec).module, 0)
    assert all(update.arrays.keys() == start.keys() for update in updates(start, setup().base))


@pytest.mark.parametrize("training", ["lora", "whole"])
def test_clients_stand_on_what_public_people_learned(training: str) -> None:
    stage = outcome(2, training).stages["base k=0"].arrays
    assert any(np.abs(stage[name] - setup().base[name]).max() > 0 for name in stage)
    assert all((outcome(2, training).arrays[name] == stage[name]).all() for name in stage)


def test_all_public_people_take_part_and_no_client() -> None:
    trained = [record.get("train-loss") for record in outcome(2).history[1:3]]
    assert all(loss is not None and np.isfinite(loss) for loss in trained)
    texts = sum(len(setup().population.samples(int(p), "all")) for p in setup().population.public)
    assert outcome(2).samples == 2 * texts


def test_without_public_people_there_is_one_line_before_the_work() -> None:
    [phase, *_] = setup().method.phases
    with pytest.raises(InputError, match="learned from public people's text, and there is nobody"):
        phase.strategy(replace(setup().server, public_people=0))
