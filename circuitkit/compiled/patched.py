"""A circuit put into a background: a small program, exact against the patched model.

In: a folded background and the kept nodes. Out: the logit difference of every prompt, equal to
running the model with every other node overwritten by the background's value (to 1e-4 in
float32). A linear map writes what it writes idle plus what its kept inputs change; activation
top-k counts the magnitudes above a kept one, in a table sorted once and among those that
changed. Source: ours (docs/extraction.md#backgrounds).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from circuitkit.compiled.background import FoldedBackground, Places, latest, pick
from circuitkit.compiled.patched_topk import survive
from circuitkit.compiled.residual_read import Scale
from circuitkit.model import Tap
from circuitkit.model.activation_topk import smallest_kept
from circuitkit.nodes import FINAL_RESID, NodeSet, Site, transformer_sites


class Patched(NamedTuple):
    """What came of a run: the logit difference of every prompt, and the final norm's gain.

    The gain is how many times more the final norm amplifies than the one that the background
    prescribes; one over its denominator where none is.
    """

    differences: Float[Tensor, " rows"]
    gains: Float[Tensor, " rows"]


class PatchedCircuit:
    """A circuit in a background."""

    def __init__(self, folded: FoldedBackground, nodes: NodeSet) -> None:
        nodes = nodes if folded.given is None else nodes | folded.given
        self.folded, self.nodes = folded, nodes
        arch, device = folded.arch, folded.positions.device
        self.kept = {
            s: torch.tensor(nodes[s], dtype=torch.long, device=device) for s in arch.widths
        }
        touched = {
            channel
            for site, channels in nodes.channels.items()
            if site.place in ("act_in", "resid_delta", "final_resid")
            for channel in channels
            if channel < arch.d_model
        }
        everything = arch.norm == "layernorm" and "act_in" in str(arch.activation_topk)
        chosen = range(arch.d_model) if everything else sorted(touched)
        self.tracked = torch.tensor(list(chosen), dtype=torch.long, device=device)
        self.turn: int = max(
            (layer for layer in range(arch.n_layer) if len(self._heads(layer))), default=-1
        )

    def _heads(self, layer: int) -> Int[Tensor, " heads"]:
        """The heads whose output may move, where it is written to a kept channel."""
        sites = self.folded.model.layers[layer].attn.sites
        if not len(self.kept[sites["resid_delta"]]):
            return self.tracked[:0]
        channels = torch.cat([self.kept[sites[place]] for place in "qkv"])
        return (channels // self.folded.arch.d_head).unique()

    @torch.no_grad()
    def differences(self) -> Float[Tensor, " rows"]:
        """The logit difference of every prompt: d = logit[answer] - logit[foil]; on the CPU."""
        return self.run().differences.cpu()

    def run(self, tap: Tap | None = None) -> Patched:
        """With gradients, and with a tap on the kept channels of each site."""
        folded = self.folded
        n = folded.n_live if self.turn >= 0 else 1
        first = transformer_sites(folded.arch.n_layer)[0]
        x = pick(latest(folded.stream(first), n), self.tracked)
        x = x.expand(len(folded.positions), -1, -1)
        for layer in range(folded.arch.n_layer):
            out = 1 if layer >= self.turn else n
            x = self._write(Site(layer, "attn", "resid_delta"), x, out, tap)
            n = out
            x = self._write(Site(layer, "mlp", "resid_delta"), x, n, tap)
        return self._answer(x[:, 0], tap)

    def _write(self, site: Site, x: Places, out: int, tap: Tap | None) -> Places:
        """The tracked channels after a write, at the last ``out`` places."""
        idle = pick(self.folded.value(site, out), self.tracked)
        after = latest(x, out) + idle
        if not len(self.kept[site]):
            return after
        make = self._attention if site.block == "attn" else self._mlp
        if tap is None:
            key = (site, self._until(site), x.shape[1], out)
            live = self.folded.written.get(key, lambda: make(site.layer, x, out, None))
        else:
            live = make(site.layer, x, out, tap)
        at = torch.searchsorted(self.tracked, self.kept[site])
        return latest(x, out) + idle.expand_as(after).index_copy(2, at, live)

    def _until(self, write: Site) -> tuple[tuple[int, ...], ...]:
        """The kept channels of every site up to a write: all that it depends on."""
        sites = transformer_sites(self.folded.arch.n_layer)
        return tuple(self.nodes[site] for site in sites[: sites.index(write) + 1])

    def _attention(self, layer: int, x: Places, out: int, tap: Tap | None) -> Places:
        folded, block = self.folded, self.folded.model.layers[layer].attn
        sites, heads = block.sites, self._heads(layer)
        write = sites["resid_delta"]
        if not len(heads):
            change = folded.idle_heads(layer)[:, -out:, :0]
            return self._linear(write, change, self.tracked[:0], out, tap)
        a = self._read(sites["act_in"], x, tap)
        change = self._change(sites["act_in"], a)
        q, k, v = (
            self._in_heads(
                sites[place], latest(change, out) if place == "q" else change, heads, out, tap
            )
            for place in "qkv"
        )
        y = folded.attend(layer, q, k, v, out, heads)
        channels = torch.arange(folded.arch.d_attn, device=heads.device)
        channels = channels.unflatten(0, (-1, block.d_head))[heads].flatten()
        idle = pick(latest(folded.idle_heads(layer), out), channels)
        return self._linear(write, y - idle, channels, out, tap)

    def _in_heads(
        self, site: Site, change: Places, heads: Tensor, out: int, tap: Tap | None
    ) -> Places:
        """All channels of these heads: at the last places the kept ones, else the background's."""
        folded, d_head, kept = self.folded, self.folded.arch.d_head, self.kept[site]
        n_rows, n_places = folded.positions.shape
        n = out if site.place == "q" else n_places
        whole = folded.value(site, n).unflatten(2, (-1, d_head)).index_select(2, heads).flatten(2)
        if not len(kept):
            return whole
        source = self.kept[folded.model.layers[site.layer].attn.sites["act_in"]]
        live = self._linear(site, change, source, change.shape[1], tap)
        at = torch.searchsorted(heads, kept // d_head) * d_head + kept % d_head
        whole = whole.expand(n_rows, n, -1)
        moved = whole[:, -live.shape[1] :].index_copy(2, at, live)
        return moved if moved.shape[1] == n else torch.cat([whole[:, : -live.shape[1]], moved], 1)

    def _mlp(self, layer: int, x: Places, out: int, tap: Tap | None) -> Places:
        sites = self.folded.model.layers[layer].mlp.sites
        neurons, read = sites["post_act"], sites["act_in"]
        change = latest(x, out)[..., :0]
        if len(self.kept[neurons]):
            a = self._change(read, self._read(read, x, tap))
            h = self._linear(neurons, a, self.kept[read], out, tap)
            change = self._change(neurons, h)
        return self._linear(sites["resid_delta"], change, self.kept[neurons], out, tap)

    def _change(self, site: Site, live: Places) -> Places:
        """How far the kept channels of a site are from the background."""
        return live - pick(self.folded.value(site, live.shape[1]), self.kept[site])

    def _linear(
        self, site: Site, change: Places, source: Int[Tensor, " inputs"], n: int, tap: Tap | None
    ) -> Places:
        """The kept channels of a site, given how far the inputs ``source`` are from idle."""
        folded, kept = self.folded, self.kept[site]
        weight, _ = folded.weight(site)
        n_kept = folded.block(site).n_kept.get(site.place)
        moving = kept
        if n_kept is not None:
            reached = (weight[:, source] != 0).any(1).index_fill(0, kept, True)
            moving = reached.nonzero()[:, 0]
        idle = pick(latest(folded.idle(site), n), moving)
        y = folded.activate(site, idle + F.linear(change, weight[moving][:, source]))
        if n_kept is not None:
            live = pick(y, torch.searchsorted(moving, kept))
            y = live * survive(folded, site, live, y, moving, n_kept)
        return y if tap is None else tap(site, y)

    def _read(self, site: Site, x: Places, tap: Tap | None) -> Places:
        """The kept channels of a read of the stream."""
        folded, arch, n = self.folded, self.folded.arch, x.shape[1]
        kept, norm = self.kept[site], folded.norm(site)
        stream = kept[kept < arch.d_model]
        scale = self._scale(site, x)
        weighted = x
        if norm.kind != "none":
            weight = norm.weight[self.tracked]
            weighted = x * weight if scale.mean is None else (
                (x - scale.mean) * scale.factor * weight + norm.bias[self.tracked]
            )  # fmt: skip
        inner = pick(weighted, torch.searchsorted(self.tracked, stream))
        read = inner * scale.factor if scale.mean is None else inner
        at = None
        if arch.d_position:
            at = folded.position_reads(site, n)
            own = pick(at, kept[kept >= arch.d_model] - arch.d_model)
            read = torch.cat([read, own], 2)
        n_kept = folded.block(site).n_kept.get("act_in")
        if n_kept is not None:
            if scale.mean is not None:
                competing = weighted if at is None else torch.cat([weighted, at], 2)
                least = smallest_kept(competing.detach().abs().flatten(0, 1).clone(), n_kept)
                read = read * (read.detach().abs() >= least.unflatten(0, read.shape[:2]))
            else:
                read = read * self._survives_read(site, inner, weighted, at, scale, n_kept)
        return read if tap is None else tap(site, read)

    @torch.no_grad()
    def _survives_read(
        self, site: Site, inner: Places, weighted: Places, at: Places | None, scale: Scale,
        n_kept: int,
    ) -> Tensor:  # fmt: skip
        """Magnitudes are compared before the common factor, as the table holds them."""
        more, kept = None, inner
        if at is not None:
            more = at / scale.factor
            own = self.kept[site]
            own = own[own >= self.folded.arch.d_model] - self.folded.arch.d_model
            kept = torch.cat([inner, pick(more, own)], 2)
        return survive(self.folded, site, kept, weighted, self.tracked, n_kept, more)

    def _scale(self, site: Site, x: Places) -> Scale:
        """The norm's scale: of the whole stream, or the one that the background prescribes."""
        folded, n = self.folded, x.shape[1]
        if folded.sizes is not None and folded.norm(site).kind != "none":
            factor = latest(folded.sizes[site], n).reciprocal()
        else:
            factor = self._own_factor(site, x)
        is_centred = folded.norm(site).kind == "layernorm"
        mean = self._moments(site, x)[0].to(x.dtype) if is_centred else None
        return Scale(mean=mean, factor=factor.to(x.dtype))

    def _own_factor(self, site: Site, x: Places) -> Tensor:
        """One over the denominator of the norm of the circuit's own stream."""
        norm = self.folded.norm(site)
        if norm.kind == "none":
            return x.new_ones(*x.shape[:2], 1)
        eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
        mean, square = self._moments(site, x)
        if norm.kind == "layernorm":
            square = (square - mean.square()).clamp(min=0)
        return (square + eps).rsqrt()

    def _moments(self, site: Site, x: Places) -> tuple[Tensor, Tensor]:
        """The means of all channels of the stream and of their squares, in float64."""
        folded, n, width = self.folded, x.shape[1], self.folded.arch.d_model
        at = self.kept[site] if site == FINAL_RESID else self.tracked
        still = folded.values[site] if site == FINAL_RESID else folded.stream(site)
        idle, live = pick(latest(still, n), at).double(), x.double()
        total, squares = (latest(part[..., None], n) for part in folded.sums(site))
        mean = (total + (live - idle).sum(2, keepdim=True)) / width
        return mean, (squares + (live.square() - idle.square()).sum(2, keepdim=True)) / width

    def _answer(self, x: Float[Tensor, "rows tracked"], tap: Tap | None) -> Patched:
        """The final read and the difference of the two answers' rows."""
        folded, pairs = self.folded, self.folded.pairs
        model, norm, kept = folded.model, folded.norm(FINAL_RESID), self.kept[FINAL_RESID]
        x = x.index_select(1, torch.searchsorted(self.tracked, kept))[:, None]
        x = x if tap is None else tap(FINAL_RESID, x)
        scale = self._scale(FINAL_RESID, x)
        idle = latest(folded.values[FINAL_RESID], 1).expand(len(x), 1, -1)
        row = model.lm_head.weight[pairs.answers] - model.lm_head.weight[pairs.foils]
        direction = row if norm.kind == "none" else row * norm.weight
        read = (idle[:, 0] * direction).sum(1)
        read = read + ((x - pick(idle, kept))[:, 0] * direction[:, kept]).sum(1)
        if scale.mean is not None:
            read = read - scale.mean[:, 0, 0] * direction.sum(1)
        bias = model.final_logits_bias
        offset = bias[pairs.answers] - bias[pairs.foils]
        if norm.kind == "layernorm":
            offset = offset + row @ norm.bias
        if folded.arch.bigram_table:
            token, table = folded.tokens[:, -1], model.bigram_table
            offset = offset + table[token, pairs.answers] - table[token, pairs.foils]
        gains = self._own_factor(FINAL_RESID, x)[:, 0, 0].to(x.dtype)
        if folded.sizes is not None:
            gains = gains * latest(folded.sizes[FINAL_RESID], 1)[:, 0, 0]
        return Patched(differences=read * scale.factor[:, 0, 0] + offset, gains=gains)
