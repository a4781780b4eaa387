"""Compile a circuit: the masked model with everything constant folded away.

In: a model, the kept nodes and the ablation values. Out: a program that gives the
masked model's logit differences (to 1e-4 in float32) while computing only what the
kept nodes need: of the stream the channels that kept nodes write or read, of each
site those that are kept or compete with them, of the places the distinct ones, and
after the last attention that matters only the ends. Source: ours (EXTRACTION
section 6).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.compiled.attention import KeptAttention
from circuitkit.compiled.ends import KeptEnd
from circuitkit.compiled.foundation import Foundation
from circuitkit.compiled.linear import KeptLinear
from circuitkit.compiled.prompts import Prompts, Rows
from circuitkit.compiled.read import KeptRead
from circuitkit.model import EncodedPairs, Tap, Transformer
from circuitkit.nodes import FINAL_RESID, NodeSet, Site

Channels = Int[Tensor, " kept"]


class _Plan:
    """The kept channels of every site, and the channels of the stream that are tracked."""

    def __init__(self, foundation: Foundation, nodes: NodeSet) -> None:
        self.foundation, self.nodes = foundation, nodes
        arch = foundation.model.arch
        self.kept = {site: self._indices(nodes[site]) for site in arch.widths}
        touched = [
            channel
            for site, channels in nodes.channels.items()
            if site.place in ("act_in", "resid_delta", "final_resid")
            for channel in channels
            if channel < arch.d_model
        ]
        # LayerNorm moves every channel, so that with top-k all of them compete
        whole = arch.norm == "layernorm" and any(k.endswith("act_in") for k in arch.activation_topk)
        self.everything = self._indices(range(arch.d_model)) if whole else None
        self.tracked = self._indices(range(arch.d_model) if whole else sorted(set(touched)))

    def written(self, n_writes: int) -> Channels:
        """The channels that one of the first writes may have changed."""
        if self.everything is not None:
            return self.everything
        sites = self.foundation.writes[:n_writes]
        return self._indices(sorted({c for site in sites for c in self.nodes[site]}))

    def _indices(self, channels) -> Channels:
        return torch.tensor(list(channels), dtype=torch.long, device=self.foundation.device)


class _Write:
    """A write to the stream: kept channels move, the others are ablated."""

    def __init__(self, plan: _Plan, site: Site) -> None:
        self.site = site
        self.ablated = plan.foundation.values[site][plan.tracked]
        self.at = torch.searchsorted(plan.tracked, plan.kept[site])

    def add(self, x: Tensor, delta: Tensor | None) -> Float[Tensor, "rows tracked"]:
        """The stream after the write; ``delta`` None is a write with nothing kept."""
        if delta is None:
            return x + self.ablated
        return x + self.ablated.expand_as(x).index_copy(1, self.at, delta)


class _Block:
    """What attention and MLP share: the read, the linear maps and the write."""

    def __init__(self, plan: _Plan, layer: int, block: str) -> None:
        self.plan, self.foundation = plan, plan.foundation
        self.block = getattr(self.foundation.model.layers[layer], block)
        self.sites: Mapping[str, Site] = self.block.sites
        self.kept = {place: plan.kept[site] for place, site in self.sites.items()}
        self.write = _Write(plan, self.sites["resid_delta"])
        n_writes = self.foundation.writes.index(self.sites["resid_delta"])
        self.read = KeptRead(
            self.foundation, self.sites["act_in"], tracked=plan.tracked,
            written=plan.written(n_writes), n_writes=n_writes, kept=self.kept["act_in"],
        )  # fmt: skip

    @property
    def writes(self) -> bool:
        """Whether any of its writes is kept."""
        return bool(len(self.kept["resid_delta"]))

    def tapped(self, place: str, x: Tensor, tap: Tap | None) -> Tensor:
        return x if tap is None else tap(self.sites[place], x)

    def linear(self, place: str, source: str) -> KeptLinear:
        """The map from the kept channels of ``source`` to those of ``place``."""
        site, kept = self.sites[place], self.kept[source]
        weight, _ = self.foundation.weight(site)
        return KeptLinear(
            columns=weight[:, kept],
            idle_inputs=self.foundation.values[self.sites[source]][kept].double()[None],
            idle=self.foundation.idle_write(site),
            kept=self.kept[place],
            n_kept=self.block.n_kept.get(place),
            activation=self.block.activation if place == "post_act" else None,
        )


class _CompiledAttention(_Block):
    def __init__(self, plan: _Plan, layer: int) -> None:
        super().__init__(plan, layer, "attn")
        if not self.writes:
            return
        kept = self.kept
        self.attention = KeptAttention(self.foundation, layer, kept["q"], kept["k"], kept["v"])
        self.into = {place: self.linear(place, "act_in") for place in "qkv" if len(kept[place])}
        weight, _ = self.foundation.weight(self.sites["resid_delta"])
        self.out = KeptLinear(
            columns=self.attention.columns(weight),
            idle_inputs=self.attention.idle_inputs(),
            idle=self.foundation.idle_heads(layer).written,
            kept=kept["resid_delta"],
            n_kept=self.block.n_kept.get("resid_delta"),
        )

    @property
    def moves(self) -> bool:
        """Whether what it writes depends on more than the position."""
        return self.writes and self.attention.moves

    def __call__(
        self, x: Tensor, rows: Rows, out: Rows, prompts: Prompts, tap: Tap | None
    ) -> Float[Tensor, "out kept"]:
        """What it writes at each row of ``out``."""
        if not self.attention.moves:
            return self.tapped("resid_delta", self.out(x.new_zeros(len(out.start), 0), out), tap)
        a = self.tapped("act_in", self.read(x, rows, prompts), tap)
        at_end = out is prompts.lasts
        read = {"q": a[rows.lasts] if at_end else a, "k": a, "v": a}
        q, k, v = (self._project(place, read[place], rows, tap) for place in "qkv")
        y = self.attention(q, k, v, rows, prompts, at_end=at_end)
        return self.tapped("resid_delta", self.out(y, out), tap)

    def _project(self, place: str, a: Tensor, rows: Rows, tap: Tap | None) -> Tensor:
        if place not in self.into:
            return a.new_zeros(len(a), 0)
        return self.tapped(place, self.into[place](a, rows), tap)


class _CompiledMLP(_Block):
    def __init__(self, plan: _Plan, layer: int) -> None:
        super().__init__(plan, layer, "mlp")
        if self.writes:
            self.neurons = self.linear("post_act", "act_in")
            self.out = self.linear("resid_delta", "post_act")

    def __call__(
        self, x: Tensor, rows: Rows, prompts: Prompts, tap: Tap | None
    ) -> Float[Tensor, "rows kept"]:
        h = x.new_zeros(len(x), 0)
        if len(self.kept["post_act"]):
            a = self.tapped("act_in", self.read(x, rows, prompts), tap)
            h = self.tapped("post_act", self.neurons(a, rows), tap)
        return self.tapped("resid_delta", self.out(h, rows), tap)


class CompiledCircuit:
    """The masked model as a small program; made by ``compile_circuit`` or from a foundation."""

    def __init__(self, foundation: Foundation, nodes: NodeSet) -> None:
        self.foundation = foundation
        plan = _Plan(foundation, nodes)
        self.tracked = plan.tracked
        layers = range(foundation.model.arch.n_layer)
        self.attention = [_CompiledAttention(plan, layer) for layer in layers]
        self.mlp = [_CompiledMLP(plan, layer) for layer in layers]
        self.end = KeptEnd(foundation, plan.tracked, plan.kept[FINAL_RESID])
        self.turn = max((layer for layer in layers if self.attention[layer].moves), default=-1)

    @torch.no_grad()
    def differences(self, prompts: Prompts | EncodedPairs) -> Float[Tensor, " rows"]:
        """The logit difference of every prompt: d = logit[answer] - logit[foil]."""
        return self.run(prompts)

    def run(
        self, prompts: Prompts | EncodedPairs, tap: Tap | None = None
    ) -> Float[Tensor, " rows"]:
        """As ``differences``, with gradients, and with a tap on the kept channels of each site."""
        if isinstance(prompts, EncodedPairs):
            prompts = self.foundation.prepare(prompts)
        return self.end(self._stream(prompts, tap), prompts, tap)

    def _stream(self, prompts: Prompts, tap: Tap | None) -> Float[Tensor, "batch tracked"]:
        """The tracked channels of the stream at the end of every prompt."""
        rows = prompts.inputs if self.turn >= 0 else prompts.lasts
        x = self.foundation.stream(prompts, 0)[:, self.tracked][rows.start]
        for layer, (attention, mlp) in enumerate(zip(self.attention, self.mlp, strict=True)):
            delta = None
            if attention.writes:
                out = prompts.lasts if layer >= self.turn else prompts.prefixes
                delta = attention(x, rows, out, prompts, tap)
                x, rows = x[prompts.index(rows, out)], out
            x = attention.write.add(x, delta)
            x = mlp.write.add(x, mlp(x, rows, prompts, tap) if mlp.writes else None)
        return x


def compile_circuit(
    model: Transformer, nodes: NodeSet, ablation_values: Mapping[Site, Tensor]
) -> CompiledCircuit:
    """Compile the circuit of ``nodes``, every other node at its ablation value.

    Equal to running the model under ``gate_tap`` with those nodes kept, to 1e-4 in
    logits. Who compiles many circuits of one model makes the ``Foundation`` once.
    """
    return CompiledCircuit(Foundation(model, ablation_values), nodes)
