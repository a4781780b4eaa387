"""Compare two circuits: the nodes and edges that both have, and those of one alone."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitkit.arguments import checked_call
from circuitkit.circuit.circuit_json import Circuit
from circuitkit.circuit.folder import CircuitFolder, as_circuit
from circuitkit.nodes import NodeSet

EdgeEnds = frozenset[tuple[str, str]]
"""Edges by the names of their source and target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Nodes and edges, by name, that the two circuits share or that one has alone."""

    nodes: NodeSet
    edges: EdgeEnds

    def __repr__(self) -> str:
        return f"Part({len(self.nodes)} nodes, {len(self.edges)} edges)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two circuits share, and what only one has.

    A Jaccard index is the share of what either has that both have; 1 for two empty circuits.
    """

    shared: Part
    only_a: Part
    only_b: Part
    jaccard_nodes: float
    jaccard_edges: float
    same_checkpoint: bool
    same_task: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``compare --json`` prints them."""
        return {
            "jaccard_nodes": self.jaccard_nodes,
            "jaccard_edges": self.jaccard_edges,
            "same_checkpoint": self.same_checkpoint,
            "same_task": self.same_task,
        } | {
            name: {"nodes": [str(n) for n in part.nodes], "edges": sorted(map(list, part.edges))}
            for name, part in self.parts().items()
        }

    def parts(self) -> dict[str, Part]:
        """The three parts by name."""
        return {"shared": self.shared, "only_a": self.only_a, "only_b": self.only_b}


@checked_call
def compare(
    a: Circuit | CircuitFolder | str | Path, b: Circuit | CircuitFolder | str | Path
) -> Comparison:
    """Compare two circuits, or those of two folders.

    Raises:
        CircuitError: if a folder holds no circuit.

    Examples:
        >>> import circuitkit as ck
        >>> same = ck.compare("out/for_while", ck.Circuit.load("out/for_while"))
        >>> same.jaccard_edges, len(same.only_a.nodes)
        (1.0, 0)
    """
    first, second = map(as_circuit, (a, b))
    edges = [frozenset((str(e.source), str(e.target)) for e in c.edges) for c in (first, second)]
    return Comparison(
        shared=Part(nodes=first.nodes & second.nodes, edges=edges[0] & edges[1]),
        only_a=Part(nodes=first.nodes - second.nodes, edges=edges[0] - edges[1]),
        only_b=Part(nodes=second.nodes - first.nodes, edges=edges[1] - edges[0]),
        jaccard_nodes=jaccard(first.nodes, second.nodes),
        jaccard_edges=jaccard(*edges),
        same_checkpoint=first.checkpoint.sha256 == second.checkpoint.sha256,
        same_task=first.task.sha256 == second.task.sha256,
    )


def jaccard(a: Set[Any], b: Set[Any]) -> float:
    """The share of what either has that both have; 1 for two empty ones."""
    return len(a & b) / len(a | b) if a | b else 1.0
