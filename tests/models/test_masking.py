"""Which words are hidden, and what is answered; expected shares are BERT's, bounds those of the binomial."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpers.models import Batch, Masking, Model, hide_words, packed
from tests.models.encoders import FIRST_WORD, KINDS, WORDS, Symbols, batch, encoder, texts

every_kind = pytest.mark.parametrize("kind", KINDS)
CONTEXT = [7, 8, 9]


@cache
def model_of(kind: str) -> Model:
    return encoder(kind)


def places(hidden: Batch, device: int = 0) -> set[tuple[int, int]]:
    """Returns the samples and places of a device's hidden words."""
    real = hidden.weights[device] > 0
    return {(row, int(hidden.places[device, row, n])) for row, n in real.nonzero().tolist()}


def many(kind: str = "bert") -> tuple[Batch, Batch]:
    """Returns a batch of 18,000 words, and the same with some hidden."""
    plain = batch(model_of(kind), texts(kind, [30] * 600, tokens=2))
    return plain, hide_words(plain, model_of(kind), Masking(), [11])


def within(count: int, of: int, share: float) -> bool:
    """Tells whether a count is within 4 standard deviations of a binomial's mean."""
    return abs(count - of * share) <= 4 * float(np.sqrt(of * share * (1 - share)))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(0, 3),
    st.floats(0.01, 0.99),
    st.booleans(),
    st.integers(0, 2**33),
)
def test_only_words_of_the_writers_text_are_hidden_and_nothing_else_changes(
    kind: str, lengths: list[list[int]], tokens: int, share: float, context: bool, key: int
) -> None:
    model, symbols = model_of(kind), Symbols(kind)
    parts = [texts(kind, own, tokens=tokens, seed=n, behind=CONTEXT) for n, own in enumerate(lengths)]
    plain = batch(model, *parts)
    hidden = hide_words(plain, model, Masking(share, context), [key + n for n in range(len(parts))])
    for device, own in enumerate(lengths):
        chosen = places(hidden, device)
        assert chosen
        for row, place in chosen:
            text = range(1 + tokens, 1 + tokens + own[row])
            behind = range(text.stop + 1, text.stop + 1 + len(CONTEXT))
            assert place in text or (context and place in behind)
        others = torch.ones_like(plain.ids[device], dtype=torch.bool)
        for row, place in chosen:
            others[row, place] = False
        assert torch.equal(hidden.ids[device][others], plain.ids[device][others])
    assert not (hidden.ids[plain.ids != hidden.ids] < FIRST_WORD)[
        hidden.ids[plain.ids != hidden.ids] != symbols.mask_token_id
    ].any()
    assert torch.equal(hidden.mask, plain.mask)
    assert torch.equal(hidden.owners, plain.owners)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.integers(0, 2**33),
)
def test_what_is_hidden_does_not_depend_on_padding_or_on_other_devices(
    lengths: list[int], others: list[int], key: int
) -> None:
    model, own, other = model_of("bert"), texts("bert", lengths), texts("bert", others, seed=9)
    alone = hide_words(batch(model, own), model, Masking(), [key])
    together = hide_words(batch(model, other, own), model, Masking(), [key + 1, key])
    assert places(alone) == places(together, 1)
    wide = alone.ids.shape[2]
    assert torch.equal(together.ids[1, : len(lengths), :wide], alone.ids[0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(0.01, 0.99), st.integers(0, 2**33))
def test_what_was_hidden_is_answered_and_each_counts_the_same(
    lengths: list[int], share: float, key: int
) -> None:
    model = model_of("roberta")
    plain = batch(model, texts("roberta", lengths))
    hidden = hide_words(plain, model, Masking(share), [key])
    real = hidden.weights[0] > 0
    expected = torch.gather(plain.ids[0], 1, hidden.places[0])
    assert torch.equal(hidden.labels[0][real], expected[real])
    assert len(places(hidden)) == int(real.sum())  # none twice
    assert hidden.weights[0][real].tolist() == pytest.approx([1 / int(real.sum())] * int(real.sum()))
    changed = (plain.ids[0] != hidden.ids[0]).nonzero().tolist()
    assert {(row, place) for row, place in changed} <= places(hidden)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=3),
    st.floats(0.01, 0.99),
    st.integers(0, 2**33),
)
def test_packed_answers_are_the_same_in_one_row_no_longer_than_needed(
    lengths: list[list[int]], share: float, key: int
) -> None:
    plain = batch(model_of("bert"), *(texts("bert", own, seed=n) for n, own in enumerate(lengths)))
    hidden = hide_words(plain, model_of("bert"), Masking(share), [key + n for n in range(len(lengths))])
    found = packed(hidden)
    tokens, most = plain.ids.shape[2], 0
    for device in range(len(lengths)):
        real = found.weights[device, 0] > 0
        told = found.places[device, 0, real].tolist()
        assert told == sorted(row * tokens + place for row, place in places(hidden, device))
        assert torch.equal(found.labels[device, 0, real], plain.ids[device].flatten()[told])
        assert float(found.weights[device].sum()) == pytest.approx(1)
        most = max(most, len(told))
    assert found.places.shape == found.labels.shape == found.weights.shape == (len(lengths), 1, most)
    assert torch.equal(found.ids, hidden.ids)


@every_kind
def test_of_many_words_a_share_of_15_in_100_is_chosen(kind: str) -> None:
    plain, hidden = many(kind)
    assert within(len(places(hidden)), int((plain.ids >= FIRST_WORD).sum()), 0.15)


def test_8_in_10_become_the_mask_1_a_random_word_and_1_stays() -> None:
    # A random word is the word itself once in 115.
    plain, hidden = many()
    chosen = sorted(places(hidden))
    before = [int(plain.ids[0, row, place]) for row, place in chosen]
    after = [int(hidden.ids[0, row, place]) for row, place in chosen]
    masked = sum(token == 4 for token in after)
    kept = sum(a == b for a, b in zip(before, after, strict=True))
    words, total = WORDS - FIRST_WORD, len(chosen)
    assert within(masked, total, 0.8)
    assert within(kept, total, 0.1 + 0.1 / words)
    assert within(total - masked - kept, total, 0.1 * (1 - 1 / words))


def test_random_words_are_any_but_special_ones() -> None:
    plain, hidden = many()
    changed = hidden.ids[(plain.ids != hidden.ids) & (hidden.ids != 4)].tolist()
    assert min(changed) >= FIRST_WORD
    assert max(changed) < WORDS
    assert len(set(changed)) > 80  # about 270 draws of 115 words


def test_every_batch_has_words_of_its_own_hidden() -> None:
    model = model_of("bert")
    plain = batch(model, texts("bert", [30] * 3))
    drawn = [places(hide_words(plain, model, Masking(), [key])) for key in range(5)]
    assert len({frozenset(chosen) for chosen in drawn}) == 5


def test_where_no_token_can_be_chosen_nothing_counts() -> None:
    model = model_of("bert")
    hidden = hide_words(batch(model, texts("bert", [0])), model, Masking(), [1])
    assert hidden.weights.sum() == 0
    assert hidden.ids.tolist() == [[[2, 3]]]
