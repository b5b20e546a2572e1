"""Texts, prompts and answers as language models read them; the reference is transformers' own loss."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from fedpers.data import Samples
from fedpers.errors import InputError
from fedpers.models import Examples, Model, answer_tokens, encode, prompted, text_room, user_ids
from fedpers.models.bpe import bpe_tokenizer, train_bpe
from fedpers.models.texts import gap
from fedpers.prompting import Prompt
from fedpers.training import Plan, fit
from fedpers.training.stack import batch_of
from tests.models.test_reading import (
    CAUSAL,
    ENCODER_DECODERS,
    END,
    KINDS,
    SIZES,
    WORDS,
    language_model,
    tokenizer,
)


def ids(text: str) -> list[int]:
    found: list[int] = tokenizer().encode(text, add_special_tokens=False)
    return found


def written_of(model: Model, texts: list[str], targets: list[str] | None) -> Examples:
    return encode(model, Samples(texts, np.zeros(len(texts), dtype=np.int64), targets))


def own_loss(model: Model, text: list[int], answer: list[int]) -> torch.Tensor:
    """Returns transformers' loss of an answer to a text, where the text itself is not scored."""
    read, labels = text, answer
    if not model.module.config.is_encoder_decoder:
        read, labels = [*text, *answer], [-100] * len(text) + answer
    loss = model.module(input_ids=torch.tensor([read]), labels=torch.tensor([labels])).loss
    assert isinstance(loss, torch.Tensor)
    return loss.detach()


TEXTS, TARGETS = ["the cat sat", "dogs travel and the cat sat on a mat"], ["great politics and dogs", "mat"]


# Where text and answer stand


def test_a_causal_models_text_and_answer_are_cut_into_tokens_as_one_text() -> None:
    examples = written_of(language_model("gpt2"), TEXTS, TARGETS)
    assert examples.answers is not None
    for sample, answer, text, target in zip(examples.ids, examples.answers, TEXTS, TARGETS, strict=True):
        assert sample[: len(sample) - len(answer) + 1] == [END, *ids(f"{text} |")]
        assert [*sample, answer[-1]] == [END, *ids(f"{text} | {target}"), END]


def test_an_encoder_decoders_text_holds_nothing_of_the_answer() -> None:
    examples = written_of(language_model("t5"), TEXTS, TARGETS)
    assert examples.ids == [ids(text) for text in TEXTS]
    assert examples.answers == [[*ids(target), END] for target in TARGETS]


def adding_specials() -> PreTrainedTokenizerFast:
    """Returns the tokenizer that puts a token before a text and one behind it."""
    made = bpe_tokenizer(*train_bpe(WORDS, 300))
    specials = [("<|pad|>", 0), ("<|endoftext|>", END)]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|pad|> $A <|endoftext|>", special_tokens=specials
    )
    return made


def test_an_encoder_decoders_text_and_answer_have_its_special_tokens() -> None:
    examples = written_of(language_model("bart", adding_specials()), ["cat"], ["mat"])
    assert (examples.ids, examples.answers) == ([[0, *ids("cat"), END]], [[0, *ids("mat"), END]])


def test_a_causal_text_begins_with_its_special_token_and_only_its_answer_ends() -> None:
    examples = written_of(language_model("gpt2", adding_specials()), ["cat"], ["mat"])
    assert (examples.ids, examples.answers) == ([[0, *ids("cat | mat")]], [[*ids(" mat"), END]])


@pytest.mark.parametrize("kind", KINDS)
def test_without_answers_a_text_is_what_stands_before_them(kind: str) -> None:
    model = language_model(kind)
    examples, known = written_of(model, TEXTS, None), written_of(model, TEXTS, TARGETS)
    assert examples.answers is None
    assert known.answers is not None
    for sample, longer, answer in zip(examples.ids, known.ids, known.answers, strict=True):
        assert sample == (longer if kind in ENCODER_DECODERS else longer[: len(longer) - len(answer) + 1])


@pytest.mark.parametrize("kind", KINDS)
def test_user_tokens_stand_in_front_of_the_text(kind: str) -> None:
    model, samples = language_model(kind), Samples(["cat"], np.zeros(1, dtype=np.int64))
    start, text = ([END], ids("cat |")) if kind in CAUSAL else ([], ids("cat"))
    assert encode(model, samples, user_ids(2)).ids == [[*start, -1, -2, *text]]
    assert encode(model, samples, [-1], [-2]).ids == [[*start, -1, *text, -2]]


# The loss


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_transformers_own_also_beside_a_longer_sample(kind: str) -> None:
    model = language_model(kind)
    examples, texts = written_of(model, TEXTS, TARGETS), written_of(model, TEXTS, None).ids
    assert examples.answers is not None
    batch = batch_of(model, [(examples, np.arange(2))])
    with torch.inference_mode():
        scores = model.reader()(batch.inputs.of(0))
    for row, answer in enumerate(examples.answers):
        found = torch.nn.functional.cross_entropy(scores[row, : len(answer)], torch.tensor(answer))
        torch.testing.assert_close(found, own_loss(model, texts[row], answer), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_takes_the_mean_over_all_tokens_of_a_batchs_answers(kind: str) -> None:
    # As transformers does in a batch: a longer answer counts for more.
    model = language_model(kind)
    examples, texts = written_of(model, TEXTS, TARGETS), written_of(model, TEXTS, None).ids
    assert examples.answers is not None
    lengths = [len(answer) for answer in examples.answers]
    assert lengths[0] > lengths[1]
    losses = [float(own_loss(model, *pair)) for pair in zip(texts, examples.answers, strict=True)]
    [passed] = fit(model, examples, Plan("sgd", 1e-9, 1, 2), np.random.default_rng(0))
    assert passed.loss == pytest.approx(np.average(losses, weights=lengths), abs=1e-5)


# What is too long


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_models_text_loses_its_beginning(kind: str) -> None:
    model = language_model(kind, longest=20)
    text = " ".join(["cat", *["the"] * 30, "mat"])
    examples = written_of(model, [text], ["great"])
    assert examples.answers is not None
    assert examples.answers == answer_tokens(model, ["great"])
    room = 20 - 1 - 8 if kind in CAUSAL else 20  # start of text and longest answer
    assert text_room(model) == room
    [sample] = written_of(model, [text], None).ids
    assert sample[-room:] == ids(f"{text} |" if kind in CAUSAL else text)[-room:]
    assert len(sample) == (room + 1 if kind in CAUSAL else room)


def test_a_classifiers_text_loses_its_end() -> None:
    config = GPT2Config(**SIZES, n_positions=16, n_embd=8, n_layer=1, n_head=1)
    module = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # theirs
    text = " ".join(["cat", *["the"] * 30, "mat"])
    assert written_of(Model(module, tokenizer(), 16), [text], None).ids == [ids(text)[:16]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_too_long_is_cut_and_ends_nevertheless(kind: str) -> None:
    model = language_model(kind)
    text = "the cat sat on a mat with great dogs"
    whole = ids(f" {text}" if kind in CAUSAL else text)
    assert answer_tokens(model, [text]) == [[*whole[: model.answer_tokens - 1], END]]


def test_what_stands_beside_a_text_may_leave_no_room_for_it() -> None:
    model = language_model("gpt2", longest=20)
    with pytest.raises(InputError, match=r"11 tokens beside the text .* use at most 10"):
        encode(model, Samples(["cat"], np.zeros(1, dtype=np.int64)), user_ids(11))


# What stands before a word


def sentence_pieces(*, prepended: bool) -> PreTrainedTokenizerBase:
    """Returns a vocabulary that adds the blank before a text: by Metaspace, or as the first Llama's did."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    if prepended:
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        made.normalizer = normalizers.Sequence(steps)
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=["<unk>", "</s>"], max_token_length=9, show_progress=False
    )
    made.train_from_iterator([" ".join(words.split()[k:]) for words in WORDS for k in range(7)], trainer)
    kind: Callable[..., PreTrainedTokenizerBase] = PreTrainedTokenizerFast
    return kind(tokenizer_object=made, unk_token="<unk>", eos_token="</s>")


VOCABULARIES: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "bytes": lambda: bpe_tokenizer(*train_bpe(WORDS, 300)),
    "bytes alone": lambda: bpe_tokenizer(*train_bpe([], 260)),
    "metaspace": lambda: sentence_pieces(prepended=False),
    "prepended": lambda: sentence_pieces(prepended=True),
}


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_an_answer_has_the_tokens_that_it_has_within_a_text(vocabulary: str) -> None:
    model = language_model("gpt2", VOCABULARIES[vocabulary]())
    [answer] = answer_tokens(model, ["mat"])
    [text, whole] = model.tokens(["dogs", "dogs mat"])
    assert [*text, *answer] == [*whole, model.tokenizer.eos_token_id]


def test_a_gap_is_only_for_vocabularies_that_do_not_add_it() -> None:
    gaps = {name: gap(language_model("gpt2", make())) for name, make in VOCABULARIES.items()}
    assert gaps["bytes"] == gaps["bytes alone"] == " "
    assert gaps["prepended"] == ""


# Prompts

PROMPT = Prompt("the cat sat", ("dogs travel", "a mat"), "travel on:", "great dogs", "politics:")


def read(model: Model, prompt: Prompt, before: list[int] | None = None) -> str:
    """Returns what a model reads of a prompt, behind its start and user tokens."""
    examples = prompted(model, [prompt], np.zeros(1, dtype=np.int64), None, before or [])
    beside = len(before or []) + (0 if model.module.config.is_encoder_decoder else 1)
    text = tokenizer().decode(examples.ids[0][beside:])
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
@pytest.mark.parametrize(
    "prompt", [PROMPT, Prompt("", (), "", "a cat", "on:"), Prompt("", ("a",), "b", "", "")]
)
def test_a_prompt_that_fits_is_read_whole_and_in_order(prompt: Prompt, kind: str) -> None:
    assert read(language_model(kind), prompt) == prompt.text


def test_a_prompt_has_its_answer_as_a_text_has() -> None:
    model = language_model("gpt2")
    examples = prompted(model, [PROMPT], np.zeros(1, dtype=np.int64), ["mat"], [-1, -2])
    assert examples.ids == [[-1, -2, END, *ids(PROMPT.text + " mat")]]
    assert examples.answers == [[*ids(" mat"), END]]


# By hand: instruction and cue are 8 tokens; with the end of its line, the query is 5, the profile 4 and each
# item 3. The query is "gr", "eat", " " and "dogs", every other block's words are a token each.
@pytest.mark.parametrize(
    ("context", "left"),
    [
        (23, PROMPT),
        (22, replace(PROMPT, items=("dogs travel", "a"))),
        (21, replace(PROMPT, items=("dogs travel",))),
        (20, replace(PROMPT, items=("dogs travel",))),
        (19, replace(PROMPT, items=("dogs",))),
        (17, replace(PROMPT, items=())),
        (16, replace(PROMPT, items=(), profile="the cat")),
        (13, replace(PROMPT, items=(), profile="")),
        (12, replace(PROMPT, items=(), profile="", query="great ")),
        (10, replace(PROMPT, items=(), profile="", query="gr")),
    ],
)
def test_a_shorter_context_costs_the_last_items_then_the_profile_then_the_querys_end(
    context: int, left: Prompt
) -> None:
    assert read(language_model("t5", longest=context), PROMPT) == left.text


def test_answer_start_and_user_tokens_have_their_room_beside_a_prompt() -> None:
    model = language_model("gpt2", longest=23 + 1 + 8 + 2)
    assert read(model, PROMPT, user_ids(2)) == PROMPT.text
    assert read(model, PROMPT, user_ids(3)) == replace(PROMPT, items=("dogs travel", "a")).text


def test_a_context_too_short_for_instruction_and_cue_is_refused_with_what_would_help() -> None:
    with pytest.raises(
        InputError, match="are 9 tokens and leave none of 9 for the query: use --max-tokens 10 "
    ):
        read(language_model("t5", longest=9), PROMPT)
    assert read(language_model("t5", longest=10), PROMPT)
