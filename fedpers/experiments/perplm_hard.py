"""PerPLM with hard prompts: every text is read with its writer's earlier texts behind it.

Oba et al., arXiv 2309.07727; see fedpers/clients/hard_prompts.py.
"""

from __future__ import annotations

from fedpers.clients import ContextOf, ContextOrder, HardPrompts
from fedpers.method import Method, federated
from fedpers.models import Addition, ContextSegments, FrozenFeatures, random_weights
from fedpers.settings import Section, Settings, flag
from fedpers.strategies import make


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
    """Returns the method: one phase of federated training with context."""
    own = settings.of(Own, "perplm_hard")
    order = own.context_order or ("tfidf" if random_weights(settings.model) else "features")
    client = HardPrompts(settings.local, order, own.context_of, own.context_share)
    additions: tuple[Addition, ...] = (ContextSegments(),)
    if order == "features":
        additions = (*additions, FrozenFeatures())
    return Method(
        "perplm-hard", (federated(settings, client, make),), additions=additions, notes=client.notes
    )
