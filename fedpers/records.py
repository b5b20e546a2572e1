"""Anonymous records: single samples that leave a device without a sign of whose they are.

IDfree-PL (Ding et al., KDD 2025, arXiv 2501.06062) uploads (user embedding, text, label) without an
identifier. The border mixes the records of a whole round; what comes out is a function of the set of
records alone, so neither their order nor how many came from one device is left in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, RecordDict

from fedpers.data import Ints, Samples
from fedpers.models import Examples, Model, Vectors, encode, user_ids

Placement = Literal["front", "back"]


@dataclass(frozen=True)
class Records:
    """Samples as they are uploaded.

    Attributes:
        texts: The texts.
        labels: Class numbers (records,).
        vectors: The user embedding of each, float32 (records, user tokens, width); none is (records, 0, 0).
        targets: What is to be written in answer to each; None where the answer is a class.
    """

    texts: tuple[str, ...]
    labels: Ints
    vectors: Vectors
    targets: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @staticmethod
    def without_vectors(samples: Samples) -> Records:
        """Returns the records of texts and labels alone."""
        return Records.of_samples(samples, np.zeros((len(samples), 0, 0), np.float32))

    @staticmethod
    def of_samples(samples: Samples, vectors: Vectors) -> Records:
        """Returns the records of some samples, each with its user embedding."""
        targets = None if samples.targets is None else tuple(samples.targets)
        return Records(tuple(samples.texts), samples.labels, vectors, targets)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the records as arrays: in messages, in checkpoints and in a run's folder."""
        answers = {} if self.targets is None else letters(self.targets, "answer-")
        return {**letters(self.texts), **answers, "labels": self.labels, "vectors": self.vectors}

    @staticmethod
    def of(arrays: Mapping[str, npt.NDArray[Any]]) -> Records:
        """Returns the records that some arrays hold."""
        targets = spelled(arrays, "answer-") if "answer-ends" in arrays else None
        return Records(spelled(arrays), arrays["labels"], arrays["vectors"], targets)


@dataclass(frozen=True)
class Crossing:
    """What an audit of anonymity looks at.

    Attributes:
        records: What the strategy got, in the order in which it got it.
        senders: The person behind each record (records,); the strategy does not know.
        states: Everyone's personal state; the strategy does not know.
    """

    records: Records
    senders: Ints
    states: Mapping[int, Mapping[str, npt.NDArray[Any]]]


def mix(parts: Sequence[Records]) -> tuple[Records, Ints]:
    """Pools records and puts them into an order that only their contents decide.

    Args:
        parts: At least one, with as many user tokens each.

    Returns:
        The records, and where each was in the parts joined end to end (records,): the audit's knowledge.
    """
    labels = np.concatenate([part.labels for part in parts])
    vectors = np.concatenate([part.vectors for part in parts])
    texts = list(chain.from_iterable(part.texts for part in parts))
    written = [part.targets for part in parts if part.targets is not None]
    targets = list(chain.from_iterable(written)) if len(written) == len(parts) else [None] * len(texts)
    marks = [_mark(*record) for record in zip(texts, targets, labels.tolist(), vectors, strict=True)]
    order = np.array(sorted(range(len(marks)), key=marks.__getitem__), dtype=np.int64)
    answers = tuple(targets[i] or "" for i in order) if written else None
    return Records(tuple(texts[i] for i in order), labels[order], vectors[order], answers), order


def pack(records: Records) -> RecordDict:
    """Returns records as a Flower message carries them: nothing but the arrays."""
    return RecordDict({"records": ArrayRecord({k: Array(a) for k, a in records.arrays().items()})})


def unpack(message: Message) -> Records | None:
    """Returns the records a Flower message carries, or None if it carries none."""
    packed = message.content.get("records")
    if not isinstance(packed, ArrayRecord):
        return None
    return Records.of({name: array.numpy() for name, array in packed.items()})


def read(model: Model, records: Records, placement: Placement) -> Examples:
    """Encodes records for a model, each with its own user embedding."""
    targets = None if records.targets is None else list(records.targets)
    samples = Samples(list(records.texts), records.labels, targets)
    return replace(
        with_user_tokens(model, samples, records.vectors.shape[1], placement), vectors=records.vectors
    )


def with_user_tokens(model: Model, samples: Samples, count: int, placement: Placement) -> Examples:
    """Encodes texts with so many user tokens in front of them or behind, whose vectors come later."""
    if placement == "front":
        return encode(model, samples, prefix=user_ids(count))
    return encode(model, samples, suffix=user_ids(count))


def letters(texts: Sequence[str], name: str = "") -> dict[str, npt.NDArray[Any]]:
    """Returns texts as the bytes of all of them and where each ends."""
    encoded = [text.encode() for text in texts]
    return {
        f"{name}letters": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}ends": np.cumsum([len(text) for text in encoded], dtype=np.int64),
    }


def spelled(arrays: Mapping[str, npt.NDArray[Any]], name: str = "") -> tuple[str, ...]:
    """Returns the texts that `letters` made arrays of."""
    spelt, ends = arrays[f"{name}letters"].tobytes(), arrays[f"{name}ends"].tolist()
    return tuple(spelt[start:end].decode() for start, end in zip([0, *ends], ends, strict=False))


def _mark(text: str, target: str | None, label: int, vectors: Vectors) -> bytes:
    answer = "" if target is None else f"{len(target)} {target} "
    content = f"{label} {answer}{text}".encode() + vectors.tobytes()
    return hashlib.sha256(content).digest()
