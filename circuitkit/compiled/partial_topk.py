"""Activation top-k where few channels vary and the others are fixed.

In: the magnitudes of the fixed channels, once; the values of the moving ones, for every
row. Out: which values are kept, exactly as over all channels. With m moving channels
only the fixed ones ranked ``n_kept - m`` to ``n_kept`` can be the smallest kept, so only
those few are compared. Source: ours (docs/extraction.md#compiled-circuits).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.model.activation_topk import ascending, smallest_kept


class PartialTopK:
    """The channels of a site that compete to be among the ``n_kept`` largest.

    Args:
        fixed: magnitudes of all channels where nothing moves; one row, or several of
            which every row of the batch names one.
        moving: the channels that move, left out of ``fixed``.
        n_kept: how many survive.
        n_more: how many channels move beyond those of ``fixed``.
    """

    def __init__(
        self,
        fixed: Float[Tensor, "tables width"],
        moving: Int[Tensor, " moving"],
        n_kept: int,
        n_more: int = 0,
    ) -> None:
        n_fixed, n_moving = fixed.shape[1] - len(moving), len(moving) + n_more
        above = max(0, n_kept - n_moving - 1)
        self.decided = n_kept >= n_fixed + n_moving
        self.n_kept: int = n_kept - above
        if not self.decided:
            ranked, width = ascending(fixed.index_fill(1, moving, -1.0)), fixed.shape[1]
            self.fixed = ranked[:, width - min(n_kept, n_fixed) : width - above]

    @torch.no_grad()
    def survive(
        self,
        some: Float[Tensor, "rows some"],
        moving: Float[Tensor, "rows moving"],
        table: Int[Tensor, " rows"] | None,
    ) -> Bool[Tensor, "rows some"]:
        """Whether the magnitude of each is among the largest, ``moving`` being all that move."""
        if self.decided:
            return torch.ones_like(some, dtype=torch.bool)
        n_fixed = self.fixed.shape[1]
        magnitude = moving.new_empty(len(moving), n_fixed + moving.shape[1])
        magnitude[:, :n_fixed] = self.fixed if table is None else self.fixed[table]
        torch.abs(moving, out=magnitude[:, n_fixed:])
        return some.abs() >= smallest_kept(magnitude, self.n_kept)
