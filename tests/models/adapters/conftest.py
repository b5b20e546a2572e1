"""What transformers no longer has and peft still asks for."""

import pytest
from transformers import PreTrainedModel


@pytest.fixture(autouse=True)
def _former_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives transformers back the name by which peft 0.21 wraps encoder-decoders for prompts."""
    name = "_prepare_encoder_decoder_kwargs_for_generation"
    if not hasattr(PreTrainedModel, name):
        monkeypatch.setattr(PreTrainedModel, name, None, raising=False)
