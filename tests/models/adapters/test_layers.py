"""Which layers are adapted."""

import copy

import pytest
from peft import get_peft_model

from fedpers.errors import InputError
from fedpers.models.adapters import Ia3, Lora
from tests.models.adapters.peft_models import KINDS, PEFTS_WARNINGS, base

pytestmark = PEFTS_WARNINGS


def test_peft_adapts_the_same_layers_by_default_and_by_name() -> None:
    for kind in KINDS:
        for adapter in (Lora(), Ia3()):
            model = get_peft_model(copy.deepcopy(base(kind)), adapter.config(base(kind)))
            names = {name.split(".default")[0] for name, p in model.named_parameters() if p.requires_grad}
            assert {f"base_model.model.{name}" for name in adapter.start(base(kind), 0)} == names


def test_a_name_fits_the_end_of_a_path() -> None:
    names = Lora(targets=("mlp.c_proj", "h.0.attn.c_attn")).start(base("gpt2"), 0)
    assert sorted(name for name in names if name.endswith("A")) == [
        "transformer.h.0.attn.c_attn.lora_A",
        "transformer.h.0.mlp.c_proj.lora_A",
        "transformer.h.1.mlp.c_proj.lora_A",
    ]


def test_an_unknown_layer_is_refused_with_those_that_the_model_has() -> None:
    with pytest.raises(InputError) as error:
        Lora(targets=("c_attention",)).start(base("gpt2"), 0)
    assert str(error.value) == (
        "unknown layer 'c_attention': did you mean 'c_attn'? (valid: c_attn, c_fc, c_proj); "
        "usual for gpt2: c_attn"
    )
    with pytest.raises(
        InputError, match=r"unknown layer 'value'.*usual for llama: down_proj, k_proj, v_proj"
    ):
        Ia3(targets=("q_proj", "value")).start(base("llama"), 0)


def test_a_head_that_is_the_word_embedding_is_no_layer_to_adapt() -> None:
    with pytest.raises(InputError, match="unknown layer 'lm_head'"):
        Lora(targets=("lm_head",)).start(base("gpt2"), 0)
    assert "lm_head.lora_A" in Lora(targets=("lm_head",)).start(base("llama"), 0)


def test_an_architecture_without_defaults_needs_names(monkeypatch: pytest.MonkeyPatch) -> None:
    module = base("gpt2")
    monkeypatch.setattr(module.config, "model_type", "new")
    with pytest.raises(
        InputError, match="new has no default layers to adapt: name some of c_attn, c_fc, c_proj"
    ):
        Lora().start(module, 0)
    assert not Ia3(targets=("c_fc",)).config(module).feedforward_modules


@pytest.mark.parametrize(
    ("adapter", "at_input"),
    [(Ia3(("c_attn", "c_fc")), ()), (Ia3(("c_attn", "c_fc"), ("c_fc",)), ("c_fc",))],
)
def test_feedforward_layers_are_scaled_at_their_input(adapter: Ia3, at_input: tuple[str, ...]) -> None:
    sizes = {name: len(value) for name, value in adapter.start(base("gpt2"), 0).items()}
    assert sizes["transformer.h.1.attn.c_attn.ia3_l"] == 96
    assert sizes["transformer.h.1.mlp.c_fc.ia3_l"] == (32 if at_input else 128)
    assert set(adapter.config(base("gpt2")).feedforward_modules or ()) == set(at_input)
