"""Equals: other parts of the model that can take the place of a part of a circuit.

In: a circuit that meets the target, and the criterion. Out: circuits that meet it too, each
with one part in place of another: a head, a neuron, or a chain of two neurons with a channel of
their own. The other part reads from and writes to the same nodes of the circuit, so that a
knockout cannot tell the two apart. Parts are found by the weights alone; the criterion decides.
Source: ours (docs/extraction.md#equals).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.elimination import minimise
from circuitkit.model import Transformer
from circuitkit.nodes import Node, NodeSet

_MOST_RIVALS = 16
"""For each part of the circuit so many others are tried, those of largest weights first."""

_MOST_NODES = 200
"""A larger circuit, as of a dense model, has too many parts to try."""

_A_CHANNEL = 3
"""Of the neurons that write a channel, and of those that read it, so many may form a chain."""

_CARRIES = ("v", "post_act")
"""Without one of these a part carries nothing from what it reads to what it writes."""


class _Rival(NamedTuple):
    """Nodes that might do what a part does, and the product of the weights through them."""

    strength: float
    nodes: frozenset[Node]


def equals(nodes: NodeSet, criterion: Criterion) -> Iterator[NodeSet]:
    """Circuits no larger than this one, in which one part gives place to its equal.

    Args:
        nodes: a circuit that meets the target; of one of more than 200 nodes there are none.
        criterion: decides whether the target is met.
    """
    for part, rivals in _parts(criterion.model, nodes) if len(nodes) <= _MOST_NODES else ():
        rest = nodes - NodeSet.of(part)
        strongest = sorted(rivals, key=lambda rival: (-rival.strength, sorted(rival.nodes)))
        for rival in strongest[:_MOST_RIVALS]:
            if criterion.meets(rest | NodeSet.of(rival.nodes)):
                kept = _fewest(rest, rival.nodes, criterion)
                if len(kept) <= len(part) and any(n.site.place in _CARRIES for n in kept):
                    yield rest | NodeSet.of(kept)


def _fewest(rest: NodeSet, rival: frozenset[Node], criterion: Criterion) -> list[Node]:
    return minimise(sorted(rival), lambda some: criterion.meets(rest | NodeSet.of(some)))


def _parts(model: Transformer, nodes: NodeSet) -> Iterator[tuple[frozenset[Node], list[_Rival]]]:
    """Each head, neuron and chain of a circuit, with what might do the same."""
    for layer in range(model.arch.n_layer):
        yield from _heads(model, nodes, layer)
        yield from _neurons(model, nodes, layer)
        for later in range(layer + 1, model.arch.n_layer):
            yield from _chains(model, nodes, layer, later)


def _heads(
    model: Transformer, nodes: NodeSet, layer: int
) -> Iterator[tuple[frozenset[Node], list[_Rival]]]:
    """Heads; of another head, the v channels that read and write, and the q and k that read."""
    attn, d_head = model.layers[layer].attn, model.arch.d_head
    kept: dict[int, set[Node]] = {}
    for node in (Node(attn.sites[p], c) for p in "qkv" for c in nodes[attn.sites[p]]):
        kept.setdefault(node.channel // d_head, set()).add(node)
    weights = attn.c_attn.weight.chunk(3)
    reads = [_of_columns(weight, nodes[attn.sites["act_in"]]) for weight in weights]
    reads[2] = reads[2] * _of_rows(attn.c_proj.weight, nodes[attn.sites["resid_delta"]])
    by_head = [strength.unflatten(0, (-1, d_head)) for strength in reads]
    rivals = []
    for head in range(model.arch.n_head) if kept else ():
        some = frozenset(
            Node(attn.sites[place], d_head * head + channel)
            for place, strength in zip("qkv", by_head, strict=True)
            for channel in strength[head].nonzero().flatten().tolist()
        )
        if head not in kept and by_head[2][head].any():
            rivals.append(_Rival(float(by_head[2][head].sum()), some))
    for part in kept.values():
        if any(node.site.place in _CARRIES for node in part):
            yield frozenset(part), rivals


def _neurons(
    model: Transformer, nodes: NodeSet, layer: int
) -> Iterator[tuple[frozenset[Node], list[_Rival]]]:
    """Neurons, with those that read a channel the circuit reads and write one that it writes."""
    site = model.layers[layer].mlp.sites["post_act"]
    strength = _read(model, nodes, layer) * _written(model, nodes, layer)
    others = set(strength.nonzero().flatten().tolist()) - set(nodes[site])
    rivals = [_Rival(float(strength[n]), frozenset([Node(site, n)])) for n in sorted(others)]
    for neuron in nodes[site]:
        yield frozenset([Node(site, neuron)]), rivals


def _chains(
    model: Transformer, nodes: NodeSet, layer: int, later: int
) -> Iterator[tuple[frozenset[Node], list[_Rival]]]:
    """Neurons of two layers with a channel that, in the circuit, only they write and read."""
    first, second = model.layers[layer].mlp, model.layers[later].mlp
    writes = first.c_proj.weight.T.abs().cpu()
    reads = second.c_fc.weight[:, : model.arch.d_model].abs().cpu()

    def chain(a: int, channel: int, b: int) -> frozenset[Node]:
        between = Node(first.sites["resid_delta"], channel), Node(second.sites["act_in"], channel)
        return frozenset([Node(first.sites["post_act"], a), *between,
                          Node(second.sites["post_act"], b)])  # fmt: skip

    kept = [
        chain(a, c, b)
        for a, c, b in product(
            nodes[first.sites["post_act"]],
            set(nodes[first.sites["resid_delta"]]) & set(nodes[second.sites["act_in"]]),
            nodes[second.sites["post_act"]],
        )
        if _only(a, writes[:, c], nodes[first.sites["post_act"]])
        and _only(b, reads[:, c], nodes[second.sites["post_act"]])
    ]
    if not kept:
        return
    n = min(_A_CHANNEL, model.arch.d_mlp)
    a_strength, a_best = (writes * _read(model, nodes, layer)[:, None]).topk(n, dim=0)
    b_strength, b_best = (reads * _written(model, nodes, later)[:, None]).topk(n, dim=0)
    strength = a_strength[:, None] * b_strength[None]  # (first, second, channel)
    rivals = [
        _Rival(float(strength[i, j, c]), chain(int(a_best[i, c]), c, int(b_best[j, c])))
        for i, j, c in strength.nonzero().tolist()
    ]
    for part in kept:
        yield part, [rival for rival in rivals if rival.nodes != part]


def _only(neuron: int, weights: Float[Tensor, " neurons"], kept: tuple[int, ...]) -> bool:
    """Whether of the kept neurons this one alone has a weight."""
    return [other for other in kept if weights[other]] == [neuron]


def _read(model: Transformer, nodes: NodeSet, layer: int) -> Tensor:
    """For every neuron, how strongly it reads what the circuit's neurons of the layer may read."""
    mlp = model.layers[layer].mlp
    return _of_columns(mlp.c_fc.weight, nodes[mlp.sites["act_in"]])


def _written(model: Transformer, nodes: NodeSet, layer: int) -> Tensor:
    """For every neuron, how strongly it writes what the circuit's neurons of the layer may."""
    mlp = model.layers[layer].mlp
    return _of_rows(mlp.c_proj.weight, nodes[mlp.sites["resid_delta"]])


def _of_columns(weight: Tensor, channels: tuple[int, ...]) -> Tensor:
    return weight[:, list(channels)].abs().sum(1).cpu()


def _of_rows(weight: Tensor, channels: tuple[int, ...]) -> Tensor:
    return weight[list(channels)].abs().sum(0).cpu()
