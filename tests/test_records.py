from collections.abc import Sequence

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedpers.data import Samples
from fedpers.engine.flower import identity
from fedpers.models import Model, encode, load, specify, user_ids
from fedpers.records import Placement, Records, mix, pack, read, unpack, with_user_tokens
from fedpers.settings import ModelSettings

Record = tuple[str, int, int]  # text, label, and a key of its vectors


def records_of(dealt: Sequence[Record]) -> Records:
    vectors = [np.random.default_rng(key).normal(size=(2, 3)) for _, _, key in dealt]
    return Records(
        tuple(text for text, _, _ in dealt),
        np.array([label for _, label, _ in dealt], dtype=np.int64),
        np.array(vectors, dtype=np.float32).reshape(-1, 2, 3),
    )


def assert_same(found: Records, expected: Records) -> None:
    assert found.texts == expected.texts
    for one, other in ((found.labels, expected.labels), (found.vectors, expected.vectors)):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


# Few keys and labels, so that many records are equal but for one part, and some in all parts.
some_records = st.lists(st.tuples(st.text(max_size=3), st.integers(0, 1), st.integers(0, 2)), min_size=1)


# Arrays


@given(some_records)
def test_records_survive_the_trip_through_arrays(dealt: list[Record]) -> None:
    records = records_of(dealt)
    assert_same(Records.of(records.arrays()), records)


@pytest.mark.parametrize("texts", [("",), ("", "a", ""), ("Grüße", "日本語", "👩‍🚀", "a\n\0b"), ()], ids=str)
def test_empty_and_foreign_texts_survive_the_trip_through_arrays(texts: tuple[str, ...]) -> None:
    records = records_of([(text, 1, 0) for text in texts])
    assert_same(Records.of(records.arrays()), records)


def test_records_without_vectors_survive_the_trip_through_a_message() -> None:
    records = Records.without_vectors(Samples(["one", "zwö"], np.array([1, 0])))
    assert records.vectors.shape == (2, 0, 0)
    with identity():
        found = unpack(Message(pack(records), 0, "train"))
    assert found is not None
    assert_same(found, records)


def test_a_message_without_records_has_none() -> None:
    with identity():
        empty = Message(RecordDict(), 0, "train")
        other = Message(RecordDict({"records": ConfigRecord({"a": 1})}), 0, "train")
    assert unpack(empty) is None
    assert unpack(other) is None


# The mix


@given(some_records, st.data())
def test_mixed_records_do_not_tell_who_had_which(dealt: list[Record], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(dealt))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(dealt)), max_size=4)))
    parts = [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, len(dealt)], strict=True)]
    found, order = mix([records_of(part) for part in parts])
    expected, _ = mix([records_of(dealt)])
    assert_same(found, expected)
    assert sorted(order.tolist()) == list(range(len(dealt)))
    joined = records_of(shuffled)
    assert_same(
        found, Records(tuple(joined.texts[i] for i in order), joined.labels[order], joined.vectors[order])
    )


def test_mixing_changes_the_order_of_devices() -> None:
    # By chance a mixed order keeps 50 devices' own with a probability of 1/50!.
    dealt = [records_of([(f"text {person}", 0, person)]) for person in range(50)]
    _, order = mix(dealt)
    assert order.tolist() != list(range(50))


def test_mixing_loses_no_record() -> None:
    dealt: list[Record] = [("a", 0, 0), ("a", 0, 0), ("a", 1, 0), ("a", 0, 1), ("", 0, 0)]
    mixed, order = mix([records_of(dealt)])
    assert sorted(zip(mixed.texts, mixed.labels.tolist(), strict=True)) == sorted(d[:2] for d in dealt)
    assert len(order) == len(mixed) == 5


# Reading


def model() -> Model:
    return load(
        specify(ModelSettings(hidden_size=16, heads=2, max_tokens=12), ["a", "b"], 0, ["cat sat"] * 2)
    )


@pytest.mark.parametrize(("placement", "start"), [("front", 1), ("back", -3)])
def test_records_are_read_with_user_tokens_in_front_of_their_text_or_behind(
    placement: Placement, start: int
) -> None:
    tiny, records = model(), records_of([("cat", 0, 0), ("cat sat", 1, 1)])
    found = read(tiny, records, placement)
    plain = encode(tiny, Samples(list(records.texts), records.labels))
    for ids, alone in zip(found.ids, plain.ids, strict=True):
        place = start % len(ids)
        assert ids[place : place + 2] == user_ids(2)
        assert [*ids[:place], *ids[place + 2 :]] == alone
    assert found.labels.tolist() == [0, 1]
    assert found.vectors is records.vectors


def test_records_without_vectors_are_read_as_their_texts_alone() -> None:
    tiny, samples = model(), Samples(["cat sat"], np.array([1]))
    assert read(tiny, Records.without_vectors(samples), "front").ids == encode(tiny, samples).ids


@pytest.mark.parametrize("placement", ["front", "back"])
def test_long_texts_are_cut_so_that_all_user_tokens_stay(placement: Placement) -> None:
    tiny = model()
    [ids] = with_user_tokens(tiny, Samples(["cat " * 50], np.array([0])), 3, placement).ids
    assert len(ids) == tiny.max_tokens
    assert [token for token in ids if token < 0] == user_ids(3)
