"""Language models through a `Reader`; the reference is transformers' own scores of one text at a time."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
)

from fedpers.models import Inputs, Model
from fedpers.models.bpe import bpe_tokenizer, train_bpe
from fedpers.models.reading import Writer, takes_masks, writes

WORDS = ["the cat sat on a mat with great politics", "dogs travel and a cat sat great"] * 4
END, LONGEST = 1, 64
SIZES: dict[str, Any] = {"vocab_size": 300, "pad_token_id": 0, "bos_token_id": END, "eos_token_id": END}
BART: dict[str, Any] = {
    f"{side}_{size}": number
    for side in ("encoder", "decoder")
    for size, number in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 64))
}
CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(**SIZES, n_positions=LONGEST, n_embd=32, n_layer=2, n_head=2),
    "llama": LlamaConfig(
        **SIZES,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LONGEST,
    ),
    "t5": T5Config(**SIZES, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2),
    "bart": BartConfig(
        **SIZES,
        **BART,
        d_model=32,
        max_position_embeddings=LONGEST,
        decoder_start_token_id=END,
        forced_eos_token_id=None,
    ),
}
KINDS, CAUSAL, ENCODER_DECODERS = list(CONFIGS), ["gpt2", "llama"], ["t5", "bart"]


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    return bpe_tokenizer(*train_bpe(WORDS, 300))


def random_model(config: PretrainedConfig) -> PreTrainedModel:
    config._attn_implementation = "eager"
    maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module: PreTrainedModel = maker.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    module.train(False)
    return module


def language_model(kind: str, reads: PreTrainedTokenizerBase | None = None, longest: int = LONGEST) -> Model:
    """Returns a random model without dropout whose weights are large enough that every token matters."""
    config = CONFIGS[kind].__class__(**CONFIGS[kind].to_dict())
    for name, value in config.to_dict().items():
        if ("dropout" in name or name.endswith("pdrop")) and isinstance(value, float):
            setattr(config, name, 0.0)
    if kind == "t5":
        config.decoder_start_token_id = 0
    module = random_model(config)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.mul_(1 if kind == "t5" else 4)
    return Model(module, reads or tokenizer(), longest, answer_tokens=8)


# Scores


def texts(lengths: list[int], seed: int = 0) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(2, 300, size=length).tolist() for length in lengths]


def padded(samples: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns texts of one length, padded at their ends, and their mask."""
    longest = max(map(len, samples))
    ids = torch.tensor([sample + [0] * (longest - len(sample)) for sample in samples])
    mask = torch.tensor([[1] * len(sample) + [0] * (longest - len(sample)) for sample in samples])
    return ids, mask


def inputs(ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor, places: torch.Tensor) -> Inputs:
    """Returns what a model reads of texts without user tokens."""
    return Inputs(ids, mask, torch.zeros(len(ids), 0, 0), labels, places, torch.zeros(len(ids)).long())


def scored(
    module: PreTrainedModel, samples: list[list[int]], answers: list[list[int]], *, own_mask: bool = False
) -> list[torch.Tensor]:
    """Returns scores of each text's answer, which a causal model's text ends with (answer, words)."""
    ids, mask = padded(samples)
    labels, answered = padded(answers)
    lengths, longest = mask.sum(dim=1, keepdim=True), answered.sum(dim=1, keepdim=True)
    places = (lengths - longest + torch.arange(labels.shape[1])) * answered
    with torch.inference_mode():
        found = Writer(module, own_mask=own_mask)(inputs(ids, mask, labels, places))
    return [scores[: len(answer)] for scores, answer in zip(found, answers, strict=True)]


def own_scores(module: PreTrainedModel, sample: list[int], answer: list[int]) -> torch.Tensor:
    """Returns the scores of one text's answer, or its last tokens', by transformers alone."""
    with torch.inference_mode():
        if module.config.is_encoder_decoder:
            found = module(input_ids=torch.tensor([sample]), labels=torch.tensor([answer])).logits[0]
        else:
            found = module(input_ids=torch.tensor([sample])).logits[0, -len(answer) :]
    assert isinstance(found, torch.Tensor)
    return found


def takes(module: PreTrainedModel) -> bool:
    short, long = texts([3, 20])
    return takes_masks(module, short, long, pad_id=0)


def assert_right(module: PreTrainedModel, *, own_mask: bool = False) -> None:
    """Compares scores, in a batch, of answers shorter and longer than an encoder-decoder's text."""
    samples = texts([9, 5, 12])
    answers = texts([2, 7, 12] if module.config.is_encoder_decoder else [2, 5, 3], seed=1)
    found = scored(module, samples, answers, own_mask=own_mask)
    for scores, sample, answer in zip(found, samples, answers, strict=True):
        torch.testing.assert_close(scores, own_scores(module, sample, answer), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("own_mask", [False, True], ids=["our mask", "own mask"])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_scored_as_by_transformers_whatever_the_padding(kind: str, own_mask: bool) -> None:
    assert_right(language_model(kind).module, own_mask=own_mask)


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_padding_does_not_matter(kind: str) -> None:
    module = language_model(kind).module
    ids, mask = padded(texts([9, 5]))
    labels, places = torch.tensor([[5, 6], [7, 8]]), torch.tensor([[7, 8], [3, 4]])
    with torch.inference_mode():
        expected = Writer(module)(inputs(ids, mask, labels, places))
        ids[1, 5:] = torch.tensor([40, 41, 42, 43])
        torch.testing.assert_close(Writer(module)(inputs(ids, mask, labels, places)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answers_word_is_scored_without_those_behind_it(kind: str) -> None:
    module = language_model(kind).module
    [sample], changed = texts([9]), []
    for last in (40, 41):
        read = sample if module.config.is_encoder_decoder else [*sample[:-1], last]
        [scores] = scored(module, [read], [[5, 6, 7, last]])
        changed.append(scores[: 4 if module.config.is_encoder_decoder else 3])
    assert torch.equal(*changed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_is_mapped_over_devices_of_their_own_weights(kind: str) -> None:
    model = language_model(kind)
    samples, answers = texts([8, 8]), texts([3, 3], seed=1)
    own = {name: torch.stack([p.detach(), 0.5 * p.detach()]) for name, p in model.module.named_parameters()}
    reader, mask, places = model.reader(), torch.ones(1, 8).long(), torch.tensor([[5, 6, 7]])

    def read(weights: dict[str, torch.Tensor], ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        named = {f"module.{name}": weight for name, weight in weights.items()}
        scores = functional_call(reader, named, (inputs(ids[None], mask, labels[None], places),))
        assert isinstance(scores, torch.Tensor)
        return scores[0]

    found = torch.vmap(read)(own, torch.tensor(samples), torch.tensor(answers)).detach()
    for device in range(2):
        with torch.no_grad():
            for name, parameter in model.module.named_parameters():
                parameter.copy_(own[name][device])
        expected = own_scores(model.module, samples[device], answers[device])
        torch.testing.assert_close(found[device], expected, rtol=1e-4, atol=1e-4)


# Other architectures

SMALL: dict[str, Any] = {
    **SIZES,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
# Heads that scale what goes into the product with all words or what comes out of it.
SCALED: dict[str, PretrainedConfig] = {
    "gemma2": Gemma2Config(**SMALL, head_dim=16, final_logit_softcapping=30.0),
    "gemma2, small cap": Gemma2Config(**SMALL, head_dim=16, final_logit_softcapping=1.0),
    "cohere": CohereConfig(**SMALL),
    "granite": GraniteConfig(**SMALL, logits_scaling=8.0, embedding_multiplier=3.0),
}
# Readers of masks of four dimensions in a way of their own.
OTHER: dict[str, PretrainedConfig] = {
    "mistral, local attention": MistralConfig(**SMALL, sliding_window=4),
    "opt": OPTConfig(
        **SIZES,
        hidden_size=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        word_embed_proj_dim=32,
        max_position_embeddings=LONGEST,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_four_kinds_take_our_masks(kind: str) -> None:
    assert writes(language_model(kind).module)
    assert takes(language_model(kind).module)


@pytest.mark.parametrize("own_mask", [False, True], ids=["our mask", "own mask"])
@pytest.mark.parametrize("kind", SCALED)
def test_what_a_model_does_around_its_head_is_done(kind: str, own_mask: bool) -> None:
    module = random_model(SCALED[kind])
    assert takes(module)
    with torch.no_grad():  # the larger the scores, the more a soft cap matters
        for parameter in module.parameters():
            parameter.mul_(6 if parameter.dim() > 1 else 1)
    assert_right(module, own_mask=own_mask)


@pytest.mark.parametrize("kind", OTHER)
def test_a_model_that_reads_masks_in_another_way_keeps_to_its_own(kind: str) -> None:
    module = random_model(OTHER[kind])
    assert not takes(module)
    assert_right(module, own_mask=True)


def test_only_the_answers_places_go_through_the_head() -> None:
    module, seen = language_model("gpt2").module, []
    head = module.get_submodule("lm_head")
    head.register_forward_hook(lambda layer, args, output: seen.append(tuple(output.shape)))
    scored(module, texts([9, 5]), texts([2, 3]))
    assert seen == [(2, 3, 300)]


def test_reading_leaves_no_hook_behind_also_if_it_fails() -> None:
    module = language_model("gpt2").module
    with pytest.raises(IndexError):
        scored(module, texts([LONGEST + 1]), texts([2]))
    scored(module, texts([9]), texts([2]))
    assert not module.get_submodule("lm_head")._forward_pre_hooks
