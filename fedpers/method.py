"""What a method is: phases, each with a device's half, a server's half and a number of rounds.

The server's half is any Flower strategy. The device's half is a `Client`: a frozen dataclass of settings
with pure functions, which work on a cohort of devices at once; one device is a cohort of one. A person's
state is a value that goes in and comes back and never leaves the device's side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from flwr.serverapp.strategy import Strategy

from fedpers.data import GENERAL, Ints, Part, Population, Samples, Task
from fedpers.dp import SampleNoise, Spent
from fedpers.models import Addition, Arrays, Examples, Model, ModelSpec, Trained
from fedpers.records import Records
from fedpers.settings import FederationSettings, Settings
from fedpers.training import Answers, Doubles, Memory, Pass, Personal, Plan, fit_devices

FROZEN = "frozen"  # what arrays are called in a message that devices only read

WITHIN = "within-clip"  # metric of an update: 1 if its norm was within the bound, else 0

TRAINED = "samples-trained"  # metric of a strategy that trains by itself: samples it went through

State = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Shared:
    """What all devices of a round have in common.

    Attributes:
        model: This process's loaded model; a client may write into its parameters.
        arrays: The server's broadcast.
        round: The round, from 1; 0 outside rounds.
        frozen: What the server sends beside the broadcast for devices to read only.
        noise: How training hides each sample, or None.
        spent: What each device's training released of its samples so far, where it hides them.
        phase: The phase, from 0.
    """

    model: Model
    arrays: Arrays
    round: int = 0
    frozen: Arrays = field(default_factory=dict)
    noise: SampleNoise | None = None
    spent: list[list[Spent]] = field(default_factory=list, compare=False)
    phase: int = 0

    @property
    def whole(self) -> Arrays:
        """All that the server sent."""
        return {**self.frozen, **self.arrays}

    def fit(
        self,
        starts: Sequence[Mapping[str, npt.NDArray[np.floating]]],
        parts: Sequence[Examples],
        plan: Plan,
        draws: Sequence[np.random.Generator],
        personal: Personal | None = None,
        memories: Sequence[Memory] | None = None,
    ) -> list[tuple[Trained, list[Pass]]]:
        """Trains the model for all devices of a cohort, the only way in which a client trains on its texts.

        So privacy of samples cannot be forgotten, nor what was spent of it. What is hidden is each example of
        the parts; see `repeats_texts` for where a text is more than one.

        Args:
            starts: As for `fedpers.training.fit_devices`, like all others.
            parts: Each device's samples, in the order of the cohort.
            plan: How each trains.
            draws: Each device's randomness.
            personal: What is trained in front of the frozen model, or within it.
            memories: What each device's optimizer remembers.
        """
        if self.noise is not None:
            plan = replace(plan, noise=self.noise)
            self.spend(plan, parts)
        return fit_devices(self.model, starts, parts, plan, draws, personal, memories)

    def spend(self, plan: Plan, parts: Sequence[Examples]) -> None:
        """Records what a plan with noise releases of each device's samples."""
        assert plan.noise is not None
        sizes = [len(part) for part in parts]
        self.spent.extend([] for _ in sizes[len(self.spent) :])
        for released, size in zip(self.spent, sizes, strict=True):
            released.append(Spent(plan.noise.noise_multiplier, plan.share(size), plan.all_steps(size)))


def _no_history() -> tuple[Samples, Ints]:
    raise ValueError("this device was made without its history")


def _no_times() -> None:
    return None


def _no_notes(population: Population) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Device:
    """One person as a client function sees it.

    Attributes:
        person: The person's number, for the record; not an input of any computation.
        samples: The texts at hand: training texts to train, others, without targets, to predict.
        state: The personal state so far.
        draw: The random stream of this person in this round.
        history: Gives the person's texts from before the test, in the order of time, and how many of them
            came before each sample.
        profile: What the source says of the person.
        task: What a language model is asked to do.
        times: Gives when each sample was written (samples,), None where the source does not say.
    """

    person: int
    samples: Samples
    state: State
    draw: np.random.Generator
    history: Callable[[], tuple[Samples, Ints]] = field(default=_no_history, compare=False)
    profile: str = ""
    task: Task = GENERAL
    times: Callable[[], npt.NDArray[np.float64] | None] = field(default=_no_times, compare=False)


def device_of(
    population: Population, person: int, part: Part, state: State, draw: np.random.Generator
) -> Device:
    """Returns a person of a population with one part of their texts."""
    return Device(
        person,
        population.samples(person, part),
        state,
        draw,
        history=partial(population.background, person, part),
        profile=population.profiles.get(population.people.name(person), ""),
        task=population.asked,
        times=partial(population.times, person, part),
    )


@dataclass(frozen=True)
class Update:
    """What leaves a device after training: trainable parameters and how much they weigh.

    Attributes:
        arrays: The trained parameters, by name; a table may come as the rows that moved.
        examples: Number of training samples the device has, the weight of the average.
        seen: Samples it went through, more or fewer than it has.
        metrics: Means over the samples, such as the training loss.
    """

    arrays: Trained
    examples: int
    seen: int
    metrics: Mapping[str, float] = field(default_factory=dict)


Upload = Update | Records  # what leaves a device

Enrolment = Callable[[int], State]


class Client(Protocol):
    """A method's half on the device; pure functions, no loaded model inside.

    A client that can show a text of a person in the training examples of others, as context or retrieved, has
    a property `repeats_texts` that is true, and one that reads texts of other people `shows_others`; see the
    functions of these names.
    """

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Returns what gives every person (by number) the state they start with."""
        ...

    def encode(self, model: Model, device: Device) -> Examples:
        """Returns a person's samples as the model reads them; the state is empty for a stranger."""
        ...

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[Sequence[Upload], list[State]]:
        """Trains every device of a cohort from the broadcast.

        Returns:
            One upload each, all of one kind, or none at all where nothing leaves; and one new state each.
        """
        ...

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> Sequence[Answers]:
        """Returns the answers to every device's samples: all classes, best first, or texts."""
        ...


def repeats_texts(client: Client, population: Population) -> bool:
    """Tells whether one text of a person can be in several training examples.

    Then noise on samples (DP-SGD) hides that a single example was there, and not that a text was. So it is
    where every beginning of a text is an example, and where a client reads a text with others beside it.
    """
    return population.answer == "next-word" or bool(getattr(client, "repeats_texts", False))


def shows_others(client: Client) -> bool:
    """Tells whether a client reads a person's texts in the training examples of other people.

    Then what one person's texts can change is not on one device, and no noise that is counted there hides it.
    """
    return bool(getattr(client, "shows_others", False))


@runtime_checkable
class Assessor(Client, Protocol):
    """A client that also tells how likely it holds right answers, which an audit asks for."""

    def log_odds(self, shared: Shared, cohort: Sequence[Device]) -> list[Doubles]:
        """Returns the log odds of the right answer to every device's samples, (samples,) each.

        Samples are read as `predict` reads them; a language model's come with their targets.
        """
        ...


@dataclass(frozen=True)
class Server:
    """What the server's half of a phase is made from.

    Attributes:
        clients: How many clients there are.
        spec: Which model, for a server that trains one itself.
        seed: The run's seed.
        device: torch's name of where the server's model works.
        public: Gives the public people, with one part of their texts each.
        public_people: How many of them there are.
    """

    clients: int
    spec: ModelSpec
    seed: int
    device: str = "cpu"
    public: Callable[[Part], list[Device]] = field(default=lambda part: [], compare=False)
    public_people: int = 0


@dataclass(frozen=True)
class Phase:
    """Some rounds with one client and one strategy.

    Attributes:
        name: What the phase is called in progress and records.
        client: The device's half.
        strategy: Makes the server's half, a new Flower strategy.
        rounds: Number of rounds.
        plan: How each device trains, which tells how many fit into one pass; None where they only send.
        frozen: Whether the model stays as it is, and devices train what their states hold.
        sampled: Devices in a round; None for all.
        eval_every: Rounds between two looks at the validation texts, the best of which is what the phase
            ends with; without looks it ends with its last round.
        anew: Whether it starts from the base instead of what the phase before it ended with.
        people: Whose devices take part; a phase of held-out people is left out where there are none.
        part: Which of their texts they train on.
        against: The phase whose scores its own are compared with; without one no phase's scores are.
        central: How everyone's pooled texts are trained on instead, as the control; its epochs are the
            caller's. None where devices send nothing to average, and the control works as the phase does.
    """

    name: str
    client: Client
    strategy: Callable[[Server], Strategy]
    rounds: int
    plan: Plan | None = None
    frozen: bool = False
    sampled: int | None = None
    eval_every: int | None = None
    anew: bool = False
    people: Literal["clients", "public", "held-out"] = "clients"
    part: Part = "train"
    against: str | None = None
    central: Plan | None = None

    def persons(self, population: Population) -> Ints:
        """Returns the numbers of the people whose devices take part."""
        everyone = {
            "clients": population.clients,
            "public": population.public,
            "held-out": population.held_out,
        }
        return everyone[self.people]


def federated(
    settings: Settings, client: Client, strategy: Callable[[FederationSettings, int], Strategy]
) -> Phase:
    """Returns a phase of federated training as the settings have it.

    Args:
        settings: A run's settings.
        client: The device's half.
        strategy: Makes the server's half from the settings and the number of clients.
    """
    federation = settings.federation
    return Phase(
        "federated",
        client,
        lambda server: strategy(federation, server.clients),
        federation.rounds,
        Plan.local(settings.local),
        sampled=federation.clients_per_round,
        eval_every=federation.eval_every,
        central=Plan.central(settings.central, 1),
    )


@dataclass(frozen=True)
class Method:
    """A named sequence of phases; the last phase's client predicts.

    Attributes:
        name: The method's name.
        phases: The phases, in order.
        has_base: Whether the model is trained on the public people's text before the first phase.
        writes: Whether it needs a language model, whatever is predicted.
        owned: Whether people's states are theirs for good, and kept with the run.
        additions: What it adds to the model.
        notes: Gives what is to be told of a run's people before it starts, one line each.
    """

    name: str
    phases: tuple[Phase, ...]
    has_base: bool = True
    writes: bool = False
    owned: bool = False
    additions: tuple[Addition, ...] = ()
    notes: Callable[[Population], tuple[str, ...]] = field(default=_no_notes, compare=False)

    @property
    def client(self) -> Client:
        """The client that predicts."""
        return self.phases[-1].client

    @property
    def has_central(self) -> bool:
        """Whether training on everyone's pooled texts is a control of it.

        It is none where the server pools anonymous records anyway, or devices learn from nobody.
        """
        return any(phase.central is not None for phase in self.phases)
