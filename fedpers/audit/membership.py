"""Whether a text, or a person, was in the training of a finished run, as far as an attacker can tell.

Members are clients' training texts and non-members the same clients' test texts, or clients and people who
were held out. An attacker knows a text and its right answer, and sees what a run left. It goes by the loss
(Yeom et al.: Privacy Risk in Machine Learning, CSF 2018, arXiv 1709.01604), by how much less that is than
under the base that the run started from, which no client had a part in (Watson et al.: On the Importance of
Difficulty Calibration in Membership Inference Attacks, ICLR 2022, arXiv 2111.08440), or by LiRA.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedpers import runs
from fedpers.audit.exposure import Corpus, Reader, states_in, states_of, stranger
from fedpers.audit.guarantee import permitted
from fedpers.audit.settings import MembershipSettings
from fedpers.audit.shadows import people_of_attack, shadow_odds
from fedpers.clients import Plain
from fedpers.data import Ints, Population
from fedpers.engine import people_of
from fedpers.errors import InputError
from fedpers.experiments import find, own_sections
from fedpers.method import Assessor, Enrolment, Method
from fedpers.models import load
from fedpers.models.families import Doubles
from fedpers.privacy import Bools, membership_row, offline, online
from fedpers.report.progress import Reporter
from fedpers.seeds import stream
from fedpers.settings import resolve
from fedpers.simulation import Setup, lay_out, prepare
from fedpers.simulation.setup import threads


@dataclass(frozen=True)
class Units:
    """What may be a member: texts, or people, of whom the attacker has some texts.

    Attributes:
        members: Whether each is one (units,).
        people: Whose it is (units,).
        of: The unit of each text, -1 for a text that the attacker does not have (texts,).
    """

    members: Bools
    people: Ints
    of: Ints

    def means(self, values: Doubles) -> Doubles:
        """Returns the mean over the texts of each unit (..., units) of numbers of texts (..., texts)."""
        used = self.of >= 0
        counts = np.bincount(self.of[used], minlength=len(self.members))
        rows = values.reshape(-1, values.shape[-1])[:, used]
        sums = [np.bincount(self.of[used], row, minlength=len(self.members)) for row in rows]
        means: Doubles = (np.stack(sums) / counts).reshape(*values.shape[:-1], len(counts))
        return means


@dataclass(frozen=True)
class Seen:
    """What the attacker learns of each text.

    Attributes:
        odds: Log odds of the right answer under every model that it sees (models, texts).
        reference: Those under a model that no client had a part in (texts,).
    """

    odds: Doubles
    reference: Doubles


def audit_membership(folder: Path, given: MembershipSettings, report: Reporter) -> dict[str, Any]:
    """Lets every attacker try on a finished run, and returns what is printed.

    Args:
        folder: The run's folder; shadow runs are kept there.
        given: What is asked, and what the attacker sees.
        report: Where progress goes.

    Raises:
        InputError: There is no such run, or it does not go with what is asked.
    """
    given.check()
    record = runs.result_of(folder)
    setup = _open(folder, given, report)
    corpus = Corpus.of(setup.population, people_of_attack(setup.population, given.of))
    units = units_of(corpus, given)
    with threads(setup.settings.engine.threads):
        seen = _look(folder, given, setup, corpus, report)
    scores, interrupted = dict(_plain_scores(given, units, seen)), False
    try:
        if given.shadows:
            odds, inside = shadow_odds(setup, corpus, given, runs.shadows(folder) / given.of, report)
            scores |= _ratio_scores(units, seen, odds, inside)
    except KeyboardInterrupt:
        interrupted = True
        report.say("stopped: the same command goes on with the shadow runs that are missing")
    asked = _asked(folder, given, units)
    rows = []
    for name, own in scores.items():
        draw = stream(setup.settings.run.seed, "membership-bootstrap")  # the same people for every attack
        rows.append(membership_row(name, own[asked], units.members[asked], units.people[asked], draw))
        report.say(f"{name}: AUC {rows[-1].auc:.3f}")
    permits, notes = permitted(record.get("privacy"), given)
    return {
        "of": given.of,
        "view": given.view,
        "known": given.known if given.of == "person" else None,
        "method": record["method"],
        "members": int(units.members[asked].sum()),
        "non_members": int((~units.members[asked]).sum()),
        "shadows": given.shadows,
        "rows": [asdict(row) for row in rows],
        "permitted": permits,
        "notes": [*_notes(given, setup, record), *notes],
        "interrupted": interrupted,
        "run": str(folder),
    }


def units_of(corpus: Corpus, given: MembershipSettings) -> Units:
    """Returns what may be a member."""
    if given.of == "text":
        return Units(corpus.trained, corpus.persons, np.arange(len(corpus.persons)))
    _, place = np.unique(corpus.persons, return_inverse=True)
    people = np.unique(corpus.persons)
    has = corpus.trained == (given.known == "train")
    return Units(np.isin(people, corpus.population.clients), people, np.where(has, place, -1))


def log_probability(odds: Doubles) -> Doubles:
    """Returns the log probability of answers by their log odds, which is minus the loss in nats.

    >>> log_probability(np.array([0.0, 100.0])).round(3).tolist()
    [-0.693, -0.0]
    """
    found: Doubles = -np.logaddexp(0.0, -odds)
    return found


def _open(folder: Path, given: MembershipSettings, report: Reporter) -> Setup:
    """Returns what a run started from, once it is clear that it goes with what is asked."""
    if not (folder / "model").is_dir():
        raise InputError(f"{folder} holds no run of one method: give the folder of a `fedpers simulate`")
    settings = resolve([runs.settings_of(folder)], own_sections())
    build = find(settings.run.method).build
    method, population, _ = lay_out(settings, build)
    _check(folder, given, method, population)
    return prepare(settings, build, report)


def _asked(folder: Path, given: MembershipSettings, units: Units) -> Bools:
    """Tells which units are asked about (units,): with modules, those of people who still have one."""
    files = runs.state_files(folder) if given.view == "module" else []
    owners = [person for path in files for person in people_of(path)]
    return np.isin(units.people, owners) if owners else np.ones(len(units.people), dtype=np.bool_)


def _check(folder: Path, given: MembershipSettings, method: Method, population: Population) -> None:
    """Raises an InputError where a run does not go with what is asked."""
    if not isinstance(method.client, Assessor):
        raise InputError(f"{method.name} does not tell log odds: give its client `log_odds`, as Plain has it")
    if population.answer == "next-word":
        raise InputError(
            "membership is of whole texts with one answer: --answer next-word makes many of each"
        )
    if given.of == "person" and not len(population.held_out):
        raise InputError(
            f"the run in {folder} held nobody out to compare clients with: run it with --held-out-people 100"
        )
    if given.view == "rounds" and len(runs.round_files(folder)) < 2:
        raise InputError(
            f"the run in {folder} kept fewer than 2 rounds: run it with --set engine.keep_rounds=K, by which "
            "every K-th is kept"
        )
    if given.view == "module":
        _check_states(folder, given, method)


def _check_states(folder: Path, given: MembershipSettings, method: Method) -> None:
    kept = runs.state_files(folder) or (folder / "private.safetensors").exists()
    if type(method.client) is Plain:
        raise InputError(f"{method.name} has no personal state, so there is none to see: use --view model")
    if not kept and not isinstance(method.client, Plain):
        raise InputError(
            f"the run in {folder} kept no personal states: run it with --set engine.keep_states=true, or use "
            "--view model"
        )
    if given.of == "person" and not isinstance(method.client, Plain):
        raise InputError(
            f"only who took part has a state of {method.name}, which would tell by itself: use --of text"
        )


def _look(folder: Path, given: MembershipSettings, setup: Setup, corpus: Corpus, report: Reporter) -> Seen:
    """Reads all texts with what the attacker sees."""
    client, engine = setup.method.client, setup.settings.engine
    assert isinstance(client, Assessor)
    reader = Reader(load(setup.spec, engine.device), client, corpus)
    final = runs.read_model(folder / "model")
    if given.view == "rounds":
        files = runs.round_files(folder)
        odds = []
        with report.stage("rounds read", len(files)) as stage:
            for path in files:
                odds.append(reader.odds(runs.read_arrays(path), stranger))
                stage.advance()
        return Seen(np.stack(odds), reader.odds(setup.base, stranger))
    if given.view == "model":
        return Seen(reader.odds(final, stranger)[None], reader.odds(setup.base, stranger))
    first = client.enrol(reader.model, setup.population, setup.settings.run.seed)
    # A module stands on a model that learned from public people alone: that is its reference.
    reference = final if setup.method.owned else setup.base
    return Seen(reader.odds(final, _states(folder, first))[None], reader.odds(reference, first))


def _states(folder: Path, first: Enrolment) -> Enrolment:
    """Returns what gives everyone the state that a run kept of them, or the one they started with."""
    if files := runs.state_files(folder):
        return states_in(files, first)
    if (folder / "private.safetensors").exists():
        return states_of(runs.read_crossing(folder).states, first)
    return first


def _plain_scores(given: MembershipSettings, units: Units, seen: Seen) -> Iterator[tuple[str, Doubles]]:
    """Gives the scores of the attacks that need no shadow run, by the attack's name."""
    likely = units.means(log_probability(seen.odds))
    usual = units.means(log_probability(seen.reference)[None])
    if given.view == "rounds":
        yield "mean loss of all rounds", likely.mean(axis=0)
        yield "mean loss, less the base's", (likely - usual).mean(axis=0)
        yield "largest fall of the loss", np.diff(likely, axis=0).max(axis=0)
    else:
        yield "loss", likely[0]
        yield "loss, less the base's", (likely - usual)[0]


def _ratio_scores(units: Units, seen: Seen, odds: Doubles, inside: Bools) -> Mapping[str, Doubles]:
    """Returns the scores of LiRA, by the attack's name; of several rounds it takes the mean log odds."""
    observed, shadows = units.means(seen.odds.mean(axis=0)[None])[0], units.means(odds)
    within = units.means(inside.astype(np.float64)) > 0
    return {
        "LiRA, offline": offline(observed, shadows, within),
        "LiRA, online": online(observed, shadows, within),
    }


def _notes(given: MembershipSettings, setup: Setup, record: Mapping[str, Any]) -> Iterator[str]:
    """Gives what is to be known to read the figures rightly."""
    population = setup.population
    if given.of == "text" and population.split != "random":
        yield (
            f"Training and test texts are parted by --split {population.split}: they differ in more than "
            "membership, and LiRA alone allows for it."
        )
    if record.get("interrupted"):
        yield "The run was stopped before its end; shadow runs go to theirs."
