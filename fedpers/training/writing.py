"""What a language model writes in answer to many people's samples, in common batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from fedpers.data import Ints
from fedpers.models import Examples, Model, Writing, answer_tokens, user_tokens
from fedpers.seeds import torch_stream
from fedpers.training.stack import batch_of

Using = Callable[[Ints], AbstractContextManager[None]]

_TOGETHER = 64  # samples


def write(
    model: Model, examples: Examples, how: Writing | None = None, using: Using | None = None
) -> list[list[str]]:
    """Returns the model's answers to each sample, best first, without blanks around them.

    Args:
        model: A language model.
        examples: The samples, without answers.
        how: How answers are searched for, if not as the model's settings have it.
        using: Gives the block within which samples at some positions are read, such as their owners'
            adapters.
    """
    how = how or model.writing
    found: list[list[str]] = [[] for _ in examples.ids]
    model.module.train(False)
    by_length = np.argsort([len(sample) for sample in examples.ids], kind="stable")
    for start in range(0, len(examples), _TOGETHER):
        rows = by_length[start : start + _TOGETHER]
        with using(rows) if using else nullcontext():
            texts = _written(model, examples, rows, how, start)
        for place, row in enumerate(rows):
            found[row] = texts[place * how.candidates : (place + 1) * how.candidates]
    return found


def choose(model: Model, examples: Examples, choices: Sequence[str], using: Using | None = None) -> Ints:
    """Returns which of some answers is the most likely one to each sample (samples,).

    Args:
        model: A language model.
        examples: The samples, without answers.
        choices: The answers there are, by the sum of the log probabilities of all their tokens.
        using: As in `write`.
    """
    likely = np.empty((len(examples), len(choices)), dtype=np.float32)
    answers = answer_tokens(model, choices)
    reader = model.reader()
    model.module.train(False)
    by_length = np.argsort([len(sample) for sample in examples.ids], kind="stable")
    together = max(1, 4 * _TOGETHER // len(choices))
    for start in range(0, len(examples), together):
        rows = by_length[start : start + together]
        repeated = np.repeat(rows, len(choices))
        batch = batch_of(model, [(_with_each(model, examples, rows, answers), np.arange(len(repeated)))])
        with torch.inference_mode(), model.autocast(), using(repeated) if using else nullcontext():
            scores = reader(batch.inputs.of(0)).float().log_softmax(dim=-1)
        each = scores.gather(2, batch.labels[0][..., None])[..., 0] * (batch.weights[0] > 0)
        likely[rows] = each.sum(dim=1).view(len(rows), len(choices)).cpu().numpy()
    found: Ints = likely.argmax(axis=1)
    return found


def _with_each(model: Model, examples: Examples, rows: Ints, answers: Sequence[list[int]]) -> Examples:
    """Returns each of some samples with each of some answers."""
    behind = not model.module.config.is_encoder_decoder
    vectors = None if examples.vectors is None else np.repeat(examples.vectors[rows], len(answers), axis=0)
    return Examples(
        [[*examples.ids[row], *(answer[:-1] if behind else ())] for row in rows for answer in answers],
        np.zeros(len(rows) * len(answers), dtype=np.int64),
        vectors,
        [answer for _ in rows for answer in answers],
    )


def _written(model: Model, examples: Examples, rows: Ints, how: Writing, number: int) -> list[str]:
    tokenizer, device = model.tokenizer, model.module.device
    longest = max(len(examples.ids[row]) for row in rows)
    ids = torch.full((len(rows), longest), int(tokenizer.pad_token_id))
    mask = torch.zeros_like(ids)
    behind = model.module.config.is_encoder_decoder
    for place, row in enumerate(rows):
        sample = torch.tensor(examples.ids[row])
        where = slice(0, len(sample)) if behind else slice(longest - len(sample), longest)
        ids[place, where], mask[place, where] = sample, 1
    vectors = torch.zeros(len(rows), 0, 0)
    if examples.vectors is not None:
        vectors = torch.from_numpy(examples.vectors[rows])
    draw = {"do_sample": True, "temperature": how.temperature, "top_k": how.top_k, "top_p": how.top_p}
    config = GenerationConfig(  # type: ignore[no-untyped-call]  # theirs
        max_new_tokens=model.answer_tokens,
        num_beams=1 if how.sample else how.candidates,
        num_return_sequences=how.candidates,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        decoder_start_token_id=getattr(model.module.config, "decoder_start_token_id", None),
        **(draw if how.sample else {"do_sample": False}),
    )
    with (
        torch.inference_mode(),
        model.autocast(),
        user_tokens(model.module, vectors.to(device)),
        torch_stream((how.seed + number) % 2**32),
    ):
        generate: Any = model.module.generate
        whole = generate(input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config)
    new = whole if behind else whole[:, longest:]
    return [text.strip() for text in tokenizer.batch_decode(new, skip_special_tokens=True)]
