"""A linear map from the kept channels of one site to those of the next.

In: the kept inputs of every row. Out: the kept outputs, after the activation function
and activation top-k. Outputs that no kept input reaches are fixed, and of the others
only those that are kept or compete with them are computed. Source: ours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from circuitkit.compiled.distinct_prompts import Rows
from circuitkit.compiled.partial_topk import PartialTopK


class KeptLinear:
    """``activation(idle + columns (x - idle_inputs))``, top-k, and of that the kept channels.

    Args:
        columns: one column of the matrix for each input.
        idle_inputs: what the inputs are when nothing is kept; a row for each of ``idle``.
        idle: what is written then: one row, or one a position.
        kept: the channels that are kept.
        n_kept: how many survive activation top-k; None where there is none.
        activation: the function after the map, if any.
    """

    def __init__(
        self,
        *,
        columns: Float[Tensor, "width inputs"],
        idle_inputs: Float[Tensor, "tables inputs"],
        idle: Float[Tensor, "tables width"],
        kept: Int[Tensor, " kept"],
        n_kept: int | None,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        moving = kept
        if n_kept is not None:
            moves = (columns != 0).any(1).index_fill(0, kept, True)
            moving = moves.nonzero()[:, 0]
        self.weight = columns[moving]
        constant = idle[:, moving] - idle_inputs @ self.weight.T.double()
        self.constant = constant.float()
        self.activation = activation
        self.kept = torch.searchsorted(moving, kept)
        self.topk: PartialTopK | None = None
        if n_kept is not None:
            fixed = idle.float() if activation is None else activation(idle.float())
            self.topk = PartialTopK(fixed.abs(), moving, n_kept)

    @property
    def n_weights(self) -> int:
        """How many weights it holds."""
        return self.weight.numel()

    def __call__(self, x: Float[Tensor, "rows inputs"], rows: Rows) -> Float[Tensor, "rows kept"]:
        """The kept channels at every row; ``idle`` with several rows is looked up by position."""
        position = rows.position if len(self.constant) > 1 else None
        constant = self.constant if position is None else self.constant[position]
        if x.shape[1]:
            y = F.linear(x, self.weight).add_(constant)
        else:
            y = constant + x.new_zeros(len(x), 1)
        if self.activation is not None:
            y = self.activation(y)
        kept = y.index_select(1, self.kept)
        if self.topk is None:
            return kept
        return kept * self.topk.survive(kept, y, position)
