"""User tokens on seven architectures; the reference is transformers' own model on words or vectors."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch

from fedpers.models import Examples, Inputs, Model, Vectors
from fedpers.models.user_tokens import user_tokens
from fedpers.training import logits
from fedpers.training.prediction import Floats
from tests.training.test_stack import END, KINDS, model_of

WORDS = [40, 41, 42]
TEXTS = [[7, 8, 9, 10], [11, 12], [13]]
DECODERS = ["gpt2", "llama"]  # read the class at the last token
ENCODER_DECODERS = sorted(END)  # read it at the end of the text


@cache
def loud(kind: str) -> Model:
    """Returns a model in evaluation whose weights are large enough that every token matters."""
    model = model_of(kind, dropout=0.0)
    model.module.train(False)
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model


def table(model: Model) -> torch.Tensor:
    weight = model.module.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach()


def placed(kind: str, placement: str, tokens: Sequence[int]) -> list[list[int]]:
    """Returns texts with some ids in front or behind, and an end of text where the model needs one."""
    end = [END[kind]] if kind in END else []
    return [[*tokens, *text, *end] if placement == "front" else [*text, *tokens, *end] for text in TEXTS]


def scored(model: Model, ids: list[list[int]], vectors: Vectors | None = None) -> Floats:
    return logits(model, Examples(ids, np.zeros(len(ids), dtype=np.int64), vectors))


def drawn(model: Model, count: int, seed: int = 3) -> Vectors:
    """Returns other vectors for every text (texts, user tokens, width)."""
    made = np.random.default_rng(seed).normal(size=(len(TEXTS), count, model.width))
    return made.astype(np.float32)


# In place of a word


@pytest.mark.parametrize("placement", ["front", "back"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 3])
def test_a_user_token_with_a_words_own_vector_is_that_word(kind: str, placement: str, count: int) -> None:
    model = loud(kind)
    vectors = table(model)[WORDS[:count]].numpy()[None].repeat(len(TEXTS), axis=0)
    found = scored(model, placed(kind, placement, [-1, -2, -3][:count]), vectors)
    np.testing.assert_allclose(
        found, scored(model, placed(kind, placement, WORDS[:count])), rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_user_token_has_its_own_place_among_the_vectors(kind: str) -> None:
    model = loud(kind)
    vectors = table(model)[WORDS].numpy()[None].repeat(len(TEXTS), axis=0)
    found = scored(model, placed(kind, "front", [-3, -1, -2]), vectors)
    np.testing.assert_allclose(found, scored(model, placed(kind, "front", [42, 40, 41])), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_text_has_vectors_of_its_own(kind: str) -> None:
    model = loud(kind)
    vectors, ids = drawn(model, 2), placed(kind, "front", [-1, -2])
    together = scored(model, ids, vectors)
    for row in range(len(TEXTS)):
        alone = scored(model, ids[row : row + 1], vectors[row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("placement", ["front", "back"])
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - END.keys()))
def test_a_model_reads_user_tokens_as_transformers_reads_vectors(kind: str, placement: str) -> None:
    model, vectors = loud(kind), drawn(loud(kind), 2)
    found = scored(model, placed(kind, placement, [-1, -2]), vectors)
    for row, text in enumerate(TEXTS):
        words, own = table(model)[text], torch.from_numpy(vectors[row])
        read = torch.cat([own, words] if placement == "front" else [words, own])
        expected = model.module(inputs_embeds=read[None]).logits[0].detach()
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_other_vectors_are_other_scores(kind: str) -> None:
    model, ids = loud(kind), placed(kind, "front", [-1])
    one, other = (scored(model, ids, drawn(model, 1, seed)) for seed in (1, 2))
    assert (np.abs(one - other).max(axis=1) > 2e-3).all()


# Where the class is read


def scores_by_place(model: Model, ids: list[int], vectors: Vectors) -> torch.Tensor:
    """Returns what a decoder's head makes of each position of a text (tokens, classes)."""
    own, words = torch.from_numpy(vectors), table(model)
    read = torch.stack([own[-1 - token] if token < 0 else words[token] for token in ids])
    hidden = model.module.base_model(inputs_embeds=read[None]).last_hidden_state[0]
    head = model.module.get_submodule("score")
    scores = head(hidden)
    assert isinstance(scores, torch.Tensor)
    return scores.detach()


@pytest.mark.parametrize("placement", ["front", "back"])
@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_reads_the_class_at_the_last_token_also_if_it_is_a_user_token(
    kind: str, placement: str
) -> None:
    model = loud(kind)
    vectors, ids = drawn(model, 2), placed(kind, placement, [-1, -2])
    found = scored(model, ids, vectors)
    for row, text in enumerate(ids):
        by_place = scores_by_place(model, text, vectors[row])
        np.testing.assert_allclose(found[row], by_place[-1], rtol=0, atol=2e-5)
        assert (by_place[:-1] - by_place[-1]).abs().max(dim=1).values.min() > 1e-3


@pytest.mark.parametrize("placement", ["front", "back"])
@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_an_encoder_decoder_reads_user_tokens_on_both_sides_and_the_class_at_the_end(
    kind: str, placement: str
) -> None:
    # By hand: the decoder reads the same tokens, one place to the right.
    model = loud(kind)
    vectors, ids = drawn(model, 2), placed(kind, placement, [-1, -2])
    found = scored(model, ids, vectors)
    start, head = (
        model.module.config.decoder_start_token_id,
        model.module.get_submodule("classification_head"),
    )
    for row, text in enumerate(ids):
        own, words = torch.from_numpy(vectors[row]), table(model)
        read = torch.stack([own[-1 - token] if token < 0 else words[token] for token in text])
        shifted = torch.cat([words[[start]], read[:-1]])
        hidden = model.module.base_model(inputs_embeds=read[None], decoder_inputs_embeds=shifted[None])
        expected = head(hidden.last_hidden_state[0, -1:])[0].detach()
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=2e-5)


# Within a block


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_block_the_model_is_as_it_was(kind: str) -> None:
    model = loud(kind)
    before, plain = scored(model, placed(kind, "front", [])), torch.tensor([[5, 6]])
    vectors = torch.from_numpy(drawn(model, 1)[:1])
    embeddings = model.module.get_input_embeddings()
    with user_tokens(model.module, vectors):
        assert torch.equal(embeddings(torch.tensor([[-1]])), vectors)
        assert torch.equal(embeddings(plain), torch.nn.functional.embedding(plain, table(model)))
    assert (scored(model, placed(kind, "front", [])) == before).all()
    with pytest.raises(IndexError):
        embeddings(torch.tensor([[-1]]))


def test_vectors_get_gradients_and_only_where_they_stand() -> None:
    model = loud("bert")
    vectors = torch.from_numpy(drawn(model, 2)).requires_grad_()
    ids = torch.tensor([[-1, 5, 6], [5, -2, 6], [5, 6, 7]])
    scores = model.reader()(Inputs(ids, torch.ones_like(ids), vectors, ids, ids, ids[:, 0]))[:, 0]
    [gradient] = torch.autograd.grad(scores[:, 0].sum(), [vectors])
    assert (gradient.abs().sum(dim=2) > 0).tolist() == [[True, False], [False, True], [False, False]]
