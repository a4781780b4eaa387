"""Which nodes can matter to a task: those on a path of nonzero weights to its answers.

In: a model, encoded pairs, ablation values. Out: the live nodes, with the readers of each and
those that differ between the two prompts of a pair. Every other node is a constant equal to its
ablation value, or never reaches the answers, so that keeping or ablating it changes nothing
(without activation top-k; with it, such a node can still compete at its site).

Under LayerNorm every write also moves the mean that later reads take away, which is followed
like a weight, and the denominator, which is not: ``has_even_norms`` says where constants hold
it. What it still changes is measured (``checked_truth``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitkit.extraction.induced_edges import wiring
from circuitkit.model import EncodedPairs, Transformer, record_tap
from circuitkit.nodes import FINAL_RESID, Node, NodeSet, Site

_IN, _CUE, _OUT = "in", "cue", "out"
_EVEN = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The live nodes, the last of the pass first.

    ``readers[i]`` are the indices of the nodes that node i influences directly, ``answering``
    of those that the answers read, ``cues`` of those whose embedding differs within a pair.
    """

    nodes: tuple[Node, ...]
    readers: tuple[frozenset[int], ...]
    answering: frozenset[int]
    cues: frozenset[int]


def find_alive(
    model: Transformer,
    pairs: EncodedPairs,
    values: Mapping[Site, Tensor],
    inert: NodeSet | None = None,
) -> Alive:
    """Follow nonzero weights from what ablation changes to what the answers are read from.

    ``inert`` nodes are left out.
    """
    graph = _influences(model, pairs)
    graph.remove_nodes_from(inert or ())
    if model.arch.norm == "layernorm":
        graph.remove_nodes_from(_still(model, pairs, values[FINAL_RESID]))
    _add_constants(graph, model, pairs, values)
    nodes = nx.descendants(graph, _IN) & nx.ancestors(graph, _OUT)
    ordered = tuple(sorted((n for n in nodes if isinstance(n, Node)), reverse=True))
    place = {node: i for i, node in enumerate(ordered)}

    def places(found: object) -> frozenset[int]:
        return frozenset(place[n] for n in found if n in place)  # pyright: ignore[reportGeneralTypeIssues]

    return Alive(
        nodes=ordered,
        readers=tuple(places(graph.successors(node)) for node in ordered),
        answering=places(graph.predecessors(_OUT)),
        cues=places(graph.successors(_CUE)) if _CUE in graph else frozenset(),
    )


def _influences(model: Transformer, pairs: EncodedPairs) -> nx.DiGraph:
    """The graph of everything that may carry influence, from inputs to answers.

    Under a norm every write reaches every later read, through the denominator.
    """
    graph = wiring(model, NodeSet.full(model.arch.widths))
    reads = [n for n in graph if n.site.place == "act_in" or n.site == FINAL_RESID]
    even = model.arch.norm == "layernorm"
    normed = model.arch.norm == "rmsnorm"
    used = _used(model)
    moved = [n for n in reads if n.site != FINAL_RESID and (even or (normed and used[n.channel]))]
    shared = frozenset(moved if normed else ())
    varies, differs = _varying(model), _differing(model, pairs)
    deciding = _deciding(model, pairs)
    writes = [n for n in graph if n.site.place == "resid_delta"]
    graph.add_edges_from((w, n) for w in writes for n in moved if w.site < n.site)
    graph.add_nodes_from((_IN, _CUE, _OUT))
    graph.add_edges_from((_IN, n) for n in reads if varies[n.channel] or n in shared)
    graph.add_edges_from((_CUE, n) for n in reads if differs[n.channel] or n in shared)
    final = (n for n in reads if n.site == FINAL_RESID)
    graph.add_edges_from((n, _OUT) for n in final if normed or deciding[n.channel])
    return graph


@torch.no_grad()
def has_even_norms(model: Transformer, pairs: EncodedPairs) -> bool:
    """Whether LayerNorm distinguishes no two prompts by itself.

    Before any write it is then one affine map at every token and position, and the mean that
    the final norm takes away changes no logit difference.
    """
    places = model.transformer.wte.weight[:, None].double()
    if model.arch.positions == "learned":
        places = places + model.transformer.wpe.weight
    mean, variance = places.mean(-1), places.var(-1, correction=0)
    spread = float((variance - variance.mean()).abs().max() / variance.mean())
    if float(mean.abs().max()) > _EVEN or spread > _EVEN:
        return False
    reach = _shown(model, pairs) * model.transformer.ln_f.weight
    return float(reach.sum(1).abs().max()) < _EVEN


@torch.no_grad()
def _add_constants(
    graph: nx.DiGraph, model: Transformer, pairs: EncodedPairs, values: Mapping[Site, Tensor]
) -> None:
    """Add the constants that ablation changes as inputs: biases, if ablation is to zero."""
    found: dict[Site, Tensor] = {}
    model.stream(pairs.tokens[:1, :1], record_tap(found))
    varying = nx.descendants(graph, _IN)
    for node in [n for n in graph if isinstance(n, Node) and n not in varying]:
        value, ablated = (float(x[node.site].flatten()[node.channel]) for x in (found, values))
        if not math.isclose(value, ablated, rel_tol=1e-4, abs_tol=1e-6):
            graph.add_edge(_IN, node)


@torch.no_grad()
def _still(
    model: Transformer, pairs: EncodedPairs, ablated: Float[Tensor, " d_model"]
) -> list[Node]:
    """What nothing writes and what is its ablation value where the answers are read."""
    rows = torch.arange(len(pairs.last))
    start = model.embed(pairs.tokens)[0][rows, pairs.last]
    moves = (start - ablated).abs().amax(0) > _EVEN
    for layer in model.layers:
        for block in (layer.attn, layer.mlp):
            moves |= block.c_proj.weight.any(1)
    return [Node(FINAL_RESID, c) for c in (~moves).nonzero()[:, 0].tolist()]


def _used(model: Transformer) -> Bool[Tensor, " d_in"]:
    """The channels read that are ever other than 0."""
    written = model.transformer.wte.weight.any(0)
    for layer in model.layers:
        for block in (layer.attn, layer.mlp):
            written = written | block.c_proj.weight.any(1)
            if model.arch.bias:
                written = written | block.c_proj.bias.bool()
    return _with_positions(model, written, value=True)


def _varying(model: Transformer) -> Bool[Tensor, " d_in"]:
    """The channels read whose embedding is not the same for all tokens and positions."""
    embedding = model.transformer.wte.weight
    varies = (embedding != embedding[0]).any(0)
    if model.arch.positions == "learned":
        varies = varies | (model.transformer.wpe.weight != model.transformer.wpe.weight[0]).any(0)
    return _with_positions(model, varies, value=True)


def _differing(model: Transformer, pairs: EncodedPairs) -> Bool[Tensor, " d_in"]:
    """The channels read whose embedding differs between the prompts of some pair."""
    a, b = model.transformer.wte.weight[pairs.tokens].chunk(2)
    return _with_positions(model, (a != b).flatten(0, 1).any(0), value=False)


def _with_positions(model: Transformer, channels: Tensor, *, value: bool) -> Tensor:
    return torch.cat([channels, torch.full((model.arch.d_position,), value)])


def _deciding(model: Transformer, pairs: EncodedPairs) -> Bool[Tensor, " d_model"]:
    """The channels that some pair's answers are read from."""
    read = _shown(model, pairs) != 0
    return (read & model.transformer.ln_f.weight.bool() if model.arch.norm != "none" else read).any(
        0
    )


def _shown(model: Transformer, pairs: EncodedPairs) -> Float[Tensor, "batch d_model"]:
    """By how much each answer is read from each channel more than its foil is."""
    rows = model.lm_head.weight
    return rows[pairs.answers] - rows[pairs.foils]
