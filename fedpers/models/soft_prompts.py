"""Soft prompts of writers: a few vectors a writer, which an MLP that all share turns into what a model reads.

Oba, Yoshinaga, Toyoda: PerPLM: Personalized Fine-tuning of Pretrained Language Models via Writer-specific
Intermediate Learning and Prompts, arXiv 2309.07727, 2023. The paper puts a fixed number of vectors on each
layer, or on the first one only, and re-parameterises them by an MLP; sizes and form are our choice: keys and
values in front of every layer's attention, as prefix tuning has them (Li and Liang, ACL 2021, arXiv
2101.00190), or hidden vectors that stand behind the leading special token and are set anew at the entry of
each layer (Qin and Eisner, NAACL 2021, arXiv 2104.06599: deep prompts).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from fedpers.models.additions import Added
from fedpers.models.arrays import OWN
from fedpers.models.inputs import Inputs
from fedpers.models.masked_words import attentions, check_encoder
from fedpers.models.user_tokens import user_tokens

Placement = Literal["prefix", "deep", "first"]

WRITER_PROMPTS = "writer_prompts"  # the addition's name within the model
PROMPT = f"{WRITER_PROMPTS}{OWN}"  # the name of the writers' own vectors, (writers, length, width)


@dataclass(frozen=True)
class SoftPrompts:
    """Describes writers' prompts.

    Attributes:
        placement: Keys and values before every layer (`prefix`), hidden vectors at the entry of every layer
            (`deep`), or input embeddings behind the leading special token (`first`).
        length: p, vectors of a writer, 1 or more; as many on each layer.
        width: e, numbers in each; 0 for the model's own width.
        inner: m, width of the MLP's hidden layer; 0 for no MLP, where vectors are read as they are.
        spread: Standard deviation of the one start that all writers have in common.
    """

    placement: Placement = "prefix"
    length: int = 10
    width: int = 0
    inner: int = 0
    spread: float = 0.02

    @property
    def tokens(self) -> int:
        """How many user tokens stand in a text for them."""
        return 0 if self.placement == "prefix" else self.length

    def attach(self, module: PreTrainedModel) -> None:
        """Adds the start of all writers' vectors, and the MLP."""
        if self.placement != "first":
            check_encoder(module)
        module.add_module(WRITER_PROMPTS, WriterPrompts(self, module))


class WriterPrompts(Added):
    """Writers' vectors, a row for each writer at hand, and the MLP."""

    def __init__(self, prompts: SoftPrompts, module: PreTrainedModel) -> None:
        """Makes the row that all start from, and a fresh MLP."""
        super().__init__()
        self._placement: Placement = prompts.placement
        hidden = cast("nn.Embedding", module.get_input_embeddings()).embedding_dim
        self._layers = 1
        each = hidden
        if prompts.placement != "first":
            hidden = module.config.hidden_size
            self._layers = len(attentions(module))
            each = hidden * self._layers * (2 if prompts.placement == "prefix" else 1)
        width = (prompts.width or hidden) if prompts.inner else each
        start = prompts.spread * torch.randn(1, prompts.length, width)
        self.own = nn.Parameter(start, requires_grad=False)
        self.mlp = nn.Sequential()
        if prompts.inner:
            self.mlp = nn.Sequential(
                nn.Linear(width, prompts.inner), nn.Tanh(), nn.Linear(prompts.inner, each)
            )

    def reading(self, module: PreTrainedModel, inputs: Inputs) -> AbstractContextManager[None]:
        """Has each sample read with its owner's vectors, and nobody's without any."""
        owners = inputs.owners.clamp(min=0)
        several = len(self.own) <= len(owners)  # a row serves several samples
        found = self.mlp(self.own)[owners] if several else self.mlp(self.own[owners])
        samples, length = found.shape[:2]
        if self._placement == "first":
            return user_tokens(module, found)
        if self._placement == "deep":
            return _deep(module, inputs.ids, found.view(samples, length, self._layers, -1))
        return _prefixed(module, found.view(samples, length, self._layers, 2, -1), inputs.owners >= 0)


class _Prefix:
    """Stands for the cache of one layer: gives what comes before the text's own keys and values."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self._keys = keys
        self._values = values

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns all keys and values (samples, heads, tokens, width of a head)."""
        own = self._split(self._keys, keys), self._split(self._values, values)
        return torch.cat([own[0], keys], dim=2), torch.cat([own[1], values], dim=2)

    @staticmethod
    def _split(vectors: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        heads = vectors.view(*vectors.shape[:2], like.shape[1], like.shape[3])
        return heads.transpose(1, 2).to(like.dtype)


@contextmanager
def _prefixed(module: PreTrainedModel, vectors: torch.Tensor, seen: torch.Tensor) -> Iterator[None]:
    """Gives every self-attention further keys and values for a while.

    The text's own positions stay what they are, for a prefix stands in no place.

    Args:
        module: The encoder.
        vectors: Keys and values (samples, length, layers, 2, width).
        seen: Whether a sample has a prefix at all (samples,).
    """

    def before(layer: int, named: dict[str, Any]) -> dict[str, Any]:
        text = named["attention_mask"]
        hidden = torch.where(seen, 0.0, torch.finfo(text.dtype).min).to(text.dtype)[:, None, None, None]
        open_ = torch.cat([hidden.expand(*text.shape[:3], vectors.shape[1]), text], dim=3)
        prefix = _Prefix(vectors[:, :, layer, 0], vectors[:, :, layer, 1])
        return {**named, "attention_mask": open_, "past_key_values": prefix}

    with ExitStack() as hooks:
        for number, part in enumerate(attentions(module)):
            hooks.callback(part.register_forward_pre_hook(_renamed(before, number), with_kwargs=True).remove)
        yield


def _renamed(before: Any, number: int) -> Any:
    """Returns a hook of one layer, which sees arguments by name, those given by place too."""

    def hook(part: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        names = ("attention_mask",)
        given = dict(zip(names, args[1:], strict=False))
        return args[:1], before(number, {**named, **given})

    return hook


@contextmanager
def _deep(module: PreTrainedModel, ids: torch.Tensor, vectors: torch.Tensor) -> Iterator[None]:
    """Sets the hidden vectors of user tokens anew at the entry of every layer for a while.

    Args:
        module: The encoder.
        ids: Token ids (samples, tokens), below 0 for user tokens.
        vectors: What they are set to (samples, length, layers, width).
    """
    places = (-1 - ids).clamp(min=0)[..., None].expand(-1, -1, vectors.shape[-1])
    ours = (ids < 0)[..., None]

    def before(number: int) -> Any:
        def hook(part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            set_ = vectors[:, :, number].gather(1, places).to(args[0].dtype)
            return torch.where(ours, set_, args[0]), *args[1:]

        return hook

    words = cast("nn.Embedding", module.get_input_embeddings()).embedding_dim
    layers = cast("nn.ModuleList", module.base_model.get_submodule("encoder.layer"))
    with ExitStack() as hooks:
        hooks.enter_context(user_tokens(module, vectors.new_zeros(*vectors.shape[:2], words)))
        for number, layer in enumerate(layers):
            hooks.callback(layer.register_forward_pre_hook(before(number)).remove)
        yield
