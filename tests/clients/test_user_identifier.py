import os
import subprocess
import sys
import typing
from collections import Counter
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig

from fedpers.clients import IdentifierKind, UserIdentifier
from fedpers.clients.user_identifier import draw_distant, draw_unique, pool_of, usable
from fedpers.data import Ints, Population, Samples, SyntheticPeople
from fedpers.errors import InputError
from fedpers.method import Device, Shared, State
from fedpers.models import Arrays, Model, ModelSpec, encode, extract, load, specify
from fedpers.models.wordpiece import train_wordpiece
from fedpers.settings import LocalSettings, ModelSettings, SyntheticSettings

YELP = 4460  # people in the paper's largest set
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
KINDS: list[IdentifierKind] = ["name", "number", "digits", "symbols", "tokens", "distant"]
RANDOM: list[IdentifierKind] = ["digits", "symbols", "tokens", "distant"]
MAX_TOKENS = 32


def write_model(folder: Path) -> None:
    """Writes a folder with a big enough vocabulary for 4,460 people, and no weights."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [
        *SPECIAL[:1],
        *(f"[unused{number}]" for number in range(20)),
        *SPECIAL[1:],
        *(chr(code) for code in range(0x2190, 0x2190 + 450)),  # arrows and signs, no letter or digit
        *"0123456789",
        *letters,
        *(f"##{character}" for character in letters + "0123456789"),
        *(f"{a}{b}{c}{d}" for a, b, c, d in product(letters[:13], repeat=4)),
    ]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=16,
        max_position_embeddings=MAX_TOKENS,
    ).save_pretrained(folder)


def model_of(folder: Path, **sizes: Any) -> Model:
    return load(specify(ModelSettings(model=str(folder), **sizes), ["a", "b"], 0, []))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    return model_of(folder)


@pytest.fixture(scope="module")
def real(shared: Path) -> Model:
    """Loads the real BERT vocabulary."""
    return model_of(shared / "tokenizers" / "bert-base-uncased", hidden_size=4, layers=1, heads=1)


@cache
def tiny() -> Model:
    """Loads a model whose vocabulary has no digit and no sign."""
    vocabulary = train_wordpiece(["baba nizi"] * 2, 100)
    return load(ModelSpec(ModelSettings(hidden_size=16, heads=2), ("a", "b"), 0, vocabulary))


def population(clients: int, public: int = 0, held_out: int = 0) -> Population:
    people = SyntheticPeople(
        SyntheticSettings(samples_per_person=3, plain_words=60), 0, clients + public + held_out
    )
    ends = np.cumsum([0, clients, public, held_out])
    roles = [np.arange(*ends[role : role + 2]) for role in range(3)]
    return Population(people, clients=roles[0], public=roles[1], held_out=roles[2])


def client(kind: IdentifierKind = "tokens", length: int = 5) -> UserIdentifier:
    return UserIdentifier(LocalSettings(), kind, length)


def book(model: Model, kind: IdentifierKind, length: int, people: int, seed: int = 0) -> list[list[int]]:
    """Returns everyone's identifier."""
    first_state = client(kind, length).enrol(model, population(people), seed)
    return [first_state(person)["identifier"].tolist() for person in range(people)]


def message(model: Model, kind: IdentifierKind, length: int, people: int) -> str:
    with pytest.raises(InputError) as caught:
        book(model, kind, length, people)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Every kind


@pytest.mark.parametrize("kind", KINDS)
def test_identifiers_are_unique_for_the_papers_4460_people(kind: IdentifierKind, model: Model) -> None:
    assert len(set(map(tuple, book(model, kind, 5, YELP)))) == YELP


@pytest.mark.parametrize("kind", RANDOM)
@pytest.mark.parametrize("length", [5, 10])
def test_random_identifiers_have_their_length(kind: IdentifierKind, length: int, model: Model) -> None:
    assert {len(identifier) for identifier in book(model, kind, length, 100)} == {length}


@pytest.mark.parametrize("kind", KINDS)
def test_no_identifier_has_a_special_or_unused_token(kind: IdentifierKind, model: Model) -> None:
    entries = {token for row in book(model, kind, 5, 500) for token in row}
    assert not [entry for entry in model.tokenizer.convert_ids_to_tokens(sorted(entries)) if entry[0] == "["]


def test_a_name_is_the_persons_own_as_the_tokenizer_reads_it(model: Model) -> None:
    [*_, last] = book(model, "name", 5, 8)
    assert model.tokenizer.convert_ids_to_tokens(last) == ["r", *(f"##{c}" for c in "eader000007")]


def test_numbers_count_from_1(model: Model) -> None:
    found = book(model, "number", 5, 12)
    assert model.tokenizer.convert_ids_to_tokens(found[0]) == ["1"]
    assert model.tokenizer.convert_ids_to_tokens(found[11]) == ["1", "##2"]


@pytest.mark.parametrize("kind", KINDS)
def test_everyone_has_an_identifier_public_and_held_out_people_too(
    kind: IdentifierKind, model: Model
) -> None:
    first_state = client(kind).enrol(model, population(5, 4, 3), seed=0)
    assert len({tuple(first_state(person)["identifier"]) for person in range(12)}) == 12


@pytest.mark.parametrize("kind", RANDOM)
def test_another_seed_gives_other_identifiers(kind: IdentifierKind, model: Model) -> None:
    assert book(model, kind, 5, 20, seed=1) != book(model, kind, 5, 20)


def test_identifiers_are_the_same_in_another_process(model: Model, tmp_path: Path) -> None:
    write_model(tmp_path / "there")
    code = (
        "import sys; from pathlib import Path; from tests.clients.test_user_identifier import *\n"
        "there = model_of(Path(sys.argv[1]))\n"
        "print([book(there, kind, 5, 50) for kind in KINDS])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == str([book(model, kind, 5, 50) for kind in KINDS])


# Pools


def test_digits_are_ten_tokens(model: Model) -> None:
    pool = pool_of(model.tokenizer, "digits")
    assert model.tokenizer.convert_ids_to_tokens(pool.tolist()) == list("0123456789")


def test_symbols_are_the_first_400_without_letter_or_digit(model: Model) -> None:
    entries = model.tokenizer.convert_ids_to_tokens(pool_of(model.tokenizer, "symbols").tolist())
    assert entries == [chr(code) for code in range(0x2190, 0x2190 + 400)]


@pytest.mark.parametrize("kind", ["tokens", "distant"])
def test_tokens_are_all_usable_ones(kind: IdentifierKind, model: Model) -> None:
    assert pool_of(model.tokenizer, kind).tolist() == usable(model.tokenizer)
    assert len(usable(model.tokenizer)) == 450 + 10 + 26 + 36 + 13**4


def lines(shared: Path) -> list[str]:
    return (shared / "tokenizers" / "bert-base-uncased" / "vocab.txt").read_text("utf-8").splitlines()


def test_berts_usable_tokens_are_its_lines_but_special_and_unused_ones(real: Model, shared: Path) -> None:
    # Counted in vocab.txt: 30,522 lines less 5 special and 994 unused ones.
    expected = [
        place
        for place, line in enumerate(lines(shared))
        if line not in SPECIAL and not line.startswith("[unused")
    ]
    assert len(expected) == 30522 - 5 - 994
    assert usable(real.tokenizer) == expected


def test_berts_digits_are_ten_single_characters(real: Model, shared: Path) -> None:
    assert [lines(shared)[token] for token in pool_of(real.tokenizer, "digits")] == list("0123456789")


def test_berts_symbols_hold_every_token_without_letter_or_digit(real: Model, shared: Path) -> None:
    # Read off vocab.txt: fewer than 400 such tokens, so those with some other character fill up.
    stripped = [line.removeprefix("##") if line != "##" else line for line in lines(shared)]
    plain = {place for place in usable(real.tokenizer) if not any(map(str.isalnum, stripped[place]))}
    mixed = {place for place in usable(real.tokenizer) if not all(map(str.isalnum, stripped[place]))}
    assert len(plain) < 400
    assert set(pool_of(real.tokenizer, "symbols").tolist()) == mixed
    assert plain < mixed
    assert len(mixed) <= 400


def test_a_vocabulary_without_digits_gives_none() -> None:
    assert pool_of(tiny().tokenizer, "digits").tolist() == []


# Unique draws


def colliding_pairs(rows: Ints) -> int:
    counts = Counter(map(tuple, rows.tolist()))
    return sum(count * (count - 1) // 2 for count in counts.values())


def test_without_redraws_about_99_pairs_of_people_would_share_five_digits() -> None:
    # Closed form: N (N - 1) / 2 pairs, each alike with probability 10^-5; the count is nearly Poisson, so
    # the mean of 20 draws has standard deviation sqrt(99.4 / 20) = 2.2.
    expected = YELP * (YELP - 1) / (2 * 10**5)
    plain = [colliding_pairs(draw(seed).integers(10, size=(YELP, 5))) for seed in range(20)]
    assert np.mean(plain) == pytest.approx(expected, abs=4 * 2.2)
    assert colliding_pairs(draw_unique(np.arange(10), YELP, 5, draw())) == 0


def test_identifiers_that_collide_with_nobody_are_the_first_draw() -> None:
    found, first = draw_unique(np.arange(10), YELP, 5, draw()), draw().choice(np.arange(10), size=(YELP, 5))
    assert (found == first).all(axis=1).sum() >= YELP - 2 * colliding_pairs(first)


def test_as_many_people_as_there_are_identifiers_get_them_all() -> None:
    found = draw_unique(np.arange(10), 1000, 3, draw())
    assert sorted(map(tuple, found.tolist())) == list(product(range(10), repeat=3))


@pytest.mark.parametrize("people", [300, 900])
def test_identifiers_are_uniform_however_crowded(people: int) -> None:
    # Each of 10 digits at each of 3 places has mean people / 10, and less than binomial variance.
    found = draw_unique(np.arange(10), people, 3, draw())
    counts = np.array([np.bincount(found[:, place], minlength=10) for place in range(3)])
    assert np.abs(counts - people / 10).max() < 4 * np.sqrt(people * 0.09)


@given(st.integers(2, 12), st.integers(1, 4), st.integers(1, 3000))
def test_too_few_identifiers_are_an_error_with_the_shortest_length(
    tokens: int, length: int, people: int
) -> None:
    pool = np.arange(100, 100 + tokens)
    if tokens**length >= people:
        found = draw_unique(pool, people, length, draw())
        assert len(set(map(tuple, found.tolist()))) == people
        assert set(found.ravel().tolist()) <= set(pool.tolist())
        return
    with pytest.raises(InputError) as caught:
        draw_unique(pool, people, length, draw())
    needed = int(str(caught.value).rpartition(" ")[2])
    assert tokens ** (needed - 1) < people <= tokens**needed


def test_too_few_digits_say_how_many_are_needed(model: Model) -> None:
    assert message(model, "digits", 3, YELP) == (
        "10 tokens make only 1000 identifiers of length 3 for 4460 people: use a length of at least 4"
    )


@pytest.mark.parametrize("kind", ["digits", "symbols"])
def test_a_vocabulary_without_such_tokens_names_the_kind_that_works(kind: IdentifierKind) -> None:
    assert message(tiny(), kind, 5, 4) == (
        "the vocabulary has 0 tokens of this kind, too few for 4 different identifiers of any length: "
        "use --identifier tokens"
    )


@pytest.mark.parametrize("kind", typing.get_args(IdentifierKind))
def test_the_built_in_model_has_tokens_for_every_kind_whatever_its_text(kind: IdentifierKind) -> None:
    built_in = load(specify(ModelSettings(hidden_size=16, heads=2), ["a", "b"], 0, ["baba nizi"] * 2))
    rows = book(built_in, kind, 5, 4)
    assert len({tuple(row) for row in rows}) == 4


def test_numbers_that_the_tokenizer_cannot_tell_apart_are_an_error() -> None:
    assert message(tiny(), "number", 5, 4) == (
        "the names '1' and '2' are the same tokens to this tokenizer: use --identifier tokens"
    )


# Distant draws


@pytest.mark.parametrize("people", [100, YELP])
def test_distant_identifiers_share_no_token(people: int, model: Model) -> None:
    tokens = [token for row in book(model, "distant", 6, people) for token in row]
    assert len(set(tokens)) == len(tokens) == 6 * people


def test_every_token_has_the_same_chance_in_a_distant_identifier() -> None:
    # 6 of 12 tokens are used in each of 2,000 draws: 1,000 each, standard deviation sqrt(500) = 22.
    generator = draw()
    counts = np.bincount(np.ravel([draw_distant(np.arange(12), 2, 3, generator) for _ in range(2000)]))
    assert np.abs(counts - 1000).max() < 4 * 22.4


def test_distant_identifiers_may_use_the_whole_pool() -> None:
    assert sorted(draw_distant(np.arange(12), 4, 3, draw()).ravel().tolist()) == list(range(12))


def test_more_distant_tokens_than_the_pool_has_are_an_error_with_the_most(model: Model) -> None:
    pool = len(usable(model.tokenizer))
    assert message(model, "distant", 7, YELP) == (
        f"4460 maximally distant identifiers of 7 tokens need 31220 tokens, the vocabulary has {pool}: "
        f"use a length of at most 6"
    )


def test_more_people_than_tokens_cannot_be_distant_at_all() -> None:
    with pytest.raises(
        InputError, match=r"^13 people are more than .* 12 tokens.*: use --identifier tokens$"
    ):
        draw_distant(np.arange(12), 13, 1, draw())


# Length


@pytest.mark.parametrize("kind", RANDOM)
def test_an_identifier_too_long_for_the_model_is_an_error_with_the_most(
    kind: IdentifierKind, model: Model
) -> None:
    # [CLS], [SEP] and one token of text leave 29 of 32.
    book(model, kind, 29, 4)
    assert message(model, kind, 30, 4) == (
        "an identifier of 30 tokens is longer than the model's limit allows: inputs have at most 32 tokens, "
        "so use at most 29"
    )


def test_a_name_too_long_for_the_model_is_an_error(model: Model) -> None:
    short = Model(model.module, model.tokenizer, max_tokens=14)
    assert message(short, "name", 5, 4).startswith("an identifier of 12 tokens is longer")


# Encoding and prediction


def device(samples: Samples, state: State) -> Device:
    return Device(0, samples, state, draw())


def test_an_identifier_stands_right_behind_the_leading_special_token(model: Model) -> None:
    method, samples = client("tokens", 4), Samples(["abcd bcda"], np.array([0]))
    state = method.enrol(model, population(3), seed=0)(2)
    [found] = method.encode(model, device(samples, state)).ids
    [plain] = encode(model, samples).ids
    assert found == [plain[0], *state["identifier"].tolist(), *plain[1:]]


def test_an_identifier_is_never_truncated(model: Model) -> None:
    method = client("tokens", 20)
    state = method.enrol(model, population(3), seed=0)(0)
    [found] = method.encode(model, device(Samples(["abcd " * 50], np.array([0])), state)).ids
    assert len(found) == MAX_TOKENS
    assert found[1:21] == state["identifier"].tolist()


def test_two_people_read_the_same_text_differently(model: Model) -> None:
    method, samples = client(), Samples(["abcd"], np.array([0]))
    first_state = method.enrol(model, population(2), seed=0)
    first, second = (method.encode(model, device(samples, first_state(person))).ids for person in (0, 1))
    assert first != second


def test_without_a_state_the_text_is_encoded_alone(model: Model) -> None:
    samples = Samples(["abcd", "bcda dcba"], np.array([0, 1]))
    assert client().encode(model, device(samples, {})).ids == encode(model, samples).ids


def spread(model: Model) -> Arrays:
    """Returns weights so far apart that the inputs differ in their predicted class."""
    generator = draw()
    return {
        name: generator.normal(size=array.shape) if array.ndim > 1 else array
        for name, array in extract(model.module).items()
    }


def test_predictions_without_a_state_do_not_depend_on_the_user(model: Model) -> None:
    samples = Samples(
        [f"{a}bcd a{b}cd" for a, b in product("abcdefg", repeat=2)], np.zeros(49, dtype=np.int64)
    )
    shared = Shared(model, spread(model))
    cohort = [Device(person, samples, {}, draw(person)) for person in range(3)]
    first, *others = map(np.asarray, client().predict(shared, cohort))
    assert all((other == first).all() for other in others)


def test_predictions_with_a_state_depend_on_the_user(model: Model) -> None:
    samples, shared = Samples(["abcd"], np.array([0])), Shared(model, spread(model))
    first_state = client().enrol(model, population(50), seed=0)
    cohort = [Device(person, samples, first_state(person), draw(person)) for person in range(50)]
    assert {int(np.asarray(predicted)[0, 0]) for predicted in client().predict(shared, cohort)} == {0, 1}
