"""Activation top-k at every position of a background, where few channels moved.

In: the magnitudes that moved, and a table of all idle ones, sorted once. Out: which kept
channels are among the largest. A kept one survives if fewer than that many are above it: counted
in the table, less those of the channels that moved, plus what these are now. Source: ours
(docs/extraction.md#backgrounds).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from circuitkit.compiled.background import FoldedBackground, Places, latest, pick
from circuitkit.model.activation_topk import smallest_kept
from circuitkit.nodes import Site

_WORTH_COUNTING = 2
"""Comparisons for each channel of a site up to which counting is faster than selecting."""


@torch.no_grad()
def survive(
    folded: FoldedBackground, site: Site, live: Places, moving: Places, at: Int[Tensor, " moving"],
    n_kept: int, more: Places | None = None,
) -> Bool[Tensor, "_ _ kept"]:  # fmt: skip
    """Whether each kept channel is among the ``n_kept`` largest of its site.

    ``moving`` are the channels ``at`` that may have moved; ``more`` competes besides.
    """
    magnitude, moving, n = live.abs(), moving.abs(), live.shape[1]
    idle = latest(folded.magnitudes(site), n)
    width = idle.shape[2] + (0 if more is None else more.shape[2])
    if n_kept >= width:
        return torch.ones_like(magnitude, dtype=torch.bool)
    rest = moving if more is None else torch.cat([moving, more.abs()], 2)
    if rest.shape[2] * magnitude.shape[2] > _WORTH_COUNTING * width:
        whole = idle.expand(*moving.shape[:2], -1).index_copy(2, at, moving)
        whole = whole if more is None else torch.cat([whole, more.abs()], 2)
        least = smallest_kept(whole.flatten(0, 1).clone(), n_kept)
        return magnitude >= least.unflatten(0, magnitude.shape[:2])
    ranked = latest(folded.ranked(site), n)
    above = ranked.shape[2] - _at_most(ranked, magnitude)
    above = above - _count_above(pick(idle, at), magnitude) + _count_above(rest, magnitude)
    return above < n_kept


def _at_most(ranked: Places, magnitude: Places) -> Int[Tensor, "_ _ kept"]:
    """How many of the ranked magnitudes are at most each of these."""
    if ranked.shape[:2] == (1, 1):
        return torch.searchsorted(ranked[0, 0].contiguous(), magnitude.contiguous(), right=True)
    ranked = ranked.expand(*magnitude.shape[:2], -1).contiguous()
    return torch.searchsorted(ranked, magnitude.contiguous(), right=True)


def _count_above(some: Places, magnitude: Places) -> Int[Tensor, "_ _ kept"]:
    """How many of some magnitudes are above each of these; faster than to sort them."""
    some = some.expand(*magnitude.shape[:2], -1)
    counts = torch.empty_like(magnitude, dtype=torch.long)
    above, ones = torch.empty_like(some), some.new_ones(some.shape[2])
    for i in range(magnitude.shape[2]):
        counts[..., i] = torch.gt(some, magnitude[..., i : i + 1], out=above) @ ones
    return counts
