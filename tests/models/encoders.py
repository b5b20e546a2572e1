"""Small random encoders of three families, with what methods add to them, and texts for them to read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    ElectraConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from fedpers.models import Addition, Batch, Examples, Inputs, Model, SoftPrompts, collate, user_ids
from fedpers.models.soft_prompts import Placement

WORDS, LAYERS, WIDTH = 120, 2, 16
SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 60,
    "num_labels": 3,
}
# Each family: its config, and the ids of its leading token, padding, separator and mask.
KINDS: dict[str, tuple[PretrainedConfig, tuple[int, int, int, int]]] = {
    "bert": (BertConfig(**SIZES), (2, 0, 3, 4)),
    "roberta": (RobertaConfig(**SIZES, pad_token_id=1), (0, 1, 2, 4)),
    "electra": (ElectraConfig(**SIZES, embedding_size=8), (2, 0, 3, 4)),
}
FIRST_WORD = 5  # ids before it are special in all three
PLACEMENTS: tuple[Placement, ...] = ("prefix", "deep", "first")
LENGTH = 3  # vectors of a writer on a layer


class Symbols:
    """As much of a tokenizer as training and masking need."""

    all_special_ids = tuple(range(FIRST_WORD))

    def __init__(self, kind: str) -> None:
        self.cls_token_id, self.pad_token_id, self.sep_token_id, self.mask_token_id = KINDS[kind][1]

    def __len__(self) -> int:
        return WORDS


def config_of(kind: str, dropout: float = 0.0) -> PretrainedConfig:
    config = type(KINDS[kind][0]).from_dict(KINDS[kind][0].to_dict())
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    config._attn_implementation = "eager"
    return config


def encoder(kind: str, *additions: Addition, dropout: float = 0.0, loud: float = 1.0) -> Model:
    """Returns a classifier; with loud weights every token matters."""
    torch.manual_seed(0)
    module = AutoModelForSequenceClassification.from_config(config_of(kind, dropout))  # type: ignore[no-untyped-call]  # theirs
    assert isinstance(module, PreTrainedModel)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.mul_(loud)
    for addition in additions:
        addition.attach(module)
    module.train(False)
    return Model(module, Symbols(kind), 40)  # type: ignore[arg-type]  # enough of one


def prompts(placement: Placement, inner: int = 0, spread: float = 1.0) -> SoftPrompts:
    return SoftPrompts(placement, LENGTH, inner=inner, spread=spread)


def texts(
    kind: str, lengths: Sequence[int], *, tokens: int = 0, seed: int = 3, behind: Sequence[int] = ()
) -> Examples:
    """Returns texts of so many words between special tokens, user tokens first, others' texts behind."""
    draw, symbols = np.random.default_rng(seed), Symbols(kind)
    context = [*behind, symbols.sep_token_id] if behind else []
    ids = [
        [
            symbols.cls_token_id,
            *user_ids(tokens),
            *draw.integers(FIRST_WORD, WORDS, size=length).tolist(),
            symbols.sep_token_id,
            *context,
        ]
        for length in lengths
    ]
    return Examples(ids, draw.integers(3, size=len(ids)), owner=np.zeros(len(ids), dtype=np.int64))


def batch(model: Model, *parts: Examples) -> Batch:
    """Returns all samples of some devices as one step."""
    return collate([(part, np.arange(len(part))) for part in parts], int(str(model.tokenizer.pad_token_id)))


def inputs(model: Model, examples: Examples, owners: Sequence[int] | None = None) -> Inputs:
    """Returns some samples as a model reads them, each with its owner's vectors."""
    read = batch(model, examples).inputs.of(0)
    return read if owners is None else read._replace(owners=torch.tensor(list(owners)))


def scores(model: Model, read: Inputs) -> npt.NDArray[np.float32]:
    """Returns a classifier's scores (samples, classes)."""
    with torch.no_grad():
        found: npt.NDArray[np.float32] = model.reader()(read)[:, 0].numpy()
    return found


def own(model: Model) -> torch.nn.Parameter:
    """Returns the table of writers' vectors."""
    found = model.module.get_parameter("writer_prompts.own")
    assert isinstance(found, torch.nn.Parameter)
    return found
