from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config

from fedpers.data import Samples
from fedpers.errors import InputError
from fedpers.models import Examples, Model, collate, encode, load, pool, special_tokens, specify
from fedpers.settings import ModelSettings

TEXTS = ["the cat sat on the mat"] * 2
MAX_TOKENS = 12


@cache
def bert() -> Model:
    """Loads a tiny BERT whose vocabulary has the words of the texts whole."""
    settings = ModelSettings(hidden_size=16, heads=2, max_tokens=MAX_TOKENS)
    return load(specify(settings, ["a", "b"], 0, TEXTS))


def gpt2(folder: Path) -> Model:
    GPT2Config(
        vocab_size=300, n_positions=40, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    ).save_pretrained(folder)
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(TEXTS, 300, special_tokens=["<|endoftext|>"], show_progress=False)
    trainer.save_model(str(folder))
    return load(specify(ModelSettings(model=str(folder)), ["a", "b"], 0, []))


def samples(*texts: str) -> Samples:
    return Samples(list(texts), np.arange(len(texts)) % 2)


def number(entry: str) -> int:
    return bert().tokenizer.get_vocab()[entry]


def ids(*entries: str) -> list[int]:
    return [number(entry) for entry in entries]


# Layout


def test_a_text_stands_between_the_special_tokens() -> None:
    assert encode(bert(), samples("The cat sat")).ids == [ids("[CLS]", "the", "cat", "sat", "[SEP]")]


def test_a_prefix_stands_right_behind_the_leading_special_token() -> None:
    prefix = ids("mat", "on")
    expected = ids("[CLS]", "mat", "on", "the", "cat", "[SEP]")
    assert encode(bert(), samples("the cat"), prefix).ids == [expected]


def test_a_prefix_is_inserted_as_it_is() -> None:
    # As text, "##he t" would become other tokens.
    prefix = [*ids("##t", "t"), 0]
    assert encode(bert(), samples("cat"), prefix).ids == [[*ids("[CLS]"), *prefix, *ids("cat", "[SEP]")]]


def test_a_text_is_truncated_at_its_end() -> None:
    text = "the cat sat on the mat " * 3
    kept = ids("the", "cat", "sat", "on", "the", "mat", "the", "cat", "sat", "on")
    assert encode(bert(), samples(text)).ids == [[*ids("[CLS]"), *kept, *ids("[SEP]")]]


@given(st.integers(0, MAX_TOKENS - 3), st.integers(1, 30))
def test_the_prefix_is_whole_and_the_text_takes_the_room_left(prefix_length: int, words: int) -> None:
    prefix = [number("mat")] * prefix_length
    [found] = encode(bert(), samples(" ".join(["cat"] * words)), prefix).ids
    room = MAX_TOKENS - 2 - prefix_length
    assert found == [*ids("[CLS]"), *prefix, *ids("cat") * min(words, room), *ids("[SEP]")]
    assert len(found) <= MAX_TOKENS


@pytest.mark.parametrize("length", [MAX_TOKENS - 2, MAX_TOKENS + 5])
def test_a_prefix_without_room_for_text_is_an_error_with_the_most_that_fits(length: int) -> None:
    with pytest.raises(InputError) as caught:
        encode(bert(), samples("cat"), [5] * length)
    assert str(caught.value) == (
        f"{length} tokens beside the text leave no room for it within 12 tokens: use at most 9"
    )


def test_labels_stay_with_their_texts() -> None:
    assert encode(bert(), samples("cat", "mat", "on")).labels.tolist() == [0, 1, 0]


def test_a_text_is_encoded_alike_alone_and_among_others() -> None:
    together = encode(bert(), samples("the cat", "the mat sat", "cat")).ids
    alone = [encode(bert(), samples(text)).ids[0] for text in ("the cat", "the mat sat", "cat")]
    assert together == alone


# Special tokens


def test_bert_has_one_special_token_on_each_side() -> None:
    assert special_tokens(bert()) == (ids("[CLS]"), ids("[SEP]"))


def test_a_text_that_spells_a_special_token_holds_none() -> None:
    [found] = encode(bert(), samples("cat [SEP] sat [CLS] [MASK] [PAD]")).ids
    assert [found.count(*ids(name)) for name in ("[CLS]", "[SEP]", "[MASK]", "[PAD]")] == [1, 1, 0, 0]
    assert found[1:3] != ids("cat", "[SEP]")


def test_gpt2_has_no_special_tokens(tmp_path: Path) -> None:
    assert special_tokens(gpt2(tmp_path)) == ([], [])


def test_gpt2_reads_the_prefix_first(tmp_path: Path) -> None:
    model = gpt2(tmp_path)
    text = model.tokenizer("the cat")["input_ids"]
    assert encode(model, samples("the cat"), [7, 8]).ids == [[7, 8, *text]]


# Batches


def test_pooling_joins_in_order() -> None:
    joined = pool([Examples([[1], [2, 3]], np.array([0, 1])), Examples([[4]], np.array([2]))])
    assert joined.ids == [[1], [2, 3], [4]]
    assert joined.labels.tolist() == [0, 1, 2]
    assert len(joined) == 3


TWO = [
    (Examples([[1, 2, 3, 4, 5], [6], [7, 8, 9]], np.array([0, 1, 2])), np.array([2, 1])),
    (Examples([[0, 5]], np.array([1])), np.array([0])),
]


def test_a_batch_is_padded_at_the_ends_to_its_longest_sample_and_largest_device() -> None:
    assert collate(TWO, pad_id=99).ids.tolist() == [
        [[7, 8, 9], [6, 99, 99]],
        [[0, 5, 99], [99, 99, 99]],
    ]


def test_a_batch_masks_its_padding() -> None:
    assert collate(TWO, pad_id=0).mask.tolist() == [[[1, 1, 1], [1, 0, 0]], [[1, 1, 0], [0, 0, 0]]]


def test_a_token_that_equals_the_padding_is_not_masked() -> None:
    [[sample]] = collate([(Examples([[0, 5, 0]], np.array([0])), np.array([0]))], pad_id=0).mask.tolist()
    assert sample == [1, 1, 1]


def test_a_batch_has_the_labels_of_its_samples_and_0_for_padding() -> None:
    assert collate(TWO, pad_id=0).labels.tolist() == [[[2], [1]], [[1], [0]]]


def test_the_samples_of_a_device_weigh_1_together_and_padding_nothing() -> None:
    assert collate(TWO, pad_id=0).weights.tolist() == [[[0.5], [0.5]], [[1.0], [0.0]]]


def test_a_batch_is_cut_by_samples_of_every_device() -> None:
    piece = collate(TWO, pad_id=99).samples(1, 2)
    assert piece.ids.tolist() == [[[6, 99, 99]], [[99, 99, 99]]]
    assert piece.labels.tolist() == [[[1]], [[0]]]


# Texts are remembered


def test_a_text_read_again_is_not_tokenized_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = bert()
    calls: list[list[str]] = []
    tokenizer = type(model.tokenizer).__call__

    def counting(self: object, text: list[str], **options: object) -> object:
        calls.append(text)
        return tokenizer(self, text, **options)

    fresh = Model(model.module, model.tokenizer, model.max_tokens)
    monkeypatch.setattr(type(model.tokenizer), "__call__", counting)
    first = fresh.tokens(["cat dog", "dog", "dog"])
    assert fresh.tokens(["dog", "cat dog", "cat"]) == [first[1], first[0], fresh.tokens(["cat"])[0]]
    assert calls == [["cat dog", "dog"], ["cat"]]


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedpers.models.loading._REMEMBERED", 2)
    fresh = Model(bert().module, bert().tokenizer, bert().max_tokens)
    expected = bert().tokens(["cat", "dog", "cat dog"])
    assert [fresh.tokens([text])[0] for text in ("cat", "dog", "cat dog")] == expected
    assert fresh.tokens(["cat", "cat dog", "dog"]) == [expected[0], expected[2], expected[1]]
    assert len(fresh._known) <= 3
