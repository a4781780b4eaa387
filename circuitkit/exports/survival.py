"""Activation top-k in a program: what a node needs to survive as it does in the circuit.

In: the magnitudes of a node and whether they survive, wherever the node counts. Out: that it always
does, or never, or from a fixed limit, if one number parts the values that survive from the others.
Else the channels that compete with it have to be computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_MARGIN = 1e-4
"""How far, relative to itself, a limit has to be from every value that was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """A node survives always, ``never``, from a ``limit`` on, or only its rivals decide."""

    never: bool = False
    limit: float | None = None
    needs_rivals: bool = False


def survival(magnitude: Float[Tensor, " rows"], survives: Bool[Tensor, " rows"]) -> Survival:
    """The simplest rule that is right in every row; a value of 0 is right either way."""
    survives, magnitude = survives[magnitude > 0], magnitude[magnitude > 0]
    if survives.all():
        return Survival()
    if not survives.any():
        return Survival(never=True)
    low = float(magnitude[~survives].max()) * (1 + _MARGIN)
    high = float(magnitude[survives].min()) * (1 - _MARGIN)
    return Survival(limit=roundest(low, high)) if low < high else Survival(needs_rivals=True)


def roundest(low: float, high: float) -> float:
    """The number of fewest digits between two positive ones.

    >>> roundest(0.2471, 0.2712)
    0.26
    """
    middle = (low + high) / 2
    choices = (round(middle, digits - floor(log10(middle))) for digits in range(17))
    return next((number for number in choices if low < number < high), middle)


def alive_by_kind(
    kind: Int[Tensor, " rows"], survives: Bool[Tensor, " rows"], n: int
) -> Bool[Tensor, " n"] | None:
    """Which of ``n`` kinds of rows survive, if the kind of a row decides it; else None."""
    alive, lost = torch.zeros(2, n, dtype=torch.bool)
    alive[kind[survives]] = True
    lost[kind[~survives]] = True
    return None if (alive & lost).any() else ~lost


def smallest_kept(
    magnitude: Float[Tensor, "rows width"], n_kept: int | None
) -> Float[Tensor, " rows"]:
    """The ``n_kept``-th largest of each row; 0 where all are kept."""
    if n_kept is None or n_kept >= magnitude.shape[1]:
        return magnitude.new_zeros(len(magnitude))
    return magnitude.topk(n_kept, dim=1, sorted=False).values.amin(1)
