"""A server that trains some groups only: what it sends, and what it takes over."""

import numpy as np
from flwr.app import ConfigRecord, Message
from flwr.serverapp.strategy import FedAvg

from fedpers.engine import CohortGrid, quiet
from fedpers.engine.flower import identity, reply, to_arrays, to_record
from fedpers.method import FROZEN, Server, Update
from fedpers.models import OWN, Arrays, MaskedHead, ModelSpec, SoftPrompts, extract, groups_of, load, specify
from fedpers.settings import ModelSettings
from fedpers.strategies import Partly
from tests.strategies.test_flower import Idle


def spec() -> ModelSpec:
    settings = ModelSettings(hidden_size=16, heads=2)
    additions = (SoftPrompts("prefix", 2, inner=4), MaskedHead())
    return specify(settings, ["a", "b"], 0, ["the cat sat"] * 2, additions=additions)


def strategy(*frozen: str) -> Partly:
    return Partly(Server(2, spec(), 0), FedAvg(fraction_evaluate=0.0), frozen)


def asked(server: Partly, arrays: Arrays) -> list[Message]:
    """Returns what a server sends to its two devices in the first round."""
    grid = CohortGrid(Idle(), np.arange(2), cohort_size=1, reduce=True)
    with quiet(), identity():
        return list(server.configure_train(1, to_record(arrays), ConfigRecord(), grid))


def parts(message: Message) -> tuple[Arrays, Arrays]:
    """Returns what a device is to train, and what to read only."""
    records = message.content.array_records
    [trained] = [record for name, record in records.items() if name != FROZEN]
    return to_arrays(trained), to_arrays(records[FROZEN])


def sent(*frozen: str) -> tuple[Arrays, Arrays, Arrays]:
    """Returns a model's parameters, and what of them a device is to train and to read only."""
    arrays = extract(load(spec()).module)
    first, second = map(parts, asked(strategy(*frozen), arrays))
    assert [part.keys() for part in first] == [part.keys() for part in second]
    return arrays, *first


def test_each_parameter_travels_once_in_the_part_it_belongs_to() -> None:
    arrays, trained, frozen = sent("encoder", "head")
    groups = groups_of(load(spec()).module)
    assert {groups[name] for name in trained} == {"writer_prompts", "masked_words"}
    assert {groups[name] for name in frozen} == {"encoder", "head"}
    assert trained.keys() | frozen.keys() == arrays.keys()
    assert not trained.keys() & frozen.keys()
    assert all(np.array_equal({**trained, **frozen}[name], array) for name, array in arrays.items())


def test_no_persons_own_parameter_is_sent() -> None:
    _, trained, frozen = sent("head")
    assert not [name for name in (*trained, *frozen) if name.endswith(OWN)]


def test_only_trained_groups_are_averaged_and_the_rest_stays_as_it_was() -> None:
    # By hand: replies of ones and fours with weights 2 and 1 have the mean 2.
    arrays, server = extract(load(spec()).module), strategy("encoder")
    replies = []
    for message, (value, weight) in zip(asked(server, arrays), [(1.0, 2), (4.0, 1)], strict=True):
        trained, _ = parts(message)
        filled = {name: np.full_like(array, value) for name, array in trained.items()}
        with identity():
            replies.append(reply(message, Update(filled, weight, weight), trained))
    with quiet():
        found, _ = server.aggregate_train(1, replies)
    assert found is not None
    assert list(found) == list(arrays)
    groups = groups_of(load(spec()).module)
    for name, array in to_arrays(found).items():
        if groups[name] == "encoder":
            assert np.array_equal(array, arrays[name])
        else:
            np.testing.assert_allclose(array, 2.0, rtol=1e-6)
