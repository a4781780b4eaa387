"""Parts of a file of others as plain values, each checked before any of it is read.

In: what torch's restricted reader gave. Out: sites, channels and numbers, or ``WrongPartError``,
which names the part, what was got and what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from circuitkit.nodes import Site

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class WrongPartError(Exception):
    """What is wrong with a part of the file; the path is put before it."""


def site_of(key: Any) -> Site:
    """A site by its name."""
    try:
        return Site.parse((key if isinstance(key, str) else repr(key))[:60])
    except ValueError as error:
        raise WrongPartError(str(error)) from None


def channels_of(held: Any, what: str, width: int) -> tuple[int, ...]:
    """Distinct channels of a site. An empty tensor may be of any type."""
    check_tensor(held, what, 1, width, INTEGERS if _is_full(held) else None)
    channels = tuple(held.tolist()) if held.numel() else ()
    outside = [c for c in channels if not 0 <= c < width]
    if outside:
        raise WrongPartError(f"{what} has channel {outside[0]}; the site has {width}")
    if len(set(channels)) < len(channels):
        raise WrongPartError(f"{what} has a channel twice")
    return channels


def _is_full(held: Any) -> bool:
    """Whether something is a tensor that holds numbers."""
    return isinstance(held, Tensor) and held.numel() > 0


def check_tensor(
    held: Any, what: str, n_dims: int, most: int, dtypes: Sequence[torch.dtype] | None
) -> None:
    """Refuse all but a plain tensor of a size that can be read, before any of it is."""
    if type(held) is not Tensor or held.layout != torch.strided or held.is_quantized:
        raise WrongPartError(f"{what} is a {type(held).__name__}, expected a plain tensor")
    if held.ndim != n_dims or held.numel() > most:
        raise WrongPartError(
            f"{what} is of shape {tuple(held.shape)}, expected {n_dims} axes and at most {most:,} "
            "numbers"
        )
    if dtypes is not None and held.dtype not in dtypes:
        kind = "integers" if dtypes is INTEGERS else "real numbers"
        raise WrongPartError(f"{what} holds {held.dtype}, expected {kind}")


def number_of(held: Any, what: str) -> float | None:
    """A number or a tensor of one; None if there is none, or it is not finite."""
    if held is None:
        return None
    if isinstance(held, Tensor):
        check_tensor(held, what, held.ndim, 1, (*INTEGERS, *FLOATS))
        held = held.reshape(-1).tolist()[0] if held.numel() else None
    if isinstance(held, bool) or not isinstance(held, int | float | None):
        raise WrongPartError(f"{what} is a {type(held).__name__}, expected a number")
    try:
        return float(held) if held is not None and isfinite(held) else None
    except OverflowError:  # an integer larger than any float
        return None
