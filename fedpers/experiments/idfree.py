"""IDfree-PL: private distributions of user embeddings, anonymous uploads, one model fine-tuned on them.

Ding et al., KDD 2025, arXiv 2501.06062; see fedpers/clients/idfree.py and fedpers/strategies/cloud.py. The
defaults that the paper leaves open are ours, fitted to the synthetic people; the released code's are in
cards/idfree_code.toml.
"""

from __future__ import annotations

import math
from typing import Literal

from fedpers.clients import AnonymousUpload, DistributionFit, UserTokens
from fedpers.errors import InputError
from fedpers.method import Method, Phase, Server
from fedpers.models import Beta, Family, Gaussian
from fedpers.records import Placement
from fedpers.settings import Section, Settings, flag, option
from fedpers.strategies import Cloud, Silence
from fedpers.training import Plan

_STATIC = 1e-6  # noise of the Gaussian that stands for none
_ALL = 2**31  # samples in a batch


class Own(Section):
    """IDfree-PL: a private distribution of user embeddings a person, uploads without a name."""

    distribution: Literal["gaussian", "beta", "static", "none"] = flag(
        "gaussian", "What user embeddings are drawn from; `static` has no noise, `none` has no embedding."
    )
    noise: float = flag(
        1.0, "Spread of the Gaussian noise (the paper's code: 0.2); where it starts if it is trained.", gt=0
    )
    noise_unit: Literal["deviation", "variance"] = option(
        "deviation", "What `noise` is: a standard deviation, as in the released code, or a variance."
    )
    train_noise: bool = option(False, "Train the noise of each coordinate too.")
    divergence_weight: float = option(
        0.0, "Weight of the Gaussian's divergence from the standard normal in a device's loss.", ge=0
    )
    start_mean: float = option(0.1, "Where the Gaussian's means start.")
    start_alpha: float = option(2.0, "Where the Beta's first parameters start.", gt=0)
    start_beta: float = option(5.0, "Where the Beta's second parameters start.", gt=0)
    user_tokens: int = flag(1, "User embeddings before or behind each text.", ge=1)
    placement: Placement = flag("front", "Where user embeddings stand.")
    pooled_epochs: int = flag(3, "Epochs of the central model on anonymous texts, before any fit.", ge=1)
    fit_epochs: int = flag(30, "Passes of a device over its own texts to fit its distribution.", ge=1)
    fit_lr: float = flag(0.05, "Learning rate of a device's fit.", gt=0)
    fit_optimizer: Literal["sgd", "adam", "adamw"] = option("adam", "Optimizer of a device's fit.")
    fit_batch_size: int | None = option(None, "Samples in a batch of a device's fit. [all]", ge=1)
    fit_warmup_share: float | None = option(
        None, "Share of the fit's steps over which its rate rises, then to fall. [constant]", ge=0, le=1
    )
    fit_clip: float | None = flag(None, "Largest L2 norm of the gradient in a device's fit.", gt=0)
    radius: float | None = flag(
        None, "Farthest, in L2 norm, that a fit may move a distribution's parameters.", gt=0
    )
    upload: Literal["once", "each-epoch"] = flag(
        "once", "Upload once (the paper's text), or fresh draws before every epoch (its code)."
    )
    cloud_epochs: int = flag(3, "Epochs of the cloud on anonymous records with user embeddings.", ge=1)


def build(settings: Settings) -> Method:
    """Returns the method: central model, device fit, anonymous upload with fine-tuning in the cloud."""
    own = settings.of(Own, "idfree")
    tokens = None
    if own.distribution != "none":
        tokens = UserTokens(family_of(own), own.user_tokens, own.placement)
    fit = Plan(
        own.fit_optimizer,
        own.fit_lr,
        own.fit_epochs,
        own.fit_batch_size or _ALL,
        warmup_share=own.fit_warmup_share,
        clip=own.fit_clip,
        radius=own.radius,
    )
    phases = [central_phase(settings, own)]
    if tokens:
        phases.append(
            Phase("fit", DistributionFit(tokens, fit), lambda server: Silence(), 1, fit, frozen=True)
        )
    phases.append(_uploading("cloud", settings, own, tokens, own.cloud_epochs))
    return Method("idfree", tuple(phases))


def family_of(own: Own) -> Family:
    """Returns the family of distributions that the settings name.

    Raises:
        InputError: Noise is to be trained, or kept near the standard normal's, of a family that has none.
    """
    if own.distribution != "gaussian" and (own.train_noise or own.divergence_weight):
        option = "train_noise" if own.train_noise else "divergence_weight"
        raise InputError(
            f"idfree.{option} is of the Gaussian's noise, and {own.distribution} has none: leave it out, or "
            "use --distribution gaussian"
        )
    if own.distribution == "beta":
        return Beta(own.start_alpha, own.start_beta)
    deviation = math.sqrt(own.noise) if own.noise_unit == "variance" else own.noise
    spread = _STATIC if own.distribution == "static" else deviation
    return Gaussian(spread, own.start_mean, own.train_noise, own.divergence_weight)


def central_phase(settings: Settings, own: Own) -> Phase:
    """Returns the phase that trains the central model on anonymous texts, without user embeddings."""
    return _uploading("central", settings, own, None, own.pooled_epochs)


def _uploading(name: str, settings: Settings, own: Own, tokens: UserTokens | None, epochs: int) -> Phase:
    plan = Plan.central(settings.central, epochs)

    def cloud(server: Server) -> Cloud:
        return Cloud(server, plan, own.placement, name, each_epoch=own.upload == "each-epoch")

    return Phase(name, AnonymousUpload(tokens), cloud, epochs, eval_every=1)
