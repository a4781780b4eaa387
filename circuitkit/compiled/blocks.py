"""The blocks of a compiled circuit: attention and MLP, read, computed and written.

In: the tracked channels of the stream at some rows. Out: what the kept channels write
back. Parts that consecutive circuits share are cached in the folded model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.compiled.attention import KeptAttention
from circuitkit.compiled.distinct_prompts import Prompts, Rows
from circuitkit.compiled.folded_model import FoldedModel
from circuitkit.compiled.linear import KeptLinear
from circuitkit.compiled.residual_read import KeptRead
from circuitkit.model import Tap
from circuitkit.nodes import NodeSet, Site, transformer_sites

Channels = Int[Tensor, " kept"]


class Plan:
    """The kept channels of every site, and the channels of the stream that are tracked."""

    def __init__(self, folded: FoldedModel, nodes: NodeSet) -> None:
        self.folded, self.nodes = folded, nodes
        arch = folded.model.arch
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
        sites = self.folded.writes[:n_writes]
        return self._indices(sorted({c for site in sites for c in self.nodes[site]}))

    def until(self, write: Site) -> tuple[tuple[int, ...], ...]:
        """The kept channels of every site up to a write: all that it depends on, but for rows."""
        sites = transformer_sites(self.folded.model.arch.n_layer)
        return tuple(self.nodes[site] for site in sites[: sites.index(write) + 1])

    def _indices(self, channels: Iterable[int]) -> Channels:
        return torch.tensor(list(channels), dtype=torch.long, device=self.folded.device)


class _Write:
    """A write to the stream: kept channels move, the others are ablated."""

    def __init__(self, plan: Plan, site: Site) -> None:
        self.site = site
        self.ablated = plan.folded.values[site][plan.tracked]
        self.at = torch.searchsorted(plan.tracked, plan.kept[site])

    def add(self, x: Tensor, delta: Tensor | None) -> Float[Tensor, "rows tracked"]:
        """The stream after the write; ``delta`` None is a write with nothing kept."""
        if delta is None:
            return x + self.ablated
        return x + self.ablated.expand_as(x).index_copy(1, self.at, delta)


class _Block(ABC):
    """What attention and MLP share: the read, the linear maps and the write.

    Without a tap, what it writes is cached with the prompts: the next circuit writes the same
    if it keeps the same nodes up to here.
    """

    def __init__(self, plan: Plan, layer: int, block: str) -> None:
        self.plan, self.folded = plan, plan.folded
        self.block = getattr(self.folded.model.layers[layer], block)
        self.sites: Mapping[str, Site] = self.block.sites
        self.kept = {place: plan.kept[site] for place, site in self.sites.items()}
        self.write: _Write = _Write(plan, self.sites["resid_delta"])
        self.until: tuple[tuple[int, ...], ...] = plan.until(self.sites["resid_delta"])
        n_writes = self.folded.writes.index(self.sites["resid_delta"])
        self.read: KeptRead = KeptRead(
            self.folded, self.sites["act_in"], tracked=plan.tracked,
            written=plan.written(n_writes), n_writes=n_writes, kept=self.kept["act_in"],
        )  # fmt: skip

    def __call__(
        self, x: Tensor, rows: Rows, out: Rows, prompts: Prompts, tap: Tap | None
    ) -> Float[Tensor, "out kept"]:
        """What it writes at each row of ``out``."""
        if tap is not None:
            return self._run(x, rows, out, prompts, tap)
        key = (self.sites["resid_delta"], self.until, id(rows), id(out))
        return prompts.written.get(key, lambda: self._run(x, rows, out, prompts, None))

    @abstractmethod
    def _run(self, x: Tensor, rows: Rows, out: Rows, prompts: Prompts, tap: Tap | None) -> Tensor:
        """The same, from what comes before."""

    @property
    def writes(self) -> bool:
        """Whether any of its writes is kept."""
        return bool(len(self.kept["resid_delta"]))

    def tapped(self, place: str, x: Tensor, tap: Tap | None) -> Tensor:
        return x if tap is None else tap(self.sites[place], x)

    def linear(self, place: str, source: str) -> KeptLinear:
        """The map from the kept channels of ``source`` to those of ``place``."""
        key = (
            self.sites[place],
            self.plan.nodes[self.sites[place]],
            self.plan.nodes[self.sites[source]],
        )
        return self.folded.recent.get(key, lambda: self._linear(place, source))

    def _linear(self, place: str, source: str) -> KeptLinear:
        site, kept = self.sites[place], self.kept[source]
        weight, _ = self.folded.weight(site)
        return KeptLinear(
            columns=weight[:, kept],
            idle_inputs=self.folded.values[self.sites[source]][kept].double()[None],
            idle=self.folded.idle_write(site),
            kept=self.kept[place],
            n_kept=self.block.n_kept.get(place),
            activation=self.block.activation if place == "post_act" else None,
        )


class CompiledAttention(_Block):
    """The attention block of a circuit."""

    def __init__(self, plan: Plan, layer: int) -> None:
        super().__init__(plan, layer, "attn")
        if not self.writes:
            return
        nodes = tuple(plan.nodes[self.sites[place]] for place in "qkv")
        self.attention = self.folded.recent.get((layer, nodes), lambda: self._heads(layer))
        key = (self.sites["resid_delta"], nodes, plan.nodes[self.sites["resid_delta"]])
        self.out = self.folded.recent.get(key, lambda: self._out(layer))
        self.into: dict[str, KeptLinear] = {
            p: self.linear(p, "act_in") for p in "qkv" if len(self.kept[p])
        }

    def _heads(self, layer: int) -> KeptAttention:
        return KeptAttention(self.folded, layer, *(self.kept[place] for place in "qkv"))

    def _out(self, layer: int) -> KeptLinear:
        weight, _ = self.folded.weight(self.sites["resid_delta"])
        return KeptLinear(
            columns=self.attention.columns(weight),
            idle_inputs=self.attention.idle_inputs(),
            idle=self.folded.idle_heads(layer).written,
            kept=self.kept["resid_delta"],
            n_kept=self.block.n_kept.get("resid_delta"),
        )

    @property
    def moves(self) -> bool:
        """Whether what it writes depends on more than the position."""
        return self.writes and self.attention.moves

    def _run(self, x: Tensor, rows: Rows, out: Rows, prompts: Prompts, tap: Tap | None) -> Tensor:
        if not self.attention.moves:
            return self.tapped("resid_delta", self.out(x.new_zeros(len(out.start), 0), out), tap)
        a = self.tapped("act_in", self.read(x, rows, prompts), tap)
        at_end = out is prompts.lasts
        read = {"q": a.index_select(0, rows.lasts) if at_end else a, "k": a, "v": a}
        q, k, v = (self._project(place, read[place], rows, tap) for place in "qkv")
        y = self.attention(q, k, v, rows, prompts, at_end=at_end)
        return self.tapped("resid_delta", self.out(y, out), tap)

    def _project(self, place: str, a: Tensor, rows: Rows, tap: Tap | None) -> Tensor:
        if place not in self.into:
            return a.new_zeros(len(a), 0)
        return self.tapped(place, self.into[place](a, rows), tap)


class CompiledMLP(_Block):
    """The MLP block of a circuit."""

    def __init__(self, plan: Plan, layer: int) -> None:
        super().__init__(plan, layer, "mlp")
        if self.writes:
            self.neurons: KeptLinear = self.linear("post_act", "act_in")
            self.out: KeptLinear = self.linear("resid_delta", "post_act")

    def _run(self, x: Tensor, rows: Rows, out: Rows, prompts: Prompts, tap: Tap | None) -> Tensor:
        h = x.new_zeros(len(x), 0)
        if len(self.kept["post_act"]):
            a = self.tapped("act_in", self.read(x, rows, prompts), tap)
            h = self.tapped("post_act", self.neurons(a, rows), tap)
        return self.tapped("resid_delta", self.out(h, rows), tap)
