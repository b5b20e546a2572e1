"""PerPLM's settings that cannot work, at the command line."""

import string
from pathlib import Path

import pytest
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BertConfig,
    BertTokenizer,
    ConvBertConfig,
    DebertaV2Config,
    GPT2Config,
    MobileBertConfig,
    PretrainedConfig,
    T5Config,
)

from tests.conftest import Run

QUICK = tuple(
    "--clients 4 --public-people 6 --held-out-people 0 --rounds 1 --clients-per-round 2 --workers 0 "
    "--base-epochs 0 --max-tokens 20 --set synthetic.samples_per_person=12".split()
)
CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(
        vocab_size=300, n_positions=40, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    ),
    "t5": T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2),
    "deberta-v2": DebertaV2Config(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
    ),
    "convbert": ConvBertConfig(
        vocab_size=300,
        hidden_size=16,
        embedding_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    ),
    "mobilebert": MobileBertConfig(
        vocab_size=300,
        hidden_size=32,
        embedding_size=16,
        intra_bottleneck_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    ),
    "bert": BertConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2),
}


def write(folder: Path, kind: str) -> Path:
    """Writes a config beside a vocabulary, which is a model of random weights."""
    config = CONFIGS[kind]
    if kind == "t5":
        config.decoder_start_token_id = 0
    config.save_pretrained(folder)
    if kind == "gpt2":
        trainer = ByteLevelBPETokenizer()
        trainer.train_from_iterator(["cat"], 300, special_tokens=["<|endoftext|>"], show_progress=False)
        trainer.save_model(str(folder))
        return folder
    letters = string.ascii_lowercase
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: number for number, word in enumerate(words)}
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)
    return folder


def mistake(run: Run, *arguments: str) -> str:
    status, out, err = run("simulate", *QUICK, *arguments)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert status == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == errors[0]
    return errors[0]


@pytest.mark.parametrize("prompt", ["prefix", "deep", "first"])
@pytest.mark.parametrize("kind", ["gpt2", "t5", "deberta-v2", "convbert", "mobilebert"])
def test_only_encoders_of_the_known_families_take_hidden_words(
    run: Run, tmp_path: Path, kind: str, prompt: str
) -> None:
    folder = write(tmp_path / "model", kind)
    found = mistake(run, "--method", "perplm-soft", "--prompt", prompt, "--model", str(folder))
    assert "encoder" in found
    assert "BERT, RoBERTa" in found


@pytest.mark.parametrize("prompt", ["deep", "first"])
def test_prompts_longer_than_the_room_are_refused(run: Run, prompt: str) -> None:
    arguments = ["--method", "perplm-soft", "--prompt", prompt, "--prompt-length", "40"]
    assert mistake(run, *arguments).endswith("the model's 20 positions (nearest: 17)")


def test_oppu_on_an_encoder_is_refused(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / "model", "bert")
    found = mistake(run, "--method", "oppu", "--model", str(folder))
    assert found.endswith("is an encoder (bert), which writes no words: use a decoder or an encoder-decoder")
