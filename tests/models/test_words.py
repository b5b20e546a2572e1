from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    GPT2Config,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from fedpers.models import Arrays, Examples, Model, Rows, Trained, Words, digest, extract, whole
from fedpers.training import Pass, Plan, fit, fit_devices

SIZE: dict[str, Any] = {"vocab_size": 300, "num_labels": 2}
CONFIGS: dict[str, PretrainedConfig] = {
    "bert": BertConfig(
        **SIZE, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    ),
    "roberta": RobertaConfig(
        **SIZE,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=1,
    ),
    "bart": BartConfig(
        **SIZE,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        pad_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=None,
    ),
    "gpt2": GPT2Config(
        **SIZE, n_embd=16, n_layer=1, n_head=2, pad_token_id=299, bos_token_id=299, eos_token_id=299
    ),
}


class Padding:
    """As much of a tokenizer as training needs."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id


def classifier(config: PretrainedConfig) -> PreTrainedModel:
    made = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    assert isinstance(made, PreTrainedModel)
    return made


def model_of(kind: str) -> Model:
    torch.manual_seed(0)
    config = CONFIGS[kind]
    return Model(classifier(config), Padding(config.pad_token_id), 16)  # type: ignore[arg-type]


def texts(end: int | None = None) -> Examples:
    """Returns samples of different lengths in a few words of the vocabulary."""
    draw = np.random.default_rng(0)
    ids = [draw.choice([7, 40, 41, 250, 123], size=length).tolist() for length in (3, 6, 4, 5, 6)]
    return Examples(
        [[*sample, end] if end is not None else sample for sample in ids], np.array([0, 1, 1, 0, 1])
    )


PLANS = [
    Plan("sgd", 0.1, epochs=2, batch_size=2),
    Plan("sgd", 0.1, epochs=2, batch_size=2, momentum=0.9),
    Plan("adamw", 1e-3, epochs=2, batch_size=2),
]


def fit_one(model: Model, start: Arrays, examples: Examples, plan: Plan) -> tuple[Trained, list[Pass]]:
    [fitted] = fit_devices(model, [start], [examples], plan, [np.random.default_rng(3)])
    return fitted


def in_full(model: Model, arrays: Arrays, examples: Examples, plan: Plan) -> Arrays:
    """Trains the whole table, as a reference."""
    with torch.no_grad():
        for name, parameter in model.module.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[name]))
    list(fit(model, examples, plan, np.random.default_rng(3)))
    return extract(model.module)


@pytest.mark.parametrize("plan", PLANS, ids=["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_training_only_the_words_of_the_texts_is_training_the_whole_table(kind: str, plan: Plan) -> None:
    model = model_of(kind)
    start = extract(model.module)
    examples = texts(end=2 if kind == "bart" else None)
    trained, passes = fit_one(model, start, examples, plan)
    found, expected = whole(trained, start), in_full(model, start, examples, plan)
    assert len(passes) == 2
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("kind", ["bert", "roberta", "bart"])
def test_what_comes_back_are_the_rows_of_the_texts_words(kind: str) -> None:
    model = model_of(kind)
    examples = texts(end=2)
    trained, _ = fit_one(model, extract(model.module), examples, PLANS[0])
    [rows] = [value for value in trained.values() if isinstance(value, Rows)]
    assert set(rows.index.tolist()) == {0, 1, 2, 7, 40, 41, 123, 250} - ({1} if kind == "bert" else set())
    assert rows.height == 300
    assert rows.change.shape == (len(rows.index), 16)


def test_the_model_itself_stays_as_it_is() -> None:
    model = model_of("bert")
    before, table = digest(extract(model.module)), model.module.get_input_embeddings().weight
    fit_one(model, extract(model.module), texts(), PLANS[0])
    assert model.module.get_input_embeddings().weight is table
    assert digest(extract(model.module)) == before


def test_weight_decay_moves_every_word_so_the_whole_table_is_trained() -> None:
    model = model_of("bert")
    start = extract(model.module)
    plan = Plan("adamw", 1e-3, epochs=1, batch_size=2, weight_decay=0.1)
    trained, _ = fit_one(model, start, texts(), plan)
    table = trained["bert.embeddings.word_embeddings.weight"]
    assert isinstance(table, np.ndarray)
    assert (table[200] != start["bert.embeddings.word_embeddings.weight"][200]).all()


def test_a_frozen_table_is_left_alone() -> None:
    model = model_of("bert")
    model.module.get_input_embeddings().requires_grad_(requires_grad=False)
    assert Words.of(model, texts()) is None


def test_a_table_that_an_output_layer_shares_is_trained_whole() -> None:
    model = model_of("bert")
    output = torch.nn.Linear(16, 300)
    output.weight = model.module.get_input_embeddings().weight  # type: ignore[assignment]
    model.module.register_module("words_out", output)
    assert Words.of(model, texts()) is None


def test_an_id_that_the_model_looks_for_keeps_its_number() -> None:
    # Roberta numbers positions by what is not padding, GPT-2 reads the class before the first padding.
    assert Words.of(model_of("gpt2"), texts()) is None  # its padding is the last word
    words = Words.of(model_of("roberta"), texts())
    assert words is not None
    assert words.index[:3].tolist() == [0, 1, 2]


def test_real_vocabularies_are_narrowed(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / "bert-base-uncased")
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    model = Model(classifier(config), tokenizer, 32)
    ids = tokenizer(["a plain film", "a fine one"])["input_ids"]
    words = Words.of(model, Examples(ids, np.array([0, 1])))
    assert words is not None
    assert words.height == 30_522
    assert len(words.index) == 8  # [PAD], [CLS], [SEP] and five words
    renumbered = words.renumber(Examples(ids, np.array([0, 1])))
    assert [words.index[sample].tolist() for sample in renumbered.ids] == ids
