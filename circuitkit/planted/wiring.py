"""Wire a transformer by hand, channel by channel, each known by its name.

In: a variation and a vocabulary. Out: a ``Transformer`` whose weights are zero but for
those asked for, and for every part the nodes it consists of. Names of residual channels,
neurons and heads are assigned to places drawn from the seed, so that no place gives away what
is there. Source: ours (docs/validation.md#statistics).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Literal

import torch

from circuitkit.model import Architecture, Transformer
from circuitkit.nodes import FINAL_RESID, SITE_KINDS, Node, NodeSet, Site
from circuitkit.planted.variation import Variation

Nodes = frozenset[Node]

FILLERS = ("lo", "mi", "na", "ra", "so", "ti", "ve", "zu")
"""Words that no mechanism reads."""

N_CTX = 20
D_HEAD = 4
NO_SINK = -30.0
ANGLE = 2 * math.pi / N_CTX
_QUERY = 2.0
SHARPNESS = 160.0


class Wiring:
    """A transformer under construction; every method wires one part and returns its nodes."""

    specials: tuple[str, ...] = ()

    def __init__(
        self,
        variation: Variation,
        cues: Sequence[str],
        *,
        n_layer: int = 2,
        positions: bool = False,
        norm: Literal["none", "rmsnorm"] = "none",
    ) -> None:
        self.variation, self.tokens = variation, (*FILLERS, *cues, *self.specials)
        self.arch: Architecture = self._architecture(n_layer, positions, norm)
        self.model: Transformer = _blank(self.arch)
        random = Random(f"wiring:{variation.seed}")
        self.free_channels: list[int] = _shuffled(self.arch.d_model, random)
        self.free_neurons: list[list[int]] = [
            _shuffled(self.arch.d_mlp, random) for _ in range(n_layer)
        ]
        self.free_heads: list[list[int]] = [
            _shuffled(self.arch.n_head, random) for _ in range(n_layer)
        ]
        self._channels: dict[str, int] = {}
        if positions:
            self._wire_positions()

    def _architecture(
        self, n_layer: int, positions: bool, norm: Literal["none", "rmsnorm"]
    ) -> Architecture:
        width, topk = self.variation.width, self.variation.topk
        return Architecture(
            vocab_size=len(self.tokens), n_ctx=N_CTX, n_layer=n_layer, d_model=width,
            n_head=width // 2, d_head=D_HEAD, d_mlp=2 * width, norm=norm, activation="relu",
            positions="concatenated" if positions else "none", d_position=2 if positions else 0,
            attention_sink=self.variation.sink,
            activation_topk=dict.fromkeys(SITE_KINDS, topk) if topk else {},
        )  # fmt: skip

    def _wire_positions(self) -> None:
        angles = ANGLE * torch.arange(N_CTX)
        self.model.transformer.wpe.weight.copy_(torch.stack([angles.cos(), angles.sin()], 1))

    def channel(self, name: str) -> int:
        """The residual channel of a name, assigned when it is first used."""
        if name not in self._channels:
            self._channels[name] = self.free_channels.pop()
        return self._channels[name]

    def embed(self, name: str, values: Mapping[str, float]) -> None:
        """Let tokens write a channel; the others write 0."""
        for token, value in values.items():
            self.model.transformer.wte.weight[self.tokens.index(token), self.channel(name)] = value

    def embed_all(self, name: str, value: float) -> None:
        """Let every token write the same: a constant."""
        self.embed(name, dict.fromkeys(self.tokens, value))

    def neuron(
        self, layer: int, reads: Mapping[str, float], writes: Mapping[str, float], bias: float = 0.0
    ) -> Nodes:
        """A neuron, relu(bias + sum of weight * channel): a detector, a threshold, a gate."""
        mlp, place = self.model.layers[layer].mlp, self.free_neurons[layer].pop()
        mlp.c_fc.bias[place] = bias
        for name, weight in reads.items():
            mlp.c_fc.weight[place, self.channel(name)] = weight
        for name, weight in writes.items():
            mlp.c_proj.weight[self.channel(name), place] = weight
        return Nodes(
            [Node(Site(layer, "mlp", "post_act"), place)]
            + [self._at(layer, "mlp", "act_in", name) for name in reads]
            + [self._at(layer, "mlp", "resid_delta", name) for name in writes]
        )

    def average_head(
        self, layer: int, read: str, write: str, gain: float, sink: float = NO_SINK
    ) -> Nodes:
        """A head that averages a channel over all positions so far; a sink takes its share."""
        return self._values(layer, self._head(layer, sink), read, write, gain)

    def lookup_head(
        self,
        layer: int,
        read: str,
        write: str,
        key: str,
        query: str | None = None,
        strength: float = 7.0,
    ) -> Nodes:
        """A head that copies a channel from where ``key`` is on, or is like ``query`` here.

        With a sink, a position where nothing matches attends to nothing.
        """
        head = self._head(layer, strength / 2)
        nodes = self._values(layer, head, read, write, 1.0)
        wider = math.sqrt(self.arch.d_head / D_HEAD)  # scores are divided by its root
        nodes |= self._read_into(layer, "k", head, {key: strength * wider})
        if query is None:  # a constant, which no ablation changes: no node of a circuit
            self.model.layers[layer].attn.c_attn.bias[head] = _QUERY
            return nodes
        return nodes | self._read_into(layer, "q", head, {query: _QUERY})

    def previous_token_head(self, layer: int, read: str, write: str) -> Nodes:
        """A head that copies a channel from the position before, by the angle of positions."""
        head, attn = self._head(layer, NO_SINK), self.model.layers[layer].attn
        size, width = math.sqrt(SHARPNESS), self.arch.d_model
        cos, sin = size * math.cos(ANGLE), size * math.sin(ANGLE)
        turned, plain = [[cos, sin], [-sin, cos]], [[size, 0.0], [0.0, size]]
        for part, block in enumerate((turned, plain)):
            first = part * self.arch.d_attn + head
            attn.c_attn.weight[first : first + 2, width : width + 2] = torch.tensor(block)
        found = [Node(Site(layer, "attn", place), head + i) for place in "qk" for i in range(2)]
        found += [Node(Site(layer, "attn", "act_in"), width + i) for i in range(2)]
        return Nodes(found) | self._values(layer, head, read, write, 1.0)

    def answer(
        self, name: str, first: str, second: str, *, gain: float, middle: float = 0.0
    ) -> Nodes:
        """Read a channel out: logit[first] - logit[second] = gain * (channel - middle)."""
        for token, sign in ((first, 0.5), (second, -0.5)):
            row = self.tokens.index(token)
            self.model.lm_head.weight[row, self.channel(name)] += sign * gain
            self.model.final_logits_bias[row] -= sign * gain * middle
        return Nodes([Node(FINAL_RESID, self.channel(name))])

    def finish(self) -> None:
        """Called when all is wired."""

    def unwired(self) -> NodeSet:
        """The nodes of all heads, neurons and channels that no part was given."""
        free, size = set(self.free_channels), self.arch.d_head
        shares = {"q": size, "k": size, "v": size, "post_act": 1}

        def is_free(site: Site, channel: int) -> bool:
            if site.place not in shares:
                return channel in free
            units = self.free_neurons if site.block == "mlp" else self.free_heads
            return channel // shares[site.place] in units[site.layer]

        widths = self.arch.widths
        found = {s: [c for c in range(width) if is_free(s, c)] for s, width in widths.items()}
        return NodeSet(found, widths)

    def _head(self, layer: int, sink: float) -> int:
        """The first channel of a head that is still free."""
        head = self.free_heads[layer].pop()
        if self.variation.sink:
            self.model.layers[layer].attn.attn_imp.sink_logit[head] = sink
        return self.arch.d_head * head

    def _values(self, layer: int, head: int, read: str, write: str, gain: float) -> Nodes:
        attn = self.model.layers[layer].attn
        attn.c_proj.weight[self.channel(write), head] = 1.0
        written = self._at(layer, "attn", "resid_delta", write)
        return self._read_into(layer, "v", head, {read: gain}) | {written}

    def _read_into(
        self, layer: int, place: Literal["q", "k", "v"], head: int, reads: Mapping[str, float]
    ) -> Nodes:
        row = "qkv".index(place) * self.arch.d_attn + head
        for name, weight in reads.items():
            self.model.layers[layer].attn.c_attn.weight[row, self.channel(name)] = weight
        found = [self._at(layer, "attn", "act_in", name) for name in reads]
        return Nodes([Node(Site(layer, "attn", place), head), *found])

    def _at(self, layer: int, block: Literal["attn", "mlp"], place: str, name: str) -> Node:
        return Node(Site(layer, block, place), self.channel(name))


def _blank(arch: Architecture) -> Transformer:
    """A model of zeros, its norms ones and its sinks shut; no random number is drawn."""
    with torch.device("meta"):
        model = Transformer(arch)
    blank = {name: torch.zeros(t.shape) for name, t in model.state_dict().items()}
    for name, value in blank.items():
        if ".ln_" in name and name.endswith("weight"):
            value.fill_(1.0)
        elif name.endswith("sink_logit"):
            value.fill_(NO_SINK)
    model.load_state_dict(blank, strict=True, assign=True)
    return model.requires_grad_(requires_grad=False).eval()


def _shuffled(n: int, random: Random) -> list[int]:
    places = list(range(n))
    random.shuffle(places)
    return places
