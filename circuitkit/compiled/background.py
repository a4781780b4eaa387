"""Backgrounds: for every ablated node a value at every place of every prompt.

In: a model and pairs. Out: a ``Background``, what a circuit is put into, such as the run on the
other prompt of the pair; and a ``FoldedBackground``, what all circuits put into it share. With
nothing kept every linear map writes a constant for each prompt and place, so a circuit costs
what its kept nodes change (``patched``). Prompts are aligned at the end: the last place of every
row is the end of its prompt. Source: ours (docs/extraction.md#backgrounds).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from circuitkit.compiled.cache import Recent
from circuitkit.compiled.site_parts import SiteParts
from circuitkit.model import EncodedPairs, Transformer, record_tap
from circuitkit.model.activation_topk import ascending
from circuitkit.model.device import placed
from circuitkit.model.other_prompt import aligned_positions, shared_prefix, swapped
from circuitkit.model.transformer import MLP, Attention, dummy_channels
from circuitkit.nodes import FINAL_RESID, NodeSet, Site, transformer_sites

Places = Float[Tensor, "_ _ _"]
"""``(rows, places, width)``: one vector a place, the last place being the end of each prompt.

One row, or one place, is the same for all.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """What every ablated node is, by prompt and place.

    Only the last ``n_live`` places can differ from it, whatever is kept: before them the two
    prompts of a pair agree. ``sizes`` are denominators of norms that are to be used instead of
    the circuit's own, ``given`` nodes that are given back whatever is kept.
    """

    pairs: EncodedPairs
    values: Mapping[Site, Places]
    n_live: int
    sizes: Mapping[Site, Places] | None = None
    given: NodeSet | None = None


@torch.no_grad()
def other_prompts(model: Transformer, pairs: EncodedPairs) -> Background:
    """The run on the other prompt of each pair: a circuit in it is an interchange."""
    seen: dict[Site, Tensor] = {}
    pairs = pairs.to(model.device)
    model(pairs.tokens, record_tap(seen), pairs.last)
    values = swapped(pairs, seen, at_end(pairs, aligned_positions(pairs)))
    n_live = int((pairs.last + 1 - shared_prefix(pairs)).max())
    return Background(pairs=pairs, values=values, n_live=max(1, n_live))


@torch.no_grad()
def constant(
    pairs: EncodedPairs,
    values: Mapping[Site, Tensor],
    sizes: Mapping[Site, Places] | None = None,
    given: NodeSet | None = None,
) -> Background:
    """Values that are the same at every place; ``(width,)``, or ``(rows, width)`` by prompt."""
    by_row = {s: x.expand(1, 1, -1) if x.ndim == 1 else x[:, None] for s, x in values.items()}
    return Background(
        pairs=pairs, values=by_row, n_live=pairs.tokens.shape[1], sizes=sizes, given=given
    )


@torch.no_grad()
def sizes_of(model: Transformer, pairs: EncodedPairs) -> dict[Site, Places]:
    """The denominators of the model's own norms, at every read of the stream."""
    seen: dict[Site, Tensor] = {}
    pairs = pairs.to(model.device)
    model.stream(pairs.tokens, record_tap(seen))
    x, _ = model.embed(pairs.tokens)
    sizes: dict[Site, Tensor] = {}
    for layer in model.layers:
        for norm, block in ((layer.ln_1, layer.attn), (layer.ln_2, layer.mlp)):
            sizes[block.sites["act_in"]] = norm.size(x)
            x = x + seen[block.sites["resid_delta"]]
    sizes[FINAL_RESID] = model.transformer.ln_f.size(x)
    return {site: at_end(pairs, size[..., 0])[..., None] for site, size in sizes.items()}


def at_end(pairs: EncodedPairs, x: Shaped[Tensor, "rows seq"]) -> Shaped[Tensor, "rows places"]:
    """The same, aligned at the end; what lies before the start of a prompt means nothing."""
    return x.gather(1, positions_of(pairs).clamp(min=0))


def positions_of(pairs: EncodedPairs) -> Int[Tensor, "rows places"]:
    """The position of every place in its prompt; negative before the start."""
    seq = pairs.tokens.shape[1]
    places = torch.arange(seq, device=pairs.tokens.device)
    return places + (pairs.last - seq + 1)[:, None]


def latest(x: Places, n: int) -> Places:
    """The last ``n`` places."""
    return x if x.shape[1] == 1 else x[:, -n:]


def pick(x: Places, at: Int[Tensor, " some"]) -> Places:
    """These channels. On a CPU ``gather`` is faster here than ``index_select``."""
    return x.gather(2, at.expand(*x.shape[:2], -1))


class FoldedBackground(SiteParts):
    """A background with everything that circuits put into it share.

    Exact for a circuit of whole edges: a dropped edge carries a constant that is not in it.
    """

    def __init__(self, model: Transformer, background: Background) -> None:
        self.model, self.arch = model, model.arch
        self.pairs: EncodedPairs = background.pairs.to(model.device)
        self.values = placed(background.values, model.device)
        self.n_live: int = background.n_live
        self.sizes = background.sizes and placed(background.sizes, model.device)
        self.given: NodeSet | None = background.given
        self.positions = positions_of(self.pairs)
        self.tokens = at_end(self.pairs, self.pairs.tokens)
        self.writes: list[Site] = [
            s for s in transformer_sites(self.arch.n_layer) if s.place == "resid_delta"
        ]
        self._shared: dict[Any, Any] = {}
        self.written: Recent = Recent()

    def value(self, site: Site, n: int) -> Places:
        """What an ablated node is at the last ``n`` places."""
        return latest(self.values[site], n)

    def idle(self, site: Site) -> Places:
        """What is written to a site, before activation and top-k, when nothing is kept."""
        return self._once(("idle", site), lambda: self._idle(site))

    def _idle(self, site: Site) -> Places:
        block = self.block(site)
        weight, bias = self.weight(site)
        if isinstance(block, Attention) and site.place == "resid_delta":
            return F.linear(self.idle_heads(site.layer), weight, bias)
        read = Site(site.layer, site.block, "post_act" if site.place == "resid_delta" else "act_in")
        return F.linear(self.value(read, self.n_live), weight, bias)

    def idle_heads(self, layer: int) -> Places:
        """What the heads of a layer attend to when nothing is kept."""

        def make() -> Places:
            sites = self.model.layers[layer].attn.sites
            q, k, v = (self.values[sites[place]] for place in "qkv")
            return self.attend(layer, latest(q, self.n_live), k, v, self.n_live)

        return self._once(("heads", layer), make)

    def attend(
        self, layer: int, q: Places, k: Places, v: Places, n: int, heads: Tensor | None = None
    ) -> Places:
        """Attention from the last ``n`` places to all, by the heads given or by all."""
        block = self.model.layers[layer].attn
        n_rows, n_places = self.positions.shape
        shapes = {"q": (n_rows, n, -1), "k": (n_rows, n_places, -1), "v": (n_rows, n_places, -1)}
        parts = [x.expand(shapes[p]) for p, x in zip("qkv", (q, k, v), strict=True)]
        q, k, v = (x.unflatten(2, (-1, block.d_head)).transpose(1, 2) for x in parts)
        if hasattr(block, "attn_imp"):
            logits = block.attn_imp.sink_logit
            q, k, v = _with_sink(q, k, v, logits if heads is None else logits[heads])
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=self._mask(n, k.shape[2]), scale=block.d_head**-0.5
        )
        return y[..., : block.d_head].transpose(1, 2).flatten(2)

    def _mask(self, n: int, n_keys: int) -> Bool[Tensor, "rows 1 queries keys"]:
        """Which keys each of the last ``n`` places sees: those before it, the sink, itself."""

        def make() -> Tensor:
            places = torch.arange(self.positions.shape[1], device=self.positions.device)
            query = places[-n:, None]
            seen = (places < query) & (self.positions >= 0)[:, None] | (places == query)
            return F.pad(seen, (n_keys - len(places), 0), value=True)[:, None]

        return self._once(("mask", n, n_keys), make)

    def stream(self, site: Site) -> Places:
        """The residual stream where a site reads it, when nothing is kept."""
        return self._once(("stream", site), lambda: self._stream(site))

    def _stream(self, site: Site) -> Places:
        x = self.model.transformer.wte(self.tokens[:, -self.n_live :])
        if self.arch.positions == "learned":
            x = x + self.model.transformer.wpe(self._places)
        for write in self.writes:
            if write >= site:
                break
            delta = self.value(write, self.n_live)
            if delta.shape[0] > 1 and delta.shape[1] == 1:  # the last layer's: known at the end
                x = latest(x, 1)
            x = x + delta
        return x

    @property
    def _places(self) -> Int[Tensor, "rows places"]:
        """The positions of the live places; 0 before the start of a prompt."""
        return self.positions[:, -self.n_live :].clamp(min=0)

    def sums(self, site: Site) -> tuple[Tensor, Tensor]:
        """The sum of the stream's channels at a read and of their squares, in float64."""

        def make() -> tuple[Tensor, Tensor]:
            read = self.values[site] if site == FINAL_RESID else self.stream(site)
            x = read.double()
            return x.sum(2), x.square().sum(2)

        return self._once(("sums", site), make)

    def ranked(self, site: Site) -> Places:
        """The magnitudes that compete in the top-k of a site when nothing is kept, ascending."""
        return self._once(("ranked", site), lambda: ascending(self.magnitudes(site)))

    def magnitudes(self, site: Site) -> Places:
        """The magnitudes that compete; at a read without the norm's denominator, positions out."""
        return self._once(("magnitudes", site), lambda: self._magnitudes(site))

    def _magnitudes(self, site: Site) -> Places:
        if site.place != "act_in":
            return self.activate(site, self.idle(site)).abs()
        norm, x = self.norm(site), self.stream(site)
        return (x if norm.kind == "none" else x * norm.weight).abs()

    def activate(self, site: Site, x: Tensor) -> Tensor:
        """The activation function of a site, if it has one."""
        block = self.block(site)
        return block.activation(x) if isinstance(block, MLP) and site.place == "post_act" else x

    def position_reads(self, site: Site, n: int) -> Float[Tensor, "rows places d_position"]:
        """The position channels as read at a site, where they are concatenated."""

        def make() -> Tensor:
            layer = self.model.layers[site.layer]
            norm = layer.ln_p1 if site.block == "attn" else layer.ln_p2
            return norm(self.model.transformer.wpe.weight)[self._places]

        return latest(self._once(("positions", site), make), n)

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self._shared:
            with torch.no_grad():
                self._shared[key] = make()
        return self._shared[key]


def _with_sink(
    q: Tensor, k: Tensor, v: Tensor, logits: Float[Tensor, " head"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Put a dummy key in front that reaches each query as the sink logit."""
    at_sink, n = logits * q.shape[-1] ** 0.5, dummy_channels(q)
    q, k, v = F.pad(q, (0, n), value=1.0), F.pad(k, (0, n, 1, 0)), F.pad(v, (0, n, 1, 0))
    dummy = F.pad(at_sink[:, None, None], (k.shape[-1] - n, n - 1, 0, k.shape[2] - 1))
    return q, k + dummy, v
