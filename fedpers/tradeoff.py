"""What privacy costs and what it hides: methods at several epsilons, each attacked for membership."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedpers import lists, runs
from fedpers.audit import AuditSettings, MembershipSettings, audit_membership, audit_uploads
from fedpers.errors import InputError
from fedpers.experiments import find, own_sections
from fedpers.recording import run_in
from fedpers.report.progress import Reporter
from fedpers.settings import RunSettings, Settings, resolve
from fedpers.simulation import check_terms, lay_out, server_of, usual_kind

_TRIALS = "trials"
_CALIBRATED = "loss, less the base's"
# What a run without privacy is not to be told.
_OF_PRIVACY = ("delta", "epsilon_budget", "noise_cohort", "noise_population")


@dataclass(frozen=True)
class Trial:
    """One run of a method at one epsilon, and how it fared under attack.

    Attributes:
        method: The method's name.
        asked: Epsilon that was asked for; infinite without privacy.
        seed: Its seed.
        dp: What was hidden; "none" without privacy.
        epsilon: What was spent; None without privacy.
        noise_multiplier: In units of the bound; None without privacy.
        noised_as: Devices in a round of the larger federation that epsilon is of; None if it is of this one.
        accuracy: Pooled test accuracy, in [0, 1].
        lowest_decile: Accuracy of the person who has a tenth of the people below.
        text: AUC by which training texts are told from test texts, with its 95 % interval.
        person: The same of clients and held-out people, whose training texts the attacker has; None where
            nobody was held out.
        permitted: The largest AUC that epsilon permits, of people if it bounds that; None where it bounds no
            attack.
        misattribution: Share of uploads attributed to the wrong person by who knows all; None without.
    """

    method: str
    asked: float
    seed: int
    dp: str
    epsilon: float | None
    noise_multiplier: float | None
    noised_as: int | None
    accuracy: float
    lowest_decile: float
    text: tuple[float, float, float]
    person: tuple[float, float, float] | None
    permitted: float | None
    misattribution: float | None


def parse_epsilons(text: str) -> list[float]:
    """Returns the epsilons that a list names, `inf` for a run without privacy.

    >>> parse_epsilons("inf,8,0.5")
    [inf, 8.0, 0.5]
    """
    found: list[float] = []
    for part, value in lists.numbers(text):
        if not value > 0 or value in found:
            raise InputError(
                f"--epsilons {text!r}: {part or 'nothing'!r} is no epsilon; give different numbers above 0, "
                "or inf for no privacy, parted by commas, as in inf,8,2,1"
            )
        found.append(value)
    return found


def trade(
    settings: Settings,
    methods: Sequence[str],
    epsilons: Sequence[float],
    seeds: Sequence[int],
    out: Path | None,
    report: Reporter,
) -> Iterator[tuple[Path, Trial]]:
    """Runs every method at every epsilon with every seed, and attacks each run.

    Every trial has a folder of its own within `out`, where finished ones are found again and one that was cut
    off goes on.

    Args:
        settings: All settings; those of privacy but for epsilon are every trial's.
        methods: The methods' names.
        epsilons: Infinite for no privacy.
        seeds: The seeds.
        out: The folder, to go on in if it holds trials.
        report: Where progress goes.

    Yields:
        The folder of all, and each trial as it ends.

    Raises:
        InputError: Noise is set besides, or `out` holds trials of other settings.
    """
    asked = settings.privacy
    if asked.epsilon is not None or asked.noise_multiplier is not None:
        raise InputError("--epsilons sets the noise of every run: leave --epsilon and --noise-multiplier out")
    goes_on = out is not None and (out / _TRIALS).is_dir()
    with nullcontext(out) if goes_on else runs.new_run(out, "epsilons", settings) as folder:
        assert folder is not None
        kinds = {name: kind_of(settings, name) for name in methods}
        planned = [
            (_settings(settings, name, kind, epsilon, seed), epsilon, _place(folder, name, epsilon, seed))
            for seed in seeds
            for name, kind in kinds.items()
            for epsilon in epsilons
        ]
        for own, _, place in planned:
            _check(own)
            _check_same(own, place)
        try:
            for number, (own, epsilon, place) in enumerate(planned, start=1):
                run = own.run
                report.say(f"{number}/{len(planned)}: {run.method}, epsilon {epsilon:g}, seed {run.seed}")
                yield folder, _trial(own, epsilon, place, report)
        except KeyboardInterrupt:
            report.say(f"stopped: the same command with --out {folder} goes on")
            raise
        finally:
            with suppress(OSError):  # it stays unless the first of all trials left nothing
                (folder / _TRIALS).rmdir()


def kind_of(settings: Settings, name: str) -> str:
    """Returns what a method's runs hide: what is asked for, or else what leaves its devices.

    Raises:
        InputError: What is asked for does not leave them.
    """
    asked = settings.privacy.dp
    if asked == "sample":  # which every method has
        return asked
    settings = settings.model_copy(update={"run": settings.run.model_copy(update={"method": name})})
    method, population, spec = lay_out(settings, find(name).build)
    found = usual_kind(method, server_of(settings, population, spec))
    if asked not in ("none", found):
        raise InputError(f"--dp {asked} is not for {name}: leave it out of --methods, or give --dp {found}")
    return found


def _settings(settings: Settings, name: str, kind: str, epsilon: float, seed: int) -> Settings:
    """Returns a trial's settings."""
    settings = settings.model_copy(update={"run": RunSettings(method=name, seed=seed)})
    asked = settings.privacy
    if math.isinf(epsilon):
        terms: dict[str, Any] = {"dp": "none", **dict.fromkeys(_OF_PRIVACY)}
    else:
        terms = {"dp": kind, "epsilon": epsilon}
    return settings.model_copy(update={"privacy": asked.model_copy(update=terms)})


def _place(folder: Path, name: str, epsilon: float, seed: int) -> Path:
    return folder / _TRIALS / f"{name}-{epsilon:g}-seed-{seed}"


def _check(settings: Settings) -> None:
    """Raises InputError if a trial's terms contradict each other."""
    try:
        check_terms(settings.privacy)
    except InputError as error:
        raise InputError(f"{settings.run.method}: {error}") from None


def _check_same(settings: Settings, place: Path) -> None:
    """Raises InputError if a trial's place holds a run of other settings, but for those of the engine."""
    if not place.exists():
        return
    found = resolve([runs.settings_of(place)], own_sections())
    if found.model_copy(update={"engine": settings.engine}) != settings:
        raise InputError(f"{place} is a run of other settings, which is kept: give another --out")


def _trial(settings: Settings, asked: float, place: Path, report: Reporter) -> Trial:
    """Returns a trial that is in its place already, or runs it there, from its checkpoint if it has one."""
    record = _finished(place)
    if record is None:
        if runs.checkpoints(place).exists():
            record = run_in(place, settings, report, resume=True, partly=False)
        else:
            shutil.rmtree(place, ignore_errors=True)
            with runs.new_run(place, settings.run.method, settings):
                record = run_in(place, settings, report, resume=False, partly=False)
    return _attacked(place, settings, record, asked, report)


def _finished(place: Path) -> dict[str, Any] | None:
    """Returns the record of the run in a place, None if none came to its end there."""
    with suppress(InputError):
        return runs.result_of(place)
    return None


def _attacked(
    place: Path, settings: Settings, record: Mapping[str, Any], asked: float, report: Reporter
) -> Trial:
    spent = record["privacy"] or {}
    text, person = _membership(place, MembershipSettings()), None
    if record["unseen_accuracy"] is not None:
        person = _membership(place, MembershipSettings(of="person", known="train"))
    wrong = None
    if runs.has_crossing(place):
        given = AuditSettings(blind=0, labelled=0, reads_text=False)
        wrong = audit_uploads(place, given, Reporter(silent=True))["rows"][0]["misattribution_rate"]
    bound = (person or {}).get("permitted") or text["permitted"]
    trial = Trial(
        settings.run.method,
        asked,
        settings.run.seed,
        spent.get("dp", "none"),
        spent.get("epsilon"),
        spent.get("noise_multiplier"),
        spent.get("noised_as"),
        record["accuracy"],
        record["person_deciles"][0],
        _auc(text),
        _auc(person) if person else None,
        bound["auc"] if bound else None,
        wrong,
    )
    report.say(f"accuracy {trial.accuracy:.3f}, AUC of texts {trial.text[0]:.3f}")
    return trial


def _membership(place: Path, given: MembershipSettings) -> dict[str, Any]:
    """Returns what an attack on a trial's membership found, which it may have found before."""
    with suppress(InputError):
        return runs.result_of(place, given.record)
    found = audit_membership(place, given, Reporter(silent=True))
    runs.write_result(place, found, given.record)
    return found


def _auc(attacked: Mapping[str, Any]) -> tuple[float, float, float]:
    [row] = [row for row in attacked["rows"] if row["attack"] == _CALIBRATED]
    return row["auc"], row["low"], row["high"]


def record(trials: Sequence[Trial]) -> dict[str, Any]:
    """Returns the trials, and each method at each epsilon over its seeds, as JSON has them."""
    groups = dict.fromkeys((trial.method, trial.asked) for trial in trials)
    rows = [_row([t for t in trials if (t.method, t.asked) == group]) for group in groups]
    return {"rows": rows, "trials": [{**asdict(t), "asked": _number(t.asked)} for t in trials]}


def _row(trials: Sequence[Trial]) -> dict[str, Any]:
    """Returns the means over seeds; of intervals the means of their ends."""
    accuracies = [trial.accuracy for trial in trials]
    people = [trial.person for trial in trials if trial.person is not None]
    return {
        "method": trials[0].method,
        "asked": _number(trials[0].asked),
        "dp": trials[0].dp,
        "seeds": [trial.seed for trial in trials],
        "epsilon": _mean([trial.epsilon for trial in trials]),
        "noise_multiplier": _mean([trial.noise_multiplier for trial in trials]),
        "noised_as": trials[0].noised_as,
        "accuracy": float(np.mean(accuracies)),
        "spread": float(np.std(accuracies)),
        "lowest_decile": _mean([trial.lowest_decile for trial in trials]),
        "text": np.mean([trial.text for trial in trials], axis=0).tolist(),
        "person": np.mean(people, axis=0).tolist() if people else None,
        "permitted": _mean([trial.permitted for trial in trials]),
        "misattribution": _mean([trial.misattribution for trial in trials]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _number(epsilon: float) -> float | None:
    """Returns an epsilon, or None for an infinite one, which JSON does not have."""
    return epsilon if math.isfinite(epsilon) else None
