"""What all circuits of a model share under one set of ablation values.

In: a model and an ablation value for every node. Out: a ``FoldedModel``: what every
linear map writes when all it reads is ablated, what every head attends to then, and
the residual stream when nothing is kept. A search that tries thousands of circuits
builds it once. Source: ours (docs/extraction.md#compiled-circuits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.compiled.cache import Recent
from circuitkit.compiled.distinct_prompts import Prompts, prepare_prompts
from circuitkit.compiled.site_parts import SiteParts
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.model.device import placed
from circuitkit.nodes import Site, transformer_sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """The heads of a layer when nothing is kept.

    ``mass`` is what attention gives to all positions together, the rest goes to the
    sink; one row a position, or a single row of ones without a sink. ``spread`` is what
    a head writes for each unit of mass, and ``written`` what all of them write.
    """

    mass: Float[Tensor, "positions head"]
    spread: Float[Tensor, "d_model head"]
    written: Float[Tensor, "positions d_model"]


class FoldedModel(SiteParts):
    """A model with ablation values, and everything that its circuits share."""

    def __init__(self, model: Transformer, values: Mapping[Site, Tensor]) -> None:
        self.model, self.device = model, model.device
        self.values = placed(values, model.device)
        self._shared: dict[Any, Any] = {}
        self.recent: Recent = Recent()

    def prepare(self, pairs: EncodedPairs) -> Prompts:
        """Prepare pairs for many circuits of this folded model."""
        return prepare_prompts(pairs.to(self.device), self.model.arch.positions)

    @cached_property
    def writes(self) -> list[Site]:
        """The sites that write to the residual stream, in order."""
        return [s for s in transformer_sites(self.model.arch.n_layer) if s.place == "resid_delta"]

    def stream(self, prompts: Prompts, n_writes: int) -> Float[Tensor, "starts d_model"]:
        """The residual stream after so many writes, every one of them ablated.

        Summed in the order of the model, so that equal channels stay equal.
        """
        x = self.model.transformer.wte.weight[prompts.starts.token]
        if self.model.arch.positions == "learned":
            x = x + self.model.transformer.wpe.weight[prompts.starts.position]
        for site in self.writes[:n_writes]:
            x = x + self.values[site]
        return x

    def idle_write(self, site: Site) -> Float[Tensor, "1 width"]:
        """What a linear map writes to a site when all it reads is ablated, in float64."""
        return self._once(site, lambda: self._idle_write(site))

    def _idle_write(self, site: Site) -> Tensor:
        weight, bias = self.weight(site)
        read = Site(site.layer, site.block, "post_act" if site.place == "resid_delta" else "act_in")
        return _apply(weight, self.values[read])[None] + (0 if bias is None else bias)

    def idle_heads(self, layer: int) -> Idle:
        """What the heads of a layer do when nothing is kept, in float64."""
        return self._once(layer, lambda: self._idle_heads(layer))

    def _idle_heads(self, layer: int) -> Idle:
        block = self.model.layers[layer].attn
        q, k, v = (self.values[block.sites[place]].double() for place in "qkv")
        score = (q * k).view(block.n_head, -1).sum(1) * block.d_head**-0.5
        mass = torch.ones(1, block.n_head, dtype=torch.float64, device=self.device)
        if hasattr(block, "attn_imp"):
            seen = torch.arange(1, self.model.arch.n_ctx + 1, device=self.device)[:, None]
            sink = block.attn_imp.sink_logit.double()
            mass = torch.sigmoid(score - sink + seen.double().log())
        weight, bias = self.weight(block.sites["resid_delta"])
        heads = weight.split(block.d_head, dim=1)
        spread = torch.stack(
            [_apply(w, x) for w, x in zip(heads, v.split(block.d_head), strict=True)], 1
        )
        return Idle(
            mass=mass, spread=spread, written=mass @ spread.T + (0 if bias is None else bias)
        )

    def position_reads(self, site: Site) -> Float[Tensor, "positions d_position"]:
        """The position channels as read at a site, where they are concatenated."""
        layer = self.model.layers[site.layer]
        norm = layer.ln_p1 if site.block == "attn" else layer.ln_p2
        return self._once(("positions", site), lambda: norm(self.model.transformer.wpe.weight))

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]


def _apply(weight: Float[Tensor, "out in"], x: Float[Tensor, " in"]) -> Float[Tensor, " out"]:
    """The product in float64, a block of rows at a time: a large matrix is not copied whole."""
    return torch.cat([rows.double() @ x.double() for rows in weight.split(1024)])
