"""One person's adapter as a folder that peft loads."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from fedpers.models.adapters import save_peft
from tests.models.adapters.peft_models import (
    ADAPTERS,
    KINDS,
    PEFTS_WARNINGS,
    base,
    close,
    drawn,
    fronted,
    scored,
    stacked,
    texts,
    written,
)

pytestmark = PEFTS_WARNINGS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADAPTERS)
def test_an_exported_folder_loads_in_peft_and_predicts_the_same(name: str, kind: str, tmp_path: Path) -> None:
    adapter, ids, theta = ADAPTERS[name], texts(4), drawn(ADAPTERS[name], kind, 4)
    folder, own = tmp_path / "base", tmp_path / "person"
    base(kind).save_pretrained(folder)
    save_peft(adapter, base(kind), theta, own, str(folder))
    maker = AutoModelForSeq2SeqLM if base(kind).config.is_encoder_decoder else AutoModelForCausalLM
    loaded = PeftModel.from_pretrained(maker.from_pretrained(folder), own)
    with adapter.applied(base(kind), stacked([theta]), torch.zeros(4, dtype=torch.int64)):
        close(scored(loaded, ids), scored(base(kind), fronted(adapter, ids)))
        assert torch.equal(written(loaded, ids, 1), written(base(kind), fronted(adapter, ids), 1))


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_export_is_the_same_in_every_process(name: str, tmp_path: Path) -> None:
    # A set's order changes with the seed of Python's hashes; a sorted list's does not.
    adapter, theta = ADAPTERS[name], drawn(ADAPTERS[name], "llama", 4)
    save_peft(adapter, base("llama"), theta, tmp_path, "some/model")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "some/model"
    assert all(value == sorted(value) for value in config.values() if isinstance(value, list))
