"""Working out what a run promises: from the settings, the method, and who will be drawn how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fedpers.clients import AnonymousUpload
from fedpers.data import Population
from fedpers.dp import Guard, Spent, epsilon, largest, merged, noise_for, steps_within
from fedpers.errors import InputError
from fedpers.method import Method, Phase, Server, repeats_texts, shows_others
from fedpers.models import Model
from fedpers.settings import PrivacySettings, Settings
from fedpers.simulation.guarantee import Guarantee, Kind
from fedpers.simulation.rehearsal import Timetable, timetable
from fedpers.strategies import Cloud, Release, Silence, averages

_COUNTED = 20  # devices in a round for each unit of noise on a count (Andrew et al.: a twentieth)
_USUAL_DELTA = 1e-5


def guarantee_of(
    settings: Settings, method: Method, population: Population, server: Server, model: Model
) -> Guarantee | None:
    """Returns what a run promises, or None without differential privacy.

    Args:
        settings: All settings.
        method: The method.
        population: The people.
        server: What the servers' halves are made from.
        model: The loaded model.

    Raises:
        InputError: The settings contradict each other, or the method has nothing of the kind to protect.
    """
    asked = settings.privacy
    check_terms(asked)
    if asked.dp == "none":
        return None
    delta = _delta(asked, settings, population)
    if asked.dp != "local" and any(shows_others(phase.client) for phase in method.phases):
        raise InputError(
            f"--dp {asked.dp} counts a person's texts on the own device, and {method.name} reads them on "
            "other people's too: leave --context-of another out"
        )
    make = {"user": _of_users, "sample": _of_samples, "local": _of_records}[asked.dp]
    return make(_Case(settings, method, population, server, model, delta))


def usual_kind(method: Method, server: Server) -> Kind:
    """Returns what is hidden of a method where nothing is asked: what leaves its devices, or else the texts.

    Args:
        method: The method.
        server: What the servers' halves are made from.

    Raises:
        InputError: A strategy looks at single updates, or texts themselves are uploaded and nothing else.
    """
    if _uploads(method, server):
        return "local"
    if any(_releases_updates(phase, server) for phase in method.phases):
        return "user"
    if _texts_leave(method):
        raise InputError(
            f"{method.name} uploads its texts as they are, which no noise hides: leave it out, or give --dp "
            "sample to hide what devices learn from them"
        )
    return "sample"


@dataclass(frozen=True)
class _Case:
    """What a guarantee is worked out from."""

    settings: Settings
    method: Method
    population: Population
    server: Server
    model: Model
    delta: float

    @property
    def phases(self) -> Sequence[Phase]:
        return self.method.phases

    def noise_for(self, history: Sequence[Spent]) -> float:
        """Returns the noise multiplier that was given, or that a history needs for the target."""
        asked = self.settings.privacy
        if asked.noise_multiplier is not None:
            return asked.noise_multiplier
        assert asked.epsilon is not None
        return noise_for(asked.epsilon, merged(history), self.delta, asked.accountant)

    def rounds_within(self, steps: Mapping[int, Spent]) -> tuple[int, ...]:
        """Returns the rounds of each phase that a budget allows."""
        budget, accountant = self.settings.privacy.epsilon_budget, self.settings.privacy.accountant
        if budget is None:
            return tuple(phase.rounds for phase in self.phases)
        spent: list[Spent] = []
        rounds = []
        for number, phase in enumerate(self.phases):
            allowed = phase.rounds
            if number in steps:
                step = steps[number]
                allowed = steps_within(budget, spent, step, phase.rounds, self.delta, accountant)
                spent += [replace(step, steps=allowed)] if allowed else []
            rounds.append(allowed)
        if not spent and steps:
            raise InputError(
                f"--epsilon-budget {budget:g} does not allow a single round: one costs epsilon "
                f"{epsilon([*steps.values()][:1], self.delta, accountant):.3g}; raise it, or the noise"
            )
        return tuple(rounds)


def check_terms(asked: PrivacySettings) -> None:
    """Raises InputError if settings contradict each other, whatever the method."""
    given = {
        "--epsilon": asked.epsilon,
        "--noise-multiplier": asked.noise_multiplier,
        "--epsilon-budget": asked.epsilon_budget,
        "--delta": asked.delta,
        "--noise-cohort": asked.noise_cohort,
        "--noise-population": asked.noise_population,
    }
    named = [name for name, value in given.items() if value is not None]
    if asked.dp == "none":
        if named:
            raise InputError(
                f"{named[0]} is of differential privacy: say what it hides by --dp user, sample or local"
            )
        return
    if (asked.epsilon is None) == (asked.noise_multiplier is None):
        how = "one of them" if asked.epsilon is None else "only one of them"
        raise InputError(f"--dp {asked.dp} needs --epsilon or --noise-multiplier: give {how}")
    if asked.epsilon_budget is not None and asked.noise_multiplier == 0:
        raise InputError("--noise-multiplier 0 spends an infinite epsilon: no --epsilon-budget allows it")
    if asked.noise_multiplier != 0 and asked.bound == float("inf"):
        raise InputError("--dp-clip inf bounds nothing, so no noise hides it: give a number above 0")
    if asked.dp != "user":
        of_users = {"--noise-cohort", "--noise-population"} & {*named}
        if of_users or asked.clipping != "flat":
            name = sorted(of_users)[0] if of_users else f"--clipping {asked.clipping}"
            raise InputError(f"{name} is of the noise on a sum of updates: it needs --dp user")


def _delta(asked: PrivacySettings, settings: Settings, population: Population) -> float:
    people = len(population.clients)
    if asked.noise_cohort is not None:
        people = _population(asked, people, min(settings.federation.clients_per_round, people))
    if asked.delta is None:
        return min(_USUAL_DELTA, 0.1 / people)
    if asked.delta >= 1 / people:
        raise InputError(
            f"--delta {asked.delta:g} is not below 1 / people, which is {1 / people:.3g}: with it, giving "
            f"one person away would count as private (usual: {min(_USUAL_DELTA, 0.1 / people):g})"
        )
    return asked.delta


def _population(asked: PrivacySettings, people: int, devices: int) -> int:
    """Returns how many people the guarantee is for."""
    if asked.noise_cohort is None:
        return people
    most = asked.noise_population or people * asked.noise_cohort // devices
    if asked.noise_cohort > most:
        raise InputError(
            f"--noise-cohort {asked.noise_cohort} of --noise-population {most} samples more devices than "
            f"there are: the rate is at most 1 (nearest: {most})"
        )
    return most


def _of_users(case: _Case) -> Guarantee:
    settings, asked = case.settings, case.settings.privacy
    numbers = [n for n, phase in enumerate(case.phases) if _releases_updates(phase, case.server)]
    if not numbers:
        raise InputError(
            f"--dp user protects updates, and the clients of {case.method.name} send none: use --dp sample"
            + (" or local" if _uploads(case.method, case.server) else "")
        )
    if _texts_leave(case.method):
        raise InputError(f"--dp user hides updates, and {case.method.name} uploads its texts as they are too")
    people = len(case.population.clients)
    steps, devices = {}, {}
    for number in numbers:
        devices[number] = min(case.phases[number].sampled or people, people)
        rate = devices[number] / people
        if asked.noise_cohort is not None:
            rate = asked.noise_cohort / _population(asked, people, devices[number])
        steps[number] = Spent(0.0, rate, 1, asked.sampling)
    noise = case.noise_for([replace(steps[n], steps=case.phases[n].rounds) for n in numbers])
    steps = {n: replace(step, noise_multiplier=noise) for n, step in steps.items()}
    releases = {n: _release(case, devices[n], noise, people) for n in numbers}
    rounds = case.rounds_within(steps)
    return Guarantee(
        kind="user",
        unit="person",
        settings=asked,
        delta=case.delta,
        noise_multiplier=noise,
        releases=releases,
        steps=steps,
        rounds=rounds,
        seed=settings.run.seed,
    )


def _release(case: _Case, devices: int, noise: float, people: int) -> Release:
    asked = case.settings.privacy
    scaled = asked.noise_cohort or devices
    adapts = asked.clipping == "adaptive"
    # Half of the noise's variance, at most, is to go to the count, however few devices a round has.
    count_noise = asked.clip_count_noise or max(scaled / _COUNTED, noise)
    if adapts and noise and count_noise <= noise / 2:
        raise InputError(
            f"privacy.clip_count_noise {count_noise:g} leaves no noise for the updates at noise multiplier "
            f"{noise:.3g}: it must be above half of that (nearest: {noise:.3g})"
        )
    return Release(
        Guard(asked.bound, asked.clipping == "layer"),
        noise,
        asked.sampling,
        devices / people,
        devices,
        scaled,
        asked.clip_quantile if adapts else None,
        asked.clip_rate,
        count_noise,
    )


def _of_records(case: _Case) -> Guarantee:
    settings, asked = case.settings, case.settings.privacy
    sent = _uploads(case.method, case.server)
    if not sent:
        raise InputError(
            f"--dp local protects uploaded embeddings, and {case.method.name} uploads none: use --method "
            "idfree, or --dp user or sample"
        )
    noise = asked.noise_multiplier
    if noise is None:  # another embedding in one's place may be two bounds away, so noise counts half
        noise = 2 * case.noise_for([Spent(0.0, 1.0, times) for times in sent.values()])
    steps = {number: Spent(noise / 2, 1.0, 1) for number in sent}
    all_ = [replace(steps[number], steps=times) for number, times in sent.items()]
    if asked.epsilon_budget is not None:
        spent = epsilon(all_, case.delta, asked.accountant)
        if spent > asked.epsilon_budget:
            raise InputError(
                f"--epsilon-budget {asked.epsilon_budget:g} is below the epsilon {spent:.3g} of each "
                "uploaded embedding: raise it, or the noise"
            )
    return Guarantee(
        kind="local",
        unit="embedding",
        texts_leave=True,
        settings=asked,
        delta=case.delta,
        noise_multiplier=noise,
        guarded=frozenset(sent),
        steps=steps,
        rounds=tuple(phase.rounds for phase in case.phases),
        seed=settings.run.seed,
    )


def _of_samples(case: _Case) -> Guarantee:
    numbers = frozenset(n for n, phase in enumerate(case.phases) if phase.people != "public")
    plan = timetable(case.settings, case.method, case.population, case.server, case.model)
    if not plan.each:
        raise InputError(f"--dp sample protects training texts, and no device of {case.method.name} trains")
    asked, rounds = case.settings.privacy, tuple(phase.rounds for phase in case.phases)
    noise = _noise_for_worst(case, plan, rounds)
    if asked.epsilon_budget is not None:
        rounds = _rounds_of_people(case, plan, noise, asked.epsilon_budget)
    repeats = any(repeats_texts(phase.client, case.population) for phase in case.phases)
    return Guarantee(
        kind="sample",
        unit="example" if repeats else "text",
        texts_leave=_texts_leave(case.method),
        settings=asked,
        delta=case.delta,
        noise_multiplier=noise,
        guarded=numbers,
        rounds=rounds,
        seed=case.settings.run.seed,
    )


def _noise_for_worst(case: _Case, plan: Timetable, rounds: Sequence[int]) -> float:
    """Returns the noise multiplier with which nobody passes the target, or the given one."""
    asked = case.settings.privacy
    if asked.noise_multiplier is not None:
        return asked.noise_multiplier
    assert asked.epsilon is not None
    histories, noise = plan.histories(rounds), 0.0
    _, worst = largest(_noisy(histories, 1.0), case.delta, "rdp")
    # Who is worst depends on the noise, so look again with what was found.
    while (needed := case.noise_for(worst)) > noise:
        noise = needed
        spent, worst = largest(_noisy(histories, noise), case.delta, asked.accountant)
        if spent <= asked.epsilon:
            break
    return noise


def _rounds_of_people(case: _Case, plan: Timetable, noise: float, budget: float) -> tuple[int, ...]:
    """Returns the rounds of each phase after which nobody has passed a budget."""
    accountant = case.settings.privacy.accountant

    def fits(rounds: Sequence[int]) -> bool:
        return largest(_noisy(plan.histories(rounds), noise), case.delta, accountant)[0] <= budget

    rounds = [0] * len(case.phases)
    for number, phase in enumerate(case.phases):
        low, high = 0, phase.rounds
        while low < high:
            rounds[number] = middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(rounds) else (low, middle - 1)
        rounds[number] = low
    if not any(rounds[number] for number in plan.each):
        raise InputError(f"--epsilon-budget {budget:g} does not allow a single round: raise it, or the noise")
    return tuple(rounds)


def _noisy(histories: set[tuple[Spent, ...]], noise: float) -> list[tuple[Spent, ...]]:
    """Returns histories with a noise multiplier, in an order that is the same in every process."""
    ordered = sorted(histories, key=repr)
    return [tuple(replace(spent, noise_multiplier=noise) for spent in history) for history in ordered]


def _texts_leave(method: Method) -> bool:
    """Tells whether devices upload their texts themselves."""
    return any(isinstance(phase.client, AnonymousUpload) for phase in method.phases)


def _uploads(method: Method, server: Server) -> dict[int, int]:
    """Returns how many times devices upload each embedding in a phase, by the phase's number."""
    found = {}
    for number, phase in enumerate(method.phases):
        strategy = phase.strategy(server)
        if isinstance(phase.client, AnonymousUpload) and phase.client.tokens and isinstance(strategy, Cloud):
            found[number] = strategy.uploads(phase.rounds)
    return found


def _releases_updates(phase: Phase, server: Server) -> bool:
    """Tells whether a phase's clients send updates, all of which are added up."""
    if phase.people != "clients":
        return False
    strategy = phase.strategy(server)
    if averages(strategy):
        return True
    if isinstance(strategy, Silence):
        return False
    raise InputError(
        f"--dp user puts noise on a sum of updates, and {type(strategy).__name__} looks at each of them: use "
        "a strategy that averages, such as fedavg"
    )
