"""Vectors of the encoder as loaded, against a plain loop over transformers' own model."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch

from fedpers.models import FrozenFeatures, Model, ModelSpec, extract, features, load
from fedpers.settings import ModelSettings
from tests.models.test_loading import bert, folder_of

TEXTS = ["a b", "c", "d e f " * 20, "a b", ""]


@cache
def folder() -> Path:
    return folder_of(Path(mkdtemp()), bert())


def loaded(*, frozen: bool = True) -> Model:
    additions = (FrozenFeatures(),) if frozen else ()
    return load(ModelSpec(ModelSettings(model=str(folder())), ("a", "b"), 0, additions=additions))


def plain(model: Model) -> np.ndarray:
    """Returns the mean of each text's last hidden states, one text after another, without padding."""
    model.module.train(False)
    rows = []
    for text in TEXTS:
        given = model.tokenizer(text, return_tensors="pt", truncation=True, max_length=model.max_tokens)
        with torch.inference_mode():
            rows.append(model.module.base_model(**given).last_hidden_state[0].mean(dim=0).numpy())
    return np.stack(rows)


def test_features_equal_a_plain_loop() -> None:
    np.testing.assert_allclose(features(loaded(), TEXTS), plain(loaded(frozen=False)), atol=1e-5)


def test_features_are_of_the_weights_as_loaded_whatever_is_trained() -> None:
    model = loaded()
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.fill_(0.5)
    model.module.train(True)
    np.testing.assert_allclose(features(model, TEXTS), plain(loaded(frozen=False)), atol=1e-5)


def test_remembered_texts_are_the_same_again() -> None:
    model = loaded()
    first = features(model, TEXTS[:2])
    again = features(model, TEXTS)
    assert (again[:2] == first).all()
    assert (again[3] == again[0]).all()


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedpers.models.frozen_features._KEPT", 3 * 16)  # three texts of this width
    model = loaded()
    found = np.concatenate([features(model, TEXTS[:3]), features(model, TEXTS[3:])])
    np.testing.assert_allclose(found, plain(loaded(frozen=False)), atol=1e-5)


def test_no_texts_have_no_vectors() -> None:
    assert features(loaded(), []).shape == (0, 16)


def test_the_copy_is_neither_trained_nor_saved() -> None:
    model, other = loaded(), loaded(frozen=False)
    assert extract(model.module).keys() == extract(other.module).keys()
    assert model.module.state_dict().keys() == other.module.state_dict().keys()
