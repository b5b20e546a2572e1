"""All attackers on one run's uploads, from what the strategy got to knowing every distribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fedpers.audit.settings import AuditSettings
from fedpers.data import Ints, Population
from fedpers.dp import Guard
from fedpers.experiments.idfree import Own, family_of
from fedpers.models import Family
from fedpers.models.families import Density, Doubles
from fedpers.privacy import (
    Groups,
    Noised,
    Row,
    Uploads,
    attribute,
    blind_rows,
    channels,
    distributions,
    known_rows,
    labelled_rows,
    misattribution_bound,
    row,
    writing,
)
from fedpers.records import Crossing
from fedpers.seeds import stream
from fedpers.settings import Settings

_LINKED = (1, 2, 5, 10, 50)
_LABELLED = 5


def density_of(settings: Settings, privacy: Mapping[str, Any] | None) -> Density:
    """Returns what attackers know of uploads: the family, or what is left of it where they were noised.

    Args:
        settings: The run's.
        privacy: What its record says of its privacy, if anything.
    """
    family, terms = family_of(settings.of(Own, "idfree")), settings.privacy
    if terms.dp != "local":
        return family
    assert privacy is not None
    return Noised(family, Guard(terms.bound, noise_multiplier=privacy["noise_multiplier"]))


def completed(crossing: Crossing, clients: Ints, family: Family) -> Crossing:
    """Returns a crossing with the distribution that fits start from for those who dropped out of theirs."""
    start = family.start(*crossing.records.vectors.shape[1:])
    return replace(crossing, states={int(p): crossing.states.get(int(p), start) for p in clients})


def material(crossing: Crossing, clients: Ints) -> tuple[Uploads, dict[str, Doubles]]:
    """Returns uploads and everyone's parameters (people, coordinates) with people numbered by partition.

    Args:
        crossing: What crossed the border and what did not, with a distribution of every client.
        clients: Person number of each partition (clients,).
    """
    place = {int(person): number for number, person in enumerate(clients)}
    senders = np.array([place[int(person)] for person in crossing.senders], dtype=np.int64)
    records = crossing.records
    vectors = records.vectors.reshape(len(records), -1).astype(np.float64)
    names = next(iter(crossing.states.values()))
    theta = {
        name: np.stack([crossing.states[int(p)][name].ravel() for p in clients]).astype(np.float64)
        for name in names
    }
    return Uploads(vectors, records.texts, records.labels, senders), theta


def attack(
    settings: AuditSettings,
    density: Density,
    crossing: Crossing,
    population: Population,
) -> Iterator[Row]:
    """Lets every attacker try, each row as it is done.

    Args:
        settings: Which attackers, and what they are given.
        density: What is known of uploads, from `density_of`.
        crossing: What crossed the border and what did not.
        population: The people; attackers who read text have everyone's validation texts.

    Raises:
        InputError: An attacker is given more than there is.
    """
    uploads, theta = material(crossing, population.clients)
    draw = stream(population.seed, "attribution")
    senders = np.bincount(uploads.senders)
    sizes = settings.sizes() or [size for size in _LINKED if size <= senders.max()]
    yield from known_rows(density, theta, uploads, sizes, draw)
    yield from _with_side_channels(settings, density, theta, uploads, draw)
    if settings.reads_text:
        yield from _reading(density, theta, uploads, population, draw)
    uploads = _renumbered(uploads)
    least = int(np.bincount(uploads.senders).min())
    labelled = min(_LABELLED, least - 1) if settings.labelled is None else settings.labelled
    if labelled:
        yield from labelled_rows(uploads, labelled, draw)
    if settings.blind:
        yield from blind_rows(uploads, draw, settings.blind)


def _renumbered(uploads: Uploads) -> Uploads:
    """Numbers only those who sent something; who knows no distributions knows of nobody else."""
    return replace(uploads, senders=np.unique(uploads.senders, return_inverse=True)[1])


def _with_side_channels(
    settings: AuditSettings,
    density: Density,
    theta: Mapping[str, Doubles],
    uploads: Uploads,
    draw: np.random.Generator,
) -> Iterator[Row]:
    """Attacks with what leaks beside the uploads, all of it together."""
    people = len(next(iter(theta.values())))
    kinds, leaks = _kinds(settings, uploads.senders, people, draw)
    groups: Groups | None = None
    if settings.leak_time:
        groups, leaks = channels.time(uploads.senders), ["time", *leaks]
    if not leaks:
        return
    evidence = [distributions(density, theta, uploads.vectors)]
    found = attribute(evidence, uploads.senders, draw, groups, kinds=kinds)
    size = 1 if groups is None else int(np.median(groups.sizes))
    # Groups of unequal sizes are several experiments, for which there is no one bound.
    bound = misattribution_bound(density, theta, found.shares, kinds=kinds) if groups is None else None
    yield row(f"distributions, leaking {' and '.join(leaks)}", found, draw, size, bound)


def _kinds(
    settings: AuditSettings, senders: Ints, people: int, draw: np.random.Generator
) -> tuple[Ints | None, list[str]]:
    """Returns what sorts of people can be told apart (people,), and by what."""
    found: dict[str, Ints] = {}
    if settings.device_classes:
        found["device class"] = channels.device_class(people, settings.device_classes, draw)
    if settings.batch_people:
        found["batch"] = channels.batch(people, settings.batch_people, draw)
    if settings.leak_count:
        found["count"] = channels.count(senders, people)
    return (channels.together(*found.values()) if found else None), list(found)


def _read_of(population: Population, person: int) -> tuple[str, ...]:
    """Returns a person's validation texts, whole ones even where uploads are of their beginnings."""
    places = population.positions(person, "validation")
    return tuple(population.people.samples(person).take(places).texts)


def _reading(
    density: Density,
    theta: Mapping[str, Doubles],
    uploads: Uploads,
    population: Population,
    draw: np.random.Generator,
) -> Iterator[Row]:
    """Attacks by text alone and by text and distributions, after reading everyone's validation texts."""
    read = [_read_of(population, int(person)) for person in population.clients]
    writers = np.repeat(np.arange(len(read)), [len(texts) for texts in read])
    words = writing([text for texts in read for text in texts], writers, len(read), uploads.texts)
    embeddings = distributions(density, theta, uploads.vectors)
    for name, evidence in {"text": [words], "distributions and text": [embeddings, words]}.items():
        yield row(name, attribute(evidence, uploads.senders, draw), draw)
