import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, get_linear_schedule_with_warmup

from fedpers.data import Samples
from fedpers.errors import FedpersError
from fedpers.models import Arrays, Examples, Model, ModelSpec, digest, encode, extract, load, specify
from fedpers.settings import CentralSettings, LocalSettings, ModelSettings
from fedpers.training import Pass, Plan, answer, fit, logits, predict, ranking

WORDS = "the cat sat on a mat and dogs ran by".split()
CLASSES = ["a", "b", "c"]
SGD = Plan("sgd", learning_rate=0.1, epochs=1, batch_size=4)


@cache
def spec_of(dropout: float | None = None) -> ModelSpec:
    settings = ModelSettings(hidden_size=16, heads=2, max_tokens=24, dropout=dropout)
    return specify(settings, CLASSES, 0, [" ".join(WORDS)] * 2)


def fresh(dropout: float | None = None) -> Model:
    return load(spec_of(dropout))


def examples_of(model: Model, count: int, seed: int = 0) -> Examples:
    """Returns texts of 1 to 20 random words with random labels."""
    draw = np.random.default_rng(seed)
    texts = [" ".join(draw.choice(WORDS, size=draw.integers(1, 21))) for _ in range(count)]
    return encode(model, Samples(texts, draw.integers(len(CLASSES), size=count)))


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def trained(plan: Plan, count: int = 10, seed: int = 0, dropout: float | None = None) -> Arrays:
    model = fresh(dropout)
    list(fit(model, examples_of(model, count), plan, draw(seed)))
    return extract(model.module)


def assert_close(found: Arrays, expected: dict[str, torch.Tensor]) -> None:
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name].numpy(), rtol=0, atol=2e-6, err_msg=name)


def gradients(model: Model, examples: Examples, rows: list[int]) -> tuple[dict[str, torch.Tensor], float]:
    """Returns gradients of the mean cross-entropy, by log-softmax of one unpadded sample at a time."""
    parameters = dict(model.module.named_parameters())
    total = torch.zeros(())
    for row in rows:
        scores = model.module(torch.tensor([examples.ids[row]])).logits[0]
        total = total - torch.log_softmax(scores, dim=0)[examples.labels[row]] / len(rows)
    found = torch.autograd.grad(total, list(parameters.values()))
    return dict(zip(parameters, found, strict=True)), total.item()


def batches(examples: Examples, plan: Plan, generator: np.random.Generator) -> Iterator[list[int]]:
    """Gives the rows of each step: per epoch a permutation, then one draw that seeds dropout."""
    for _ in range(plan.epochs):
        order = generator.permutation(len(examples)).tolist()
        generator.integers(2**32)
        for start in range(0, len(order), plan.batch_size):
            yield order[start : start + plan.batch_size]


# One step and many, against plain loops


def test_one_sgd_step_is_the_parameters_minus_rate_times_gradient() -> None:
    model = fresh()
    examples = examples_of(model, 4)
    gradient, _ = gradients(model, examples, [0, 1, 2, 3])
    expected = {name: p.detach() - 0.1 * gradient[name] for name, p in model.module.named_parameters()}
    expected = {name: value.clone() for name, value in expected.items()}
    list(fit(model, examples, SGD, draw()))
    assert_close(extract(model.module), expected)


def test_momentum_and_decay_of_sgd_equal_a_plain_loops() -> None:
    # v <- momentum v + (gradient + decay theta), theta <- theta - rate v
    plan = replace(SGD, epochs=2, momentum=0.9, weight_decay=0.1)
    model, reference = fresh(), fresh()
    examples = examples_of(model, 10)
    parameters = dict(reference.module.named_parameters())
    velocity = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for rows in batches(examples, plan, draw(5)):
        gradient, _ = gradients(reference, examples, rows)
        with torch.no_grad():
            for name, parameter in parameters.items():
                velocity[name] = 0.9 * velocity[name] + gradient[name] + 0.1 * parameter
                parameter.sub_(0.1 * velocity[name])
    list(fit(model, examples, plan, draw(5)))
    assert_close(extract(model.module), {name: p.detach() for name, p in parameters.items()})


def test_adamw_with_warm_up_and_decay_equals_a_plain_loop() -> None:
    # AdamW by Loshchilov and Hutter's Algorithm 2 (torch's betas and epsilon); the shares of the peak
    # rate by hand: 3 batches in each of 4 epochs are 12 steps, a quarter of them warm-up.
    plan = Plan("adamw", 1e-3, epochs=4, batch_size=4, weight_decay=0.1, warmup_share=0.25)
    shares = [1 / 4, 2 / 4, 3 / 4, 1, 8 / 9, 7 / 9, 6 / 9, 5 / 9, 4 / 9, 3 / 9, 2 / 9, 1 / 9]
    model, reference = fresh(), fresh()
    examples = examples_of(model, 10)
    parameters = dict(reference.module.named_parameters())
    first = {name: torch.zeros_like(p) for name, p in parameters.items()}
    second = {name: torch.zeros_like(p) for name, p in parameters.items()}
    steps = zip(shares, batches(examples, plan, draw(5)), strict=True)
    for step, (share, rows) in enumerate(steps, 1):
        gradient, _ = gradients(reference, examples, rows)
        with torch.no_grad():
            for name, parameter in parameters.items():
                first[name] = 0.9 * first[name] + 0.1 * gradient[name]
                second[name] = 0.999 * second[name] + 0.001 * gradient[name] ** 2
                mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
                parameter.sub_(share * 1e-3 * (mean / (square.sqrt() + 1e-8) + 0.1 * parameter))
    list(fit(model, examples, plan, draw(5)))
    for name, array in extract(model.module).items():
        # Where a gradient is rounding noise, Adam makes steps of full length out of it.
        off = np.abs(array - parameters[name].detach().numpy()) > 1e-5
        assert off.mean() < 0.01 or name.endswith("key.bias"), name


def rates(plan: Plan, monkeypatch: pytest.MonkeyPatch, count: int = 10) -> list[float]:
    """Returns the learning rate of every step."""
    kind = torch.optim.AdamW if plan.optimizer == "adamw" else torch.optim.SGD
    step, seen = kind.step, []

    def record(optimizer: torch.optim.Optimizer) -> None:
        seen.append(float(optimizer.param_groups[0]["lr"]))
        step(optimizer)  # type: ignore[arg-type]  # one of the two kinds

    monkeypatch.setattr(kind, "step", record)
    trained(plan, count)
    return seen


def test_the_fall_of_the_rate_is_that_of_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    # transformers' rise begins at 0 and ours does not; from the peak on they are the same.
    plan = Plan("adamw", 0.5, epochs=2, batch_size=1, warmup_share=0.2)
    ours = rates(plan, monkeypatch)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = get_linear_schedule_with_warmup(theirs, 4, 20)  # type: ignore[no-untyped-call]  # theirs
    expected = []
    for _ in range(20):
        expected.append(schedule.get_last_lr()[0])
        theirs.step()
        schedule.step()
    assert ours[4:] == pytest.approx(expected[4:])


def test_the_rate_rises_in_equal_steps_and_never_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    # By hand: 4 of 20 steps are warm-up, the fifth is at the peak, so the rise has steps of a fifth.
    found = rates(Plan("adamw", 0.5, epochs=2, batch_size=1, warmup_share=0.2), monkeypatch)
    assert found[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_rate_stays_above_0_and_within_its_peak(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rates(Plan("adamw", 0.5, epochs=1, batch_size=3, warmup_share=share), monkeypatch)
    assert all(0 < rate <= 0.5 for rate in found)


def test_without_warm_up_share_the_rate_is_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rates(replace(SGD, epochs=2), monkeypatch) == [0.1] * 6


# Passes


def seen(plan: Plan, count: int = 10) -> list[int]:
    model = fresh()
    return [passed.samples for passed in fit(model, examples_of(model, count), plan, draw())]


def test_every_epoch_goes_through_all_samples() -> None:
    assert seen(replace(SGD, epochs=3)) == [10, 10, 10]


def test_steps_cut_an_epoch_short() -> None:
    # Batches of 4, 4 and 2: five steps are one epoch and two batches.
    assert seen(replace(SGD, epochs=3, steps=5)) == [10, 8]


def test_steps_that_end_with_an_epoch_leave_no_empty_one() -> None:
    assert seen(replace(SGD, epochs=3, steps=6)) == [10, 10]


def test_steps_are_no_reason_for_further_epochs() -> None:
    assert seen(replace(SGD, epochs=1, steps=100)) == [10]


def test_a_pass_has_the_mean_loss_of_its_samples() -> None:
    # At rate 0 the model stays as it is, so the mean over unequal batches is that over all samples.
    model = fresh()
    examples = examples_of(model, 10)
    _, expected = gradients(model, examples, list(range(10)))
    [passed] = fit(model, examples, replace(SGD, learning_rate=0.0), draw())
    assert passed == Pass(10, pytest.approx(expected, abs=1e-6))  # type: ignore[arg-type]  # compares as one


def test_training_goes_no_further_than_it_is_asked_for() -> None:
    model, other = fresh(), fresh()
    next(fit(model, examples_of(model, 10), replace(SGD, epochs=5), draw()))
    list(fit(other, examples_of(other, 10), replace(SGD, epochs=1), draw()))
    assert digest(extract(model.module)) == digest(extract(other.module))


# Randomness


def test_the_same_draw_gives_the_same_bits_with_dropout() -> None:
    plan = replace(SGD, epochs=2)
    assert digest(trained(plan, dropout=0.5)) == digest(trained(plan, dropout=0.5))


def test_another_draw_gives_another_order() -> None:
    assert digest(trained(SGD, seed=1)) != digest(trained(SGD))


def test_dropout_is_on_in_training() -> None:
    one_batch = replace(SGD, batch_size=10)
    assert digest(trained(one_batch, dropout=0.5)) != digest(trained(one_batch))


def test_training_leaves_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    trained(SGD, dropout=0.5)
    assert (torch.get_rng_state() == before).all()


def test_frozen_parameters_stay_as_they_are() -> None:
    model = fresh()
    model.module.base_model.requires_grad_(False)
    before = {name: p.clone() for name, p in model.module.base_model.named_parameters()}
    list(fit(model, examples_of(model, 10), replace(SGD, weight_decay=0.1), draw()))
    assert all(torch.equal(p, before[name]) for name, p in model.module.base_model.named_parameters())
    assert set(extract(model.module)) == {"classifier.weight", "classifier.bias"}


def test_a_loss_that_is_not_finite_raises() -> None:
    model = fresh()
    torch.nn.init.constant_(model.module.get_input_embeddings().weight, math.nan)  # type: ignore[arg-type]
    with pytest.raises(
        FedpersError, match=r"^the training loss is not finite \(nan\): lower the learning rate$"
    ):
        list(fit(model, examples_of(model, 4), SGD, draw()))


# Plans


def test_a_devices_plan_has_the_local_settings() -> None:
    settings = LocalSettings(
        local_epochs=2,
        local_steps=7,
        batch_size=3,
        local_lr=0.2,
        local_optimizer="adamw",
        local_momentum=0.5,
        local_weight_decay=0.01,
    )
    assert Plan.local(settings) == Plan("adamw", 0.2, 2, 3, 7, 0.5, 0.01, None)


def test_a_central_plan_has_the_central_settings() -> None:
    settings = CentralSettings(
        central_lr=0.2, central_batch_size=3, central_weight_decay=0.5, warmup_share=0.25
    )
    assert Plan.central(settings, 9) == Plan("adamw", 0.2, 9, 3, weight_decay=0.5, warmup_share=0.25)


# Prediction


def opinionated(model: Model) -> Model:
    """Spreads a random model's weights, so that its classes differ from text to text."""
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.dim() > 1:
                parameter.mul_(20)
    return model


def scored_alone(model: Model, examples: Examples) -> list[torch.Tensor]:
    """Scores each sample alone, without padding."""
    model.module.train(False)
    with torch.inference_mode():
        return [model.module(torch.tensor([ids])).logits[0] for ids in examples.ids]


def one_by_one(model: Model, examples: Examples) -> list[int]:
    return [int(scores.argmax()) for scores in scored_alone(model, examples)]


def test_scores_equal_those_of_one_sample_at_a_time_in_order() -> None:
    model = opinionated(fresh())
    examples = examples_of(model, 20)
    expected = torch.stack(scored_alone(model, examples)).numpy()
    np.testing.assert_allclose(logits(model, examples), expected, rtol=0, atol=1e-4)


def test_predictions_equal_those_of_one_sample_at_a_time_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedpers.training.prediction._TOGETHER", 16)
    model = opinionated(fresh())
    examples = examples_of(model, 60)  # four batches, of all lengths
    expected = one_by_one(model, examples)
    assert len(set(expected)) > 1
    assert predict(model, examples).tolist() == expected


def test_predictions_do_not_depend_on_the_samples_beside() -> None:
    model = opinionated(fresh())
    examples = examples_of(model, 40)
    order = draw().permutation(40)
    shuffled = Examples([examples.ids[row] for row in order], examples.labels[order])
    assert predict(model, shuffled).tolist() == predict(model, examples)[order].tolist()


def test_padding_does_not_change_gpt2s_predictions(tmp_path: Path) -> None:
    GPT2Config(
        vocab_size=300, n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    ).save_pretrained(tmp_path)
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(WORDS, 300, special_tokens=["<|endoftext|>"], show_progress=False)
    trainer.save_model(str(tmp_path))
    model = opinionated(load(specify(ModelSettings(model=str(tmp_path)), CLASSES, 0, [])))
    examples = examples_of(model, 40)
    expected = one_by_one(model, examples)
    assert len(set(expected)) > 1
    assert predict(model, examples).tolist() == expected


def test_dropout_is_off_in_prediction() -> None:
    model = opinionated(fresh(dropout=0.5))
    examples = examples_of(model, 100)
    assert predict(model, examples).tolist() == predict(model, examples).tolist()


def test_prediction_leaves_the_parameters_alone() -> None:
    model = fresh()
    before = digest(extract(model.module))
    predict(model, examples_of(model, 10))
    assert digest(extract(model.module)) == before


def test_no_samples_give_no_predictions() -> None:
    assert predict(fresh(), Examples([], np.array([], dtype=np.int64))).tolist() == []


def test_a_ranking_has_the_best_class_first_and_of_a_tie_the_lower_one() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]], dtype=np.float32)
    assert ranking(scores).tolist() == [[1, 2, 0], [0, 2, 1], [0, 1, 2]]


def test_a_ranking_takes_two_bytes_a_class() -> None:
    assert ranking(np.zeros((3, 500), dtype=np.float32)).itemsize == 2


def test_the_samples_of_a_ranking_are_ranked_alone_in_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = draw().normal(size=(40, 7)).astype(np.float32)
    whole = ranking(scores)
    monkeypatch.setattr("fedpers.training.prediction._TOGETHER", 16)
    assert (ranking(scores) == whole).all()
    assert (ranking(scores[5:6]) == whole[5:6]).all()


def test_a_classifiers_answer_begins_with_the_class_it_predicts() -> None:
    model = opinionated(fresh())
    examples = examples_of(model, 60)
    assert np.asarray(answer(model, examples))[:, 0].tolist() == predict(model, examples).tolist()
