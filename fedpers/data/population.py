"""Who takes part, in which role, and which of their texts are for training, validation and test.

UserIdentifier (Mireshghallah et al., NAACL 2022, section 3) parts each user's own samples 0.8/0.1/0.1; so
does this module, with at least one sample in each part. IDfree-PL (Ding et al., KDD 2025; its released code)
cuts everyone's samples at one moment, the 0.8 quantile of all times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedpers.data.samples import Ints, People, Samples, TablePeople
from fedpers.data.sources import read
from fedpers.data.synthetic import SyntheticPeople
from fedpers.errors import InputError
from fedpers.seeds import stream
from fedpers.settings import DataSettings, Split, SyntheticSettings

Part = Literal["train", "validation", "test", "all"]

_BEFORE = 0.8  # share of all samples that lie before the common moment
_SYNTHETIC_SIZES = (1100, 200, 100)  # clients, public and held-out people when nothing is said


@dataclass(frozen=True)
class Population:
    """The people of a run by role; a client's place in `clients` is its partition number.

    Attributes:
        people: Everyone in the source.
        clients: Person numbers of those who train (clients,).
        public: Those whose text the server may read, to train the vocabulary and the base.
        held_out: Those nobody trains on, for the unseen-user test.
        split: Whether a person's test samples are random ones, the latest, or those after the moment.
        moment: Time after which everyone's samples are the test, with the split `common-time`.
        max_samples: How many of a person's samples are used at most, the first ones.
        seed: The seed of roles and splits.
        notes: What was left out, one line each.
    """

    people: People
    clients: Ints
    public: Ints
    held_out: Ints
    split: Split = "random"
    moment: float = np.inf
    max_samples: int | None = None
    seed: int = 0
    notes: tuple[str, ...] = ()

    def everyone(self) -> Ints:
        """Returns clients, public and held-out people, in this order."""
        return np.concatenate([self.clients, self.public, self.held_out])

    def samples(self, person: int, part: Part) -> Samples:
        """Returns one part of what a person wrote."""
        return self.people.samples(person).take(self.positions(person, part))

    def positions(self, person: int, part: Part) -> Ints:
        """Returns which of a person's samples make up a part, as positions in the source's order."""
        times = self.people.times(person)
        count = len(self.people.samples(person)) if times is None else len(times)
        order = np.arange(count) if times is None else np.argsort(times, kind="stable")
        order = order[: self.max_samples]
        if part == "all":
            return order
        if self.split == "random":
            order = stream(self.seed, "split", person).permutation(order)
        tested = tenth = max(1, round(0.1 * len(order)))
        if self.split == "common-time" and times is not None:
            tested = int((times[order] > self.moment).sum())
            tenth = max(1, round((len(order) - tested) / 9))  # 0.1 of 0.9, as in the other splits
        cuts = {
            "train": slice(0, len(order) - tested - tenth),
            "validation": slice(len(order) - tested - tenth, len(order) - tested),
            "test": slice(len(order) - tested, len(order)),
        }
        return order[cuts[part]]


def open_source(
    data: DataSettings, synthetic: SyntheticSettings, seed: int
) -> tuple[People, tuple[str, ...]]:
    """Returns everyone in the source, before any filter, and notes of what was left out."""
    if data.data == "synthetic":
        return SyntheticPeople(synthetic, seed, data.clients or _SYNTHETIC_SIZES[0]), ()
    source = read(data)
    return TablePeople(source.table), source.notes


def populate(data: DataSettings, synthetic: SyntheticSettings, seed: int) -> Population:
    """Reads the source, applies the filters and deals out the roles.

    Raises:
        InputError: More people asked for than there are, or nobody left, or a label that only the
            evaluation texts have.
    """
    if data.data == "synthetic":
        return _synthetic(data, synthetic, seed)
    people, notes = open_source(data, synthetic, seed)
    assert isinstance(people, TablePeople)
    if data.split != "random" and people.times(0) is None:
        raise InputError(f"--split {data.split} needs the column that holds the time: add --time-column NAME")
    eligible = _eligible(people, data)
    moment = np.inf
    if data.split == "common-time":
        if data.max_samples is not None:
            raise InputError(
                "--max-samples keeps everyone's first samples, and --split common-time tests the last: "
                "leave one out"
            )
        moment = _moment(people, eligible)
        both = eligible[[_has_both_sides(people, int(person), moment) for person in eligible]]
        notes = (*notes, *_left_out(len(eligible) - len(both)))
        eligible = both
    public, held_out = data.public_people or 0, data.held_out_people or 0
    wanted = (data.clients or 1) + public + held_out
    if wanted > len(eligible):
        raise InputError(_too_many(data, len(eligible), public + held_out))
    order = stream(seed, "people").permutation(eligible)
    clients = data.clients or len(eligible) - public - held_out
    tail = len(order) - public
    population = Population(
        people,
        clients=order[:clients],
        public=order[tail:],
        held_out=order[tail - held_out : tail],
        split=data.split,
        moment=moment,
        max_samples=data.max_samples,
        seed=seed,
        notes=notes,
    )
    return replace(population, people=people.with_classes(_training_classes(population)))


def _synthetic(data: DataSettings, synthetic: SyntheticSettings, seed: int) -> Population:
    if data.split != "random":
        raise InputError("synthetic texts have no time: use --split random")
    if data.most_active is not None or data.rating_bins is not None:
        raise InputError("--most-active and --rating-bins are for real people: synthetic ones are alike")
    if data.skewed is not None:
        raise InputError("--skewed filters real people: synthetic ones are made on demand")
    asked = (data.clients, data.public_people, data.held_out_people)
    sizes = [default if size is None else size for size, default in zip(asked, _SYNTHETIC_SIZES, strict=True)]
    # Every third person has the same role, so that nobody's role changes with the number of clients.
    clients, public, held_out = (np.arange(role, 3 * size, 3) for role, size in enumerate(sizes))
    people = SyntheticPeople(synthetic, seed, 3 * max(sizes))
    return Population(people, clients, public, held_out, max_samples=data.max_samples, seed=seed)


def _eligible(people: TablePeople, data: DataSettings) -> Ints:
    """Returns the people who have enough samples and, if asked, mostly one label."""
    chosen = np.flatnonzero(people.counts() >= data.min_samples)
    if not len(chosen):
        raise InputError(
            f"no person in {data.data} has {data.min_samples} samples: the most is {people.counts().max()}, "
            f"and a split needs 3 at least; set --min-samples between the two"
        )
    if data.skewed is not None:
        chosen = _skewed(people, data.skewed, chosen)
    if data.most_active is None:
        return chosen
    if data.most_active > len(chosen):
        raise InputError(
            f"--most-active {data.most_active} is more than the {len(chosen)} people that are left: use at "
            f"most {len(chosen)}"
        )
    most = np.argsort(-people.counts()[chosen], kind="stable")[: data.most_active]
    return np.sort(chosen[most])


def _skewed(people: TablePeople, share: float, chosen: Ints) -> Ints:
    skewed = chosen[[_top_share(people.samples(int(person)).labels) >= share for person in chosen]]
    if not len(skewed):
        raise InputError(f"nobody has {share:.0%} of one label: lower --skewed")
    return skewed


def _moment(people: TablePeople, chosen: Ints) -> float:
    """Returns the time of the sample before which, it included, lie 0.8 of all samples of some people."""
    every = np.concatenate([_times(people, int(person)) for person in chosen])
    return float(np.quantile(every, _BEFORE, method="inverted_cdf"))


def _left_out(people: int) -> list[str]:
    why = "had no sample to test, or fewer than 2 before, at the common moment"
    return [f"{people} people {why}, and were left out"] if people else []


def _has_both_sides(people: TablePeople, person: int, moment: float) -> bool:
    """Tells whether a person has samples to train and validate before a moment, and one to test after it."""
    before = int((_times(people, person) <= moment).sum())
    return 2 <= before < len(_times(people, person))


def _times(people: TablePeople, person: int) -> npt.NDArray[np.float64]:
    times = people.times(person)
    assert times is not None
    return times


def _top_share(labels: Ints) -> float:
    return float(np.bincount(labels).max() / len(labels))


def _too_many(data: DataSettings, there: int, others: int) -> str:
    kept = f"people with at least {data.min_samples} samples" + ("" if data.skewed is None else ", skewed")
    if data.clients and there > others:
        beside = f", {others} of them asked for as public or held-out people" if others else ""
        return (
            f"--clients {data.clients} is more than there are: {data.data} has {there} {kept}{beside}; "
            f"use at most {there - others}"
        )
    return f"{others} public and held-out people leave no client: {data.data} has {there} {kept}"


def _training_classes(population: Population) -> list[str]:
    """Returns the names of the classes that somebody's training texts show.

    Raises:
        InputError: An evaluation text has another class.
    """
    people = population.people
    trained = _classes_of(population, population.clients, ["train"])
    trained |= _classes_of(population, population.public, ["all"])
    judged = _classes_of(population, population.clients, ["validation", "test"])
    judged |= _classes_of(population, population.held_out, ["all"])
    if strange := judged - trained:
        raise InputError(_strange_label(population, min(strange), trained))
    if len(trained) < 2:
        raise InputError(
            f"every training text has the label {people.classes[min(trained)]!r}: two are needed"
        )
    return [people.classes[number] for number in sorted(trained)]


def _classes_of(population: Population, persons: Iterable[int], parts: Iterable[Part]) -> set[int]:
    found: set[int] = set()
    for person in persons:
        for part in parts:
            found.update(population.samples(person, part).labels.tolist())
    return found


def _strange_label(population: Population, label: int, trained: set[int]) -> str:
    people = population.people
    holders = [p for p in population.everyone() if label in people.samples(int(p)).labels]
    known = ", ".join(people.classes[number] for number in sorted(trained)[:20])
    holder, name = people.name(int(holders[0])), people.classes[label]
    return (
        f"label {name!r} of {holder!r} is in the evaluation texts but in nobody's training texts (labels "
        f"there: {known}): drop its rows, raise --clients, or take another --seed"
    )
