"""UserAdapter: one private vector a person before each text, in front of a model that was trained for all.

Zhong et al., ACL Findings 2021; as a baseline of UserIdentifier (Mireshghallah et al., NAACL 2022, arXiv
2110.00135, section 4): a global phase without users, then everyone fits their vector to the frozen model on
their own texts. Start at zero and place behind the leading special token are those of a later
implementation; see fedpers/clients/writer_prompts.py.
"""

from __future__ import annotations

from fedpers.clients import Plain, WriterPrompts
from fedpers.method import Method, Phase, federated
from fedpers.models import SoftPrompts, random_weights
from fedpers.settings import Section, Settings, flag, option
from fedpers.strategies import Silence, make
from fedpers.training import Plan


class Own(Section):
    """UserAdapter: a private vector a person, in front of a frozen model."""

    adapter_epochs: int = flag(20, "Passes of a device over its texts to fit its vector.", ge=1)
    adapter_lr: float | None = flag(
        None, "Learning rate of that (AdamW). [5e-3, 5e-2 if weights are random]", gt=0
    )
    adapter_batch_size: int = option(16, "Samples in a batch of that.", ge=1)
    adapter_weight_decay: float = option(0.0, "AdamW's weight decay of the vector.", ge=0)


def build(settings: Settings) -> Method:
    """Returns the method: federated training without users, then everyone's own vector."""
    own = settings.of(Own, "user_adapter")
    vector = SoftPrompts("first", length=1, spread=0.0)
    rate = own.adapter_lr or (5e-2 if random_weights(settings.model) else 5e-3)
    decay = own.adapter_weight_decay
    plan = Plan("adamw", rate, own.adapter_epochs, own.adapter_batch_size, weight_decay=decay)
    fit = WriterPrompts(vector.tokens, None, plan)
    phases = (
        federated(settings, Plain(settings.local), make),
        Phase("vectors", fit, lambda server: Silence(), 1, plan, frozen=True),
    )
    return Method("user-adapter", phases, additions=(vector,))
