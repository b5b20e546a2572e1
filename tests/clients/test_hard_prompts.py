"""Hard prompts' device: whose texts stand behind a text, which never do, and in what order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpers.clients import ContextOf, ContextOrder, HardPrompts, Plain
from fedpers.data import Part, Population, Samples, SyntheticPeople, TablePeople
from fedpers.errors import InputError
from fedpers.method import Device, Shared, device_of
from fedpers.models import (
    ContextSegments,
    FrozenFeatures,
    Model,
    ModelSpec,
    encode,
    extract,
    insert,
    load,
    pool,
    specify,
)
from fedpers.prompting import tfidf_likeness
from fedpers.settings import LocalSettings, ModelSettings, SyntheticSettings
from fedpers.training import Plan, fit
from tests.models.test_loading import gpt2

ORDERS: tuple[ContextOrder, ...] = ("static", "tfidf", "features")
PARTS: tuple[Part, ...] = ("train", "validation", "test", "all")
NOBODY = np.array([], dtype=np.int64)

Row = tuple[str, float]  # a text and when it was written


@cache
def model(max_tokens: int = 64) -> Model:
    words = "zulu kilo alpha beta gamma delta up down".split()
    sizes = ModelSettings(hidden_size=32, heads=4, max_tokens=max_tokens)
    additions = (ContextSegments(), FrozenFeatures())
    return load(specify(sizes, ["no", "yes"], 0, words * 2, additions=additions))


def client(
    order: ContextOrder = "static", whose: ContextOf = "own", context_share: float = 0.5
) -> HardPrompts:
    return HardPrompts(LocalSettings(), order, whose, context_share)


def timed(people: Mapping[str, Sequence[Row]], **roles: Any) -> Population:
    """Returns people with dated texts, all of them clients unless roles are given."""
    rows = [(name, *row) for name, written in people.items() for row in written]
    names, texts, times = zip(*rows, strict=True)
    table = pa.table({"user": names, "text": texts, "label": ["0"] * len(rows), "time": [*map(float, times)]})
    given_ = {"clients": np.arange(len(people)), "public": NOBODY, "held_out": NOBODY, **roles}
    return Population(TablePeople(table), **given_)


def made_up(people: int = 6, samples: int = 10, seed: int = 0, clients: int | None = None) -> Population:
    rule = SyntheticSettings(samples_per_person=samples, plain_words=50, text_words=2)
    first = people if clients is None else clients
    everyone = SyntheticPeople(rule, seed, people)
    return Population(everyone, np.arange(first), np.arange(first, people), NOBODY, seed=seed)


def known(own: HardPrompts, population: Population, person: int, part: Part, seed: int = 0) -> Device:
    state = own.enrol(model(), population, seed)(person)
    return device_of(population, person, part, state, np.random.default_rng(0))


def contexts(own: HardPrompts, population: Population, person: int, part: Part) -> list[list[str]]:
    return own.context(model(), known(own, population, person, part))


# Which texts


@settings(deadline=None)  # the first example loads what the others reuse
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), min_size=3, max_size=12),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(PARTS),
    st.sampled_from(["random", "time"]),
    st.sampled_from(["static", "tfidf"]),
)
def test_of_dated_texts_only_earlier_other_training_texts_are_context(
    written: list[list[Row]], part: Part, split: str, order: ContextOrder
) -> None:
    # Few different texts, so that duplicates within a person are common.
    population = timed({f"p{n}": rows for n, rows in enumerate(written)}, split=split)
    for person, rows in enumerate(written):
        places = population.positions(person, part)
        train = [rows[place] for place in population.positions(person, "train")]
        for place, found in zip(places, contexts(client(order), population, person, part), strict=True):
            text, time = rows[place]
            assert sorted(found) == sorted(t for t, at in train if t != text and at < time)


@settings(deadline=None)  # the first example loads what the others reuse
@given(
    st.integers(0, 10**6), st.integers(3, 20), st.sampled_from(PARTS), st.sampled_from(["static", "tfidf"])
)
def test_of_undated_texts_all_other_training_texts_are_context(
    seed: int, samples: int, part: Part, order: ContextOrder
) -> None:
    population = made_up(2, samples, seed)
    train = population.samples(0, "train").texts
    texts = population.samples(0, part).texts
    for text, found in zip(texts, contexts(client(order), population, 0, part), strict=True):
        assert sorted(found) == sorted(other for other in train if other != text)


def test_test_and_validation_texts_are_in_nobodys_state() -> None:
    population = made_up(samples=30)
    for person in population.clients:
        state = client().enrol(model(), population, 0)(int(person))
        kept = state["context-letters"].tobytes().decode()
        assert len(kept) == sum(map(len, population.samples(int(person), "train").texts))


def test_without_a_state_a_text_is_encoded_alone() -> None:
    device = replace(known(client(), made_up(), 0, "test"), state={})
    assert client().encode(model(), device).ids == encode(model(), device.samples).ids


def test_a_person_without_an_earlier_text_is_read_as_a_plain_device_reads() -> None:
    population = timed({"p": [("alpha", 5), ("beta", 5), ("gamma", 5)]})
    device = known(client(), population, 0, "all")
    found = client().encode(model(), device)
    assert found.ids == Plain(LocalSettings()).encode(model(), device).ids


def test_context_stands_behind_the_text_as_laid_out() -> None:
    population = timed({"p": [("alpha", 1), ("beta", 2), ("gamma", 3), ("delta", 4)]}, split="time")
    [ids] = client().encode(model(), known(client(), population, 0, "test")).ids
    found = model().tokenizer.convert_ids_to_tokens(ids)
    assert found == ["[CLS]", "delta", "[SEP]", "beta", "[SEP]", "alpha", "[SEP]"]


@pytest.mark.parametrize("order", ORDERS)
def test_inputs_are_within_the_limit_and_texts_whole_up_to_their_share(order: ContextOrder) -> None:
    population = made_up(2, 30)
    device = known(client(order), population, 0, "test")
    texts = ["alpha " * words for words in range(1, 80)]
    asked = replace(device, samples=Samples(texts, np.zeros(79, np.int64)))
    for words, ids in enumerate(client(order).encode(model(), asked).ids, start=1):
        assert len(ids) in (63, 64)  # where one token is left, it would be a separator's
        assert ids[1 : 1 + min(words, 32)] == [ids[1]] * min(words, 32)


# Order


def test_the_static_order_of_dated_texts_is_the_newest_first() -> None:
    rows = [("a", 5.0), ("b", 1.0), ("c", 9.0), ("d", 3.0), ("e", 7.0), ("f", 10.0), ("g", 11.0)]
    found = contexts(client(), timed({"p": rows}, split="time"), 0, "test")
    assert found == [["c", "e", "a", "d", "b"]]  # f is for validation, g is asked


def test_the_static_order_of_undated_texts_is_one_permutation_a_person() -> None:
    population = made_up(samples=40)
    texts = population.samples(0, "train").texts
    first, *others = contexts(client(), population, 0, "test")
    assert all(other == first for other in others)
    assert first != texts
    for text, found in zip(texts, contexts(client(), population, 0, "train"), strict=True):
        assert found == [other for other in first if other != text]


def test_another_seed_gives_another_order() -> None:
    population = made_up(samples=40)
    orders = [client().context(model(), known(client(), population, 0, "test", seed))[0] for seed in (0, 1)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def ranked(shelf: list[str], likeness: Sequence[float]) -> list[str]:
    """Returns texts by descending likeness, of equals the first one first."""
    return [shelf[n] for n in sorted(range(len(shelf)), key=lambda n: (-round(likeness[n], 5), n))]


def test_the_tfidf_order_is_that_of_the_cosines_within_the_persons_own_texts() -> None:
    population = made_up(samples=30)
    shelf = contexts(client(), population, 0, "test")[0]  # in the static order
    for part in ("test", "train"):
        texts = population.samples(0, part).texts
        found = contexts(client("tfidf"), population, 0, part)
        for text, order in zip(texts, found, strict=True):
            expected = ranked(shelf, tfidf_likeness([text], shelf)[0].tolist())
            assert order == [other for other in expected if other != text]


def plain_vector(text: str) -> torch.Tensor:
    with torch.inference_mode():
        given_ = model().tokenizer(text, return_tensors="pt")
        found: torch.Tensor = model().module.train(False).base_model(**given_).last_hidden_state[0].mean(0)
    return found.double()


def test_the_features_order_is_that_of_a_plain_loop_over_the_encoder() -> None:
    population = made_up(samples=30)
    shelf = contexts(client(), population, 0, "test")[0]
    vectors = [plain_vector(text) for text in shelf]
    found = contexts(client("features"), population, 0, "test")
    for text, order in zip(population.samples(0, "test").texts, found, strict=True):
        x = plain_vector(text)
        likeness = [float(x @ v / (x.norm() * v.norm())) for v in vectors]
        assert order == ranked(shelf, likeness)


@pytest.mark.parametrize("order", ["tfidf", "features"])
def test_the_most_alike_text_is_the_first_one(order: ContextOrder) -> None:
    rows = [("alpha beta", 1), ("gamma delta gamma", 2), ("up down", 3), ("zulu", 4), ("gamma delta", 5)]
    [found] = contexts(client(order), timed({"p": rows}, split="time"), 0, "test")
    assert found[0] == "gamma delta gamma"


def test_texts_without_a_word_are_in_the_static_order() -> None:
    rows = [("!", 1), ("?", 2), ("...", 3), (".", 4)]
    assert contexts(client("tfidf"), timed({"p": rows}, split="time"), 0, "test") == [["?", "!"]]


# Another writer


@settings(deadline=None)  # the first example loads what the others reuse
@given(st.integers(0, 1000), st.lists(st.sampled_from("abcdef"), min_size=6, max_size=20))
def test_another_writers_texts_are_never_the_persons_own(seed: int, texts: list[str]) -> None:
    half = len(texts) // 2
    dated = [(text, float(time)) for time, text in enumerate(texts)]
    population = timed({"p": dated[:half], "q": dated[half:]}, seed=seed)
    for person, own, theirs in ((0, texts[:half], texts[half:]), (1, texts[half:], texts[:half])):
        for part in PARTS:
            found = contexts(client(whose="another"), population, person, part)
            assert {text for one in found for text in one} <= set(theirs) - set(own)


@pytest.mark.parametrize("order", ORDERS)
def test_the_control_has_as_many_texts_as_the_person_has(order: ContextOrder) -> None:
    many = [(f"p {n}", float(n)) for n in range(20)]
    few = {name: [(f"{name} {n}", 50.0 + n) for n in range(3)] for name in "qrs"}
    most = {"t": [(f"t {n}", float(n)) for n in range(20)]}
    population = timed({"p": many, **few, **most}, split="time")
    for person in range(5):
        own = contexts(client(order), population, person, "test")
        theirs = contexts(client(order, "another"), population, person, "test")
        assert [len(found) for found in theirs] == [len(found) for found in own]
        assert all(len(set(found)) == len(found) for found in theirs)


def test_there_is_no_more_of_others_than_they_wrote() -> None:
    population = timed({"p": [(f"p {n}", float(n)) for n in range(20)], "q": [("q", 1.0)] * 4}, split="time")
    assert contexts(client("static", "another"), population, 0, "test")[0] == ["q"]


def test_the_other_is_of_the_same_role() -> None:
    population = made_up(people=6, clients=3)
    public = {text for person in (3, 4, 5) for text in population.samples(person, "all").texts}
    clients = {text for person in (0, 1, 2) for text in population.samples(person, "all").texts}
    for person in range(6):
        found = {t for one in contexts(client(whose="another"), population, person, "test") for t in one}
        assert found <= (clients if person < 3 else public)
        assert found


def test_who_is_alone_has_no_other() -> None:
    assert contexts(client(whose="another"), made_up(people=1), 0, "test") == [[]]


# What is said, and what leaves


def test_people_without_an_earlier_text_are_counted() -> None:
    alone = [("alpha", 1), ("alpha", 2), ("alpha", 3)]
    usual = [("alpha", 1), ("beta", 2), ("gamma", 3)]
    population = timed({"p": alone, "q": usual, "r": alone}, split="time")
    said = "2 of 3 people have no earlier text: they are read without context"
    assert client().notes(population) == (said,)


def test_nothing_is_said_where_everyone_has_earlier_texts() -> None:
    assert client().notes(made_up()) == ()


def test_an_upload_holds_the_models_parameters_and_nothing_else() -> None:
    own, population = client(), made_up()
    arrays = extract(model().module)
    [update], [state] = own.train(Shared(model(), arrays, 1), [device := known(own, population, 0, "train")])
    assert update.arrays.keys() == arrays.keys()
    assert state is device.state
    assert update.metrics.keys() == {"train-loss"}


# Bad settings


def message(own: HardPrompts, at: Model) -> str:
    with pytest.raises(InputError) as caught:
        own.enrol(at, made_up(), 0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_context_without_room_is_an_error_with_the_nearest_share() -> None:
    # 64 tokens less [CLS], two [SEP] and one of context leave 60 for the text.
    assert message(client(context_share=0.01), model()) == (
        "--context-share 0.01 leaves no room for any context within 64 tokens (nearest: 0.07)"
    )
    client(context_share=0.07).enrol(model(), made_up(), 0)


def test_a_text_without_room_is_an_error_with_the_nearest_share() -> None:
    assert message(client(context_share=0.999), model()) == (
        "--context-share 0.999 leaves no room for any text within 64 tokens (nearest: 0.98)"
    )
    client(context_share=0.98).enrol(model(), made_up(), 0)


def test_a_limit_too_short_for_two_texts_is_an_error_with_the_shortest() -> None:
    assert message(client(), replace(model(), max_tokens=4)) == (
        "inputs of 4 tokens have no room for a text and another: set --max-tokens to 5 or more"
    )
    client(context_share=0.8).enrol(replace(model(), max_tokens=5), made_up(), 0)


def test_a_decoder_is_refused(tmp_path: Any) -> None:
    decoder = load(ModelSpec(ModelSettings(model=str(gpt2(tmp_path))), ("a", "b"), 0))
    assert "gpt2 is none" in message(client(), decoder)


# Learns


def test_two_writers_who_read_the_same_text_in_opposite_ways_are_told_apart() -> None:
    # Half of each one's texts hold a word that the other never writes; the texts asked about do not.
    draw = np.random.default_rng(0)

    def text(word: str) -> str:
        return " ".join(draw.permutation([word, *draw.choice(["alpha", "beta", "gamma"], 2)]))

    def likes(word: str, mark: str) -> str:
        return str(int((word == "up") == (mark == "zulu")))

    rows = {
        person: [
            row
            for word in ("up", "down") * 40
            for row in ((text(word), likes(word, mark)), (text(mark), "1"))
        ]
        for person, mark in (("p", "zulu"), ("q", "kilo"))
    }
    users, texts, labels = zip(*((u, *row) for u, own in rows.items() for row in own), strict=True)
    people = TablePeople(pa.table({"user": users, "text": texts, "label": labels}))
    population = Population(people, np.arange(2), NOBODY, NOBODY)
    asked = Samples([text(word) for word in ("up", "down") * 50], np.array([1, 0] * 50))

    def accuracy(own: Plain, epochs: int) -> float:
        sizes = ModelSettings(max_tokens=24)
        fresh = load(specify(sizes, ["0", "1"], 0, texts, additions=(ContextSegments(),)))
        # From small random weights one layer takes long to find that two words count together.
        insert(fresh.module, {n: a * (8 if a.ndim > 1 else 1) for n, a in extract(fresh.module).items()})
        state = own.enrol(fresh, population, 0)
        cohort = [device_of(population, person, "train", state(person), draw) for person in (0, 1)]
        examples = pool([own.encode(fresh, device) for device in cohort])
        plan = Plan("adamw", 1e-3, epochs=epochs, batch_size=16)
        for _ in fit(fresh, examples, plan, np.random.default_rng(0)):
            pass
        shared = Shared(fresh, extract(fresh.module))
        found = own.predict(shared, [replace(device, samples=asked) for device in cohort])
        truth = (asked.labels, 1 - asked.labels)
        return float(np.mean([np.asarray(a)[:, 0] == right for a, right in zip(found, truth, strict=True)]))

    assert accuracy(client(), 10) > 0.95
    assert accuracy(Plain(LocalSettings()), 1) == 0.5  # whatever it has learned
