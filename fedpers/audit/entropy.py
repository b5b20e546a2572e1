"""Where user embeddings gain: accuracy by how much an answer depends on who asks.

As in the released code of IDfree-PL (arXiv 2501.06062, commit 5903271): every test sample is predicted with
the embeddings of other people; the entropy of the classes they get tells how user-dependent it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedpers.clients import UserTokens
from fedpers.data import Ints, Population
from fedpers.method import Device, State
from fedpers.models import Arrays, Model, encode, insert, pool
from fedpers.models.families import Doubles
from fedpers.records import Crossing
from fedpers.seeds import stream
from fedpers.training import predict

_BINS = 6
_OTHERS = 20  # people whose embeddings each sample is predicted with


@dataclass(frozen=True)
class EntropyBin:
    """The test samples whose entropy lies in one of six equal parts of [0, log(classes)].

    Attributes:
        low: Lower end, in nats.
        high: Upper end.
        samples: How many there are.
        accuracy: With the person's own embedding, in [0, 1]; None without samples.
        central_accuracy: Of the central model, without.
    """

    low: float
    high: float
    samples: int
    accuracy: float | None
    central_accuracy: float | None


def entropy(predictions: Ints, classes: int) -> Doubles:
    """Returns the entropy, in nats, of the classes that each sample gets (samples,).

    Args:
        predictions: Classes of every sample with every embedding (embeddings, samples).
        classes: How many there are.

    >>> entropy(np.array([[0, 0], [0, 1]]), 2).round(3).tolist()
    [0.0, 0.693]
    """
    shares = np.stack([(predictions == label).mean(axis=0) for label in range(classes)])
    found: Doubles = -np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-300)), 0.0).sum(axis=0)
    return found + 0.0


def entropy_bins(entropies: Doubles, right: Ints, central_right: Ints, classes: int) -> list[EntropyBin]:
    """Parts the samples by their entropy.

    Args:
        entropies: Of each sample, in nats (samples,).
        right: 1 where the person's own embedding led to the right class (samples,).
        central_right: 1 where the central model was right (samples,).
        classes: How many there are.
    """
    edges = np.linspace(0, np.log(classes), _BINS + 1)
    place = np.clip(np.searchsorted(edges, entropies, side="right") - 1, 0, _BINS - 1)
    return [
        EntropyBin(
            float(edges[number]),
            float(edges[number + 1]),
            int((place == number).sum()),
            _mean(right[place == number]),
            _mean(central_right[place == number]),
        )
        for number in range(_BINS)
    ]


def gain_by_entropy(
    model: Model,
    arrays: Arrays,
    central: Arrays,
    tokens: UserTokens,
    crossing: Crossing,
    population: Population,
) -> list[EntropyBin]:
    """Predicts everyone's test texts with their own, with 20 other people's, and without an embedding.

    Args:
        model: The model; what its weights are does not matter.
        arrays: The personalised model's parameters.
        central: The central model's.
        tokens: What texts are read with.
        crossing: Holds everyone's distribution.
        population: The people.
    """
    clients = population.clients
    samples = [population.samples(int(person), "test") for person in clients]
    labels = np.concatenate([own.labels for own in samples])
    insert(model.module, central)
    central_right = predict(model, pool([encode(model, own) for own in samples])) == labels
    insert(model.module, arrays)
    draw = stream(population.seed, "entropy")

    def predicted(states: Sequence[State]) -> Ints:
        devices = (Device(0, own, state, draw) for own, state in zip(samples, states, strict=True))
        return predict(model, pool([tokens.encode(model, device) for device in devices]))

    own = [crossing.states[int(person)] for person in clients]
    right = predicted(own) == labels
    # A rotation gives everyone somebody else's, and each person's is used as often as any other's.
    turns = 1 + draw.permutation(len(own) - 1)[:_OTHERS]
    others = np.stack([predicted([*own[turn:], *own[:turn]]) for turn in turns])
    classes = len(population.people.classes)
    return entropy_bins(entropy(others, classes), right.astype(int), central_right.astype(int), classes)


def _mean(hits: Ints) -> float | None:
    return float(hits.mean()) if len(hits) else None
