"""Writers' prompts on the device; the references are a device alone, and torch's own AdamW."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn import functional

from fedpers.clients import WriterPrompts
from fedpers.data import Samples
from fedpers.method import Device, Shared, State, Update
from fedpers.models import (
    MASKED_WORDS,
    OWN,
    PROMPT,
    Arrays,
    MaskedHead,
    Masking,
    Model,
    ModelSpec,
    extract,
    groups_of,
    load,
    rows,
    specify,
    whole,
)
from fedpers.models.soft_prompts import Placement, SoftPrompts
from fedpers.settings import ModelSettings
from fedpers.training import Plan
from fedpers.training.stack import batch_of
from tests.models.encoders import PLACEMENTS

every_placement = pytest.mark.parametrize("placement", PLACEMENTS)
TEXTS = ["the cat sat on the mat", "a dog ran to a mat", "the dog sat", "cat and dog ran on", "the mat"]
OWN_PLAN = Plan("adamw", 5e-3, 2, 2, weight_decay=0.1)
SHARED_PLAN = Plan("sgd", 0.1, 1, 2, momentum=0.5, frozen=(MASKED_WORDS, "own"))


@cache
def spec(placement: Placement, dropout: float = 0.1) -> ModelSpec:
    settings = ModelSettings(hidden_size=16, heads=2, layers=2, max_tokens=20, dropout=dropout)
    additions = (SoftPrompts(placement, 3, inner=6, spread=0.5), MaskedHead())
    return specify(settings, ["a", "b"], 0, TEXTS * 3, additions=additions)


@cache
def model_of(placement: Placement, dropout: float = 0.1) -> Model:
    return load(spec(placement, dropout))


def client(placement: Placement, shared: Plan | None, own: Plan | None) -> WriterPrompts:
    return WriterPrompts(0 if placement == "prefix" else 3, shared, own)


def states(model: Model, people: int) -> list[State]:
    """Returns prompts that differ."""
    shape = model.module.get_parameter(PROMPT).shape[1:]
    draw = np.random.default_rng(4)
    return [{PROMPT: draw.normal(size=shape).astype(np.float32)} for _ in range(people)]


def device(person: int, state: State, round: int = 1) -> Device:
    """Returns a writer of 3, 4 or 5 texts."""
    count = 3 + person % 3
    texts = [TEXTS[(person + n) % len(TEXTS)] for n in range(count)]
    draw = np.random.default_rng([person, round])
    return Device(person, Samples(texts, np.arange(count) % 2), state, draw)


def largest_difference(found: State, expected: State) -> float:
    assert found.keys() == expected.keys()
    return max(float(np.abs(a.astype(float) - expected[n].astype(float)).max()) for n, a in found.items())


def updates(model: Model, uploads: Sequence[object]) -> list[Arrays]:
    start = extract(model.module)
    assert all(isinstance(upload, Update) for upload in uploads)
    return [whole(upload.arrays, start) for upload in uploads if isinstance(upload, Update)]


# Together as alone


@pytest.mark.parametrize(("masked", "clip"), [(False, None), (True, 0.05)], ids=["task", "hidden words"])
@every_placement
def test_writers_learn_together_what_each_learns_alone_over_two_rounds(
    placement: Placement, masked: bool, clip: float | None
) -> None:
    # Of 3, 4 and 5 texts, the second of them with a round more behind them.
    masking = Masking(0.3) if masked else None
    frozen = ("head", "own") if masked else SHARED_PLAN.frozen
    own = replace(OWN_PLAN, masking=masking, clip=clip)
    half = client(placement, replace(SHARED_PLAN, masking=masking, frozen=frozen, clip=clip), own)
    model = model_of(placement)
    arrays = extract(model.module)

    def ahead(person: int, state: State) -> State:
        return half.train(Shared(model, arrays), [device(person, state, 0)])[1][0]

    together = states(model, 3)
    alone = [*together]
    together[1] = alone[1] = ahead(1, together[1])
    for round in (1, 2):
        cohort = [device(person, state, round) for person, state in enumerate(together)]
        uploads, together = half.train(Shared(model, arrays), cohort)
        for person, sent in enumerate(updates(model, uploads)):
            [upload], [alone[person]] = half.train(
                Shared(model, arrays), [device(person, alone[person], round)]
            )
            [expected] = updates(model, [upload])
            assert largest_difference(sent, expected) < 1e-5
            assert largest_difference(together[person], alone[person]) < 1e-5
    few, more = (float(state[f"memory/{PROMPT}/step"].astype(float)) for state in together[:2])
    assert more > few


@pytest.mark.parametrize("clip", [None, 0.02])
@pytest.mark.parametrize("persons", [[2], [0, 1, 2]], ids=["one writer", "three writers"])
@every_placement
def test_two_rounds_of_a_prompt_are_one_run_of_torchs_adamw(
    placement: Placement, persons: list[int], clip: float | None
) -> None:
    # All of a writer's texts in each batch, so that their order does not matter.
    plan = Plan("adamw", 1e-2, 3, 10, weight_decay=0.1, clip=clip)
    half, model = client(placement, None, plan), model_of(placement, 0.0)
    arrays, first = extract(model.module), states(model, 3)
    after = [first[person] for person in persons]
    for round in (1, 2):
        cohort = [device(person, state, round) for person, state in zip(persons, after, strict=True)]
        uploads, after = half.train(Shared(model, arrays), cohort)
        assert not uploads
    for person, state in zip(persons, after, strict=True):
        examples = half.encode(model, device(person, {}))
        batch = batch_of(model, [(examples, np.arange(len(examples)))])
        with rows(model.module, [first[person]], trained=True) as tables:
            prompt = tables[PROMPT]
            reference = torch.optim.AdamW([prompt], lr=1e-2, weight_decay=0.1)
            for _ in range(6):
                loss = functional.cross_entropy(
                    model.reader()(batch.inputs.of(0))[:, 0], batch.labels[0, :, 0]
                )
                [prompt.grad] = torch.autograd.grad(loss, [prompt])
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_([prompt], clip)
                reference.step()
            expected = prompt.detach()[0].numpy().copy()
            prompt.grad = None
        before, now = (np.asarray(of[PROMPT], np.float32) for of in (first[person], state))
        assert np.abs(now - before).max() > 1e-2
        np.testing.assert_allclose(now, expected, rtol=0, atol=1e-5)
        assert state[f"memory/{PROMPT}/step"] == 6


def test_what_the_optimizer_remembers_is_of_one_phase() -> None:
    plan = Plan("adamw", 1e-2, 2, 10)
    half, model = client("prefix", None, plan), model_of("prefix", 0.0)
    arrays = extract(model.module)

    def after(state: State, phase: int) -> State:
        return half.train(Shared(model, arrays, phase=phase), [device(0, state, 1)])[1][0]

    first = after(states(model, 1)[0], 0)
    fresh = after({PROMPT: first[PROMPT]}, 1)
    in_another, in_the_same = after(first, 1), after(first, 0)
    assert np.array_equal(in_another[PROMPT], fresh[PROMPT])
    assert not np.array_equal(in_the_same[PROMPT], fresh[PROMPT])
    assert in_the_same[f"memory/{PROMPT}/step"] == 2 * in_another[f"memory/{PROMPT}/step"]


# What moves and what does not


@every_placement
def test_while_a_prompt_learns_alone_nothing_else_moves(placement: Placement) -> None:
    half, model = client(placement, None, OWN_PLAN), model_of(placement)
    before = {name: p.detach().clone() for name, p in model.module.named_parameters()}
    first = states(model, 2)
    _, after = half.train(Shared(model, extract(model.module)), [device(n, s) for n, s in enumerate(first)])
    assert all(torch.equal(p, before[name]) for name, p in model.module.named_parameters())
    assert all(not np.array_equal(a[PROMPT], b[PROMPT]) for a, b in zip(after, first, strict=True))


@pytest.mark.parametrize(
    ("masked", "encoder", "moved"),
    [
        (False, "tuned", {"encoder", "writer_prompts", "head"}),
        (False, "frozen", {"writer_prompts", "head"}),
        (True, "tuned", {"encoder", "writer_prompts", "masked_words"}),
        (True, "frozen", {"writer_prompts", "masked_words"}),
    ],
)
@every_placement
def test_what_is_frozen_moves_by_no_bit(
    placement: Placement, masked: bool, encoder: str, moved: set[str]
) -> None:
    # With weight decay, which moves whatever an optimizer has.
    unused = "head" if masked else MASKED_WORDS
    frozen = (unused, "own", *(["encoder"] if encoder == "frozen" else []))
    masking = Masking(0.3) if masked else None
    plan = Plan("adamw", 1e-3, 2, 2, weight_decay=0.1, frozen=frozen, masking=masking)
    half, model = client(placement, plan, None), model_of(placement)
    arrays, groups = extract(model.module), groups_of(model.module)
    first = states(model, 2)
    uploads, after = half.train(Shared(model, arrays), [device(n, s) for n, s in enumerate(first)])
    for sent in updates(model, uploads):
        found = {groups[name] for name, array in sent.items() if not np.array_equal(array, arrays[name])}
        assert found == moved
    assert all(np.array_equal(a[PROMPT], b[PROMPT]) for a, b in zip(after, first, strict=True))


@every_placement
def test_an_update_has_no_name_of_a_writers_own(placement: Placement) -> None:
    half, model = client(placement, SHARED_PLAN, OWN_PLAN), model_of(placement)
    uploads, after = half.train(
        Shared(model, extract(model.module)), [device(n, s) for n, s in enumerate(states(model, 2))]
    )
    for upload in uploads:
        assert isinstance(upload, Update)
        assert not [name for name in upload.arrays if name.endswith(OWN) or name.startswith("memory/")]
    assert all(f"memory/{PROMPT}/exp_avg" in state for state in after)


# Answers


@every_placement
def test_everyone_is_answered_with_their_own_prompt(placement: Placement) -> None:
    # Two writers of the same texts whose prompts learned one label each; weights are large, for small
    # random ones would hardly hear a prompt.
    plan = Plan("adamw", 0.1, 20, 10)
    half, model = client(placement, None, plan), model_of(placement, 0.0)
    arrays = {name: array * (10 if array.ndim > 1 else 1) for name, array in extract(model.module).items()}
    shared, first = Shared(model, arrays), states(model, 1)[0]
    writers = [device(0, first), device(0, first)]
    for label, writer in enumerate(writers):
        writer.samples.labels[:] = label
    _, after = half.train(shared, writers)
    asked = [replace(writer, state=state) for writer, state in zip(writers, after, strict=True)]
    found = [np.asarray(answers).tolist() for answers in half.predict(shared, asked)]
    assert found[0] != found[1]
    assert [np.asarray(half.predict(shared, [one])[0]).tolist() for one in asked] == found


def test_everyone_starts_from_a_copy_of_the_models_one_row() -> None:
    model = model_of("prefix")
    enrolment = client("prefix", None, OWN_PLAN).enrol(model, None, 0)  # type: ignore[arg-type]  # asks nothing of people
    row = model.module.get_parameter(PROMPT)
    assert np.array_equal(enrolment(0)[PROMPT], row[0].detach().numpy())
    assert not np.shares_memory(enrolment(0)[PROMPT], row.detach().numpy())
