"""Edges: the nonzero weights between kept nodes.

Source: Gao et al. 2025, section 2.2 and footnote 3: one neuron that reads one
channel and writes one is 3 nodes and 2 edges.
"""

from __future__ import annotations

import networkx as nx
from torch import Tensor

from circuitkit.circuit import head_pairs, residual_links
from circuitkit.model import Transformer
from circuitkit.nodes import Edge, Node, NodeSet, Site


def edges_between(model: Transformer, nodes: NodeSet) -> tuple[Edge, ...]:
    """Every nonzero weight from a kept node to a kept node, in the order of the pass."""
    edges = []
    for source, target, weight in _matrices(model):
        reads, writes = list(nodes[source]), list(nodes[target])
        kept = weight[writes][:, reads].T.cpu()
        for i, o in kept.nonzero().tolist():
            edge = Edge(Node(source, reads[i]), Node(target, writes[o]), float(kept[i, o]))
            edges.append(edge)
    return tuple(edges)


def n_edges(model: Transformer) -> int:
    """The edges of the whole model: every nonzero weight of its linear maps."""
    return sum(int(weight.count_nonzero()) for _, _, weight in _matrices(model))


def _matrices(model: Transformer) -> list[tuple[Site, Site, Tensor]]:
    """The linear maps between sites, each ``(source, target, weight (out, in))``."""
    maps = []
    for layer in model.layers:
        attn, mlp = layer.attn, layer.mlp
        for place, weight in zip("qkv", attn.c_attn.weight.chunk(3), strict=True):
            maps.append((attn.sites["act_in"], attn.sites[place], weight))
        maps.append((attn.sites["v"], attn.sites["resid_delta"], attn.c_proj.weight))
        maps.append((mlp.sites["act_in"], mlp.sites["post_act"], mlp.c_fc.weight))
        maps.append((mlp.sites["post_act"], mlp.sites["resid_delta"], mlp.c_proj.weight))
    return maps


def wiring(model: Transformer, nodes: NodeSet) -> nx.DiGraph:
    """Everything that carries influence between kept nodes: more than the edges.

    Besides the edges: residual links, and in each head the pairing of q and k, which
    moves what the head's v channels write. A q without its k (or the other way
    round) still moves them through the other's constant value.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((edge.source, edge.target) for edge in edges_between(model, nodes))
    graph.add_edges_from(residual_links(nodes))
    graph.add_edges_from(head_pairs(nodes))
    for node in nodes:
        if node.site.kind in ("attn.q", "attn.k"):
            graph.add_edges_from((node, write) for write in _head_writes(model, node, nodes))
    return graph


def _head_writes(model: Transformer, node: Node, nodes: NodeSet) -> list[Node]:
    """The kept writes that the head of a q or k channel reaches through its v channels."""
    d_head, site = model.arch.d_head, Site(node.site.layer, "attn", "resid_delta")
    first = d_head * (node.channel // d_head)
    weight = model.layers[site.layer].attn.c_proj.weight[:, first : first + d_head]
    return [Node(site, channel) for channel in nodes[site] if weight[channel].any()]
