"""PerPLM, soft prompts: vectors of each writer's own on every layer of one shared encoder.

Oba et al., arXiv 2309.07727; see fedpers/clients/writer_prompts.py. An intermediate stage of masked words
with the writer's prompt, then the task; newcomers learn a prompt from plain text alone. The paper's numbers
were not to be had: those here are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from fedpers.clients import Plain, WriterPrompts
from fedpers.method import Client, Method, Phase
from fedpers.models import (
    MASKED_WORDS,
    TINY,
    WRITER_PROMPTS,
    Addition,
    MaskedHead,
    Masking,
    SoftPrompts,
    random_weights,
)
from fedpers.settings import FederationSettings, Section, Settings, flag, option
from fedpers.strategies import Partly, Silence, make
from fedpers.training import Plan

_MASKED = "masked words"  # the stage's name


class Own(Section):
    """PerPLM: writers' soft prompts, and the stage of masked words before the task."""

    prompt: Literal["prefix", "deep", "first", "none"] = flag(
        "prefix",
        "Where a writer's vectors stand: keys and values before every layer, hidden vectors at every layer's "
        "entry, input embeddings before the first layer only, or nowhere.",
    )
    prompt_length: int = flag(10, "Vectors of a writer on each layer.", ge=1)
    prompt_width: int = option(0, "Numbers in each vector before the MLP; 0 for the model's own width.", ge=0)
    prompt_inner: int | None = option(
        None, "Width of the MLP's hidden layer; 0 for no MLP. [512, 64 if weights are random]", ge=0
    )
    prompt_spread: float = option(0.02, "Standard deviation of the start that all writers share.", ge=0)
    prompt_epochs: int = flag(
        2, "Passes of a device over its own texts in a round in which only its prompt learns.", ge=0
    )
    prompt_fit_epochs: int = flag(
        10, "Passes after the last round in which only everyone's prompt learns the task.", ge=0
    )
    prompt_lr: float | None = flag(
        None, "Learning rate of prompts (AdamW). [5e-3, 2e-2 if weights are random]", gt=0
    )
    prompt_batch_size: int = option(16, "Samples in a batch in which only a prompt learns.", ge=1)
    prompt_weight_decay: float = option(0.0, "AdamW's weight decay of prompts.", ge=0)
    intermediate: Literal["none", "plain", "personal"] = flag(
        "personal", "The stage of masked words before the task: none, without or with the writer's prompt."
    )
    intermediate_rounds: int = flag(200, "Rounds of that stage.", ge=1)
    masked_share: float = option(0.15, "Share of a text's tokens that are chosen in it.", gt=0, lt=1)
    masked_context: bool = option(False, "Choose tokens of a hard prompt's context too.")
    encoder: Literal["tuned", "frozen"] = flag(
        "tuned", "Whether the encoder is trained too in both stages, or prompts, MLP and heads alone."
    )
    newcomer_epochs: int = flag(
        10, "Passes of a held-out person over plain text to learn a prompt (after `personal`).", ge=0
    )


def build(settings: Settings) -> Method:
    """Returns the method: masked words, the task, then newcomers and everyone's prompt."""
    own = settings.of(Own, "perplm_soft")
    soft = own.prompt != "none"
    tokens = _prompts(settings, own).tokens if soft else 0
    phases: list[Phase] = []
    personal = own.intermediate == "personal" and soft
    masked = has_masked_stage(own, prompts=personal)
    if masked:
        phases.append(masked_stage(settings, own, _client(settings, own, tokens, masked=True)))
    phases.append(task_stage(settings, _client(settings, own, tokens, masked=False)))
    if personal and own.newcomer_epochs:
        phases.append(_alone("newcomers", own, settings, tokens, newcomers=True))
    if soft and own.prompt_fit_epochs:
        phases.append(_alone("prompts", own, settings, tokens))
    additions: list[Addition] = [_prompts(settings, own)] if soft else []
    if masked:
        additions.append(masked_head(settings))
    return Method(
        "perplm-soft", tuple(phases), additions=tuple(additions), notes=lambda people: notes_of(own, phases)
    )


def has_masked_stage(own: Own, *, prompts: bool) -> bool:
    """Tells whether there is a stage of masked words, which needs something to learn that the task has too.

    Args:
        own: PerPLM's own settings.
        prompts: Whether prompts learn in it.
    """
    return own.intermediate != "none" and (own.encoder == "tuned" or prompts)


def notes_of(own: Own, phases: Sequence[Phase]) -> tuple[str, ...]:
    """Tells where the stage of masked words is left out though it is asked for."""
    if own.intermediate == "none" or any(phase.name == _MASKED for phase in phases):
        return ()
    return ("no stage of masked words: the encoder is frozen, and no prompt would learn from them",)


def masked_head(settings: Settings) -> MaskedHead:
    """Returns the head for masked words, trained where the model is."""
    name = settings.model.model
    return MaskedHead(None if name == TINY or random_weights(settings.model) else name)


def masked_stage(settings: Settings, own: Own, client: Client) -> Phase:
    """Returns the phase in which devices learn masked words.

    Args:
        settings: A run's settings.
        own: PerPLM's own.
        client: The device's half, with the masking.
    """
    federation = settings.federation.model_copy(update={"rounds": own.intermediate_rounds})
    masking = Masking(own.masked_share, own.masked_context)
    return replace(_stage(_MASKED, settings, federation, client, masking), eval_every=None)


def task_stage(settings: Settings, client: Client) -> Phase:
    """Returns the phase in which devices learn the task."""
    return _stage("task", settings, settings.federation, client, None)


def frozen_of(own: Own, *, masked: bool) -> tuple[str, ...]:
    """Returns the groups of parameters that a stage leaves as they are."""
    unused = ["head"] if masked else [MASKED_WORDS]
    if masked and own.intermediate == "plain":
        unused.append(WRITER_PROMPTS)
    return (*unused, *(["encoder"] if own.encoder == "frozen" else []))


def _stage(
    name: str,
    settings: Settings,
    federation: FederationSettings,
    client: Client,
    masking: Masking | None,
) -> Phase:
    own = settings.of(Own, "perplm_soft")
    frozen = frozen_of(own, masked=masking is not None)
    central = Plan.central(settings.central, 1)
    rates = (("own", _rate(settings, own) / central.learning_rate),)
    decays = (("own", own.prompt_weight_decay),)
    return Phase(
        name,
        client,
        lambda server: Partly(server, make(federation, server.clients), frozen),
        federation.rounds,
        Plan.local(settings.local),
        sampled=federation.clients_per_round,
        eval_every=federation.eval_every,
        central=replace(central, masking=masking, frozen=frozen, factors=rates, decays=decays),
    )


def _client(settings: Settings, own: Own, tokens: int, *, masked: bool) -> Client:
    """Returns the device's half of a stage."""
    masking = Masking(own.masked_share) if masked else None
    frozen = frozen_of(own, masked=masked)
    if own.prompt == "none" or (masked and own.intermediate == "plain"):
        return Plain(settings.local, masking=masking, frozen=frozen)
    shared = replace(Plan.local(settings.local), masking=masking, frozen=(*frozen, "own"))
    mine = _own_plan(settings, own, own.prompt_epochs, masking) if own.prompt_epochs else None
    return WriterPrompts(tokens, shared, mine)


def _alone(name: str, own: Own, settings: Settings, tokens: int, *, newcomers: bool = False) -> Phase:
    """Returns a phase in which devices train their prompts only, and send nothing."""
    masking = Masking(own.masked_share) if newcomers else None
    plan = _own_plan(settings, own, own.newcomer_epochs if newcomers else own.prompt_fit_epochs, masking)
    client = WriterPrompts(tokens, None, plan)
    people = "held-out" if newcomers else "clients"
    return Phase(name, client, lambda server: Silence(), 1, plan, frozen=True, people=people)  # type: ignore[arg-type]  # one of the two


def _own_plan(settings: Settings, own: Own, epochs: int, masking: Masking | None) -> Plan:
    rate, decay = _rate(settings, own), own.prompt_weight_decay
    return Plan("adamw", rate, epochs, own.prompt_batch_size, weight_decay=decay, masking=masking)


def _rate(settings: Settings, own: Own) -> float:
    return own.prompt_lr or (2e-2 if random_weights(settings.model) else 5e-3)


def _prompts(settings: Settings, own: Own) -> SoftPrompts:
    inner = own.prompt_inner
    if inner is None:
        inner = 64 if random_weights(settings.model) else 512
    placement = own.prompt if own.prompt != "none" else "prefix"
    return SoftPrompts(placement, own.prompt_length, own.prompt_width, inner, own.prompt_spread)
