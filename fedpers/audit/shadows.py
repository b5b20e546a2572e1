"""Shadow runs: a run's settings on random halves of its texts or people, for LiRA to learn what is usual.

Carlini et al., S&P 2022, arXiv 2112.03570. Two runs are the two halves of one draw, so that everything is in
exactly half of them. Members and non-members are halved alike, or else the halving itself would tell them
apart; so a shadow run learns from about half as many texts, or people, as the attacked one. What it gives is
kept in that one's folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from fedpers.audit.exposure import Corpus, Reader, states_in, stranger
from fedpers.audit.settings import MembershipSettings
from fedpers.data import Population
from fedpers.engine import files_of, spread
from fedpers.errors import FedpersError
from fedpers.experiments import find
from fedpers.files import save_whole
from fedpers.method import Assessor
from fedpers.models import Arrays, load, quiet_transformers
from fedpers.models.families import Doubles
from fedpers.privacy import Bools
from fedpers.report.progress import Reporter
from fedpers.seeds import stream, word
from fedpers.settings import Settings
from fedpers.simulation import Setup, prepare, simulate
from fedpers.simulation.setup import threads

Found = Mapping[str, npt.NDArray[np.generic]]

_INSIDE = "inside"


@dataclass(frozen=True)
class Shadow:
    """A shadow run.

    Attributes:
        settings: Those of the attacked run.
        of: What is halved, "text" or "person".
        view: What is looked at beside the model that it ends with.
        number: Which one, from 0.
        base: The parameters that the attacked run started from.
    """

    settings: Settings
    of: str
    view: str
    number: int
    base: Arrays


def shadow_odds(
    setup: Setup, corpus: Corpus, given: MembershipSettings, folder: Path, report: Reporter
) -> tuple[Doubles, Bools]:
    """Returns the log odds of each text under the shadow runs, and whether it was in them, once all are done.

    Args:
        setup: The attacked run's.
        corpus: What is asked about.
        given: How many, and what is looked at.
        folder: Where they are kept; those that are there already are not run again.
        report: Where progress goes.

    Returns:
        Both (shadows, texts).

    Raises:
        FedpersError: A run failed; the others are kept.
        KeyboardInterrupt: Somebody stopped it; finished ones are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {number: _read(_path(folder, number), corpus) for number in range(given.shadows)}
    missing = [number for number, found in kept.items() if not {_INSIDE, given.view} <= found.keys()]
    for number, found in _run_missing(setup, given, missing, report):
        kept[number] = {**kept[number], **found}  # an earlier attack may have looked at something else
        save_whole(_path(folder, number), kept[number])
    odds = np.stack([np.asarray(found[given.view], dtype=np.float64) for found in kept.values()])
    return odds, np.stack([found[_INSIDE].astype(np.bool_) for found in kept.values()])


def _run_missing(
    setup: Setup, given: MembershipSettings, missing: list[int], report: Reporter
) -> Iterator[tuple[int, Found]]:
    """Runs shadow runs, some at once, and gives each one's number and what it gave as it gets ready."""
    if not missing:
        return
    before = given.shadows - len(missing)
    if before:
        report.say(f"{before} of {given.shadows} shadow runs are in the folder already")
    # One process each, for many small runs side by side are faster than one run on many workers.
    alone = {"workers": 0, "ray_address": None, "state_folder": None}
    settings = setup.settings.model_copy(update={"engine": setup.settings.engine.model_copy(update=alone)})
    shadows = [Shadow(settings, given.of, given.view, number, setup.base) for number in missing]
    at_once = min(len(os.sched_getaffinity(0)) if given.jobs is None else given.jobs, len(missing))
    failed: FedpersError | None = None
    with report.stage("shadow runs", given.shadows, before, each=True) as stage:
        for place, came in spread(run_shadow, shadows, at_once, setup.settings.engine):
            if isinstance(came, FedpersError):
                failed = came
                continue
            yield missing[place], came
            stage.advance()
    if failed is not None:
        raise FedpersError(f"a shadow run failed, the others are kept: {failed}")


def run_shadow(shadow: Shadow) -> Found:
    """Runs one and returns the log odds of each text by what was looked at (texts,), and `inside` (texts,).

    Raises:
        KeyboardInterrupt: Somebody stopped it.
    """
    quiet_transformers()  # in a process of Ray's nobody else did
    report = Reporter(silent=True)
    settings = shadow.settings
    whole = prepare(settings, find(settings.run.method).build, report, resume=True)
    population = halved(whole.population, shadow.of, shadow.number)
    # Another seed: the attacker does not know the order of batches, nor any noise.
    seed = word(settings.run.seed, "shadow", shadow.number)
    settings = settings.model_copy(update={"run": settings.run.model_copy(update={"seed": seed})})
    promised = whole.guarantee and whole.guarantee.among(len(population.clients), seed)
    setup = replace(whole, population=population, settings=settings, base=shadow.base, guarantee=promised)
    corpus = Corpus.of(whole.population, people_of_attack(whole.population, shadow.of))
    inside = inside_of(corpus, population, shadow.of)
    return {**_looked_at(setup, corpus, shadow.view), _INSIDE: inside.astype(np.uint8)}


def people_of_attack(population: Population, of: str) -> npt.NDArray[np.int64]:
    """Returns whose texts are asked about: the clients', and if people are, held-out people's too."""
    clients = population.clients
    return clients if of == "text" else np.concatenate([clients, population.held_out])


def inside_of(corpus: Corpus, population: Population, of: str) -> Bools:
    """Tells which texts were trained on in a population, or if people are asked about, whose (texts,)."""
    return corpus.trained_in(population) if of == "text" else np.isin(corpus.persons, population.clients)


def halved(population: Population, of: str, number: int) -> Population:
    """Returns the people of a shadow run.

    Args:
        population: Those of the attacked run.
        of: What is halved: everyone's training and test texts, or clients and held-out people.
        number: Which half.
    """
    if of == "text":
        return replace(population, half=number)
    everyone = people_of_attack(population, of)
    mixed = stream(population.seed, "half-of-people", number // 2).permutation(everyone)
    parts = np.split(mixed, [len(mixed) // 2])
    return replace(population, clients=parts[number % 2], held_out=parts[1 - number % 2])


def _looked_at(setup: Setup, corpus: Corpus, view: str) -> dict[str, Doubles]:
    """Runs a shadow run and returns each text's log odds by what is looked at."""
    settings, client = setup.settings, setup.method.client
    assert isinstance(client, Assessor)
    reader = Reader(load(setup.spec, settings.engine.device), client, corpus)
    rounds: list[Doubles] = []

    def keep(phase: int, number: int, arrays: Arrays) -> None:
        if number % settings.engine.keep_rounds == 0:
            rounds.append(reader.odds(arrays, stranger))

    with TemporaryDirectory() as folder, threads(settings.engine.threads):
        states = Path(folder) / "states"
        watch = keep if view == "rounds" else None
        outcome = simulate(setup, Reporter(silent=True), modules=states, keep=watch)
        if outcome.interrupted:
            raise KeyboardInterrupt
        found = {"model": reader.odds(outcome.arrays, stranger)}
        if view == "module":
            first = client.enrol(reader.model, setup.population, settings.run.seed)
            found[view] = reader.odds(outcome.arrays, states_in(files_of(states), first))
    if view == "rounds":
        found[view] = np.mean(rounds, axis=0)
    return found


def _path(folder: Path, number: int) -> Path:
    return folder / f"shadow-{number:03d}.safetensors"


def _read(path: Path, corpus: Corpus) -> Found:
    """Returns what a shadow run gave, nothing if it is to be run."""
    try:
        found: Found = load_file(path)
    except (OSError, SafetensorError):
        return {}
    return found if all(len(each) == len(corpus.persons) for each in found.values()) else {}
