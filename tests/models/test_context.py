"""Texts with context behind them, against the tokenizer's own pairs and transformers' own models."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ElectraConfig, PretrainedConfig, RobertaConfig

from fedpers.data import Samples
from fedpers.errors import InputError
from fedpers.models import (
    ContextSegments,
    Examples,
    Model,
    ModelSpec,
    Words,
    context_room,
    extract,
    insert,
    load,
    with_context,
)
from fedpers.settings import ModelSettings
from fedpers.training import Plan, fit_devices, logits
from fedpers.training.stack import batch_of
from tests.models.test_loading import WORDS, bert, folder_of, gpt2, roberta

LIMIT = 20

ELECTRA = ElectraConfig(
    vocab_size=len(WORDS),
    embedding_size=16,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=40,
)


def loaded(folder: Path, *, segments: bool = True) -> Model:
    additions = (ContextSegments(),) if segments else ()
    sizes = ModelSettings(model=str(folder), max_tokens=LIMIT, dropout=0)
    model = load(ModelSpec(sizes, ("a", "b"), 0, additions=additions))
    # Small random weights would say nearly the same to everything.
    insert(model.module, {n: a * (8 if a.ndim > 1 else 1) for n, a in extract(model.module).items()})
    return model


@cache
def model_of(kind: str, *, segments: bool = True) -> Model:
    folder = Path(mkdtemp())
    configs: dict[str, PretrainedConfig] = {"bert": bert(), "electra": ELECTRA}
    if kind == "roberta":
        RobertaConfig.from_pretrained(roberta(folder), type_vocab_size=1).save_pretrained(folder)
    else:
        folder_of(folder, configs[kind])
    return loaded(folder, segments=segments)


def encoded(text: str, *context: str, kept: int = LIMIT // 2, kind: str = "bert") -> list[int]:
    samples = Samples([text], np.array([0]))
    [ids] = with_context(model_of(kind), samples, [context], kept).ids
    return ids


def tokens(ids: list[int], kind: str = "bert") -> list[str]:
    return list(model_of(kind).tokenizer.convert_ids_to_tokens(ids))


# Layout


def test_context_stands_behind_the_text_each_piece_with_a_separator() -> None:
    found = tokens(encoded("a b", "c", "d e"))
    assert found == ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]", "d", "e", "[SEP]"]


def test_a_text_without_context_stands_alone() -> None:
    assert tokens(encoded("a b")) == ["[CLS]", "a", "b", "[SEP]"]
    assert tokens(encoded("a b", "", "")) == ["[CLS]", "a", "b", "[SEP]"]


def test_text_and_one_piece_are_the_tokenizers_own_pair() -> None:
    for kind in ("bert", "electra", "roberta"):
        expected = model_of(kind).tokenizer("a b", "c d")["input_ids"]
        assert encoded("a b", "c d", kind=kind) == expected


def test_roberta_has_two_marks_behind_the_text_and_one_between_pieces() -> None:
    found = tokens(encoded("a", "c", "d", kind="roberta"), "roberta")
    assert found == ["<s>", "a", "</s>", "</s>", "c", "</s>", "d", "</s>"]


def test_the_last_piece_is_cut_at_the_limit() -> None:
    found = tokens(encoded("a", "b " * 10, "c " * 10))
    assert found == ["[CLS]", "a", "[SEP]", *["b"] * 10, "[SEP]", *["c"] * 5, "[SEP]"]


def test_no_separator_is_left_without_a_piece_behind_it() -> None:
    found = tokens(encoded("a", "b " * 15, "c"))  # one token is left, the separator's
    assert found == ["[CLS]", "a", "[SEP]", *["b"] * 15, "[SEP]"]


def test_a_long_text_is_cut_to_what_is_kept_where_the_context_needs_the_room() -> None:
    found = tokens(encoded("a " * 30, "b " * 30, kept=10))
    assert found == ["[CLS]", *["a"] * 10, "[SEP]", *["b"] * 7, "[SEP]"]


def test_a_long_text_has_the_room_that_a_short_context_leaves() -> None:
    assert tokens(encoded("a " * 30, "b", kept=10)) == ["[CLS]", *["a"] * 16, "[SEP]", "b", "[SEP]"]


@settings(deadline=None)  # the first example loads what the others reuse
@given(st.integers(0, 30), st.lists(st.integers(0, 25), max_size=5), st.integers(1, LIMIT - 4), st.data())
def test_the_limit_is_kept_and_the_text_whole_up_to_its_share(
    words: int, pieces: list[int], kept: int, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["bert", "roberta"]))
    kept = min(kept, context_room(model_of(kind)) - 1)
    text, context = ["a b"[: 2 * words - 1]] if words < 2 else ["a " * words], ["c " * n for n in pieces]
    [own] = model_of(kind).tokens(text)
    ids = encoded(text[0], *context, kept=kept, kind=kind)
    assert len(ids) <= LIMIT
    assert ids[1 : 1 + min(kept, len(own))] == own[:kept]
    needed = len(model_of(kind).tokenizer(text[0], " ".join(context))["input_ids"]) + len(pieces)
    if needed <= LIMIT:
        assert ids[1 : 1 + len(own)] == own
    assert ids[-1] == model_of(kind).tokenizer.sep_token_id


# Segments


def segments_seen(model: Model, samples: Sequence[list[int]]) -> torch.Tensor:
    """Returns the segments that the embeddings of a model get."""
    seen: list[torch.Tensor] = []

    def note(part: torch.nn.Module, args: object, named: dict[str, torch.Tensor]) -> None:
        seen.append(named["token_type_ids"])

    embeddings = model.module.base_model.get_submodule("embeddings")
    hook = embeddings.register_forward_pre_hook(note, with_kwargs=True)
    logits(model, Examples([*samples], np.zeros(len(samples), np.int64)))
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_segments_are_those_of_the_tokenizers_own_pair(kind: str) -> None:
    model = model_of(kind)
    expected = model.tokenizer("a b", "c d")["token_type_ids"]
    assert expected == [0, 0, 0, 0, 1, 1, 1]
    assert segments_seen(model, [encoded("a b", "c d", kind=kind)]).tolist() == [expected]


def test_a_text_alone_and_padding_are_the_first_segment() -> None:
    found = segments_seen(model_of("bert"), [encoded("a"), encoded("a", "b", "c")])
    assert found.tolist() == [[0] * 7, [0, 0, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize("kind", ["bert", "electra", "roberta"])
def test_scores_are_those_of_transformers_itself_on_the_pair(kind: str) -> None:
    model = model_of(kind)
    with torch.inference_mode():
        expected = model.module(**model.tokenizer("a b", "c d", return_tensors="pt")).logits
    ids = encoded("a b", "c d", kind=kind)
    examples = Examples([ids, encoded("a", "b " * 9, kind=kind)], np.array([0, 0]))
    assert logits(model, examples)[0] == pytest.approx(expected[0].numpy(), abs=1e-5)


def test_a_model_without_segments_is_left_as_it_is() -> None:
    examples = Examples([encoded("a b", "c d", kind="roberta")], np.array([0]))
    plain = logits(model_of("roberta", segments=False), examples)
    assert (logits(model_of("roberta"), examples) == plain).all()


def test_segments_change_what_is_read() -> None:
    examples = Examples([encoded("a b", "c d")], np.array([0]))
    plain = logits(model_of("bert", segments=False), examples)
    assert np.abs(logits(model_of("bert"), examples) - plain).max() > 1e-3


def test_segments_are_no_parameters() -> None:
    assert extract(model_of("bert").module).keys() == extract(model_of("bert", segments=False).module).keys()


@pytest.mark.parametrize("kind", ["bert", "electra", "roberta"])
def test_devices_trained_in_one_pass_learn_what_each_learns_alone(kind: str) -> None:
    # Each has other words, so that their narrowed vocabularies differ.
    model, plan = model_of(kind), Plan("sgd", 0.1, epochs=2, batch_size=2)
    parts = [
        Examples([encoded(*texts, kind=kind), encoded("a", kind=kind)], np.array([0, 1]))
        for texts in (("a b", "c d", "e"), ("f", "g"), ("a " * 12, "h b " * 9))
    ]
    start = extract(model.module)

    def fitted(chosen: list[Examples]) -> list[dict[str, np.ndarray]]:
        draws = [np.random.default_rng(0) for _ in chosen]
        found = fit_devices(model, [start] * len(chosen), chosen, plan, draws)
        return [{n: np.asarray(getattr(a, "change", a)) for n, a in arrays.items()} for arrays, _ in found]

    together = fitted(parts)
    for place, part in enumerate(parts):
        for name, array in fitted([part])[0].items():
            assert np.abs(array - together[place][name]).max() <= 1e-5, name


def test_the_separator_keeps_its_number_in_a_narrowed_vocabulary() -> None:
    model = model_of("bert")
    words = Words.of(model, Examples([encoded("g", "h")], np.array([0])))
    assert words is not None
    separator = model.tokenizer.sep_token_id
    assert words.index[separator] == separator


def test_batches_hold_the_same_ids() -> None:
    examples = with_context(model_of("bert"), Samples(["a"], np.array([1])), [["b"]], 10)
    batch = batch_of(model_of("bert"), [(examples, np.array([0]))])
    assert batch.ids[0, 0].tolist() == examples.ids[0]


def test_a_decoder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="gpt2 is none: use such a --model, or tiny with --answer class"
    ) as caught:
        loaded(gpt2(tmp_path))
    assert "\n" not in str(caught.value)
