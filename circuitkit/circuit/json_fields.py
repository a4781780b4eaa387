"""Nodes and edges as ``circuit.json`` writes them: checked when read, plain values when written."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from circuitkit.nodes import Edge, Node, NodeSet, Site


def _read_nodes(value: Any) -> NodeSet:
    if isinstance(value, NodeSet):
        return value
    if not isinstance(value, dict):
        raise ValueError('expected {"SITE": [channel, ...], ...}')
    for site, channels in value.items():
        plain = isinstance(channels, list) and all(type(channel) is int for channel in channels)
        if not plain or not channels or sorted(set(channels)) != channels:
            raise ValueError(f"{site}: expected a list of distinct channels in ascending order")
    return NodeSet({Site.parse(site): channels for site, channels in value.items()})


def _read_edge(value: Any) -> Edge:
    if isinstance(value, Edge):
        return value
    if not isinstance(value, list) or list(map(type, value)) != [str, str, float]:
        raise ValueError('expected ["SOURCE", "TARGET", weight]')
    if not math.isfinite(value[2]) or value[2] == 0:
        raise ValueError(f"an edge is a finite nonzero weight, got {value[2]}")
    return Edge(Node.parse(value[0]), Node.parse(value[1]), value[2])


NodesField = Annotated[
    NodeSet,
    PlainValidator(_read_nodes),
    PlainSerializer(lambda nodes: {str(site): list(nodes[site]) for site in nodes.channels}),
    WithJsonSchema({"type": "object"}),
]
EdgeField = Annotated[
    Edge,
    PlainValidator(_read_edge),
    PlainSerializer(lambda edge: [str(edge.source), str(edge.target), edge.weight]),
    WithJsonSchema({"type": "array"}),
]
