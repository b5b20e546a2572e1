"""A second word table for identifiers; the reference is the same model with the words' own vectors."""

import numpy as np
import pytest
import torch

from fedpers.models import Examples, IdentifierTable, extract, groups_of, marked
from fedpers.models.identifier_words import IDENTIFIER_WORDS
from tests.models.encoders import KINDS, WORDS, Symbols, encoder, inputs, scores

every_kind = pytest.mark.parametrize("kind", KINDS)
TABLE = f"{IDENTIFIER_WORDS}.weight"
IDENTIFIER, TEXT = [40, 7, 40], [9, 7, 11]


def examples(kind: str, identifier: list[int]) -> Examples:
    symbols = Symbols(kind)
    return Examples([[symbols.cls_token_id, *identifier, *TEXT, symbols.sep_token_id]], np.array([0]))


@every_kind
def test_a_copied_table_reads_an_identifier_as_the_models_own_words(kind: str) -> None:
    model = encoder(kind, IdentifierTable("copy"), loud=5)
    found = scores(model, inputs(model, examples(kind, marked(IDENTIFIER))))
    expected = scores(model, inputs(model, examples(kind, IDENTIFIER)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@every_kind
def test_a_copy_is_a_table_of_its_own(kind: str) -> None:
    model = encoder(kind, IdentifierTable("copy"))
    own = model.module.get_input_embeddings().weight
    assert isinstance(own, torch.Tensor)
    table = model.module.get_parameter(TABLE)
    assert torch.equal(table, own)
    assert table.data_ptr() != own.data_ptr()


def test_a_random_table_has_the_models_shape_and_its_spread() -> None:
    table = encoder("electra", IdentifierTable()).module.get_parameter(TABLE)
    assert table.shape == (WORDS, 8)
    assert float(table.detach().std()) == pytest.approx(0.02, rel=0.1)  # of 960 numbers


@every_kind
def test_identifiers_move_the_second_table_and_texts_the_models_own(kind: str) -> None:
    model = encoder(kind, IdentifierTable())
    own, table = model.module.get_input_embeddings().weight, model.module.get_parameter(TABLE)
    assert isinstance(own, torch.Tensor)
    found = model.reader()(inputs(model, examples(kind, marked(IDENTIFIER))))
    ours, theirs = torch.autograd.grad(found[..., 0].sum(), [table, own])
    assert ours.abs().sum(dim=1).nonzero()[:, 0].tolist() == sorted(set(IDENTIFIER))
    symbols = Symbols(kind)
    read = {symbols.cls_token_id, symbols.sep_token_id, *TEXT}
    assert set(theirs.abs().sum(dim=1).nonzero()[:, 0].tolist()) == read


def test_the_table_is_shared_and_a_group_of_its_own() -> None:
    model = encoder("bert", IdentifierTable())
    assert TABLE in extract(model.module)
    assert groups_of(model.module)[TABLE] == IDENTIFIER_WORDS
