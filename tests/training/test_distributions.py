"""Distributions of user embeddings fitted on a frozen model, alone, in a stack, and against plain torch."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from fedpers.errors import FedpersError
from fedpers.models import Arrays, Beta, Examples, Family, Gaussian, Model, extract, whole
from fedpers.training import Moments, Pass, Plan, fit, fit_devices, fit_epoch
from tests.training.test_stack import KINDS, largest_difference, model_of, people

TOKENS, WIDTH = 2, 16
FAMILIES: dict[str, Family] = {
    "gaussian": Gaussian(0.2),
    "trained spread": Gaussian(0.2, trained_spread=True, divergence_weight=0.1),
    "beta": Beta(),
}
ADAM = Plan("adam", 0.05, epochs=2, batch_size=3)
PLANS = {
    "sgd": Plan("sgd", 0.5, epochs=2, batch_size=3, momentum=0.9),
    "adam": ADAM,
    "adam, clipped": replace(ADAM, clip=0.01),
    "sgd, clipped, in pieces": Plan("sgd", 0.5, epochs=2, batch_size=3, clip=0.05, micro_batch=2),
    "adamw, within a radius": replace(ADAM, optimizer="adamw", weight_decay=0.1, radius=0.1),
}


@cache
def frozen(kind: str = "bert") -> Model:
    """Returns a model whose weights are large enough that user tokens matter."""
    model = model_of(kind, dropout=0.1)
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model


def parts_of(count: int, kind: str = "bert") -> list[Examples]:
    """Returns devices of 1 to 10 samples with user tokens behind the first token."""
    return [
        Examples([[ids[0], -1, -2, *ids[1:]] for ids in part.ids], part.labels)
        for part in people(kind, count)
    ]


def fitted(
    family: Family,
    plan: Plan,
    persons: Sequence[int],
    *,
    parts: Sequence[Examples] | None = None,
    kind: str = "bert",
) -> list[tuple[Arrays, list[Pass]]]:
    parts = parts or parts_of(8, kind)
    start = family.start(TOKENS, WIDTH)
    draws = [np.random.default_rng([7, person]) for person in persons]
    starts, own = [start] * len(persons), [parts[person] for person in persons]
    return [
        (whole(theta, start), passes)
        for theta, passes in fit_devices(frozen(kind), starts, own, plan, draws, family)
    ]


def norm(found: Arrays, start: Arrays) -> float:
    return float(np.sqrt(sum(((array - start[name]) ** 2).sum() for name, array in found.items())))


# Alone and in a stack


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_distribution_fitted_alone_equals_the_one_fitted_in_a_stack(family: str, plan: str) -> None:
    sizes = [len(part) for part in parts_of(8)]
    assert len(set(sizes)) > 3
    together = fitted(FAMILIES[family], PLANS[plan], range(8))
    for person in range(8):
        [(alone, passes)] = fitted(FAMILIES[family], PLANS[plan], [person])
        assert largest_difference(together[person][0], alone) < 1e-5
        assert [p.samples for p in together[person][1]] == [p.samples for p in passes]
        assert [p.loss for p in together[person][1]] == pytest.approx([p.loss for p in passes], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_fits_a_distribution_alone_as_in_a_stack(kind: str) -> None:
    together = fitted(Gaussian(), ADAM, range(4), kind=kind)
    [(alone, _)] = fitted(Gaussian(), ADAM, [2], kind=kind)
    assert largest_difference(together[2][0], alone) < 1e-5
    assert largest_difference(alone, Gaussian().start(TOKENS, WIDTH)) > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_devices_of_one_size_fit_together_as_alone(family: str) -> None:
    # Then one optimizer moves the whole stack.
    same = [parts_of(8)[1]] * 4
    together = fitted(FAMILIES[family], ADAM, range(4), parts=same)
    for person in range(4):
        [(alone, _)] = fitted(FAMILIES[family], ADAM, [person], parts=same)
        assert largest_difference(together[person][0], alone) < 1e-5
    assert largest_difference(together[0][0], together[1][0]) > 1e-4  # by other draws


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_pieces_of_a_batch_give_the_batchs_step(family: str, micro_batch: int) -> None:
    plan = PLANS["sgd"]
    pieces = fitted(FAMILIES[family], replace(plan, micro_batch=micro_batch), range(6))
    for (found, _), (expected, _) in zip(pieces, fitted(FAMILIES[family], plan, range(6)), strict=True):
        assert largest_difference(found, expected) < 1e-5


# Against plain torch


def by_hand(examples: Examples, steps: int, rate: float) -> torch.Tensor:
    """Descends by plain gradients of a noiseless mean, one unpadded sample at a time."""
    model = frozen().module
    model.train(False)
    words = model.get_input_embeddings().weight
    assert isinstance(words, torch.Tensor)
    mean = torch.full((TOKENS, WIDTH), 0.1, requires_grad=True)
    for _ in range(steps):
        scores = []
        for ids in examples.ids:
            read = torch.stack([mean[-1 - token] if token < 0 else words[token] for token in ids])
            scores.append(model(inputs_embeds=read[None]).logits)
        loss = cross_entropy(torch.cat(scores), torch.from_numpy(examples.labels))
        [gradient] = torch.autograd.grad(loss, [mean])
        mean = (mean - rate * gradient).detach().requires_grad_()
    return mean.detach()


def test_without_noise_the_mean_descends_as_plain_gradients_do() -> None:
    # Next to no spread, one batch: draws and their order then do not matter.
    plan = Plan("sgd", 0.5, epochs=3, batch_size=10)
    for part, (found, _) in zip(parts_of(8)[:3], fitted(Gaussian(1e-7), plan, range(3)), strict=True):
        np.testing.assert_allclose(found["mean"], by_hand(part, 3, 0.5), rtol=0, atol=1e-5)


def test_the_loss_of_an_epoch_is_that_of_the_draws() -> None:
    # The divergence from the standard normal, by hand: -log s + (m^2 + s^2) / 2 at m = 0.1, s = 0.5.
    plan = Plan("sgd", 1e-9, epochs=1, batch_size=10)
    plain, weighted = (Gaussian(0.5, divergence_weight=weight) for weight in (0.0, 3.0))
    [(_, [without])], [(_, [added])] = (fitted(family, plan, [1]) for family in (plain, weighted))
    divergence = -np.log(0.5) + (0.1**2 + 0.5**2) / 2
    assert added.loss - without.loss == pytest.approx(3 * divergence, rel=1e-5)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    start = Gaussian().start(TOKENS, WIDTH)
    start["mean"][0, 0] = np.nan
    with pytest.raises(FedpersError, match="not finite"):
        fit_devices(frozen(), [start], parts_of(1), ADAM, [np.random.default_rng(0)], Gaussian())


# The radius


@pytest.mark.parametrize("family", FAMILIES)
def test_no_distribution_comes_farther_than_the_radius(family: str) -> None:
    start = FAMILIES[family].start(TOKENS, WIDTH)
    wide, near = (fitted(FAMILIES[family], replace(ADAM, radius=radius), range(8)) for radius in (None, 0.05))
    assert min(norm(found, start) for found, _ in wide) > 0.1
    assert max(norm(found, start) for found, _ in near) < 0.05 * (1 + 1e-5)
    assert min(norm(found, start) for found, _ in near) > 0.04


def test_one_step_beyond_the_radius_is_shortened_to_it() -> None:
    # By hand: start + min(1, r / |step|) * step.
    plan = Plan("sgd", 0.5, epochs=1, batch_size=10)
    start = Gaussian().start(TOKENS, WIDTH)["mean"]
    [(free, _)] = fitted(Gaussian(), plan, [1])
    step = free["mean"] - start
    for radius in (0.3, 3.0):
        reach = radius * float(np.linalg.norm(step))
        [(found, _)] = fitted(Gaussian(), replace(plan, radius=reach), [1])
        np.testing.assert_allclose(found["mean"], start + min(1, radius) * step, rtol=0, atol=1e-6)


def test_after_a_projection_the_next_step_goes_on_from_there() -> None:
    # By hand, step by step: descend, then go back to the ball.
    part, radius, rate = parts_of(8)[1], 0.02, 0.5
    mean = torch.full((TOKENS, WIDTH), 0.1)
    start = mean.clone()
    for _ in range(3):
        step = gradient_at(part, mean)
        apart = mean - rate * step - start
        mean = start + apart * min(1.0, radius / float(apart.norm()))
    plan = Plan("sgd", rate, epochs=3, batch_size=10, radius=radius)
    [(found, _)] = fitted(Gaussian(1e-7), plan, [1])
    np.testing.assert_allclose(found["mean"], mean, rtol=0, atol=1e-6)


def gradient_at(examples: Examples, mean: torch.Tensor) -> torch.Tensor:
    plan = Plan("sgd", 1.0, epochs=1, batch_size=10)
    start = {"mean": mean.numpy()}
    [(found, _)] = fit_devices(
        frozen(), [start], [examples], plan, [np.random.default_rng(0)], Gaussian(1e-7)
    )
    return mean - torch.from_numpy(whole(found, start)["mean"])


@pytest.mark.parametrize("family", ["trained spread", "beta"])
def test_parameters_stay_valid_however_far_a_step_goes(family: str) -> None:
    wild = Plan("sgd", 1e3, epochs=2, batch_size=3)
    found = [theta for theta, _ in fitted(FAMILIES[family], wild, range(4))]
    for theta in found:
        bounded = {name: array for name, array in theta.items() if name != "mean"}
        assert all((array > 0).all() for array in bounded.values())
        assert all(np.isfinite(array).all() for array in theta.values())


# The model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_is_frozen_during_the_fit_alone(family: str) -> None:
    model = frozen()
    before = {name: (p.detach().clone(), p.requires_grad) for name, p in model.module.named_parameters()}
    fitted(FAMILIES[family], ADAM, range(2))
    for name, parameter in model.module.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.requires_grad == before[name][1]
        assert parameter.grad is None
    assert all(trained for _, trained in before.values())


def test_the_model_can_be_trained_again_after_a_fit_that_failed() -> None:
    start = {"mean": np.full((TOKENS, WIDTH), np.nan, dtype=np.float32)}
    with pytest.raises(FedpersError):
        fit_devices(frozen(), [start], parts_of(1), ADAM, [np.random.default_rng(0)], Gaussian())
    assert all(parameter.requires_grad for parameter in frozen().module.parameters())


# Epoch by epoch


def through_arrays(moments: Moments) -> Moments:
    """Copies what an optimizer remembers as a checkpoint keeps it."""
    return {
        number: {name: torch.tensor(value.numpy()) for name, value in own.items()}
        for number, own in moments.items()
    }


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_epochs_one_by_one_with_moments_taken_through_arrays_equal_a_whole_fit(optimizer: str) -> None:
    plan = Plan(
        optimizer,  # type: ignore[arg-type]  # one of the three
        1e-3,
        epochs=3,
        batch_size=3,
        momentum=0.9,
        weight_decay=0.1,
        warmup_share=0.3,
    )
    part = people("bert", 8)[1]
    whole_fit, by_epoch = model_of("bert"), model_of("bert")
    expected = list(fit(whole_fit, part, plan, np.random.default_rng(3)))
    draw, found = np.random.default_rng(3), []
    moments: Moments = {}
    for number in range(3):
        found.append(fit_epoch(by_epoch, part, plan, draw, number, moments))
        moments = through_arrays(moments)
    assert found == expected
    ours, theirs = extract(by_epoch.module), extract(whole_fit.module)
    assert all((ours[name] == theirs[name]).all() for name in theirs)
