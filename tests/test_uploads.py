"""What every phase promises about its uploads: updates, anonymous records, or nothing that leaves."""

import numpy as np
import pytest

from fedpers.data import Samples
from fedpers.method import Shared, State
from fedpers.models import digest, whole
from fedpers.records import Records, pack
from tests.phases import (
    Place,
    assert_same,
    bench,
    moved,
    of_kinds,
    phase_of,
    records_of,
    through_a_file,
    updates_of,
)

with_updates = of_kinds("updates")
with_records = of_kinds("texts", "vectors")
with_vectors = of_kinds("vectors")
with_nothing = of_kinds("nothing", "module", "hidden words")
with_own_classifier = of_kinds("nothing")
with_idle_devices = of_kinds("idle")


# Updates


@with_updates
def test_every_update_has_the_names_and_shapes_of_the_broadcast(place: Place) -> None:
    b = bench(place)
    uploads, _ = b.client.train(b.shared, b.cohort(0, 1, 2))
    expected = {name: (array.shape, array.dtype) for name, array in b.arrays.items()}
    for update in updates_of(uploads):
        arrays = whole(update.arrays, b.arrays)
        assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == expected
        assert all(np.isfinite(array).all() for array in arrays.values())


@with_updates
def test_training_changes_the_parameters(place: Place) -> None:
    b = bench(place)
    updates = updates_of(b.client.train(b.shared, b.cohort(0, 1))[0])
    assert len({digest(b.arrays), *(digest(whole(update.arrays, b.arrays)) for update in updates)}) == 3


@with_updates
def test_updates_share_no_memory(place: Place) -> None:
    b = bench(place)
    first, second = updates_of(b.client.train(b.shared, b.cohort(0, 1))[0])
    for name, array in moved(first).items():
        assert not np.shares_memory(array, moved(second)[name])


@with_updates
def test_every_update_weighs_as_many_examples_as_its_device_has(place: Place) -> None:
    b = bench(place)
    cohort = b.cohort(0, 1)
    updates = updates_of(b.client.train(b.shared, cohort)[0])
    assert [update.examples for update in updates] == [len(device.samples) for device in cohort]
    assert all(update.seen > 0 for update in updates)


@with_updates
def test_all_updates_have_the_same_metrics_in_plain_numbers(place: Place) -> None:
    b = bench(place)
    updates = updates_of(b.client.train(b.shared, b.cohort(0, 1, 2))[0])
    assert "train-loss" in updates[0].metrics
    assert all(update.metrics.keys() == updates[0].metrics.keys() for update in updates)
    assert all(isinstance(value, float) for update in updates for value in update.metrics.values())


@with_updates
def test_rounds_on_one_persons_repeated_texts_lower_the_loss(place: Place) -> None:
    b = bench(place)
    texts = b.population.samples(0, "train").texts[:4] * 4
    samples = Samples(texts, np.ones(16, dtype=np.int64))
    arrays, state, losses = b.arrays, b.first[0], []
    for number in range(1, 9):
        device = b.device(0, samples, state, number)
        uploads, [state] = b.client.train(Shared(b.model, arrays, number), [device])
        [update] = updates_of(uploads)
        arrays = whole(update.arrays, arrays)
        losses.append(update.metrics["train-loss"])
    central = phase_of(place).central
    hidden = central is not None and central.masking is not None
    # Words of a whole vocabulary take longer to learn than two classes.
    assert losses[-1] < (0.85 if hidden else 0.7) * losses[0]


@with_updates
def test_a_second_round_goes_on_from_a_copy_of_the_state(place: Place) -> None:
    b = bench(place)
    uploads, [state] = b.client.train(b.shared, b.cohort(0))
    [update] = updates_of(uploads)
    samples = b.population.samples(0, "train")
    arrays = whole(update.arrays, b.arrays)
    kept, copied = (
        b.client.train(Shared(b.model, arrays, 2), [b.device(0, samples, known, 2)])
        for known in (state, through_a_file(state))
    )
    assert_same(copied, kept)


# Anonymous records


@with_records
def test_a_device_sends_one_record_for_each_of_its_samples(place: Place) -> None:
    b = bench(place)
    cohort = b.cohort(0, 1, 2)
    for device, sent in zip(cohort, records_of(b.client.train(b.shared, cohort)[0]), strict=True):
        assert sent.texts == tuple(device.samples.texts)
        assert sent.labels.tolist() == device.samples.labels.tolist()
        assert len(sent.vectors) == len(device.samples)


@with_records
def test_nothing_is_in_a_record_beside_text_answer_and_vector(place: Place) -> None:
    b = bench(place)
    for sent in records_of(b.client.train(b.shared, b.cohort(0, 1))[0]):
        assert type(sent) is Records
        assert vars(sent).keys() == {"texts", "labels", "vectors", "targets"}
        assert sent.targets is None  # the answer is a class here
        [(_, arrays)] = pack(sent).items()
        assert arrays.keys() == {"letters", "ends", "labels", "vectors"}


@with_records
def test_sending_records_leaves_the_state_as_it_is(place: Place) -> None:
    b = bench(place)
    cohort = b.cohort(0, 1)
    _, states = b.client.train(b.shared, cohort)
    assert all(state is device.state for state, device in zip(states, cohort, strict=True))


@with_vectors
def test_the_vectors_of_records_are_finite_and_as_wide_as_the_model(place: Place) -> None:
    b = bench(place)
    for sent in records_of(b.client.train(b.shared, b.cohort(0, 1))[0]):
        assert sent.vectors.dtype == np.float32
        assert sent.vectors.shape[2] == b.model.width
        assert np.isfinite(sent.vectors).all()


@with_vectors
def test_every_sample_of_every_round_and_person_has_vectors_of_its_own(place: Place) -> None:
    b = bench(place)
    vectors = [
        sent.vectors
        for round in (1, 2)
        for sent in records_of(b.client.train(b.shared, b.cohort(0, 1, round=round))[0])
    ]
    every = np.concatenate(vectors).reshape(-1, b.model.width)
    # Not even one number twice: a vector that is a constant plus little noise would be a name.
    assert len(np.unique(every, axis=0)) == len(every)
    assert all(len(np.unique(every[:, coordinate])) == len(every) for coordinate in (0, -1))


# Devices that are not to train


@with_idle_devices
def test_where_the_server_alone_trains_devices_leave_their_states_as_they_are(place: Place) -> None:
    b = bench(place)
    cohort = b.cohort(0, 1, 2)
    uploads, states = b.client.train(b.shared, cohort)
    assert len(uploads) == 0
    assert all(state is device.state for state, device in zip(states, cohort, strict=True))


# Nothing leaves


def digest_of(state: State) -> str:
    return digest({name: array.astype(np.float64) for name, array in state.items()})


@with_nothing
def test_where_nothing_leaves_the_states_change_each_in_its_own_way(place: Place) -> None:
    b = bench(place)
    _, states = b.client.train(b.shared, b.cohort(0, 1))
    assert len({digest_of(state) for state in (*states, b.first[0])}) == 3


@with_nothing
def test_a_fitted_state_is_finite(place: Place) -> None:
    b = bench(place)
    _, states = b.client.train(b.shared, b.cohort(0, 1))
    assert all(np.isfinite(array).all() for state in states for array in state.values())


@with_own_classifier
@pytest.mark.parametrize("label", [0, 1])
def test_a_device_fitted_to_texts_of_one_label_predicts_it(place: Place, label: int) -> None:
    b = bench(place)
    samples = Samples(b.population.samples(0, "train").texts, np.full(10, label))
    # Small random weights would hardly hear what a device can say.
    shared = Shared(b.model, {n: a * (15 if a.ndim > 1 else 1) for n, a in b.arrays.items()}, round=1)
    _, [state] = b.client.train(shared, [b.device(0, samples, b.first[0])])
    [found] = b.client.predict(shared, [b.device(0, samples, state, 2)])
    assert np.mean(np.asarray(found)[:, 0] == label) >= 0.9


@with_nothing
def test_a_second_fit_goes_on_from_a_copy_of_the_state(place: Place) -> None:
    b = bench(place)
    _, [state] = b.client.train(b.shared, b.cohort(0))
    samples = b.population.samples(0, "train")
    kept, copied = (
        b.client.train(b.shared, [b.device(0, samples, known, 2)]) for known in (state, through_a_file(state))
    )
    assert_same(copied, kept)
