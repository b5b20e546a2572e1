"""Small frozen models of four kinds, adapters of theirs after some training, and plain peft's own."""

import copy
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    T5Config,
)

from fedpers.models.adapters import Adapter, Ia3, Lora, PromptTuning
from fedpers.models.arrays import Arrays
from fedpers.models.user_tokens import user_ids

# Peft asks transformers by a name that is on its way out, and while it writes leaves places of words to it.
PEFTS_WARNINGS = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]

VOCABULARY, START = 100, 0
BART: dict[str, Any] = {
    f"{side}_{size}": number
    for side in ("encoder", "decoder")
    for size, number in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))
}
FIRST: dict[str, Any] = {"decoder_start_token_id": START}
ENDS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, **ENDS),
    "llama": LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        **ENDS,
    ),
    "t5": T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        **FIRST,
    ),
    "bart": BartConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        max_position_embeddings=64,
        forced_eos_token_id=None,
        **BART,
        **FIRST,
        **ENDS,
    ),
}
KINDS = sorted(CONFIGS)
WEIGHTS: dict[str, Adapter] = {"lora": Lora(rank=4, alpha=6.0), "ia3": Ia3()}
ADAPTERS: dict[str, Adapter] = {**WEIGHTS, "prompt": PromptTuning(3)}
EVEN = [0, 0, 1, 1, 2, 2]
OWNERS = {"even": EVEN, "uneven": [0, 0, 1, 2, 2, 2, 2], "mixed": [2, 0, 1, 1, 0]}
DEVICES = 3
Theta = dict[str, torch.Tensor]


@cache
def base(kind: str) -> PreTrainedModel:
    """Returns a frozen model in evaluation whose weights are large enough that every token matters."""
    config = copy.deepcopy(CONFIGS[kind])
    maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module: PreTrainedModel = maker.from_config(config)  # type: ignore[no-untyped-call]  # theirs
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(1 if kind == "t5" else 4)
                else:
                    parameter.add_(0.1 * torch.randn_like(parameter))  # biases, which start at 0
    module.generation_config.max_length = None
    module.requires_grad_(False).train(False)
    return module


def drawn(adapter: Adapter, kind: str, seed: int) -> Arrays:
    """Returns one device's parameters after some training, as it were."""
    noise = np.random.default_rng(seed)
    return {
        name: (value + noise.normal(scale=0.2, size=value.shape)).astype(np.float32)
        for name, value in adapter.start(base(kind), seed).items()
    }


def stacked(devices: Sequence[Arrays]) -> Theta:
    return {
        name: torch.from_numpy(np.stack([device[name] for device in devices])).requires_grad_()
        for name in devices[0]
    }


def reference(adapter: Adapter, kind: str, theta: Arrays) -> Any:
    """Returns peft's own model with the same parameters."""
    model = get_peft_model(copy.deepcopy(base(kind)), adapter.config(base(kind)))
    arrays = adapter.exported(base(kind), theta)
    set_peft_model_state_dict(model, {name: torch.from_numpy(value) for name, value in arrays.items()})
    own = get_peft_model_state_dict(model)
    assert own.keys() == arrays.keys()
    assert all((own[name].numpy() == arrays[name]).all() for name in arrays)
    return model.eval()


def texts(rows: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (rows, 7), generator=torch.Generator().manual_seed(seed))


def fronted(adapter: Adapter, ids: torch.Tensor) -> torch.Tensor:
    """Returns texts behind the adapter's user tokens."""
    front = torch.tensor(user_ids(adapter.tokens), dtype=torch.int64)
    return torch.cat([front.expand(len(ids), -1), ids], dim=1)


def scored(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Returns what comes after each token (rows, tokens, words); a decoder reads the texts backwards."""
    arguments = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        arguments["decoder_input_ids"] = ids.flip(1)[:, :4].clamp(min=0)
    logits = model(**arguments).logits
    assert isinstance(logits, torch.Tensor)
    return logits


def written(model: Any, ids: torch.Tensor, beams: int) -> torch.Tensor:
    """Returns eight new tokens for every text."""
    with torch.no_grad():
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            num_beams=beams,
            do_sample=False,
            min_new_tokens=8,
            max_new_tokens=8,
        )
    assert isinstance(made, torch.Tensor)
    return made[:, -8:]


def hooks(module: PreTrainedModel) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def loss(logits: torch.Tensor) -> torch.Tensor:
    """Returns what a row costs that should always go on with the word 7 (rows,)."""
    wanted = torch.full(logits.shape[:2], 7)
    return functional.cross_entropy(logits.mT, wanted, reduction="none").mean(dim=1)


def parameters(model: Any, names: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Returns peft's trainable parameters by our names."""
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if "prompt_embeddings" in names:
        [prompt] = trainable.values()
        return {"prompt_embeddings": prompt}
    return {
        name.removeprefix("base_model.model.").split(".default")[0]: parameter
        for name, parameter in trainable.items()
    }


def gradients(model: Any, theta: Arrays) -> Arrays:
    found = {}
    for name, parameter in parameters(model, theta).items():
        assert parameter.grad is not None
        found[name] = parameter.grad.numpy().reshape(theta[name].shape)
    return found
