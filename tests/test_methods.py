"""What every method's device half must hold; a new method is covered by being in `experiments/`."""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch

from fedpers.data import Part, Population, Samples
from fedpers.experiments import experiments
from fedpers.method import Client, Device, Shared, State, Update
from fedpers.models import Arrays, Model, Rows, digest, extract, load, whole
from fedpers.seeds import stream
from fedpers.settings import Settings
from fedpers.simulation import lay_out
from tests.conftest import small


def settings_of(name: str) -> Settings:
    return small(run={"method": name}, model={"dropout": 0.1}, local={"batch_size": 4})


# Every phase of every method: its name and the phase's number.
PHASES = [
    pytest.param((name, number), id=f"{name}-{phase.name}")
    for name, experiment in experiments().items()
    for number, phase in enumerate(experiment.build(settings_of(name)).phases)
]
Place = tuple[str, int]

every_method = pytest.mark.parametrize("place", PHASES)


@dataclass(frozen=True)
class Bench:
    """A phase's client with all it needs: people, a model, and what the server sends."""

    client: Client
    population: Population
    model: Model
    arrays: Arrays
    first: Mapping[int, State]

    @property
    def shared(self) -> Shared:
        return Shared(self.model, {name: array.copy() for name, array in self.arrays.items()}, round=1)

    def cohort(self, *persons: int, part: Part = "train") -> list[Device]:
        """Returns people at the start of their first round."""
        return [
            Device(
                person,
                self.population.samples(person, part),
                {name: value.copy() for name, value in self.first[person].items()},
                stream(0, "device", person),
            )
            for person in persons
        ]


@cache
def bench(place: Place) -> Bench:
    name, number = place
    settings = settings_of(name)
    method, population, spec = lay_out(settings, experiments()[name].build)
    model = load(spec)
    client = method.phases[number].client
    enrolment = client.enrol(model, population, settings.run.seed)
    first = {int(person): enrolment(int(person)) for person in population.everyone()}
    return Bench(client, population, model, extract(model.module), first)


def assert_same(found: tuple[list[Update], list[State]], expected: tuple[list[Update], list[State]]) -> None:
    """Compares updates and states bit for bit."""
    for ours, theirs in zip(found[0], expected[0], strict=True):
        assert digest(moved(ours)) == digest(moved(theirs))
        assert (ours.examples, ours.seen) == (theirs.examples, theirs.seen)
        assert ours.metrics == theirs.metrics
    for state, other in zip(found[1], expected[1], strict=True):
        assert_same_state(state, other)


def assert_close(found: tuple[list[Update], list[State]], expected: tuple[list[Update], list[State]]) -> None:
    """Compares updates up to rounding, and all else exactly."""
    for ours, theirs in zip(found[0], expected[0], strict=True):
        one, other = moved(ours), moved(theirs)
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_allclose(array, other[name], rtol=0, atol=1e-6, err_msg=name)
        assert (ours.examples, ours.seen) == (theirs.examples, theirs.seen)
        assert ours.metrics == pytest.approx(dict(theirs.metrics), abs=1e-6)
    for state, known in zip(found[1], expected[1], strict=True):
        assert_same_state(state, known)


def moved(update: Update) -> Arrays:
    """Returns an update's numbers as plain arrays: rows and changes where it has rows."""
    plain: Arrays = {}
    for name, value in update.arrays.items():
        if isinstance(value, Rows):
            plain |= {f"{name}/index": value.index.astype(np.float32), f"{name}/change": value.change}
        else:
            plain[name] = value
    return plain


def assert_same_state(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    assert all(np.array_equal(value, expected[name]) for name, value in found.items())


def through_a_file(state: State) -> State:
    """Copies a state as numpy's own file format keeps it, which takes plain arrays only."""
    file = io.BytesIO()
    np.savez(file, **state)  # type: ignore[arg-type]  # numpy's stub takes the names for its options
    file.seek(0)
    with np.load(file, allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


@every_method
def test_training_is_deterministic(place: Place) -> None:
    b = bench(place)
    first, second = (b.client.train(b.shared, b.cohort(0, 1, 2)) for _ in range(2))
    assert_same(first, second)


@every_method
def test_training_depends_on_the_broadcast_not_on_what_the_model_held_before(place: Place) -> None:
    b = bench(place)
    expected = b.client.train(b.shared, b.cohort(0, 1))
    with torch.no_grad():
        for parameter in b.model.module.parameters():
            if parameter.requires_grad:
                parameter.fill_(0.5)
    assert_same(b.client.train(b.shared, b.cohort(0, 1)), expected)


@every_method
def test_training_leaves_what_it_is_given_unchanged(place: Place) -> None:
    b = bench(place)
    shared, cohort = b.shared, b.cohort(0, 1)
    b.client.train(shared, cohort)
    assert digest(shared.arrays) == digest(b.arrays)
    for device, untouched in zip(cohort, b.cohort(0, 1), strict=True):
        assert_same_state(device.state, untouched.state)
        assert device.samples.texts == untouched.samples.texts
        assert device.samples.labels.tolist() == untouched.samples.labels.tolist()


@every_method
def test_prediction_leaves_what_it_is_given_unchanged(place: Place) -> None:
    b = bench(place)
    shared, cohort = b.shared, b.cohort(0, 1, part="test")
    b.client.predict(shared, cohort)
    assert digest(shared.arrays) == digest(b.arrays)
    for device, untouched in zip(cohort, b.cohort(0, 1, part="test"), strict=True):
        assert_same_state(device.state, untouched.state)


@every_method
def test_read_only_broadcasts_and_states_are_taken(place: Place) -> None:
    # As they come out of an object store that all workers share.
    b = bench(place)
    shared, cohort = b.shared, b.cohort(0, 1)
    for array in (*shared.arrays.values(), *(value for device in cohort for value in device.state.values())):
        array.flags.writeable = False
    assert_same(b.client.train(shared, cohort), b.client.train(b.shared, b.cohort(0, 1)))


@every_method
def test_a_cohort_of_one_trains_as_the_same_device_among_many(place: Place) -> None:
    b = bench(place)
    updates, states = b.client.train(b.shared, b.cohort(3, 0, 5, 1))
    for position, person in enumerate((3, 0, 5, 1)):
        alone = b.client.train(b.shared, b.cohort(person))
        assert_close(alone, ([updates[position]], [states[position]]))


@every_method
def test_a_cohort_of_one_predicts_as_the_same_device_among_many(place: Place) -> None:
    b = bench(place)
    together = b.client.predict(b.shared, b.cohort(3, 0, 5))
    for position, person in enumerate((3, 0, 5)):
        [alone] = b.client.predict(b.shared, b.cohort(person))
        assert alone.tolist() == together[position].tolist()


@every_method
def test_every_update_has_the_names_and_shapes_of_the_broadcast(place: Place) -> None:
    b = bench(place)
    updates, _ = b.client.train(b.shared, b.cohort(0, 1, 2))
    expected = {name: (array.shape, array.dtype) for name, array in b.arrays.items()}
    for update in updates:
        arrays = whole(update.arrays, b.arrays)
        assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == expected
        assert all(np.isfinite(array).all() for array in arrays.values())


@every_method
def test_training_changes_the_parameters(place: Place) -> None:
    b = bench(place)
    updates, _ = b.client.train(b.shared, b.cohort(0, 1))
    assert len({digest(b.arrays), *(digest(whole(update.arrays, b.arrays)) for update in updates)}) == 3


@every_method
def test_updates_share_no_memory(place: Place) -> None:
    b = bench(place)
    [first, second], _ = b.client.train(b.shared, b.cohort(0, 1))
    for name, array in moved(first).items():
        assert not np.shares_memory(array, moved(second)[name])


@every_method
def test_every_update_weighs_as_many_examples_as_its_device_has(place: Place) -> None:
    b = bench(place)
    cohort = b.cohort(0, 1)
    updates, _ = b.client.train(b.shared, cohort)
    assert [update.examples for update in updates] == [len(device.samples) for device in cohort]
    assert all(update.seen > 0 for update in updates)


@every_method
def test_all_updates_have_the_same_metrics_in_plain_numbers(place: Place) -> None:
    b = bench(place)
    updates, _ = b.client.train(b.shared, b.cohort(0, 1, 2))
    assert "train-loss" in updates[0].metrics
    assert all(update.metrics.keys() == updates[0].metrics.keys() for update in updates)
    assert all(isinstance(value, float) for update in updates for value in update.metrics.values())


@every_method
def test_every_sample_gets_one_known_class(place: Place) -> None:
    b = bench(place)
    cohort = b.cohort(0, 1, part="test")
    for device, predicted in zip(cohort, b.client.predict(b.shared, cohort), strict=True):
        assert predicted.shape == (len(device.samples),)
        assert set(predicted.tolist()) <= {0, 1}


@every_method
def test_a_strangers_texts_are_encoded_without_a_state(place: Place) -> None:
    b = bench(place)
    samples = Samples(["baba nizi", "baba " * 100], np.array([1, 0]))
    examples = b.client.encode(b.model, samples, {})
    assert examples.labels.tolist() == [1, 0]
    assert all(0 < len(ids) <= b.model.max_tokens for ids in examples.ids)


@every_method
def test_a_strangers_texts_are_predicted_without_a_state(place: Place) -> None:
    b = bench(place)
    known = b.cohort(0)[0]
    cohort = [Device(person, known.samples, {}, known.draw) for person in (0, 7)]
    first, second = b.client.predict(b.shared, cohort)
    assert first.tolist() == second.tolist()


@every_method
def test_rounds_on_one_persons_repeated_texts_lower_the_loss(place: Place) -> None:
    b = bench(place)
    texts = b.population.samples(0, "train").texts[:4] * 4
    samples = Samples(texts, np.ones(16, dtype=np.int64))
    arrays, state, losses = b.arrays, b.first[0], []
    for number in range(1, 9):
        device = Device(0, samples, state, stream(0, "device", number))
        [update], [state] = b.client.train(Shared(b.model, arrays, number), [device])
        arrays = whole(update.arrays, arrays)
        losses.append(update.metrics["train-loss"])
    assert losses[-1] < 0.7 * losses[0]


@every_method
def test_personal_states_are_plain_arrays(place: Place) -> None:
    b = bench(place)
    _, states = b.client.train(b.shared, b.cohort(0, 1))
    for state in (*b.first.values(), *states):
        assert all(isinstance(value, np.ndarray) for value in state.values())
        assert_same_state(through_a_file(state), state)


@every_method
def test_a_second_round_goes_on_from_a_copy_of_the_state(place: Place) -> None:
    b = bench(place)
    [update], [state] = b.client.train(b.shared, b.cohort(0))
    samples = b.population.samples(0, "train")
    arrays = whole(update.arrays, b.arrays)
    kept, copied = (
        b.client.train(Shared(b.model, arrays, 2), [Device(0, samples, known, stream(0, "device", 2))])
        for known in (state, through_a_file(state))
    )
    assert_same(copied, kept)


@every_method
def test_enrolment_is_the_same_in_every_worker(place: Place) -> None:
    b = bench(place)
    again = b.client.enrol(b.model, b.population, settings_of(place[0]).run.seed)
    for person, state in b.first.items():
        assert_same_state(again(person), state)


@every_method
def test_a_client_travels_to_other_processes_as_a_value(place: Place) -> None:
    client = bench(place).client
    assert pickle.loads(pickle.dumps(client)) == client
