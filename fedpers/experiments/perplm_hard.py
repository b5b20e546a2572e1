"""PerPLM with hard prompts: every text is read with its writer's earlier texts behind it.

Oba et al., arXiv 2309.07727; see fedpers/clients/hard_prompts.py. The stage of masked words before the task,
and whether the encoder is tuned, are the settings of soft prompts.
"""

from __future__ import annotations

from fedpers.clients import ContextOf, ContextOrder, HardPrompts, Plain
from fedpers.data import Population
from fedpers.experiments import perplm_soft
from fedpers.experiments.perplm_soft import (
    frozen_of,
    has_masked_stage,
    masked_head,
    masked_stage,
    notes_of,
    task_stage,
)
from fedpers.method import Method
from fedpers.models import Addition, ContextSegments, FrozenFeatures, Masking, random_weights
from fedpers.settings import Section, Settings, flag


class Own(Section):
    """PerPLM's hard prompts: the writer's earlier texts as context, for encoders of BERT's kind."""

    context_order: ContextOrder | None = flag(
        None,
        "Which of a writer's texts come first: `static` the newest (without times in a random order), "
        "`tfidf` or `features` those most like the text. [tfidf if weights are random, else features]",
    )
    context_of: ContextOf = flag(
        "own", "Whose texts stand behind a text: its writer's, or as a control another's."
    )
    context_share: float = flag(
        0.5, "Share of the longest input that earlier texts may fill; a shorter text leaves more.", gt=0, lt=1
    )


def build(settings: Settings) -> Method:
    """Returns the method: masked words if asked for, then the task, every text with its context."""
    own, stages = settings.of(Own, "perplm_hard"), settings.of(perplm_soft.Own, "perplm_soft")
    order = own.context_order or ("tfidf" if random_weights(settings.model) else "features")
    additions: list[Addition] = [ContextSegments()]
    if order == "features":
        additions.append(FrozenFeatures())
    phases = []
    if has_masked_stage(stages, prompts=False):
        additions.append(masked_head(settings))
        masking = Masking(stages.masked_share, stages.masked_context)
        frozen = frozen_of(stages, masked=True)
        client: Plain = Plain(settings.local, masking=masking, frozen=frozen)
        if stages.intermediate == "personal":
            client = _client(settings, own, order, masking, frozen)
        phases.append(masked_stage(settings, stages, client))
    client = _client(settings, own, order, None, frozen_of(stages, masked=False))
    phases.append(task_stage(settings, client))

    def notes(population: Population) -> tuple[str, ...]:
        return (*notes_of(stages, phases), *client.notes(population))

    return Method("perplm-hard", tuple(phases), additions=tuple(additions), notes=notes)


def _client(
    settings: Settings, own: Own, order: ContextOrder, masking: Masking | None, frozen: tuple[str, ...]
) -> HardPrompts:
    return HardPrompts(
        settings.local, order, own.context_of, own.context_share, masking=masking, frozen=frozen
    )
