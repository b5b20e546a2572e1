"""What every phase of every method promises; a new method is covered by being in `experiments/`.

What depends on the kind of its uploads is in test_uploads.py.
"""

import pickle
from dataclasses import replace

import numpy as np
import torch

from fedpers.data import Samples
from fedpers.method import Assessor, Device
from fedpers.models import OWN, digest
from tests.phases import (
    Bench,
    Place,
    assert_close,
    assert_same,
    assert_same_state,
    bench,
    every_phase,
    last_phases,
    listed,
    owned_phases,
    phase_of,
    settings_of,
    through_a_file,
)


@every_phase
def test_training_is_deterministic(place: Place) -> None:
    b = bench(place)
    first, second = (b.client.train(b.shared, b.cohort(0, 1, 2)) for _ in range(2))
    assert_same(first, second)


@every_phase
def test_training_depends_on_the_broadcast_not_on_what_the_model_held_before(place: Place) -> None:
    b = bench(place)
    expected = b.client.train(b.shared, b.cohort(0, 1))
    with torch.no_grad():
        for parameter in b.model.module.parameters():
            if parameter.requires_grad:
                parameter.fill_(0.5)
    assert_same(b.client.train(b.shared, b.cohort(0, 1)), expected)


@every_phase
def test_training_leaves_what_it_is_given_unchanged(place: Place) -> None:
    b = bench(place)
    shared, cohort = b.shared, b.cohort(0, 1)
    b.client.train(shared, cohort)
    assert digest(shared.arrays) == digest(b.arrays)
    for device, untouched in zip(cohort, b.cohort(0, 1), strict=True):
        assert_same_state(device.state, untouched.state)
        assert device.samples.texts == untouched.samples.texts
        assert device.samples.labels.tolist() == untouched.samples.labels.tolist()


@every_phase
def test_training_leaves_every_parameter_of_the_model_trainable_that_was(place: Place) -> None:
    b = bench(place)
    before = [parameter.requires_grad for parameter in b.model.module.parameters()]
    b.client.train(b.shared, b.cohort(0, 1))
    assert [parameter.requires_grad for parameter in b.model.module.parameters()] == before


@every_phase
def test_prediction_leaves_what_it_is_given_unchanged(place: Place) -> None:
    b = bench(place)
    shared, cohort = b.shared, b.cohort(0, 1, part="test")
    b.client.predict(shared, cohort)
    assert digest(shared.arrays) == digest(b.arrays)
    for device, untouched in zip(cohort, b.cohort(0, 1, part="test"), strict=True):
        assert_same_state(device.state, untouched.state)


@every_phase
def test_read_only_broadcasts_and_states_are_taken(place: Place) -> None:
    # As they come out of an object store that all workers share.
    b = bench(place)
    shared, cohort = b.shared, b.cohort(0, 1)
    for array in (*shared.arrays.values(), *(value for device in cohort for value in device.state.values())):
        array.flags.writeable = False
    assert_same(b.client.train(shared, cohort), b.client.train(b.shared, b.cohort(0, 1)))


@every_phase
def test_a_cohort_of_one_trains_as_the_same_device_among_many(place: Place) -> None:
    b = bench(place)
    uploads, states = b.client.train(b.shared, b.cohort(3, 0, 5, 1))
    for position, person in enumerate((3, 0, 5, 1)):
        alone = b.client.train(b.shared, b.cohort(person))
        assert_close(alone, (uploads[position : position + 1], [states[position]]))


@every_phase
def test_a_device_sends_one_upload_or_all_devices_send_none(place: Place) -> None:
    b = bench(place)
    uploads, states = b.client.train(b.shared, b.cohort(0, 1, 2))
    assert len(uploads) in {0, 3}
    assert len({type(upload) for upload in uploads}) <= 1
    assert len(states) == 3


@every_phase
def test_a_cohort_of_one_predicts_as_the_same_device_among_many(place: Place) -> None:
    b = bench(place)
    together = b.client.predict(b.shared, b.cohort(3, 0, 5))
    for position, person in enumerate((3, 0, 5)):
        [alone] = b.client.predict(b.shared, b.cohort(person))
        assert listed(alone) == listed(together[position])


@every_phase
def test_prediction_depends_on_the_broadcast_not_on_what_the_model_held_before(place: Place) -> None:
    b = bench(place)
    expected = b.client.predict(b.shared, b.cohort(0, 1))
    with torch.no_grad():
        for name, parameter in b.model.module.named_parameters():
            if not name.endswith(OWN):  # the start of people's own never travels
                parameter.fill_(0.5)
    found = b.client.predict(b.shared, b.cohort(0, 1))
    assert [listed(answers) for answers in found] == [listed(answers) for answers in expected]


@every_phase
def test_every_sample_gets_all_classes_ranked_or_one_text(place: Place) -> None:
    b = bench(place)
    cohort = b.cohort(0, 1, part="test")
    for device, predicted in zip(cohort, b.client.predict(b.shared, cohort), strict=True):
        assert len(predicted) == len(device.samples)
        if isinstance(predicted, np.ndarray):
            assert all(sorted(ranking) == [0, 1] for ranking in predicted.tolist())
        else:
            assert all(isinstance(text, str) for [text] in predicted)


@last_phases
def test_right_answers_are_as_likely_to_one_device_as_among_many(place: Place) -> None:
    b = bench(place)
    assert isinstance(b.client, Assessor)
    together = b.client.log_odds(b.shared, [told(b, device) for device in b.cohort(3, 0, 5)])
    for position, person in enumerate((3, 0, 5)):
        [alone] = b.client.log_odds(b.shared, [told(b, device) for device in b.cohort(person)])
        np.testing.assert_allclose(alone, together[position], atol=1e-4)


@last_phases
def test_the_class_that_is_answered_is_the_likelier_one(place: Place) -> None:
    b = bench(place)
    assert isinstance(b.client, Assessor)
    if b.model.writes:
        return
    for device, answers in zip(b.cohort(0, 1), b.client.predict(b.shared, b.cohort(0, 1)), strict=True):
        chosen = np.asarray(answers)[:, 0].astype(np.int64)
        asked = replace(device, samples=replace(device.samples, labels=chosen))
        [odds] = b.client.log_odds(b.shared, [asked])
        assert (odds > -1e-5).all()


@last_phases
def test_right_answers_are_as_likely_whatever_stranger_wrote_the_texts(place: Place) -> None:
    b = bench(place)
    assert isinstance(b.client, Assessor)
    known = told(b, b.cohort(0)[0])
    first, second = b.client.log_odds(
        b.shared, [replace(known, person=person, state={}) for person in (0, 7)]
    )
    np.testing.assert_allclose(first, second, atol=1e-5)


def told(b: Bench, device: Device) -> Device:
    """Returns a device whose samples have their answers, where the model writes."""
    if not b.model.writes:
        return device
    targets = device.samples.answers(b.population.labels)
    return replace(device, samples=replace(device.samples, targets=targets))


@every_phase
def test_a_strangers_texts_are_encoded_without_a_state(place: Place) -> None:
    b = bench(place)
    samples = Samples(["baba nizi", "baba " * 100], np.array([1, 0]))
    examples = b.client.encode(b.model, b.device(0, samples, {}))
    assert examples.labels.tolist() == [1, 0]
    assert all(0 < len(ids) <= b.model.max_tokens for ids in examples.ids)


@every_phase
def test_texts_are_encoded_within_the_models_limit(place: Place) -> None:
    b = bench(place)
    samples = Samples(["baba nizi", "baba " * 100], np.array([1, 0]))
    examples = b.client.encode(b.model, b.device(0, samples, b.first[0]))
    behind = b.model.answer_tokens if b.model.writes else 0  # there a language model's answer goes
    assert examples.labels.tolist() == [1, 0]
    assert max(map(len, examples.ids)) == b.model.max_tokens - behind


@every_phase
def test_a_strangers_texts_are_predicted_without_a_state(place: Place) -> None:
    b = bench(place)
    known = b.cohort(0)[0]
    first, second = b.client.predict(b.shared, [replace(known, person=person, state={}) for person in (0, 7)])
    assert listed(first) == listed(second)


@every_phase
def test_personal_states_are_plain_arrays(place: Place) -> None:
    b = bench(place)
    _, states = b.client.train(b.shared, b.cohort(0, 1))
    for state in (*b.first.values(), *states):
        assert all(isinstance(value, np.ndarray) for value in state.values())
        assert_same_state(through_a_file(state), state)


@owned_phases
def test_training_keeps_what_another_phase_left_in_a_state(place: Place) -> None:
    b = bench(place)
    left = np.arange(3, dtype=np.float32)
    [device] = b.cohort(0)
    _, [state] = b.client.train(b.shared, [replace(device, state={**device.state, "other k=0/a": left})])
    assert state["other k=0/a"].tolist() == left.tolist()
    assert state.keys() == {*device.state, "other k=0/a"}


@owned_phases
def test_training_writes_under_the_phases_own_name_alone(place: Place) -> None:
    b = bench(place)
    name = phase_of(place).name
    _, [state] = b.client.train(b.shared, b.cohort(0))
    assert all(path.startswith(f"{name}/") for path in state)


@owned_phases
def test_no_upload_leaves_a_device_whose_state_is_its_own(place: Place) -> None:
    b = bench(place)
    uploads, _ = b.client.train(b.shared, b.cohort(0, 1, 2))
    assert len(uploads) == 0


@every_phase
def test_enrolment_is_the_same_in_every_worker(place: Place) -> None:
    b = bench(place)
    again = b.client.enrol(b.model, b.population, settings_of(place[0]).run.seed)
    for person, state in b.first.items():
        assert_same_state(again(person), state)


@every_phase
def test_a_client_travels_to_other_processes_as_a_value(place: Place) -> None:
    client = bench(place).client
    assert pickle.loads(pickle.dumps(client)) == client
