"""One prompt as the circuit runs it, made linear around that run.

In: a circuit's parts and a prompt. Out: how far every kept node is from its ablation value, and a
slope for every step, such that what reaches the answer is a sum over tokens. What is frozen at
this run: attention patterns, the denominators of norms, which channels survive activation top-k. A
neuron's change is shared among its inputs in proportion to what they add before the nonlinearity
(the rescale rule, Shrikumar et al. 2017). See docs/reports.md#contributions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.explaining.circuit_parts import Array, CircuitParts, Part, as_array
from circuitkit.model.attention_pattern import pattern
from circuitkit.nodes import FINAL_RESID, Site

_FLAT = 1e-4
"""Inputs that together add less before a nonlinearity are shared by its slope at the run."""

_SLOPE_STEP = 1e-3


@dataclass(kw_only=True)
class PromptRun:
    """``seen`` has what flowed on from every site: kept channels live, the others ablated."""

    parts: CircuitParts
    tokens: list[int]
    answer: int
    foil: int
    seen: Mapping[Site, Tensor]
    changes: dict[Site, Float[Array, "seq kept"]] = field(init=False)
    slopes: dict[Site, Float[Array, "seq kept"]] = field(init=False)

    def __post_init__(self) -> None:
        parts = self.parts
        self.activations: dict[Site, Array] = {site: as_array(x) for site, x in self.seen.items()}
        self.changes = {
            site: x[:, parts.kept[site]] - parts.mean[site][parts.kept[site]]
            for site, x in self.activations.items()
        }
        self.slopes = {site: self._slopes(site) for site in parts.sites}

    @property
    def last(self) -> int:
        """The position of the last token, where the answer is read."""
        return len(self.tokens) - 1

    # --- tokens and the stream -----------------------------------------------------------------

    @cached_property
    def position_changes(self) -> Float[Array, "seq d_model"]:
        """How far each learned position is from the usual one."""
        return self.parts.positions[: len(self.tokens)] - self.parts.positions.mean(0)

    def stream(self, site: Site) -> Float[Array, "seq d_model"]:
        """The residual stream where a site reads it."""
        x = as_array(self.parts.model.transformer.wte.weight[self.tokens])
        x = x + self.parts.positions[: len(self.tokens)]
        for write in self.parts.sites:
            if write.place == "resid_delta" and write < site:
                x = x + self.activations[write]
        return x

    def gains(self, site: Site) -> Float[Array, "seq stream"]:
        """What a read multiplies the kept channels of the stream by, the norm frozen."""
        if site not in self._gains:
            self._gains[site] = self._measured_gains(site)
        return self._gains[site]

    @cached_property
    def _gains(self) -> dict[Site, Array]:
        return {}

    def _measured_gains(self, site: Site) -> Float[Array, "seq stream"]:
        norm, channels = self.parts.norm(site), self.stream_channels(site)
        x = self.stream(site)
        if norm.kind == "none" or site == FINAL_RESID:
            return np.ones((len(x), len(channels)))
        size = as_array(norm.size(torch.from_numpy(x)))
        return as_array(norm.weight)[channels] / size

    def stream_channels(self, site: Site):
        """The kept channels of a read that are channels of the stream, not positions."""
        kept = self.parts.kept[site]
        return kept[kept < self.parts.arch.d_model]

    # --- slopes ----------------------------------------------------------------------------------

    def _slopes(self, site: Site) -> Float[Array, "seq kept"]:
        """How much of what its inputs add a kept channel passes on, by position."""
        live = self.activations[site][:, self.parts.kept[site]]
        if site == FINAL_RESID:
            return np.ones_like(live)
        if site.place == "act_in":
            return self._read_slopes(site, live)
        before = self._before(site)
        added = self.added(site).sum(2)
        if site.place != "post_act":
            return passed(live, before, before - added)
        activation = self.parts.model.layers[site.layer].mlp.activation

        def f(x: Array) -> Array:
            return as_array(activation(torch.from_numpy(x)))

        after, idle = f(before), f(before - added)
        steep = np.abs(added) > _FLAT
        ratio = (after - idle) / np.where(steep, added, 1.0)
        slope = (f(before + _SLOPE_STEP) - f(before - _SLOPE_STEP)) / (2 * _SLOPE_STEP)
        is_open = (live != 0) | (after == 0)
        return np.where(is_open, np.where(steep, ratio, slope), closed(idle, added))

    def _read_slopes(self, site: Site, live: Array) -> Array:
        """Position channels are no sum of inputs, so theirs is 0."""
        n, before = len(self.stream_channels(site)), self._read(site)
        slopes = np.zeros_like(live)
        slopes[:, :n] = passed(live[:, :n], before, before - self.added(site).sum(2))
        return slopes

    def _read(self, site: Site) -> Float[Array, "seq stream"]:
        """The kept channels of the stream as they are read, before top-k."""
        channels, norm, x = self.stream_channels(site), self.parts.norm(site), self.stream(site)
        if norm.kind != "layernorm" or site == FINAL_RESID:
            return x[:, channels] * self.gains(site)
        centred = x[:, channels] - x.mean(1, keepdims=True)
        return centred * self.gains(site) + as_array(norm.bias)[channels]

    def _before(self, site: Site) -> Float[Array, "seq kept"]:
        """What a linear map gives, before activation function and top-k."""
        source = self.parts.source(site)
        x = self.mixed(site.layer) if source.place == "v" else self.activations[source]
        return x @ self.parts.matrix(site).T + self.parts.bias(site)

    def added(self, site: Site) -> Float[Array, "seq kept inputs"]:
        """What every input adds to a kept channel; of a read, the token, position and writes."""
        if site.place == "act_in" or site == FINAL_RESID:
            return np.stack(self._reaching(site), 2)
        if site.kind != "attn.resid_delta":
            changes = self.changes[self.parts.source(site)]
            return changes[:, None] * self.parts.between(site)
        looked = [self.looked(part)[..., None] for part in self.parts.parts if _of(part, site)]
        return np.concatenate([self._attended(site), *looked], 2)

    def _reaching(self, site: Site) -> list[Array]:
        """By write, how far it moves what is read; the token has what they and positions leave.

        So the token also has what it does to the norm.
        """
        channels, gains = self.stream_channels(site), self.gains(site)
        moved = [self.position_changes[:, channels] * gains]
        for write in self.parts.sites:
            if write.place == "resid_delta" and write < site:
                change = np.zeros((len(self.tokens), self.parts.arch.d_model))
                change[:, self.parts.kept[write]] = self.changes[write]
                moved.append(change[:, channels] * gains)
        whole = self._read(site) - self.parts.mean[site][channels]
        return [whole - sum(moved), *moved]

    def _attended(self, site: Site) -> Float[Array, "seq kept values"]:
        value = self.parts.source(site)
        columns = []
        for i, channel in enumerate(self.parts.kept[value]):
            head = int(channel) // self.parts.arch.d_head
            mixed = self.pattern(site.layer, head) @ self.changes[value][:, i]
            columns.append(mixed[:, None] * self.parts.between(site)[:, i])
        shape = (len(self.tokens), len(self.parts.kept[site]), 0)
        return np.stack(columns, 2) if columns else np.zeros(shape)

    # --- heads -----------------------------------------------------------------------------------

    def pattern(self, layer: int, head: int) -> Float[Array, "seq seq"]:
        """How much a head attends from each position to each; the rest goes to the sink."""
        if (layer, head) not in self._patterns:
            attention = self.parts.model.layers[layer].attn
            q, k = (self.seen[Site(layer, "attn", place)][None] for place in "qk")
            self._patterns[layer, head] = as_array(pattern(attention, q, k, head)[0, :, 1:])
        return self._patterns[layer, head]

    @cached_property
    def _patterns(self) -> dict[tuple[int, int], Array]:
        return {}

    def mixed(self, layer: int) -> Float[Array, "seq channels"]:
        """What all heads of a layer attend to, before the write."""
        values = self.activations[Site(layer, "attn", "v")]
        by_head = values.reshape(len(values), self.parts.arch.n_head, -1)
        heads = range(self.parts.arch.n_head)
        return np.concatenate([self.pattern(layer, h) @ by_head[:, h] for h in heads], 1)

    def turned(self, part: Part) -> Float[Array, " seq"]:
        """How much more a head attends to tokens, not the sink, than with nothing kept."""
        if not self.parts.arch.attention_sink or part.head is None:
            return np.zeros(len(self.tokens))
        attention = self.parts.model.layers[part.layer].attn
        channels = slice(part.head * attention.d_head, (part.head + 1) * attention.d_head)
        q, k = (self.parts.mean[part.site(place)][channels] for place in "qk")
        sink = float(attention.attn_imp.sink_logit[part.head])
        seen = np.arange(1, len(self.tokens) + 1)
        idle = 1 / (1 + np.exp(sink - q @ k * attention.d_head**-0.5) / seen)
        return self.pattern(part.layer, part.head).sum(1) - idle

    def looked(self, part: Part) -> Float[Array, "seq kept"]:
        """What a head writes more for attending more to tokens, whatever their values."""
        return self.turned(part)[:, None] * self.parts.held(part)

    # --- the answer ------------------------------------------------------------------------------

    @cached_property
    def direction(self) -> Float[Array, " kept"]:
        """How the logit difference reads the kept channels of the final stream."""
        head, norm = self.parts.model.lm_head.weight, self.parts.norm(FINAL_RESID)
        row = as_array(head[self.answer] - head[self.foil])
        if norm.kind != "none":
            final = self.seen[FINAL_RESID][self.last].double()
            row = row * as_array(norm.weight) / float(norm.size(final))
        return row[self.parts.kept[FINAL_RESID]]

    @cached_property
    def from_bigram_table(self) -> float:
        """What the last token adds directly, where there is a table for it."""
        if not self.parts.arch.bigram_table:
            return 0.0
        row = self.parts.model.bigram_table[self.tokens[self.last]]
        return float(row[self.answer] - row[self.foil])


def passed(live: Array, before: Array, idle: Array) -> Float[Array, "*shape"]:
    """1 where a channel survives activation top-k, else the share of ``idle`` that is undone."""
    is_open: Bool[Array, "*shape"] = (live != 0) | (before == 0)
    return np.where(is_open, 1.0, closed(idle, before - idle))


def closed(idle: Array, added: Array) -> Float[Array, "*shape"]:
    """The slope from ``idle`` to 0, at most 1; what it leaves is no work of the inputs."""
    undone = np.divide(-idle, added, out=np.zeros_like(idle), where=added != 0)
    return undone.clip(0.0, 1.0)


def _of(part: Part, site: Site) -> bool:
    return part.layer == site.layer and part.block == site.block
