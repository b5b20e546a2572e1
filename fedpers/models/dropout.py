"""Dropout whose masks are a function of a key and a place, not of a generator's state.

A device's masks must be the same whether it trains alone or stacked with others, with whatever padding.
A generator gives numbers in the order in which they are asked for; here each number is a hash of the
device's key, the call within the forward pass, and the element's coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# The finalizer of MurmurHash3 (Appleby, public domain) and two odd numbers that part calls and coordinates.
_FIRST, _SECOND, _CALL, _PLACE = -0x7A143595, -0x3D4D51CB, 0x27D4EB2F, 0x165667B1


class KeyedDropout(TorchFunctionMode):
    """While it is on, `torch.nn.functional.dropout` draws its masks from a key."""

    def __init__(self, key: torch.Tensor, first: int = 0) -> None:
        """Starts a forward pass.

        Args:
            key: An int32 scalar; under `torch.vmap` one a device.
            first: Number of the first sample, where a batch goes through the model in pieces.
        """
        super().__init__()
        self._key = key
        self._first = first
        self._calls = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.dropout:
            return self._dropout(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _dropout(
        self, input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        if not training or p == 0:
            return input
        self._calls += 1
        kept = _bits(self._key, self._calls, self._first, input.shape) >= int(p * 2**31)
        return input * kept.to(input.dtype).mul_(1 / (1 - p))


def kept(keys: torch.Tensor, call: int, first: int, shape: Sequence[int], rate: float) -> torch.Tensor:
    """Returns which elements dropout keeps, 1 for those (devices, *shape).

    Args:
        keys: An int32 key a device (devices,).
        call: The number of the layer that drops.
        first: Number of the first sample, which the shape's first axis counts.
        shape: Of one device's input.
        rate: Of dropout, in [0, 1).
    """

    def own(key: torch.Tensor) -> torch.Tensor:
        return _bits(key, call, first, shape) >= int(rate * 2**31)

    return torch.vmap(own)(keys)


def _bits(key: torch.Tensor, call: int, first: int, shape: Sequence[int]) -> torch.Tensor:
    """Returns 31 random bits for every element of a shape, as int32; `first` shifts the first axis."""
    state = _mix(_mix(key) + _wrapped(call * _CALL))
    for axis, length in enumerate(shape):
        start = 0 if axis else first
        places = torch.arange(start, start + length, dtype=torch.int32, device=key.device) * _PLACE
        state = _mix(state[..., None] ^ places)
    return state.bitwise_and_(0x7FFFFFFF)


def _mix(state: torch.Tensor) -> torch.Tensor:
    """Returns a hash of each number, mostly in place: going through memory is all the work."""
    mixed = (state >> 16).bitwise_and_(0xFFFF).bitwise_xor_(state).mul_(_FIRST)
    mixed ^= (mixed >> 13).bitwise_and_(0x7FFFF)
    mixed *= _SECOND
    mixed ^= (mixed >> 16).bitwise_and_(0xFFFF)
    return mixed


def _wrapped(number: int) -> int:
    """Returns a number modulo 2**32 as int32 has it."""
    return (number + 2**31) % 2**32 - 2**31
