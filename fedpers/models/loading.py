"""The classifier and its tokenizer, loaded once in each process from a small description.

A model is a hub name, a local folder, or the built-in tiny BERT whose WordPiece vocabulary is trained on
the public people's text. A folder with a config.json but no weights gives that architecture, of any size,
with random weights, and says so.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from fedpers import seeds
from fedpers.errors import InputError
from fedpers.models.classifier import Classifier, takes_masks
from fedpers.models.wordpiece import train_wordpiece
from fedpers.settings import ModelSettings

TINY = "tiny"

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_OTHER_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
_REMEMBERED = 200_000  # texts whose tokens a process keeps
_TINY_POSITIONS = 128
_PROBE = 160  # words of a text on which masks are tried; more than local attention reaches
_PLAIN_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation


@dataclass(frozen=True)
class ModelSpec:
    """What a process needs to load the same model as every other one.

    Attributes:
        settings: Which model and which size.
        classes: The names of the classes.
        seed: Seed of the random weights.
        vocabulary: The tiny model's WordPiece entries in id order; empty for any other model.
    """

    settings: ModelSettings
    classes: tuple[str, ...]
    seed: int
    vocabulary: tuple[str, ...] = ()

    @property
    def random_weights(self) -> bool:
        """Whether every weight is drawn at random, for want of trained ones."""
        name = self.settings.model
        return name == TINY or (Path(name).is_dir() and not _has_weights(Path(name)))


@dataclass(frozen=True)
class Model:
    """A loaded classifier with its tokenizer.

    Attributes:
        module: transformers' sequence classifier.
        tokenizer: Its tokenizer.
        max_tokens: Longest input in tokens, special tokens included.
        precision: What products of matrices are computed in; parameters are float32.
        stackable: Whether devices can be trained in one pass; if not they train one after another.
    """

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    precision: Literal["float32", "bfloat16"] = "float32"
    stackable: bool = True
    _known: dict[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def classifier(self) -> Classifier:
        """Returns the module as one function of ids and mask, with the same parameters."""
        return Classifier(self.module, own_mask=not self.stackable)

    @property
    def width(self) -> int:
        """The width of its word embeddings."""
        weight = self.module.get_input_embeddings().weight
        assert isinstance(weight, torch.Tensor)
        return weight.shape[1]

    def autocast(self) -> torch.autocast:
        """Returns the context in which the model is to compute."""
        return torch.autocast(self.module.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of texts, without special tokens, at most `max_tokens` each.

        Texts are remembered, for every round reads its people's texts again.
        """
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if len(self._known) + len(new) > _REMEMBERED:
            self._known.clear()
            new = list(dict.fromkeys(texts))
        if new:
            encoded = self.tokenizer(
                new,
                add_special_tokens=False,
                truncation=True,
                max_length=self.max_tokens,
                return_attention_mask=False,
            )
            self._known.update(zip(new, encoded["input_ids"], strict=True))
        return [self._known[text] for text in texts]


def specify(
    settings: ModelSettings, classes: Iterable[str], seed: int, public_texts: Iterable[str]
) -> ModelSpec:
    """Describes the model of a run; for the tiny one, trains its vocabulary.

    Args:
        settings: Which model and which size.
        classes: The names of the classes.
        seed: Seed of the random weights.
        public_texts: What the tiny model's vocabulary is trained on; not read for any other model.
    """
    if settings.model != TINY:
        return ModelSpec(settings, tuple(classes), seed)
    return ModelSpec(settings, tuple(classes), seed, _train_vocabulary(public_texts, settings.vocabulary))


def load(spec: ModelSpec, device: str = "cpu") -> Model:
    """Loads a model; equal specs give equal weights in any process.

    Args:
        spec: Which model.
        device: torch's name of where it is to work, such as "cuda".

    Raises:
        InputError: No such model, weights in another format than safetensors, or sizes asked for a
            model that has weights.
    """
    if spec.settings.model == TINY:
        tokenizer: PreTrainedTokenizerBase = BertTokenizer(
            vocab={entry: number for number, entry in enumerate(spec.vocabulary)}, do_lower_case=True
        )
        config: PretrainedConfig = _resized(_tiny_config(len(spec.vocabulary)), spec.settings)
    else:
        tokenizer, config = _read(spec)
    config.num_labels = len(spec.classes)
    config.id2label = dict(enumerate(spec.classes))
    config.label2id = {name: number for number, name in enumerate(spec.classes)}
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    config.pad_token_id = tokenizer.pad_token_id
    # Stacked devices need plain products on a CPU, where they cost no more than the fused kernel.
    config._attn_implementation = "eager" if device == "cpu" else None
    if spec.settings.dropout is not None:
        _set_dropout(config, spec.settings.dropout)
    module = _instantiate(spec, config)
    entries = int(config.vocab_size)
    if len(tokenizer) > entries:
        raise InputError(
            f"the tokenizer of {spec.settings.model} has {len(tokenizer)} entries, its model only "
            f"{entries}: they do not belong together"
        )
    module.to(torch.device(device))  # type: ignore[arg-type]  # transformers' wrapper hides self
    longest = _longest(spec.settings, config)
    short, long = (
        tokenizer("a " * words, truncation=True, max_length=longest)["input_ids"] for words in (2, _PROBE)
    )
    stackable = takes_masks(module, short, long, int(config.pad_token_id))
    return Model(module, tokenizer, longest, spec.settings.precision, stackable)


def quiet_transformers() -> None:
    """Turns off transformers' own reports and progress bars, for a process that shows its own."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # theirs
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs


def _read(spec: ModelSpec) -> tuple[PreTrainedTokenizerBase, PretrainedConfig]:
    name, settings = spec.settings.model, spec.settings
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise InputError(
                f"{name} holds no config.json, so it is no model's folder: see --model in --help"
            )
        if any((folder / file).exists() for file in _OTHER_WEIGHTS) and not _has_weights(folder):
            raise InputError(f"{name} has no safetensors weights: convert them, other formats can run code")
    sized = [field for field in ("layers", "hidden_size", "heads") if getattr(settings, field) is not None]
    if sized and not spec.random_weights:
        raise InputError(f"--{sized[0].replace('_', '-')} is for random weights, but {name} has trained ones")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _unloadable(name, error) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes up without files
        raise InputError(f"{name} holds no tokenizer: add the vocabulary files that belong to its model")
    return tokenizer, _resized(config, settings) if spec.random_weights else config


def _instantiate(spec: ModelSpec, config: PretrainedConfig) -> PreTrainedModel:
    with seeds.torch_stream(seeds.word(spec.seed, "weights")):
        try:
            if spec.random_weights:
                module = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # theirs
            else:
                module = AutoModelForSequenceClassification.from_pretrained(
                    spec.settings.model, config=config, trust_remote_code=False, use_safetensors=True
                )
        except (OSError, ValueError) as error:
            raise _unloadable(spec.settings.model, error) from error
        except RuntimeError as error:  # tensors of other shapes; torch's own message is a table
            raise InputError(
                f"the weights of {spec.settings.model} do not fit its config.json and the data's "
                f"{len(spec.classes)} classes: use a model without a classifier, or one for as many classes"
            ) from error
    loaded: PreTrainedModel = module.float()
    return loaded


def _unloadable(name: str, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(f"cannot load the model {name!r}: {reason} (give 'tiny', a folder or a hub name)")


def _has_weights(folder: Path) -> bool:
    return any((folder / file).exists() for file in _WEIGHTS)


def _tiny_config(vocabulary: int) -> PretrainedConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=_TINY_POSITIONS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def _resized(config: PretrainedConfig, settings: ModelSettings) -> PretrainedConfig:
    """Applies the sizes asked for; the inner width keeps its ratio, heads stay as wide as they were."""
    hidden = settings.hidden_size or config.hidden_size
    heads = settings.heads or max(1, round(hidden * config.num_attention_heads / config.hidden_size))
    if hidden % heads:
        raise InputError(f"--hidden-size {hidden} is not a multiple of {heads} heads: set --heads")
    if hasattr(config, "intermediate_size"):
        config.intermediate_size = hidden * config.intermediate_size // config.hidden_size
    config.hidden_size, config.num_attention_heads = hidden, heads
    config.num_hidden_layers = settings.layers or config.num_hidden_layers
    return config


def _set_dropout(config: PretrainedConfig, rate: float) -> None:
    names = [name for name in config.to_dict() if "dropout" in name or name.endswith("pdrop")]
    for name in names:
        if isinstance(getattr(config, name), float):
            setattr(config, name, rate)


def _longest(settings: ModelSettings, config: PretrainedConfig) -> int:
    limit: int = getattr(config, "max_position_embeddings", 512)
    if config.model_type in ("roberta", "camembert", "xlm-roberta"):
        limit -= config.pad_token_id + 1  # these count positions from behind the padding id
    if settings.max_tokens is None:
        return min(limit, 512)
    if settings.max_tokens > limit:
        raise InputError(f"--max-tokens {settings.max_tokens} is over the model's limit of {limit} tokens")
    return settings.max_tokens


def _train_vocabulary(texts: Iterable[str], size: int) -> tuple[str, ...]:
    public = list(texts)
    if not public:
        raise InputError("the tiny model needs public text for its vocabulary: set --public-people 1 or more")
    # Plain characters are there for names and every kind of identifier, whatever the people write about.
    return train_wordpiece(public, size, _PLAIN_CHARACTERS)
