"""A circuit in heads and MLPs: what tools that know no finer parts are compared with.

In: a model and the nodes of a circuit. Out: its heads, MLPs, neurons, and the edges between
these parts. A part writes to another when it writes a channel of the residual stream that the
other reads, both by kept nodes; ``embed`` and ``positions`` write what the blocks read, and
``logits`` read what the answers are read from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from circuitkit.model import Transformer
from circuitkit.nodes import FINAL_RESID, NodeSet, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Heads as (layer, head), MLPs by layer, neurons as (layer, neuron).

    Edges are between ``embed``, ``positions``, ``a0.h3`` (written), ``a0.h3.q`` (read by its
    queries; so k, v), ``m0`` and ``logits``.
    """

    heads: tuple[tuple[int, int], ...]
    mlps: tuple[int, ...]
    neurons: tuple[tuple[int, int], ...]
    edges: tuple[tuple[str, str], ...]


def components_of(model: Transformer, nodes: NodeSet) -> Components:
    """The parts that the nodes of a circuit belong to."""
    size, layers = model.arch.d_head, range(model.arch.n_layer)
    channels = {(layer, c) for layer in layers for c in nodes[Site(layer, "attn", "v")]}
    neurons = [(layer, i) for layer in layers for i in nodes[Site(layer, "mlp", "post_act")]]
    return Components(
        heads=tuple(sorted({(layer, c // size) for layer, c in channels})),
        mlps=tuple(sorted({layer for layer, _ in neurons})),
        neurons=tuple(neurons),
        edges=tuple(dict.fromkeys(_edges(model, nodes))),
    )


def _edges(model: Transformer, nodes: NodeSet) -> Iterator[tuple[str, str]]:
    body = model.transformer
    writers = [("embed", _used(body.wte.weight.T)), ("positions", _used(body.wpe.weight.T))]
    for layer, parts in enumerate(model.layers):
        for block in ("attn", "mlp"):
            readers = _readers(model, nodes, layer, block)
            yield from _between(writers, readers)
            kept = set(nodes[Site(layer, block, "resid_delta")])
            inner = Site(layer, block, "v" if block == "attn" else "post_act")
            weight = getattr(parts, block).c_proj.weight
            for name, channels in _by_part(model, nodes, inner).items():
                writers.append((name, kept & _used(weight[:, channels])))
    final = [("logits", set(nodes[FINAL_RESID]))]
    yield from _between([w for w in writers if w[0] not in ("embed", "positions")], final)


def _between(
    writers: list[tuple[str, set[int]]], readers: list[tuple[str, set[int]]]
) -> Iterator[tuple[str, str]]:
    return ((w, r) for r, read in readers for w, written in writers if written & read)


def _readers(
    model: Transformer, nodes: NodeSet, layer: int, block: str
) -> list[tuple[str, set[int]]]:
    """What each part reads: ``a0.h3.q`` and so on, or ``m0``."""
    kept = set(nodes[Site(layer, block, "act_in")])  # pyright: ignore[reportArgumentType]
    if block == "mlp":
        weights = {"post_act": model.layers[layer].mlp.c_fc.weight}
    else:
        weights = dict(zip("qkv", model.layers[layer].attn.c_attn.weight.chunk(3), strict=True))
    return [
        (name if block == "mlp" else f"{name}.{place}", kept & _used(weight[channels].T))
        for place, weight in weights.items()
        for name, channels in _by_part(model, nodes, Site(layer, block, place)).items()  # pyright: ignore[reportArgumentType]
    ]


def _by_part(model: Transformer, nodes: NodeSet, site: Site) -> dict[str, list[int]]:
    """The kept channels of a site by head, or of all neurons together."""
    found: dict[str, list[int]] = {}
    for channel in nodes[site]:
        head = f"a{site.layer}.h{channel // model.arch.d_head}"
        found.setdefault(f"m{site.layer}" if site.block == "mlp" else head, []).append(channel)
    return found


def _used(weight: Tensor) -> set[int]:
    """The rows that are not 0."""
    return set(weight.bool().any(1).nonzero()[:, 0].tolist())
