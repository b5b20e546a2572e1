"""The model and its tokenizer, loaded once in each process from a small description.

A model is a hub name, a local folder, or built in: a tiny BERT as a classifier, a tiny GPT-2 as a language
model, each with a vocabulary trained on the public people's text. A folder with a config.json but no weights
gives that architecture, of any size, with random weights, and says so.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertTokenizer,
    GPT2Config,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils import logging

from fedpers import seeds
from fedpers.errors import InputError
from fedpers.models.additions import Addition
from fedpers.models.bpe import bpe_tokenizer, train_bpe
from fedpers.models.reading import Classifier, MaskedReader, Reader, Writer, takes_masks, writes
from fedpers.models.wordpiece import train_wordpiece
from fedpers.models.writing import GREEDY, Writing
from fedpers.settings import ModelSettings

TINY = "tiny"

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_OTHER_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
_REMEMBERED = 200_000  # texts whose tokens a process keeps
_TINY_POSITIONS = 128  # of the classifier
_TINY_CONTEXT = 512  # of the language model
_PROBE = 160  # words of a text on which masks are tried; more than local attention reaches
Head = Literal["classes", "words"]

_PLAIN_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation


def random_weights(settings: ModelSettings) -> bool:
    """Tells whether a model has no trained weights to start from."""
    name = settings.model
    return name == TINY or (Path(name).is_dir() and not _has_weights(Path(name)))


@dataclass(frozen=True)
class ModelSpec:
    """What a process needs to load the same model as every other one.

    Attributes:
        settings: Which model and which size.
        classes: The names of the classes.
        seed: Seed of the random weights.
        vocabulary: The tiny model's entries in id order; empty for any other model.
        merges: The merges of the tiny language model's vocabulary.
        head: Whether it tells classes or writes words.
        additions: What a method adds to it.
    """

    settings: ModelSettings
    classes: tuple[str, ...]
    seed: int
    vocabulary: tuple[str, ...] = ()
    merges: tuple[str, ...] = ()
    head: Head = "classes"
    additions: tuple[Addition, ...] = ()

    @property
    def random_weights(self) -> bool:
        """Whether every weight is drawn at random, for want of trained ones."""
        return random_weights(self.settings)


@dataclass(frozen=True)
class Model:
    """A loaded model with its tokenizer.

    Attributes:
        module: transformers' sequence classifier or language model.
        tokenizer: Its tokenizer.
        max_tokens: Longest input in tokens, special tokens included, and the answer where it stands behind.
        answer_tokens: Longest answer of a language model, in tokens, its end included.
        writing: How a language model's answers are searched for.
        precision: What products of matrices are computed in; parameters are float32.
        stackable: Whether devices can be trained in one pass; if not they train one after another.
    """

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_tokens: int
    answer_tokens: int = 64
    writing: Writing = GREEDY
    precision: Literal["float32", "bfloat16"] = "float32"
    stackable: bool = True
    _known: dict[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def writes(self) -> bool:
        """Whether it is a language model, which writes its answers."""
        return writes(self.module)

    def reader(self, *, masked: bool = False) -> Reader:
        """Returns the module as one function of what it reads, with the same parameters.

        Args:
            masked: Whether it is to guess hidden words instead of answering.
        """
        kind = MaskedReader if masked else Writer if self.writes else Classifier
        return kind(self.module, own_mask=not self.stackable)

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
        """Returns the token ids of texts, without special tokens; a classifier's at most `max_tokens` each.

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
                truncation=None if self.writes else True,
                max_length=None if self.writes else self.max_tokens,
                return_attention_mask=False,
                split_special_tokens=True,  # what a text itself spells so is no separator
                verbose=False,
            )
            self._known.update(zip(new, encoded["input_ids"], strict=True))
        return [self._known[text] for text in texts]


def specify(
    settings: ModelSettings,
    classes: Iterable[str],
    seed: int,
    public_texts: Iterable[str],
    head: Head = "classes",
    additions: tuple[Addition, ...] = (),
) -> ModelSpec:
    """Describes the model of a run; for the tiny one, trains its vocabulary.

    Args:
        settings: Which model and which size.
        classes: The names of the classes.
        seed: Seed of the random weights.
        public_texts: What the tiny model's vocabulary is trained on; not read for any other model.
        head: Whether the model is to tell classes or to write words.
        additions: What the method adds to it.
    """
    if settings.model != TINY:
        return ModelSpec(settings, tuple(classes), seed, head=head, additions=additions)
    public = list(public_texts)
    if not public:
        raise InputError("the tiny model needs public text for its vocabulary: set --public-people 1 or more")
    if head == "words":
        vocabulary, merges = train_bpe(public, settings.vocabulary)
        return ModelSpec(settings, tuple(classes), seed, vocabulary, merges, head, additions)
    # Plain characters are there for names and every kind of identifier, whatever the people write about.
    entries = train_wordpiece(public, settings.vocabulary, _PLAIN_CHARACTERS)
    return ModelSpec(settings, tuple(classes), seed, entries, additions=additions)


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
        tokenizer, config = _tiny(spec)
    else:
        tokenizer, config = _read(spec)
    if spec.head == "classes":
        config.num_labels = len(spec.classes)
        config.id2label = dict(enumerate(spec.classes))
        config.label2id = {name: number for number, name in enumerate(spec.classes)}
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    config.pad_token_id = tokenizer.pad_token_id
    config.sep_token_id = tokenizer.sep_token_id
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
    _add(spec, module, stackable)
    answers = spec.settings.answer_tokens
    if spec.head == "words" and answers > longest // 2:
        raise InputError(
            f"answers of {answers} tokens are more than half of the model's {longest}: set "
            f"model.answer_tokens to {longest // 2} or less"
        )
    return Model(module, tokenizer, longest, answers, _writing(spec), spec.settings.precision, stackable)


def _add(spec: ModelSpec, module: PreTrainedModel, stackable: bool) -> None:
    """Adds what a method needs, and checks that the model can be read with it."""
    if spec.additions and not stackable:
        raise InputError(
            f"{spec.settings.model} takes no masks from outside, as this method needs: use an encoder of the "
            "BERT, RoBERTa or ELECTRA families"
        )
    with seeds.torch_stream(seeds.word(spec.seed, "additions")):
        for addition in spec.additions:
            addition.attach(module)
    module.to(module.device)  # type: ignore[arg-type]  # transformers' wrapper hides self


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
    kind: Any = AutoModelForSequenceClassification
    if spec.head == "words":
        if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not (
            config.is_encoder_decoder or getattr(config, "is_decoder", False)
        ):
            raise InputError(
                f"{spec.settings.model} is an encoder ({config.model_type}), which writes no words: use a "
                "decoder or an encoder-decoder"
            )
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with seeds.torch_stream(seeds.word(spec.seed, "weights")):
        try:
            if spec.random_weights:
                module = kind.from_config(config)
            else:
                module = kind.from_pretrained(
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


def _writing(spec: ModelSpec) -> Writing:
    given = spec.settings
    return Writing(
        given.candidates,
        given.sample,
        given.temperature,
        given.top_k,
        given.top_p,
        seeds.word(spec.seed, "answers"),
    )


def _tiny(spec: ModelSpec) -> tuple[PreTrainedTokenizerBase, PretrainedConfig]:
    """Returns the built-in tokenizer and config."""
    if spec.head == "words":
        writer = bpe_tokenizer(spec.vocabulary, spec.merges)
        return writer, _resized(_tiny_gpt(len(spec.vocabulary), int(writer.eos_token_id)), spec.settings)
    entries = {entry: number for number, entry in enumerate(spec.vocabulary)}
    tokenizer = BertTokenizer(vocab=entries, do_lower_case=True)
    return tokenizer, _resized(_tiny_bert(len(entries)), spec.settings)


def _tiny_gpt(vocabulary: int, end: int) -> PretrainedConfig:
    return GPT2Config(
        vocab_size=vocabulary,
        n_positions=_TINY_CONTEXT,
        n_embd=128,
        n_layer=2,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
    )


def _tiny_bert(vocabulary: int) -> PretrainedConfig:
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
