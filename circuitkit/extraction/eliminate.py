"""Elimination: take nodes out until none can go. The result is 1-minimal.

In: a set that meets the target, and the judge. Out: a subset that meets it, from
which no single node can be taken. Source: ours (EXTRACTION section 5, step 5);
delta debugging after Zeller and Hildebrandt 2002.
"""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx

from circuitkit.extraction.edges import wiring
from circuitkit.extraction.judge import Judge
from circuitkit.extraction.means import Progress, silent
from circuitkit.nodes import FINAL_RESID, Node, NodeSet


def eliminate(
    nodes: NodeSet, judge: Judge, order: Sequence[Node], progress: Progress = silent
) -> NodeSet:
    """Drop blocks of nodes, halves first and singles last, while the target holds.

    Args:
        nodes: a set that meets the target.
        judge: who says so.
        order: every node of the set, the most important first; tried from the end.
        progress: told how far each pass is.
    """
    nodes = drop_disconnected(nodes, judge)
    size = max(1, len(nodes) // 2)
    while True:
        fewer = _pass(nodes, judge, order, size, progress)
        if size == 1 and len(fewer) == len(nodes):
            return nodes
        nodes, size = fewer, max(1, min(size, len(fewer)) // 2)


def _pass(
    nodes: NodeSet, judge: Judge, order: Sequence[Node], size: int, progress: Progress
) -> NodeSet:
    """Try once to drop every block of ``size`` nodes."""
    queue = [node for node in reversed(order) if node in nodes]
    for start in range(0, len(queue), size):
        fewer = nodes - NodeSet.of(queue[start : start + size])
        if judge.meets(fewer):
            nodes = fewer
        progress("eliminate", min(start + size, len(queue)), len(queue))
    return nodes


def drop_disconnected(nodes: NodeSet, judge: Judge) -> NodeSet:
    """Drop the nodes on no path from the embedding to the unembedding, if the target holds."""
    connected = NodeSet.of(on_a_path(nodes, judge), nodes.widths)
    return connected if len(connected) < len(nodes) and judge.meets(connected) else nodes


def on_a_path(nodes: NodeSet, judge: Judge) -> set[Node]:
    """The nodes from which the answer can be reached, and which something can reach."""
    graph = wiring(judge.model, nodes)
    graph.add_nodes_from(("embedding", "unembedding"))
    for node in nodes:
        if node.site.place == "act_in" or node.site == FINAL_RESID:
            graph.add_edge("embedding", node)
        if node.site == FINAL_RESID:
            graph.add_edge(node, "unembedding")
    reached = nx.descendants(graph, "embedding") & nx.ancestors(graph, "unembedding")
    return {node for node in reached if isinstance(node, Node)}
