"""Steps that hide each sample (DP-SGD); the references are ordinary training and closed forms."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedpers.dp import SampleNoise
from fedpers.errors import FedpersError, InputError
from fedpers.models import Arrays, Examples, Gaussian, extract
from fedpers.models.adapters import Lora
from fedpers.training import Pass, Plan, fit, fit_devices
from tests.training import test_distributions as drawn
from tests.training.private_kinds import CLASSIFIERS, KINDS, Devices, devices
from tests.training.test_stack import largest_difference, model_of

NOISE = SampleNoise(clip=0.1, noise_multiplier=0.5)
SGD = Plan("sgd", 0.5, epochs=2, batch_size=3, momentum=0.9, noise=NOISE)
PLANS = {
    "sgd": SGD,
    "sgd, clipped": replace(SGD, clip=0.05, radius=0.2),
    "adamw": Plan("adamw", 1e-2, epochs=2, batch_size=3, weight_decay=0.1, warmup_share=0.2, noise=NOISE),
}
TABLE = "bert.embeddings.word_embeddings.weight"


def of(found: Devices, plan: Plan) -> Plan:
    return replace(plan, masking=found.masking, frozen=found.frozen)


def norm(change: Arrays) -> float:
    return math.hypot(*(float(np.linalg.norm(array.astype(float))) for array in change.values()))


def minus(found: Arrays, start: Arrays) -> Arrays:
    return {name: array - start[name] for name, array in found.items()}


# Together as alone


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("kind", KINDS)
def test_devices_learn_together_what_each_learns_alone(kind: str, plan: str) -> None:
    known = devices(kind)
    own = of(known, PLANS[plan])
    together = known.fitted(own, range(5))
    for person, (arrays, passes) in enumerate(together):
        [(alone, expected)] = known.fitted(own, [person])
        assert largest_difference(arrays, alone) < 1e-5
        assert [p.samples for p in passes] == [p.samples for p in expected]
        assert [p.loss for p in passes] == pytest.approx([p.loss for p in expected], abs=1e-5)


@pytest.mark.parametrize("kind", ["whole", "lora"])
def test_a_device_is_the_same_to_whichever_cohort_it_belongs(kind: str) -> None:
    known = devices(kind)
    [_, (one, _)] = known.fitted(SGD, [0, 2])
    [(other, _), *_] = known.fitted(SGD, [2, 4, 3])
    assert largest_difference(one, other) < 1e-5


def test_another_draw_gives_other_noise_and_the_same_one_the_same_bits() -> None:
    known = devices("whole")
    [(one, _)], [(same, _)], [(other, _)] = (known.fitted(SGD, [2], seed) for seed in (7, 7, 8))
    assert largest_difference(one, same) == 0
    assert largest_difference(one, other) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_a_batch_give_the_batchs_step(kind: str) -> None:
    known = devices(kind)
    plan = of(known, SGD)
    pieces = known.fitted(replace(plan, micro_batch=1), range(5))
    for (found, _), (expected, _) in zip(pieces, known.fitted(plan, range(5)), strict=True):
        assert largest_difference(found, expected) < 1e-5


def test_epoch_after_epoch_in_place_is_the_plan_in_one_go() -> None:
    known = devices("whole")
    [(expected, passes)] = known.fitted(SGD, [2])
    model = model_of("bert")
    assert list(fit(model, known.parts[2], SGD, np.random.default_rng([7, 2]))) == passes
    assert largest_difference(extract(model.module), expected) < 1e-6


# Without noise and bound


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_all_samples_without_noise_or_bound_are_a_full_batch(kind: str) -> None:
    known = devices(kind, dropout=0.0)
    plan = Plan("sgd", 0.1, epochs=3, batch_size=10, momentum=0.9)
    hidden = replace(plan, noise=SampleNoise(math.inf, 0.0))
    pairs = zip(known.fitted(hidden, range(5)), known.fitted(plan, range(5)), strict=True)
    for (found, passes), (expected, known_passes) in pairs:
        assert largest_difference(found, expected) < 1e-6
        assert [p.loss for p in passes] == pytest.approx([p.loss for p in known_passes], abs=1e-6)


def test_a_penalty_is_added_behind_the_bound() -> None:
    # By hand: a bound of next to nothing leaves only the penalty's gradient, w * mean / coordinates.
    family, start = Gaussian(0.2, divergence_weight=3.0), Gaussian().start(drawn.TOKENS, drawn.WIDTH)
    plan = Plan("sgd", 0.5, epochs=1, batch_size=10, noise=SampleNoise(1e-9, 0.0))
    [(found, _)] = fit_devices(
        drawn.frozen(), [start], drawn.parts_of(2)[1:], plan, [np.random.default_rng(0)], family
    )
    expected = start["mean"] * (1 - 0.5 * 3.0 / start["mean"].size)
    np.testing.assert_allclose(np.asarray(found["mean"]), expected, rtol=0, atol=1e-7)


# The bound


def summed(known: Devices, part: Examples, clip: float) -> Arrays:
    """Returns the sum of all samples' bounded gradients, from one step of plain descent at rate 1."""
    plan = Plan("sgd", 1.0, 1, batch_size=100, noise=SampleNoise(clip, 0.0))
    start = known.starts[0]
    [(found, _)] = fit_devices(known.model, [start], [part], plan, [np.random.default_rng(0)], known.personal)
    return {name: (start[name] - np.asarray(array)) * len(part) for name, array in found.items()}


def taken(part: Examples, rows: list[int]) -> Examples:
    answers = None if part.answers is None else [part.answers[row] for row in rows]
    return Examples([part.ids[row] for row in rows], part.labels[rows], answers=answers)


@pytest.mark.parametrize("kind", ["whole", "whole, tied", "lora"])
@settings(max_examples=6, deadline=None)
@given(left_out=st.integers(0, 6), scale=st.floats(-3, 1))
def test_one_sample_more_or_less_moves_the_sum_by_no_more_than_the_bound(
    kind: str, left_out: int, scale: float
) -> None:
    known, clip = devices(kind, dropout=0.0), 10**scale
    part = max(known.parts, key=len)
    rest = [row for row in range(len(part)) if row != left_out]
    whole, without = summed(known, part, clip), summed(known, taken(part, rest), clip)
    rounding = 1e-5  # of the parameters, which are the sum's minuend
    assert norm(minus(whole, without)) <= clip + rounding
    alone = norm(summed(known, taken(part, [left_out]), clip))
    assert alone == pytest.approx(
        min(clip, norm(summed(known, taken(part, [left_out]), math.inf))), abs=rounding
    )


def test_parameters_that_stay_have_no_share_of_the_bound() -> None:
    # A bound far below every gradient: the whole of it is the head's where the encoder is frozen.
    known = devices("whole", dropout=0.0)
    plan = Plan("sgd", 1.0, 1, 100, noise=SampleNoise(1e-2, 0.0), frozen=("encoder",))
    one = taken(known.parts[0], [0])
    [(found, _)] = fit_devices(known.model, [known.starts[0]], [one], plan, [np.random.default_rng(0)])
    moved = minus({name: np.asarray(array) for name, array in found.items()}, known.starts[0])
    assert {name for name, change in moved.items() if change.any()} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert norm(moved) == pytest.approx(1e-2, rel=1e-4)


class Fixed:
    """A draw of one step, of all samples with a key."""

    def __init__(self, key: int) -> None:
        self._key = key

    def random(self, size: int) -> Any:
        return np.zeros(size)

    def integers(self, high: int) -> int:
        return self._key


def test_which_words_a_sample_hides_does_not_depend_on_the_samples_beside_it() -> None:
    # The sum over three samples is the sum of three sums over one.
    known = devices("hidden words", dropout=0.0)
    plan = of(known, Plan("sgd", 1.0, 1, batch_size=100, noise=SampleNoise(math.inf, 0.0)))
    part, start = known.parts[0], known.starts[0]

    def moved(rows: list[int], key: int) -> Arrays:
        own = Examples(
            [part.ids[r] for r in rows], part.labels[rows], owner=np.zeros(len(rows), dtype=np.int64)
        )
        draw: Any = Fixed(key)
        [(found, _)] = fit_devices(known.model, [start], [own], plan, [draw])
        return {name: (np.asarray(array) - start[name]) * len(rows) for name, array in found.items()}

    together = moved([0, 1, 2], 100)
    apart = [moved([row], 100 + row) for row in range(3)]
    expected = {name: sum(own[name] for own in apart) for name in together}
    assert largest_difference(together, expected) < 1e-5  # type: ignore[arg-type]  # arrays


# Samples


def drawn_of(samples: int, plan: Plan, devices: int) -> list[Pass]:
    """Returns the only epoch of many devices with one and the same text, often enough."""
    part = Examples([[5, -1, -2, 6]] * samples, np.zeros(samples, dtype=np.int64))
    start = Gaussian().start(drawn.TOKENS, drawn.WIDTH)
    draws = [np.random.default_rng([9, device]) for device in range(devices)]
    found = fit_devices(drawn.frozen(), [start] * devices, [part] * devices, plan, draws, Gaussian())
    return [passed for _, [passed] in found]


def test_steps_draw_the_batch_size_on_average_each_sample_by_itself() -> None:
    # Binomial, of 20 samples at 1/4: mean 5, variance 15/4; six standard errors of 400 draws.
    plan = replace(SGD, epochs=1, steps=1, batch_size=5)
    counts = np.array([passed.samples for passed in drawn_of(20, plan, 400)])
    assert counts.mean() == pytest.approx(5, abs=6 * math.sqrt(15 / 4 / 400))
    assert counts.var() == pytest.approx(15 / 4, rel=0.4)


def test_a_device_with_fewer_samples_than_a_batch_takes_all_of_them_in_every_step() -> None:
    assert {p.samples for p in drawn_of(4, replace(SGD, epochs=1, batch_size=5), 10)} == {4}


def test_a_pass_has_as_many_steps_as_without_noise() -> None:
    # 10 steps of 2 of 20 samples: 20 on average.
    counts = [p.samples for p in drawn_of(20, replace(SGD, epochs=1, batch_size=2), 60)]
    assert np.mean(counts) == pytest.approx(20, abs=6 * math.sqrt(18 / 60))


@pytest.mark.parametrize("multiplier", [0.0, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_without_a_sample_are_harmless(kind: str, multiplier: float) -> None:
    # Batches of 1/20 of a sample on average; what moves then is noise alone.
    known = devices(kind)
    plan = of(known, replace(SGD, epochs=1, noise=SampleNoise(0.1, multiplier)))
    seldom = replace(known, parts=[pooled(part, 40) for part in known.parts])
    found = seldom.fitted(replace(plan, batch_size=1, steps=1), range(5), seed=8)
    assert 0 in {passes[0].samples for _, passes in found}
    for (arrays, [passed]), start in zip(found, known.starts, strict=True):
        assert all(np.isfinite(array).all() for array in arrays.values())
        if not passed.samples:
            assert passed == Pass(0, 0.0)
            assert (norm(minus(arrays, start)) > 0) == (multiplier > 0)


def pooled(part: Examples, times: int) -> Examples:
    """Returns samples many times over."""
    answers = None if part.answers is None else part.answers * times
    owner = None if part.owner is None else np.tile(part.owner, times)
    return replace(
        part, ids=part.ids * times, labels=np.tile(part.labels, times), answers=answers, owner=owner
    )


# The noise


@pytest.mark.parametrize(("steps", "batch_size"), [(1, 100), (4, 2)])
def test_words_of_no_text_move_by_the_noise_of_every_step(steps: int, batch_size: int) -> None:
    # Their gradient is 0, so by hand: rate * multiplier * clip / batch * root of the steps.
    known = devices("whole")
    part = max(known.parts, key=len)
    noise = SampleNoise(clip=0.3, noise_multiplier=2.0)
    plan = Plan("sgd", 0.5, epochs=10, batch_size=batch_size, steps=steps, noise=noise)
    [(found, _)] = fit_devices(known.model, [known.starts[0]], [part], plan, [np.random.default_rng(1)])
    table = np.asarray(found[TABLE]) - known.starts[0][TABLE]
    unread = np.setdiff1d(np.arange(len(table)), np.concatenate([np.array(ids) for ids in part.ids]))
    expected = 0.5 * 2.0 * 0.3 / min(batch_size, len(part)) * math.sqrt(steps)
    numbers = table[unread]
    assert numbers.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * numbers.size))
    assert abs(numbers.mean()) < 5 * expected / math.sqrt(numbers.size)
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.1


def test_the_noise_of_two_devices_is_not_the_same() -> None:
    known = devices("whole")
    one, other = (arrays[TABLE] - known.starts[0][TABLE] for arrays, _ in known.fitted(SGD, [1, 2]))
    unread = np.abs(one).max(axis=1) > 0
    assert abs(np.corrcoef(one[unread].ravel(), other[unread].ravel())[0, 1]) < 0.2


# What is refused


def test_a_model_that_normalises_over_a_batch_is_refused() -> None:
    model = model_of("bert")
    model.module.get_submodule("bert").add_module("mixing", nn.BatchNorm1d(4))
    known = replace(devices("whole"), model=model)
    with pytest.raises(
        InputError, match=r"^the layer bert\.mixing \(BatchNorm1d\) mixes .*: use .* layer norm"
    ):
        known.fitted(SGD, [0])
    known.fitted(replace(SGD, noise=None), [0])


@pytest.mark.parametrize("multiplier", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["whole", "lora"])
def test_training_that_leaves_a_parameter_as_it_was_is_an_error(
    kind: str, multiplier: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim.SGD, "step", lambda optimizer: None)
    known = devices(kind)
    name = next(iter(known.starts[0]))
    with pytest.raises(FedpersError, match=f"left {name} as it was, bit for bit"):
        known.fitted(replace(SGD, noise=SampleNoise(0.1, multiplier)), [0, 2])


def test_one_parameter_that_noise_did_not_move_is_enough_for_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = torch.optim.SGD.step

    def forgetful(optimizer: torch.optim.SGD) -> None:
        optimizer.param_groups[0]["params"][1].grad = None
        step(optimizer)

    monkeypatch.setattr(torch.optim.SGD, "step", forgetful)
    known = devices("lora")
    with pytest.raises(FedpersError, match=f"left {list(known.starts[0])[1]} as it was"):
        known.fitted(SGD, [0])


def test_numbers_that_are_not_finite_name_their_parameter() -> None:
    known = devices("whole")
    start = {**known.starts[0], TABLE: np.full_like(known.starts[0][TABLE], np.nan)}
    with pytest.raises(FedpersError, match=r"made numbers of .* that are not finite"):
        replace(known, starts=[start]).fitted(SGD, [0])


@pytest.mark.parametrize(
    "plan",
    [
        replace(SGD, learning_rate=0.0),
        replace(SGD, frozen=("encoder",)),
        replace(SGD, factors=(("encoder", 0.0),)),
    ],
    ids=["rate", "frozen", "factor"],
)
def test_what_is_not_to_move_may_stay(plan: Plan) -> None:
    known = devices("whole")
    [(arrays, _)] = known.fitted(plan, [2])
    assert (arrays[TABLE] == known.starts[2][TABLE]).all()


def test_a_fresh_adapter_without_noise_moves_by_half_in_its_first_step() -> None:
    # Of B A, where B is 0, A has no gradient yet.
    known, lora = devices("lora"), Lora(rank=2, alpha=4.0)
    start = lora.start(known.model.module, 0)
    plan = replace(SGD, epochs=1, steps=1, batch_size=10, noise=SampleNoise(0.1, 0.0))
    [(arrays, _)] = replace(known, starts=[start] * 5).fitted(plan, [2])
    assert {name[-1] for name, change in minus(arrays, start).items() if change.any()} == {"B"}
