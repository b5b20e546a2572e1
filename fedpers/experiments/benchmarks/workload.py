"""The people and the model that the benchmarks share: made-up people, a random BERT with 30,522 words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import BertConfig

from fedpers.data import SyntheticPeople
from fedpers.models.wordpiece import SPECIAL
from fedpers.settings import Settings, SyntheticSettings, resolve

_WORDS = 30_522  # of bert-base-uncased
_SPELLERS = 300  # people whose texts, together, hold every word there is


@dataclass(frozen=True)
class Workload:
    """Federated training as the benchmarks do it.

    Attributes:
        clients: People there are.
        per_round: Devices in a round.
        samples: Training samples of each.
        tokens: Tokens of each sample, special ones included.
        layers: Layers of the BERT.
        width: Its hidden size.
        batch_size: Samples in a device's batch.
        local_lr: Rate of its plain SGD, one epoch.
    """

    clients: int = 1100
    per_round: int = 110
    samples: int = 51
    tokens: int = 32
    layers: int = 2
    width: int = 128
    batch_size: int = 16
    local_lr: float = 0.1

    def written(self) -> SyntheticSettings:
        """Returns the people's rule: as many samples as leave these for training after the split."""
        written = next(
            n for n in range(3, 10 * self.samples) if n - 2 * max(1, round(0.1 * n)) == self.samples
        )
        return SyntheticSettings(samples_per_person=written, text_words=self.tokens - 2)

    def settings(self, model: Path, **sections: dict[str, Any]) -> Settings:
        """Returns a run's settings, with some sections added to."""
        base: dict[str, dict[str, Any]] = {
            "run": {"method": "conventional"},
            "data": {"clients": self.clients, "public_people": 0, "held_out_people": 0},
            "synthetic": self.written().model_dump(),
            "model": {"model": str(model), "max_tokens": self.tokens},
            "federation": {"clients_per_round": self.per_round, "strategy": "fedavg", "rounds": 1_000_000},
            "local": {"batch_size": self.batch_size, "local_lr": self.local_lr},
            "central": {"base_epochs": 0},
        }
        return resolve([base, sections])

    @contextmanager
    def model_folder(self) -> Iterator[Path]:
        """Yields a folder with the BERT's config and a vocabulary in which every word is one token."""
        people = SyntheticPeople(self.written(), seed=0, size=_SPELLERS)
        spoken = {word for p in range(_SPELLERS) for text in people.samples(p).texts for word in text.split()}
        words = [*SPECIAL, *sorted(spoken)]
        words += [f"filler{number:05d}" for number in range(_WORDS - len(words))]
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
            BertConfig(
                vocab_size=len(words),
                hidden_size=self.width,
                num_hidden_layers=self.layers,
                num_attention_heads=max(1, self.width // 64),
                intermediate_size=4 * self.width,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            ).save_pretrained(folder)
            yield folder
