"""Writer prompts on the device: vectors of a writer's own, which a shared model reads beside each text.

PerPLM (Oba et al., arXiv 2309.07727): model, MLP and heads are shared and averaged; a writer's vectors, and
what the optimizer remembers of them within a phase, stay on the device between rounds. A round first trains
the vectors with everything else as it was broadcast, then what is shared with the vectors as they are; that
they take turns is our choice (Pillutla et al., Federated Learning with Partial Model Personalization, ICML
2022, arXiv 2204.03809: FedAlt). Vectors learn hidden words or the task, as the plans say; either plan may be
missing.

UserAdapter (Zhong et al., ACL Findings 2021) is the same with one vector a person and a model that stays as
it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedpers.clients.plain import parted, updates_of
from fedpers.data import Population
from fedpers.errors import InputError
from fedpers.method import Device, Enrolment, Shared, State, Update
from fedpers.models import (
    OWN,
    Examples,
    Model,
    encode,
    insert,
    owned,
    pool_owned,
    rows,
    special_tokens,
    user_ids,
)
from fedpers.training import Answers, Doubles, Memory, Plan, answer, log_odds

_MEMORY = "memory/"  # before the names of what the optimizer remembers
_PHASE = f"{_MEMORY}phase"  # of which phase that is


@dataclass(frozen=True)
class WriterPrompts:
    """A device whose writer has vectors of their own.

    Attributes:
        tokens: User tokens that stand in a text for them.
        shared: How what all share is trained in a round; None sends nothing.
        own: How the vectors are trained before; None leaves them.
    """

    tokens: int
    shared: Plan | None
    own: Plan | None

    def enrol(self, model: Model, population: Population, seed: int) -> Enrolment:
        """Gives everyone the same vectors, those of the model's one row.

        Raises:
            InputError: They leave no room for text.
        """
        leading, trailing = special_tokens(model)
        most = model.max_tokens - len(leading) - len(trailing) - 1
        if self.tokens > most:
            raise InputError(
                f"--prompt-length {self.tokens} leaves no room for text among the model's {model.max_tokens} "
                f"positions (nearest: {most})"
            )
        start: State = {name: p.detach()[0].cpu().numpy().copy() for name, p in owned(model.module).items()}
        return lambda person: start

    def encode(self, model: Model, device: Device) -> Examples:
        """Encodes texts, each to be read with a writer's vectors; a stranger's are those all start from."""
        found = encode(model, device.samples, prefix=user_ids(self.tokens))
        return replace(found, owner=np.zeros(len(found), dtype=np.int64))

    def train(self, shared: Shared, cohort: Sequence[Device]) -> tuple[list[Update], list[State]]:
        """Trains all writers' vectors in one pass, then what is shared; the vectors stay."""
        insert(shared.model.module, shared.whole)
        parts = [self.encode(shared.model, device) for device in cohort]
        draws, states = [device.draw for device in cohort], [device.state for device in cohort]
        passed, at = [0] * len(cohort), shared.phase
        if self.own is not None:
            memories = [_memory_of(state, at) for state in states]
            starts = [_row(state) for state in states]
            fitted = shared.fit(starts, parts, self.own, draws, memories=memories)
            states = [
                {**{name: np.asarray(table)[0] for name, table in trained.items()}, **_kept(memory, at)}
                for (trained, _), memory in zip(fitted, memories, strict=True)
            ]
            passed = [sum(epoch.samples for epoch in epochs) for _, epochs in fitted]
        if self.shared is None:
            return [], states
        starts = [{**shared.arrays, **_row(state)} for state in states]
        fitted = shared.fit(starts, parts, self.shared, draws)
        sent = [({n: a for n, a in trained.items() if not n.endswith(OWN)}, p) for trained, p in fitted]
        updates = zip(updates_of(parts, sent), passed, strict=True)
        return [replace(update, seen=update.seen + before) for update, before in updates], states

    def predict(self, shared: Shared, cohort: Sequence[Device]) -> list[Answers]:
        """Returns the answers of the shared model to each writer's texts, read with their vectors."""
        insert(shared.model.module, shared.whole)
        parts = [self.encode(shared.model, device) for device in cohort]
        with rows(shared.model.module, [device.state for device in cohort]):
            return parted(answer(shared.model, pool_owned(parts)), parts)

    def log_odds(self, shared: Shared, cohort: Sequence[Device]) -> list[Doubles]:
        """Returns the log odds of right answers to each writer's texts, read with their vectors."""
        insert(shared.model.module, shared.whole)
        parts = [self.encode(shared.model, device) for device in cohort]
        with rows(shared.model.module, [device.state for device in cohort]):
            return parted(log_odds(shared.model, pool_owned(parts)), parts)


def _row(state: State) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Returns a writer's vectors as tables of one row."""
    own = {name: array for name, array in state.items() if not name.startswith(_MEMORY)}
    return {name: np.asarray(array, dtype=np.float32)[None] for name, array in own.items()}


def _memory_of(state: State, phase: int) -> Memory:
    """Returns a copy of what the optimizer remembers of a writer's vectors from this phase, if anything.

    Another phase has another loss, whose gradients are of another size.
    """
    if _PHASE not in state or int(state[_PHASE]) != phase:
        return {}
    return {
        name.removeprefix(_MEMORY): np.array(array)
        for name, array in state.items()
        if name.startswith(_MEMORY) and name != _PHASE
    }


def _kept(memory: Memory, phase: int) -> Memory:
    return {_PHASE: np.array(phase), **{f"{_MEMORY}{name}": array for name, array in memory.items()}}
