"""People's samples as a model reads them; for a language model with the words it is to write.

A causal model reads text and answer as one sequence; an encoder-decoder reads the text, and its decoder the
answer. Of a text that is too long the beginning is cut, for the words before the answer say most about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from fedpers.data import Ints, Samples
from fedpers.errors import InputError
from fedpers.models.encoding import Examples, special_tokens
from fedpers.models.loading import Model
from fedpers.prompting import Prompt

# Stands between a text and its answer where one sequence has both: without it a causal model could not tell
# the end of the text from the end of an answer. (The mark is our choice.)
_CUE = " |"

Frame = tuple[list[int], list[int]]  # what stands before a text and behind it


def encode(
    model: Model, samples: Samples, prefix: Sequence[int] = (), suffix: Sequence[int] = ()
) -> Examples:
    """Encodes texts as leading special tokens, prefix, text, suffix, trailing special tokens.

    The text is truncated at its end so that the whole prefix and suffix fit. A language model's samples come
    with their answers where these are known, and are truncated at their beginning.

    Args:
        model: Whose tokenizer and length limit hold.
        samples: The texts.
        prefix: Token ids that go before every text, inserted as they are.
        suffix: Token ids that go behind every text.

    Raises:
        InputError: Prefix and suffix leave no room for text.
    """
    if model.writes:
        cue = "" if model.module.config.is_encoder_decoder else _CUE
        tokens = model.tokens([text + cue for text in samples.texts])
        return written(model, tokens, samples.labels, samples.targets, ([*prefix], [*suffix]))
    leading, trailing = special_tokens(model)
    added = len(prefix) + len(suffix)
    room = model.max_tokens - len(leading) - len(trailing) - added
    if room < 1:
        raise InputError(
            f"{added} tokens beside the text leave no room for it within {model.max_tokens} tokens: "
            f"use at most {added + room - 1}"
        )
    head, tail = [*leading, *prefix], [*suffix, *trailing]
    tokens = model.tokens(samples.texts)
    return Examples([[*head, *text[:room], *tail] for text in tokens], samples.labels)


def written(
    model: Model,
    bodies: Sequence[Sequence[int]],
    labels: Ints,
    targets: Sequence[str] | None,
    frame: Frame | None = None,
    longest: int | None = None,
    first: Sequence[int] = (),
) -> Examples:
    """Returns texts of token ids with their answers.

    Args:
        model: The language model.
        bodies: Token ids of the texts; of those that are too long the beginning is cut.
        labels: Class numbers (samples,), for the record.
        targets: The answers; None where they are not known, as for prediction.
        frame: Token ids that stand before and behind every text, inserted as they are.
        longest: Tokens that answers are cut to, their end included, if not the model's `answer_tokens`.
        first: Token ids that stand before everything, special tokens included, as peft's prompts do.

    Raises:
        InputError: What stands beside the text leaves no room for it.
    """
    before, behind = frame or ([], [])
    leading, trailing = reading_frame(model)
    head, tail = [*first, *leading, *before], [*behind, *trailing]
    beside = len(first) + len(before) + len(behind)
    room = text_room(model) - beside
    if room < 1:
        raise InputError(
            f"{beside} tokens beside the text leave no room for it within "
            f"{text_room(model)} tokens: use at most {text_room(model) - 1}"
        )
    texts = [[*head, *body[max(0, len(body) - room) :], *tail] for body in bodies]
    if targets is None:
        return Examples(texts, labels)
    answers = answer_tokens(model, targets, longest)
    if not model.module.config.is_encoder_decoder:
        texts = [[*text, *answer[:-1]] for text, answer in zip(texts, answers, strict=True)]
    return Examples(texts, labels, answers=answers)


def text_room(model: Model) -> int:
    """Returns how many tokens a text may have, beside special tokens and the answer."""
    leading, trailing = reading_frame(model)
    behind = 0 if model.module.config.is_encoder_decoder else model.answer_tokens
    return model.max_tokens - len(leading) - len(trailing) - behind


def reading_frame(model: Model) -> Frame:
    """Returns the special tokens before and behind a text; a causal model has something to start from."""
    leading, trailing = special_tokens(model)
    if model.module.config.is_encoder_decoder:
        return leading, trailing
    start = model.tokenizer.bos_token_id
    return leading or [int(model.tokenizer.eos_token_id if start is None else start)], []


def answer_tokens(model: Model, targets: Sequence[str], longest: int | None = None) -> list[list[int]]:
    """Returns the tokens of answers, each with the end token, cut to so many or the model's own limit."""
    leading, trailing = special_tokens(model) if model.module.config.is_encoder_decoder else ([], [])
    end = trailing or [int(model.tokenizer.eos_token_id)]
    room = (longest or model.answer_tokens) - len(leading) - len(end)
    space = "" if model.module.config.is_encoder_decoder else gap(model)
    texts = model.tokens([space + target for target in targets])
    return [[*leading, *text[:room], *end] for text in texts]


def gap(model: Model) -> str:
    """Returns what must stand before a word so that its tokens are those it has within a text.

    A byte-level vocabulary has words with the space before them; others add it by themselves.
    """
    within, first, second = model.tokens(["a a", "a", " a"])
    return " " if within == [*first, *second] else ""


def next_tokens(model: Model, texts: Sequence[str], first: Sequence[int]) -> Examples:
    """Returns texts that are to be written word by word, from nothing but what stands before them."""
    longest = text_room(model) + model.answer_tokens - len(first)
    if model.module.config.is_encoder_decoder:
        longest = text_room(model)
    nothing: list[list[int]] = [[] for _ in texts]
    labels = np.zeros(len(texts), np.int64)
    return written(model, nothing, labels, texts, longest=longest, first=first)


def prompted(
    model: Model,
    prompts: Sequence[Prompt],
    labels: Ints,
    targets: Sequence[str] | None,
    first: Sequence[int],
) -> Examples:
    """Returns prompts with their answers, as `written` returns texts.

    Of a prompt that is too long the history's last items go first, then the profile, then the query's end;
    instruction and answer cue are never cut.

    Args:
        model: The language model.
        prompts: The prompts.
        labels: Class numbers (samples,), for the record.
        targets: The answers; None where they are not known, as for prediction.
        first: Token ids that stand before every prompt and its special tokens.

    Raises:
        InputError: Instruction and answer cue leave no room for the query.
    """
    room = text_room(model) - len(first)
    if room < 1:
        raise InputError(
            f"{len(first)} tokens before a prompt leave no room for it: use fewer than {text_room(model)}"
        )
    return written(model, [_body(model, one, room) for one in prompts], labels, targets, first=first)


def _body(model: Model, prompt: Prompt, room: int) -> list[int]:
    """Returns a prompt's tokens, cut to a room."""
    instruction, cue, line = model.tokens([_line(prompt.instruction), prompt.cue, "\n"])
    left = room - len(instruction) - len(cue) - len(line)
    if left < 1:
        raise InputError(
            f"instruction and answer cue are {room - left} tokens and leave none of {room} for the query: "
            f"use --max-tokens {model.max_tokens + 1 - left} or more on a model that reads as many, a "
            "shorter instruction, or a smaller model.answer_tokens"
        )
    [query] = model.tokens([prompt.query])
    query = [*query[:left], *line] if prompt.query else []
    left += len(line) - len(query)
    blocks = []
    for block in model.tokens([_line(block) for block in (prompt.profile, *prompt.items)]):
        kept = max(0, left - len(line))  # of a block that is cut: its line ends nevertheless
        blocks.append(block if len(block) <= left else [*block[:kept], *(line if kept else [])])
        left -= len(blocks[-1])
    return [*chain.from_iterable(blocks), *instruction, *query, *cue]


def _line(block: str) -> str:
    return f"{block}\n" if block else ""
