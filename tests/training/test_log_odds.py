"""How likely models hold right answers; the reference is a softmax in double precision."""

import numpy as np
import pytest
import torch

from fedpers.data import Samples
from fedpers.experiments import find
from fedpers.models import Model, encode, extract, insert, load
from fedpers.simulation import lay_out
from fedpers.training import choose, log_odds, logits
from fedpers.training.stack import batch_of
from tests.conftest import small
from tests.models.test_reading import KINDS, language_model

TEXTS = ["the cat sat on a mat", "a dog", "dogs travel and a cat sat great", "politics"]
TARGETS = ["great politics", "mat", "the cat and dogs", "travel"]


def classifier(scale: float = 1.0) -> tuple[Model, Samples]:
    """Returns a model with some made-up texts; a large scale makes it sure of all its answers."""
    _, population, spec = lay_out(small(), find("conventional").build)
    model = load(spec)
    insert(model.module, {n: scale * a if "classifier" in n else a for n, a in extract(model.module).items()})
    return model, population.samples(0, "all")


def test_a_classifiers_are_the_log_of_p_over_one_less_p() -> None:
    model, samples = classifier()
    examples = encode(model, samples)
    scores = logits(model, examples).astype(np.float64)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    right = p[np.arange(len(samples)), samples.labels]
    np.testing.assert_allclose(log_odds(model, examples), np.log(right / (1 - right)), atol=1e-5)


def test_they_are_exact_where_the_probability_rounds_to_one() -> None:
    model, samples = classifier(1e4)
    examples = encode(model, samples)
    scores = logits(model, examples)
    rows = np.arange(len(samples))
    margin = scores[rows, samples.labels] - scores[rows, 1 - samples.labels]
    assert margin.max() > 50  # where p is 1 in double precision
    np.testing.assert_allclose(log_odds(model, examples), margin, rtol=1e-4)


def test_batches_do_not_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = classifier()
    examples = encode(model, samples)
    whole = log_odds(model, examples)
    monkeypatch.setattr("fedpers.training.prediction._TOGETHER", 5)
    np.testing.assert_allclose(log_odds(model, examples), whole, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_writers_are_of_all_words_of_the_answer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedpers.training.prediction._TOGETHER_WRITTEN", 3)
    model = language_model(kind)
    examples = encode(model, Samples(TEXTS, np.zeros(4, dtype=np.int64), TARGETS))
    found = log_odds(model, examples)
    for row in range(len(TEXTS)):
        batch = batch_of(model, [(examples, np.array([row]))])
        with torch.inference_mode():
            scores = model.reader()(batch.inputs.of(0))[0].double().log_softmax(dim=-1).numpy()
        log_p = sum(scores[place, word] for place, word in enumerate(batch.labels[0, 0].tolist()))
        assert found[row] == pytest.approx(log_p - np.log1p(-np.exp(log_p)), abs=1e-4)


def test_the_answer_that_is_chosen_has_the_highest() -> None:
    model = language_model(next(iter(KINDS)))
    choices = ["great", "the cat sat on dogs", "politics"]
    asked = encode(model, Samples(TEXTS, np.zeros(4, dtype=np.int64)))
    each = [
        log_odds(model, encode(model, Samples(TEXTS, np.zeros(4, dtype=np.int64), [choice] * 4)))
        for choice in choices
    ]
    assert np.argmax(each, axis=0).tolist() == choose(model, asked, choices).tolist()
