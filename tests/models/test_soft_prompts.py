"""Writers' prompts on three families; the references are transformers' cache, and layers called by hand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from transformers import DynamicCache, GPT2Config, GPT2ForSequenceClassification

from fedpers.errors import InputError
from fedpers.models import PROMPT, Examples, Model, SoftPrompts, detach, extract, groups_of, owned, rows
from fedpers.models.inputs import NOBODY
from fedpers.models.soft_prompts import Placement
from tests.models.encoders import (
    KINDS,
    LAYERS,
    LENGTH,
    PLACEMENTS,
    WIDTH,
    Symbols,
    encoder,
    inputs,
    own,
    prompts,
    scores,
    texts,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_placement = pytest.mark.parametrize("placement", PLACEMENTS)
every_layer_placement = pytest.mark.parametrize("placement", ["prefix", "deep"])


def tokens(placement: Placement) -> int:
    return prompts(placement).tokens


def writers(model: Model, count: int) -> list[dict[str, npt.NDArray[np.float32]]]:
    """Returns vectors of some writers, all different."""
    draw = np.random.default_rng(8)
    shape = own(model).shape[1:]
    return [{PROMPT: draw.normal(size=shape).astype(np.float32)} for _ in range(count)]


@contextmanager
def watched(parts: Sequence[nn.Module]) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Notes what goes into each of some modules and what comes out."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(part: nn.Module, args: tuple[Any, ...], found: Any) -> None:
        seen.append((args[0].detach().clone(), found.detach().clone()))

    hooks = [part.register_forward_hook(note) for part in parts]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def layers_of(model: Model) -> list[nn.Module]:
    return list(model.module.base_model.get_submodule("encoder.layer").children())


def passed(
    model: Model, examples: Examples, state: dict[str, Any], parts: Sequence[nn.Module]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns what goes in and out of some modules while a model reads with a writer's vectors."""
    with rows(model.module, [state]), watched(parts) as seen:
        scores(model, inputs(model, examples))
    return seen


# Whose vectors they are


@every_placement
def test_only_the_writers_of_a_batch_get_gradients(placement: Placement) -> None:
    model = encoder("bert", prompts(placement, inner=4))
    read = inputs(model, texts("bert", [3, 5, 2], tokens=tokens(placement)), owners=[2, 0, 2])
    with rows(model.module, writers(model, 4), trained=True) as tables:
        model.reader()(read)[..., 0].sum().backward()
        gradient = tables[PROMPT].grad
        tables[PROMPT].grad = None
    assert gradient is not None
    assert (gradient.abs().sum(dim=(1, 2)) > 0).tolist() == [True, False, True, False]


@every_placement
@every_kind
def test_each_sample_is_read_with_its_writers_vectors(kind: str, placement: Placement) -> None:
    model = encoder(kind, prompts(placement, inner=4), loud=5)
    both, part = writers(model, 2), texts(kind, [4, 4, 2], tokens=tokens(placement))
    with rows(model.module, both):
        together = scores(model, inputs(model, part, owners=[1, 0, 1]))
    for sample, writer in enumerate([1, 0, 1]):
        alone = Examples(part.ids[sample : sample + 1], part.labels[:1])
        with rows(model.module, both[writer : writer + 1]):
            found = scores(model, inputs(model, alone, owners=[0]))
        np.testing.assert_allclose(together[sample], found[0], rtol=0, atol=1e-5)
    with rows(model.module, both):
        swapped = scores(model, inputs(model, part, owners=[0, 1, 0]))
    assert (np.abs(swapped - together).max(axis=1) > 1e-4).all()


@every_placement
def test_whoever_has_no_vectors_is_read_with_the_start_of_all(placement: Placement) -> None:
    model = encoder("bert", prompts(placement))
    part = texts("bert", [4], tokens=tokens(placement))
    with rows(model.module, [{}]):
        found = scores(model, inputs(model, part))
    assert (found == scores(model, inputs(model, part))).all()


def test_behind_the_block_the_model_has_its_one_row_again() -> None:
    model = encoder("bert", prompts("prefix"))
    before = own(model).detach().clone()
    with rows(model.module, writers(model, 3), trained=True):
        assert own(model).requires_grad
    assert torch.equal(own(model), before)
    assert not own(model).requires_grad


def test_vectors_are_no_shared_parameters_and_a_group_of_their_own() -> None:
    model = encoder("bert", prompts("prefix", inner=4))
    assert list(owned(model.module)) == [PROMPT]
    assert PROMPT not in extract(model.module)
    groups = groups_of(model.module)
    assert groups[PROMPT] == "own"
    assert groups["writer_prompts.mlp.0.weight"] == "writer_prompts"
    assert groups["bert.pooler.dense.weight"] == "encoder"
    assert groups["classifier.weight"] == "head"


# Sizes


@pytest.mark.parametrize(
    ("placement", "width"), [("prefix", 2 * LAYERS * WIDTH), ("deep", LAYERS * WIDTH), ("first", WIDTH)]
)
def test_without_an_mlp_vectors_are_as_wide_as_what_is_read(placement: Placement, width: int) -> None:
    model = encoder("bert", SoftPrompts(placement, 5))
    assert own(model).shape == (1, 5, width)


@pytest.mark.parametrize(
    ("placement", "width"), [("prefix", 2 * LAYERS * WIDTH), ("deep", LAYERS * WIDTH), ("first", 8)]
)
def test_an_mlp_makes_them_so_wide(placement: Placement, width: int) -> None:
    # ELECTRA's word embeddings are narrower than its layers.
    model = encoder("electra", SoftPrompts(placement, 5, width=7, inner=4))
    assert own(model).shape == (1, 5, 7)
    shapes = {
        name: tuple(p.shape)
        for name, p in model.module.get_submodule("writer_prompts.mlp").named_parameters()
    }
    assert shapes == {"0.weight": (4, 7), "0.bias": (4,), "2.weight": (width, 4), "2.bias": (width,)}


def test_all_writers_start_from_one_draw_of_the_given_spread() -> None:
    model = encoder("bert", SoftPrompts("prefix", 200, spread=0.02))
    assert float(own(model).detach().std()) == pytest.approx(0.02, rel=0.03)  # of 12,800 numbers


# Keys and values before every layer


@every_kind
def test_a_prefix_is_read_as_transformers_reads_the_cache_of_a_text_before(kind: str) -> None:
    # The same numbers as keys and values in transformers' own cache; places given, for a cache would move
    # the text along.
    model = encoder(kind, prompts("prefix", inner=6), loud=5)
    part = texts(kind, [1, 4, 7])
    with rows(model.module, writers(model, 1)):
        found = scores(model, inputs(model, part))
        made = model.module.get_submodule("writer_prompts.mlp")(own(model))[0].detach()
    vectors = made.view(LENGTH, LAYERS, 2, 2, WIDTH // 2)  # (length, layer, key or value, head, width)
    first = Symbols(kind).pad_token_id + 1 if kind == "roberta" else 0
    detach(model.module)
    for row, ids in enumerate(part.ids):
        cache = DynamicCache()
        for layer in range(LAYERS):
            keys, values = (vectors[:, layer, which].transpose(0, 1)[None] for which in (0, 1))
            cache.update(keys, values, layer)
        expected = model.module(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, LENGTH + len(ids), dtype=torch.long),
            position_ids=torch.arange(first, first + len(ids))[None],
            past_key_values=cache,
        ).logits.detach()
        np.testing.assert_allclose(found[row], expected[0], rtol=0, atol=1e-5)


@every_kind
def test_a_sample_of_nobody_is_read_without_a_prefix(kind: str) -> None:
    model = encoder(kind, prompts("prefix", inner=4), loud=5)
    read = inputs(model, texts(kind, [4, 2]), owners=[NOBODY, NOBODY])
    with rows(model.module, writers(model, 1)):
        found = scores(model, read)
    detach(model.module)
    np.testing.assert_allclose(found, scores(model, read), rtol=0, atol=1e-6)


@every_kind
def test_a_prefix_leaves_what_goes_into_the_first_layer_as_it_is(kind: str) -> None:
    model = encoder(kind, prompts("prefix"), loud=5)
    one, other = writers(model, 2)
    part = texts(kind, [4])
    first, _ = passed(model, part, one, layers_of(model))
    again, _ = passed(model, part, other, layers_of(model))
    assert torch.equal(first[0], again[0])
    assert first[0].shape == (1, 6, WIDTH)  # no token more: a prefix stands in no place
    detach(model.module)
    with watched(layers_of(model)) as seen:
        scores(model, inputs(model, part))
    assert torch.equal(first[0], seen[0][0])


@every_layer_placement
@every_kind
def test_another_prompt_is_another_output_of_every_layer(kind: str, placement: Placement) -> None:
    model = encoder(kind, prompts(placement, inner=4), loud=5)
    part = texts(kind, [4], tokens=tokens(placement))
    one, other = (passed(model, part, state, layers_of(model)) for state in writers(model, 2))
    text = slice(1 + tokens(placement), None)
    for (_, found), (_, expected) in zip(one, other, strict=True):
        assert (found - expected)[0, text].abs().max(dim=1).values.min() > 1e-4


@every_layer_placement
def test_every_layer_has_vectors_of_its_own(placement: Placement) -> None:
    # Where only the last layer's are others, no layer before it gives anything else.
    model = encoder("bert", prompts(placement), loud=5)
    [one] = writers(model, 1)
    by_layer = one[PROMPT].reshape(LENGTH, LAYERS, -1).copy()
    by_layer[:, -1] += 1
    part = texts("bert", [4], tokens=tokens(placement))
    plain = passed(model, part, one, layers_of(model))
    changed = passed(model, part, {PROMPT: by_layer.reshape(one[PROMPT].shape)}, layers_of(model))
    assert torch.equal(plain[0][1], changed[0][1])
    text = slice(1 + tokens(placement), None)
    assert (plain[1][1] - changed[1][1])[0, text].abs().max() > 1e-3


@every_layer_placement
def test_a_prompt_is_heard_through_attention_alone(placement: Placement) -> None:
    # With no way from attention back into the text, prompts change nothing there.
    model = encoder("bert", prompts(placement), loud=5)
    with torch.no_grad():
        for layer in layers_of(model):
            layer.get_parameter("attention.output.dense.weight").zero_()
    part = texts("bert", [4], tokens=tokens(placement))
    one, other = (passed(model, part, state, layers_of(model)) for state in writers(model, 2))
    text = slice(1 + tokens(placement), None)
    assert all(torch.equal(a[1][0, text], b[1][0, text]) for a, b in zip(one, other, strict=True))


# Hidden vectors at the entry of every layer


@every_kind
def test_deep_prompts_are_set_anew_at_the_entry_of_every_layer(kind: str) -> None:
    # By hand: transformers' own layers one after another, with vectors put behind the leading token.
    model = encoder(kind, prompts("deep", inner=6), loud=5)
    [state] = writers(model, 1)
    part = texts(kind, [4], tokens=LENGTH)
    with rows(model.module, [state]):
        found = scores(model, inputs(model, part))
        made = model.module.get_submodule("writer_prompts.mlp")(own(model))[0].detach()
    vectors = made.view(LENGTH, LAYERS, WIDTH)
    detach(model.module)
    filler = torch.tensor([[abs(token) + 4 for token in part.ids[0]]])  # any words where user tokens stand
    real = torch.tensor(part.ids) >= 0
    ids = torch.where(real, torch.tensor(part.ids), filler)
    base = model.module.base_model
    hidden = base.get_submodule("embeddings")(ids)
    if kind == "electra":
        hidden = base.get_submodule("embeddings_project")(hidden)
    for number, layer in enumerate(layers_of(model)):
        hidden = torch.cat([hidden[:, :1], vectors[None, :, number], hidden[:, 1 + LENGTH :]], dim=1)
        hidden = layer(hidden)
    if kind == "bert":
        hidden = base.get_submodule("pooler")(hidden)
    expected = model.module.get_submodule("classifier")(hidden).detach()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


# Input embeddings before the first layer


@every_kind
def test_first_prompts_are_word_embeddings_behind_the_leading_token(kind: str) -> None:
    # The same vectors given to transformers as embeddings.
    model = encoder(kind, prompts("first"), loud=5)
    [state] = writers(model, 1)
    part = texts(kind, [4], tokens=LENGTH)
    with rows(model.module, [state]):
        found = scores(model, inputs(model, part))
    detach(model.module)
    table = model.module.get_input_embeddings().weight
    assert isinstance(table, torch.Tensor)
    words = table[torch.tensor(part.ids[0]).clamp(min=0)]
    read = torch.cat([words[:1], torch.from_numpy(state[PROMPT]), words[1 + LENGTH :]])
    expected = model.module(inputs_embeds=read[None]).logits.detach()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@every_kind
def test_first_prompts_change_embeddings_at_their_own_places_alone(kind: str) -> None:
    model = encoder(kind, prompts("first"))
    behind = model.module.base_model.get_submodule("embeddings.LayerNorm")
    part = texts(kind, [4], tokens=LENGTH)
    [one], [other] = (passed(model, part, state, [behind]) for state in writers(model, 2))
    changed = (one[0] != other[0]).any(dim=2)[0].tolist()
    assert changed == [False, *[True] * LENGTH, *[False] * 5]


# Models they are not for


@every_layer_placement
def test_a_decoder_is_refused(placement: Placement) -> None:
    module = GPT2ForSequenceClassification(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=1))
    with pytest.raises(InputError, match=r"^writer prompts, context and hidden words .* and gpt2 is none"):
        prompts(placement).attach(module)
