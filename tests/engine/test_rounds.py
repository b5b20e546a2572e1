import random

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedMedian, FedYogi, Strategy

from fedpers.engine import CohortGrid, LocalCrew, MemoryStates, Order, Site, Work, Worker, federate
from fedpers.engine.flower import identity, sampling, to_arrays, to_record
from fedpers.errors import FedpersError
from fedpers.experiments import find
from fedpers.method import Device, Update
from fedpers.models import Arrays, extract, load, whole
from fedpers.seeds import stream, word
from fedpers.settings import FederationSettings
from fedpers.simulation import lay_out
from fedpers.strategies import averages, make
from tests.conftest import small


def world() -> tuple[Site, Arrays]:
    settings = small()
    method, population, spec = lay_out(settings, find("user-identifier").build)
    site = Site(spec, population, (method.client,), settings.run.seed)
    return site, extract(load(spec).module)


def final(site: Site, arrays: Arrays, strategy: Strategy, *, cohort: int = 2, reduce: bool = True) -> Arrays:
    crew = LocalCrew(site)
    grid = CohortGrid(crew, site.population.clients, cohort, reduce=reduce)
    *_, last = federate(grid, strategy, arrays, rounds=3, seed=site.seed)
    crew.close()
    return last.arrays


def test_fedavg_equals_a_plain_loop_over_the_sampled_people() -> None:
    # The reference: sample as Flower does, train each alone, average with numpy in double precision;
    # ours adds float32 numbers, so the last bits differ.
    site, arrays = world()
    ours = final(site, arrays, make(FederationSettings(strategy="fedavg", clients_per_round=4), 6))
    worker, reference = Worker(site, MemoryStates()), arrays
    for number in (1, 2, 3):
        with sampling(word(site.seed, "sampling", number)):
            nodes = random.sample(range(6), 4)
        persons = [int(site.population.clients[node]) for node in nodes]
        work = worker.do(Order("train", reference, round=number), persons)
        assert isinstance(work, Work)
        sent = [upload for upload in work.uploads if isinstance(upload, Update)]
        assert len(sent) == len(persons)
        weights = [update.examples for update in sent]
        each = [whole(update.arrays, reference) for update in sent]
        reference = {
            name: np.average([one[name] for one in each], axis=0, weights=weights) for name in arrays
        }
    for name, array in ours.items():
        np.testing.assert_allclose(array, reference[name], rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", [FedAvg, FedAvgM, FedAdam, FedYogi])
def test_a_reduced_cohort_gives_the_strategy_what_every_reply_would(kind: type[FedAvg]) -> None:
    site, arrays = world()
    made = [kind(min_train_nodes=4, fraction_train=1e-12, fraction_evaluate=1e-12) for _ in range(2)]
    reduced, full = (final(site, arrays, s, reduce=r) for s, r in zip(made, (True, False), strict=True))
    for name in arrays:
        np.testing.assert_allclose(reduced[name], full[name], rtol=0, atol=1e-4, err_msg=name)


def test_a_strategy_that_needs_every_reply_gets_every_reply() -> None:
    site, arrays = world()
    seen: list[int] = []

    class Counting(FedMedian):
        def aggregate_train(
            self, server_round: int, replies: object
        ) -> tuple[ArrayRecord | None, MetricRecord | None]:
            messages = list(replies)  # type: ignore[call-overload]
            seen.append(len(messages))
            return super().aggregate_train(server_round, messages)

    strategy = Counting(min_train_nodes=4, fraction_train=1e-12, fraction_evaluate=1e-12)
    final(site, arrays, strategy, reduce=averages(strategy))
    assert seen == [4, 4, 4]


def test_words_that_nobody_wrote_keep_their_bits_under_an_adaptive_strategy() -> None:
    # FedAdam answers in float64; broadcast so, each device's rounding to float32 looked like an update of
    # 1e-9, which Adam's division by a root as small made a step of.
    site, arrays = world()
    ours = final(site, arrays, make(FederationSettings(strategy="fedadam", clients_per_round=6), 6))
    [table] = [name for name in arrays if name.endswith("word_embeddings.weight")]
    still = (ours[table] == arrays[table]).all(axis=1)
    model, people = load(site.model), site.population
    client = site.clients[0]
    start = client.enrol(model, people, site.seed)

    def device(person: int) -> Device:
        return Device(person, people.samples(person, "train"), start(person), stream(0, "device"))

    read = {
        word
        for person in people.clients.tolist()
        for text in client.encode(model, device(person)).ids
        for word in text
    }
    assert still.any()
    assert set(np.flatnonzero(~still).tolist()) == read - {model.tokenizer.pad_token_id}
    assert all(array.dtype == np.float32 for array in ours.values())


def test_the_seed_decides_who_is_sampled_and_the_global_random_state_is_left_alone() -> None:
    random.seed(5)
    before = random.getstate()
    with sampling(1):
        one = random.random()
    with sampling(1):
        again = random.random()
    with sampling(2):
        other = random.random()
    assert one == again != other
    assert random.getstate() == before


def test_arrays_survive_the_trip_through_flowers_records() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(0, dtype=np.float32)}
    back = to_arrays(to_record(arrays))
    assert list(back) == ["a", "b"]
    assert all((back[name] == arrays[name]).all() and back[name].dtype == np.float32 for name in arrays)


def test_a_strategy_that_aggregates_nothing_ends_the_run() -> None:
    class Silent(FedAvg):
        def configure_train(
            self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
        ) -> list[Message]:
            return []

    with pytest.raises(FedpersError, match="round 1: Silent aggregated nothing"):
        list(federate(_NoGrid(), Silent(), {"a": np.zeros(1, np.float32)}, 1, 0))


class _NoGrid(CohortGrid):
    def __init__(self) -> None:
        pass


def test_messages_can_be_made_outside_flowers_runtime_only_inside_identity() -> None:
    content = RecordDict({"arrays": ArrayRecord({"a": Array(np.zeros(1))})})
    with identity():
        _NoGrid().create_message(content, "train", dst_node_id=0, group_id="")
    with pytest.raises(RuntimeError):
        _NoGrid().create_message(content, "train", dst_node_id=0, group_id="")
