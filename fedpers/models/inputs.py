"""What a model reads, as one value, so that it can be mapped over devices."""

from __future__ import annotations

from typing import NamedTuple

import torch

NOBODY = -1  # the owner of a sample that is read with nobody's own parameters


class Inputs(NamedTuple):
    """What a model reads: a batch's samples, those of all devices or, within a mapped model, of one.

    Attributes:
        ids: Token ids (..., samples, tokens), padded at the end.
        mask: 1 for a token, 0 for padding (..., samples, tokens).
        vectors: What stands in the places of user tokens (..., samples, user tokens, width).
        labels: What is right (..., samples, answers): a decoder reads those before the one it scores.
        places: The tokens that answers are read off (..., samples, answers).
        owners: Rows of a table of people's own parameters (..., samples), or `NOBODY`.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    vectors: torch.Tensor
    labels: torch.Tensor
    places: torch.Tensor
    owners: torch.Tensor

    def flat(self) -> Inputs:
        """Returns all devices' samples as those of one."""
        return Inputs(*(part.flatten(0, 1) for part in self))

    def of(self, device: int) -> Inputs:
        """Returns one device's samples."""
        return Inputs(*(part[device] for part in self))
