"""Fits of distributions and anonymous uploads; what all clients promise is in test_methods.py."""

from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from fedpers.clients import AnonymousUpload, DistributionFit, UserTokens
from fedpers.data import Population, Samples
from fedpers.errors import InputError
from fedpers.experiments import find
from fedpers.method import Device, Shared, State
from fedpers.models import (
    Arrays,
    Beta,
    Family,
    Gaussian,
    Model,
    encode,
    extract,
    insert,
    load,
    specify,
    user_ids,
)
from fedpers.records import Placement, Records
from fedpers.settings import ModelSettings
from fedpers.simulation import lay_out
from fedpers.training import Plan, logits
from tests.conftest import small

FAMILIES: list[Family] = [Gaussian(), Gaussian(trained_spread=True), Beta()]
PLAN = Plan("adam", 0.2, epochs=30, batch_size=100)
SAMPLES = Samples(["cat sat", "the mat", "cat the mat", "sat", "the"], np.array([1, 0, 1, 1, 0]))


@cache
def model() -> Model:
    settings = ModelSettings(hidden_size=16, heads=2, max_tokens=12)
    return load(specify(settings, ["a", "b"], 0, ["the cat sat on a mat"] * 2))


@cache
def broadcast() -> Arrays:
    """Returns weights so large that what stands before a text matters."""
    return {name: array * (15 if array.ndim > 1 else 1) for name, array in extract(model().module).items()}


@cache
def population() -> Population:
    _, people, _ = lay_out(small(), find("conventional").build)
    return people


def device(state: State, seed: int = 0, samples: Samples = SAMPLES) -> Device:
    return Device(0, samples, state, np.random.default_rng(seed))


def start(tokens: UserTokens) -> State:
    return tokens.enrol(model())(0)


# What texts are read with


@pytest.mark.parametrize(("placement", "place"), [("front", 1), ("back", -3)])
def test_a_text_is_read_with_fresh_user_embeddings_on_its_side(placement: Placement, place: int) -> None:
    tokens = UserTokens(Gaussian(), 2, placement)
    examples = tokens.encode(model(), device(start(tokens)))
    plain = encode(model(), SAMPLES)
    for ids, alone in zip(examples.ids, plain.ids, strict=True):
        where = place % len(ids)
        assert ids[where : where + 2] == user_ids(2)
        assert [token for token in ids if token >= 0] == alone
    assert examples.vectors is not None
    assert examples.vectors.shape == (5, 2, 16)


@pytest.mark.parametrize("family", FAMILIES)
def test_everyone_starts_from_the_same_distribution(family: Family) -> None:
    enrolment = UserTokens(family, 3).enrol(model())
    expected = family.start(3, 16)
    for person in (0, 5):
        found = enrolment(person)
        assert found.keys() == expected.keys()
        assert all((array == expected[name]).all() for name, array in found.items())


def test_drawn_embeddings_are_those_of_the_persons_own_distribution() -> None:
    # 2,000 samples of 16 coordinates: four standard errors of a mean are 4 * 0.2 / sqrt(2000).
    many = Samples(["cat"] * 2000, np.zeros(2000, dtype=np.int64))
    mean = np.linspace(-1, 1, 16, dtype=np.float32)[None]
    drawn = UserTokens(Gaussian(0.2)).draw(device({"mean": mean}, samples=many)).vectors[:, 0]
    assert np.abs(drawn.mean(axis=0) - mean[0]).max() < 4 * 0.2 / np.sqrt(2000)
    assert drawn.std(axis=0) == pytest.approx(np.full(16, 0.2), rel=4 / np.sqrt(4000))


@pytest.mark.parametrize("count", [11, 500])
def test_more_user_tokens_than_positions_are_an_error_with_the_most(count: int) -> None:
    # [CLS], [SEP] and one token of text leave 9 of 12.
    UserTokens(Gaussian(), 9).enrol(model())
    with pytest.raises(InputError) as caught:
        UserTokens(Gaussian(), count).enrol(model())
    assert str(caught.value) == (
        f"{count} user tokens are more than the model's 12 positions allow beside a text: use at most 9"
    )


# The fit


def loss_of(client: DistributionFit, state: State, seed: int) -> float:
    """Returns the mean loss of the device's own texts under fresh draws."""
    insert(model().module, broadcast())
    examples = client.encode(model(), device(state, seed))
    scores = torch.from_numpy(logits(model(), examples))
    return float(cross_entropy(scores, torch.from_numpy(examples.labels)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("placement", ["front", "back"])
def test_a_fit_lowers_the_loss_of_the_devices_own_texts(family: Family, placement: Placement) -> None:
    client = DistributionFit(UserTokens(family, 2, placement), PLAN)
    before = start(client.tokens)
    uploads, [after] = client.train(Shared(model(), broadcast(), 1), [device(before)])
    assert uploads == []
    losses = [[loss_of(client, state, seed) for seed in range(20)] for state in (before, after)]
    assert np.mean(losses[1]) < 0.9 * np.mean(losses[0]), (np.mean(losses[1]), np.mean(losses[0]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fitted_distribution_keeps_its_names_and_shapes_and_moves_everywhere(family: Family) -> None:
    client = DistributionFit(UserTokens(family, 2), PLAN)
    before = start(client.tokens)
    _, [after] = client.train(Shared(model(), broadcast(), 1), [device(before)])
    assert after.keys() == before.keys()
    for name, array in after.items():
        assert array.shape == before[name].shape
        assert array.dtype == np.dtype(np.float32)
        assert (array != before[name]).mean() > 0.9


def test_a_fit_under_a_radius_stays_near_the_common_start() -> None:
    plan = Plan("adam", 0.05, epochs=30, batch_size=100, radius=0.3)
    client = DistributionFit(UserTokens(Gaussian(), 2), plan)
    before = start(client.tokens)
    _, [after] = client.train(Shared(model(), broadcast(), 1), [device(before)])
    moved = np.linalg.norm(np.asarray(after["mean"], float) - np.asarray(before["mean"], float))
    assert 0.1 < moved <= 0.3 * (1 + 1e-5)


def test_a_fit_learns_nothing_of_the_other_devices_of_its_cohort() -> None:
    client = DistributionFit(UserTokens(Gaussian()), PLAN)
    before = start(client.tokens)
    others = [Samples(["mat"] * 7, np.full(7, label)) for label in (0, 1)]
    found = []
    for other in others:
        cohort = [device(before), device(before, 1, other)]
        _, [state, _] = client.train(Shared(model(), broadcast(), 1), cohort)
        found.append(np.asarray(state["mean"], float))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5)


# The upload


def test_without_user_tokens_texts_and_labels_are_all_that_is_sent() -> None:
    [sent], _ = AnonymousUpload().train(Shared(model(), broadcast(), 1), [device({})])
    assert sent.texts == tuple(SAMPLES.texts)
    assert sent.labels.tolist() == SAMPLES.labels.tolist()
    assert sent.vectors.size == 0


def test_without_user_tokens_everyone_starts_with_nothing_and_reads_texts_alone() -> None:
    client = AnonymousUpload()
    assert client.enrol(model(), population(), 0)(3) == {}
    assert client.encode(model(), device({})).ids == encode(model(), SAMPLES).ids


def test_what_is_sent_is_read_as_what_the_device_reads() -> None:
    client = AnonymousUpload(UserTokens(Gaussian()))
    state = start(UserTokens(Gaussian()))
    [sent], _ = client.train(Shared(model(), broadcast(), 1), [device(state, seed=3)])
    examples = client.encode(model(), device(state, seed=3))
    assert isinstance(sent, Records)
    assert examples.vectors is not None
    assert (sent.vectors == examples.vectors).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_strangers_texts_are_read_alone(family: Family) -> None:
    examples = AnonymousUpload(UserTokens(family)).encode(model(), device({}))
    assert examples.ids == encode(model(), SAMPLES).ids
    assert examples.vectors is None
