import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    GPT2Config,
    PretrainedConfig,
    RobertaConfig,
)

from fedpers.errors import InputError
from fedpers.models import Model, ModelSpec, digest, extract, load, specify
from fedpers.settings import ModelSettings

CLASSES = ("dull", "fine", "great")
TEXTS = ["the cat sat on the mat", "the dog sat on the cat"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh")]


def spec_of(model: Path | str, seed: int = 0, texts: list[str] | None = None, **sizes: Any) -> ModelSpec:
    return specify(ModelSettings(model=str(model), **sizes), CLASSES, seed, texts or [])


def tiny(seed: int = 0, texts: list[str] = TEXTS, **sizes: Any) -> ModelSpec:
    return spec_of("tiny", seed, texts, **{"hidden_size": 16, "heads": 2, **sizes})


def message(spec: ModelSpec) -> str:
    with pytest.raises(InputError) as caught:
        load(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bert(**changes: Any) -> BertConfig:
    sizes: dict[str, Any] = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "num_labels": len(CLASSES),
    }
    return BertConfig(**{**sizes, **changes})


def folder_of(folder: Path, saved: PretrainedConfig | torch.nn.Module) -> Path:
    """Saves a config or a whole model beside a WordPiece tokenizer."""
    saved.save_pretrained(folder)  # type: ignore[operator]  # torch guesses that it is a tensor
    BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


def byte_level(folder: Path, config: PretrainedConfig, specials: list[str]) -> Path:
    """Saves a config beside a byte-level vocabulary trained on some texts."""
    config.save_pretrained(folder)
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(TEXTS, vocab_size=300, special_tokens=specials, show_progress=False)
    trainer.save_model(str(folder))
    return folder


def gpt2(folder: Path) -> Path:
    config = GPT2Config(
        vocab_size=300, n_positions=40, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return byte_level(folder, config, ["<|endoftext|>"])


def roberta(folder: Path) -> Path:
    config = RobertaConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=34,
        pad_token_id=1,
    )
    return byte_level(folder, config, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])


def logits(model: Model, text: str) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.module(**model.tokenizer(text, return_tensors="pt")).logits
    return found


# The built-in tiny model


def test_the_tiny_models_vocabulary_is_trained_on_the_given_texts() -> None:
    entries = set(tiny().vocabulary)
    assert {"the", "cat", "sat"} <= entries  # each occurs twice or more
    assert {"[PAD]", "[CLS]", "[SEP]", "d", "##g"} <= entries
    assert "dog" not in entries  # it occurs once


def test_the_tiny_models_tokenizer_has_the_specs_vocabulary_in_order() -> None:
    spec = tiny()
    assert load(spec).tokenizer.convert_tokens_to_ids(list(spec.vocabulary)) == list(
        range(len(spec.vocabulary))
    )


def test_equal_specs_give_equal_weights() -> None:
    first, second = extract(load(tiny()).module), extract(load(tiny()).module)
    assert all((first[name] == second[name]).all() for name in first)


def test_another_seed_gives_other_weights() -> None:
    assert digest(extract(load(tiny(seed=1)).module)) != digest(extract(load(tiny()).module))


def test_loading_leaves_torchs_generator_alone() -> None:
    spec, before = tiny(), torch.get_rng_state()
    load(spec)
    assert (torch.get_rng_state() == before).all()


def test_the_tiny_model_takes_its_sizes_from_the_settings() -> None:
    config = load(tiny(layers=2, hidden_size=24, heads=3, max_tokens=20)).module.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (2, 24, 3)
    assert config.intermediate_size == 24 * 4  # the ratio of 64 to 256 stays


def test_a_model_has_one_output_a_class() -> None:
    model = load(tiny())
    assert logits(model, "the cat").shape == (1, 3)
    assert model.module.config.id2label == {0: "dull", 1: "fine", 2: "great"}


def test_the_longest_input_is_the_limit_or_what_the_settings_say() -> None:
    assert load(tiny()).max_tokens == 128
    assert load(tiny(max_tokens=20)).max_tokens == 20


def test_the_tiny_model_has_no_dropout_unless_asked_for() -> None:
    assert load(tiny()).module.config.hidden_dropout_prob == 0
    assert load(tiny(dropout=0.3)).module.config.hidden_dropout_prob == 0.3


def test_the_tiny_models_weights_are_random() -> None:
    assert tiny().random_weights


def test_the_tiny_model_without_public_text_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"^the tiny model needs public text .*: set --public-people 1 or more$"
    ):
        tiny(texts=[])


# Folders


def test_a_saved_model_loads_with_its_weights(tmp_path: Path) -> None:
    saved = BertForSequenceClassification(bert())
    loaded = load(spec_of(folder_of(tmp_path, saved))).module.state_dict()
    assert loaded.keys() == saved.state_dict().keys()
    assert all((loaded[name] == value).all() for name, value in saved.state_dict().items())


def test_a_saved_models_weights_are_not_random(tmp_path: Path) -> None:
    assert not spec_of(folder_of(tmp_path, BertForSequenceClassification(bert()))).random_weights


def test_a_saved_encoder_gets_the_same_new_classifier_from_the_same_seed(tmp_path: Path) -> None:
    saved = BertModel(bert())
    folder = folder_of(tmp_path, saved)
    first, second, other = (load(spec_of(folder, seed)).module.state_dict() for seed in (0, 0, 1))
    assert (first["classifier.weight"] == second["classifier.weight"]).all()
    assert not (first["classifier.weight"] == other["classifier.weight"]).all()
    embeddings = "embeddings.word_embeddings.weight"
    assert (other[f"bert.{embeddings}"] == saved.state_dict()[embeddings]).all()


def test_a_folder_without_weights_gives_random_ones(tmp_path: Path) -> None:
    spec = spec_of(folder_of(tmp_path, bert()))
    assert spec.random_weights
    assert digest(extract(load(spec).module)) == digest(extract(load(spec).module))
    assert digest(extract(load(spec).module)) != digest(extract(load(replace(spec, seed=1)).module))


def test_a_folder_without_weights_may_be_resized(tmp_path: Path) -> None:
    config = load(spec_of(folder_of(tmp_path, bert()), layers=1, hidden_size=8)).module.config
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (1, 8, 16)
    assert config.num_attention_heads == 1  # as wide as they were: 16 / 2 = 8


def test_the_real_bert_architecture_loads_small(shared: Path) -> None:
    spec = spec_of(shared / "tokenizers" / "bert-base-uncased", hidden_size=128, layers=2)
    model = load(spec)
    assert spec.random_weights
    assert (len(model.tokenizer), model.max_tokens) == (30522, 512)
    # By hand: embeddings (30522 + 512 + 2 + 2) x 128, each layer 4 (128^2 + 128) + 2 x 128 x 512 + 512 +
    # 128 + 4 x 128, pooler 128^2 + 128, classifier 3 x 128 + 3.
    layer = 4 * (128**2 + 128) + 2 * 128 * 512 + 512 + 128 + 4 * 128
    by_hand = (30522 + 512 + 2 + 2) * 128 + 2 * layer + 128**2 + 128 + 3 * 128 + 3
    assert sum(array.size for array in extract(model.module).values()) == by_hand


def test_the_real_bert_vocabulary_is_lower_cased(shared: Path) -> None:
    model = load(spec_of(shared / "tokenizers" / "bert-base-uncased", hidden_size=12, layers=1))
    lines = (shared / "tokenizers" / "bert-base-uncased" / "vocab.txt").read_text().splitlines()
    ids = model.tokenizer("Good FILM", add_special_tokens=False)["input_ids"]
    assert ids == [lines.index("good"), lines.index("film")]


def test_gpt2_pads_with_its_end_token(tmp_path: Path) -> None:
    model = load(spec_of(gpt2(tmp_path)))
    assert model.tokenizer.pad_token == "<|endoftext|>"
    assert model.module.config.pad_token_id == model.tokenizer.pad_token_id == 0
    assert model.max_tokens == 40


def test_gpt2_may_be_resized(tmp_path: Path) -> None:
    model = load(spec_of(gpt2(tmp_path), layers=1, hidden_size=8, heads=4))
    assert (model.module.config.n_layer, model.module.config.n_embd, model.module.config.n_head) == (1, 8, 4)
    assert logits(model, "the cat").shape == (1, 3)


def test_roberta_counts_its_positions_from_behind_the_padding(tmp_path: Path) -> None:
    # 34 positions, of which 0 and 1 (the padding id) hold no token.
    assert load(spec_of(roberta(tmp_path))).max_tokens == 32


def test_robertas_longest_input_goes_through(tmp_path: Path) -> None:
    model = load(spec_of(roberta(tmp_path)))
    with torch.inference_mode():
        assert model.module(torch.full((1, 32), 5)).logits.shape == (1, 3)
        with pytest.raises((IndexError, RuntimeError), match="out of"):
            model.module(torch.full((1, 33), 5))


# What cannot be loaded


def test_a_name_that_is_no_model_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert message(spec_of("nobody/no-such-model")).startswith(
        "cannot load the model 'nobody/no-such-model': "
    )


def test_a_path_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert message(spec_of(tmp_path / "gone")).startswith(f"cannot load the model '{tmp_path / 'gone'}': ")


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    assert message(spec_of(tmp_path)) == (
        f"{tmp_path} holds no config.json, so it is no model's folder: see --model in --help"
    )


def test_a_config_that_is_not_json_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert message(spec_of(tmp_path)).startswith(f"cannot load the model '{tmp_path}': ")


def test_a_config_of_an_unknown_kind_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "abacus"}))
    assert message(spec_of(tmp_path)).startswith(f"cannot load the model '{tmp_path}': ")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"])
def test_weights_that_are_not_safetensors_are_refused(file: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, bert())
    (folder / file).touch()
    assert message(spec_of(folder)) == (
        f"{folder} has no safetensors weights: convert them, other formats can run code"
    )


@pytest.mark.parametrize("field", ["layers", "hidden_size", "heads"])
def test_sizes_are_refused_for_trained_weights(field: str, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {field: 4}
    folder = folder_of(tmp_path, BertForSequenceClassification(bert()))
    assert message(spec_of(folder, **sizes)) == (
        f"--{field.replace('_', '-')} is for random weights, but {folder} has trained ones"
    )


def test_weights_for_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, BertForSequenceClassification(bert(num_labels=5)))
    assert message(spec_of(folder)) == (
        f"the weights of {folder} do not fit its config.json and the data's 3 classes: use a model without "
        "a classifier, or one for as many classes"
    )


def test_a_tokenizer_with_more_entries_than_its_model_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, bert(vocab_size=len(WORDS) - 1))
    assert message(spec_of(folder)) == (
        f"the tokenizer of {folder} has {len(WORDS)} entries, its model only {len(WORDS) - 1}: "
        "they do not belong together"
    )


@pytest.mark.parametrize("config", [bert(), GPT2Config(), RobertaConfig()], ids=lambda c: c.model_type)
def test_a_folder_without_a_tokenizer_is_refused(config: PretrainedConfig, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)
    assert message(spec_of(tmp_path)) == (
        f"{tmp_path} holds no tokenizer: add the vocabulary files that belong to its model"
    )


def test_more_tokens_than_the_models_limit_are_refused() -> None:
    load(tiny(max_tokens=128))
    assert message(tiny(max_tokens=129)) == "--max-tokens 129 is over the model's limit of 128 tokens"


def test_more_tokens_than_robertas_limit_are_refused(tmp_path: Path) -> None:
    folder = roberta(tmp_path)
    load(spec_of(folder, max_tokens=32))
    assert message(spec_of(folder, max_tokens=33)) == "--max-tokens 33 is over the model's limit of 32 tokens"


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    assert (
        message(tiny(hidden_size=16, heads=3)) == "--hidden-size 16 is not a multiple of 3 heads: set --heads"
    )
