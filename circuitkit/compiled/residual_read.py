"""A read of the residual stream: a norm, activation top-k, and the kept channels.

In: the few channels of the stream that are tracked. Out: the kept channels as they are
read. A channel that nothing has written yet is its start plus a constant, so the
norm and the top-k need only a table with one row for each distinct start. Source: ours
(docs/extraction.md#compiled-circuits).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.compiled.distinct_prompts import Prompts, Rows
from circuitkit.compiled.folded_model import FoldedModel
from circuitkit.compiled.partial_topk import PartialTopK
from circuitkit.nodes import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fixed:
    """The channels that nothing has written, by start: their sums and their magnitudes."""

    total: Float[Tensor, " starts"]
    squares: Float[Tensor, " starts"]
    topk: PartialTopK | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a norm does to every channel of a row: take ``mean`` away, multiply by ``factor``."""

    mean: Float[Tensor, "*rows 1"] | None
    factor: Float[Tensor, "*rows 1"]


class KeptRead:
    """One read of the stream.

    Args:
        folded: the folded model.
        site: an ``act_in``, or ``final_resid``.
        tracked: the channels of the stream that are given, in order.
        written: those of them that anything kept has written so far.
        n_writes: how many writes come before.
        kept: the channels that are read.
    """

    def __init__(
        self,
        folded: FoldedModel,
        site: Site,
        *,
        tracked: Int[Tensor, " tracked"],
        written: Int[Tensor, " written"],
        n_writes: int,
        kept: Int[Tensor, " kept"],
    ) -> None:
        self.folded, self.norm = folded, folded.norm(site)
        self.site, self.n_writes = site, n_writes
        arch = folded.model.arch
        self.d_model, self.d_position = arch.d_model, arch.d_position
        self.n_kept: int | None = folded.block(site).n_kept.get("act_in")
        self.moving = written
        self.key = (site, tuple(written.tolist()))
        self.moving_at = torch.searchsorted(tracked, written)
        stream = kept[kept < arch.d_model]
        self.kept_at = torch.searchsorted(tracked, stream)
        self.positions = kept[kept >= arch.d_model] - arch.d_model
        if arch.norm != "none":
            self.weight = self.norm.weight[tracked]
        if arch.norm == "layernorm":
            self.bias = self.norm.bias[tracked]

    def __call__(
        self, x: Float[Tensor, "rows tracked"], rows: Rows, prompts: Prompts
    ) -> Float[Tensor, "rows kept"]:
        fixed = prompts.recent.get(self.key, lambda: self._measure(prompts))
        scale = self._scale(x, rows, fixed)
        y = self._weighted(x, scale)
        read = y.index_select(1, self.kept_at)
        if scale.mean is None:
            read = read * scale.factor
        at = None
        if self.d_position:
            at = self.folded.position_reads(self.site)[rows.position]
            read = torch.cat([read, at[:, self.positions]], 1)
        if fixed.topk is None:
            return read
        return read * self._survive(y, at, scale, rows, fixed.topk)

    def _survive(
        self, y: Tensor, at: Tensor | None, scale: Scale, rows: Rows, topk: PartialTopK
    ) -> Tensor:
        """Magnitudes are compared before the common factor, as the table holds them."""
        y = y.detach()
        moving, kept = y[:, self.moving_at], y[:, self.kept_at]
        if at is not None:
            at = at if scale.mean is not None else at / scale.factor.detach()
            moving, kept = torch.cat([moving, at], 1), torch.cat([kept, at[:, self.positions]], 1)
        return topk.survive(kept, moving, rows.start)

    def _weighted(self, x: Tensor, scale: Scale) -> Tensor:
        """The channels with their weights; for LayerNorm normed and with their biases."""
        if self.norm.kind == "none":
            return x
        if scale.mean is None:
            return x * self.weight
        return (x - scale.mean) * scale.factor * self.weight + self.bias

    def _scale(self, x: Tensor, rows: Rows, fixed: _Fixed) -> Scale:
        moving, start = x.index_select(1, self.moving_at), rows.start
        return norm_scale(self.norm, moving, fixed.total[start], fixed.squares[start], self.d_model)

    def _measure(self, prompts: Prompts) -> _Fixed:
        x = self.folded.stream(prompts, self.n_writes)
        still = x.index_fill(1, self.moving, 0.0).double()
        topk = None
        if self.n_kept is not None:
            weighted = x if self.norm.kind == "none" else x * self.norm.weight
            topk = PartialTopK(weighted.abs(), self.moving, self.n_kept, self.d_position)
        return _Fixed(total=still.sum(1), squares=still.square().sum(1), topk=topk)


def norm_scale(norm, x: Tensor, total: Tensor, squares: Tensor, width: int) -> Scale:
    """The scale of a norm over ``width`` channels, of which all but ``x`` are given as sums."""
    if norm.kind == "none":
        return Scale(mean=None, factor=x.new_ones(len(x), 1))
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    square = (squares + x.double().square().sum(1)) / width
    if norm.kind == "rmsnorm":
        return Scale(mean=None, factor=(square + eps).rsqrt().to(x.dtype)[:, None])
    mean = (total + x.double().sum(1)) / width
    factor = (square - mean.square()).clamp(min=0).add(eps).rsqrt()
    return Scale(mean=mean.to(x.dtype)[:, None], factor=factor.to(x.dtype)[:, None])
