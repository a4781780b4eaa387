"""Elimination: remove nodes until no single one can be removed. The result is 1-minimal.

In: a set that meets the target, and the criterion. Out: a subset that meets it, from
which no single node can be removed. Source: ours (docs/extraction.md#elimination);
delta debugging after Zeller and Hildebrandt 2002.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import networkx as nx

from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.induced_edges import wiring
from circuitkit.nodes import FINAL_RESID, Node, NodeSet, Site
from circuitkit.progress import Progress, silent

Item = TypeVar("Item")


def eliminate(
    nodes: NodeSet,
    criterion: Criterion,
    order: Sequence[Node],
    progress: Progress = silent,
    first_block: int | None = None,
) -> NodeSet:
    """Drop blocks of nodes, halves first and singles last, while the target holds.

    Args:
        nodes: a set that meets the target.
        criterion: decides whether the target is met.
        order: every node of the set, the most important first; the last are tried first.
        progress: called after each step of a pass.
        first_block: how many nodes the first blocks hold; None for half of them.
    """
    nodes = drop_free(nodes, criterion)
    kept = minimise(
        [node for node in order if node in nodes],
        lambda some: criterion.meets(NodeSet.of(some, nodes.widths)),
        progress,
        first_block,
    )
    return NodeSet.of(kept, nodes.widths)


def minimise(
    items: Sequence[Item],
    meets: Callable[[Sequence[Item]], bool],
    progress: Progress = silent,
    first_block: int | None = None,
) -> list[Item]:
    """Drop blocks of items, the last first, until no single one can be removed."""
    kept = list(items)
    size = first_block or max(1, len(kept) // 2)
    while size > 1:
        kept = _pass(kept, meets, size, progress)
        size = max(1, min(size, len(kept)) // 2)
    return _one_by_one(kept, meets, progress)


def _pass(
    kept: list[Item], meets: Callable[[Sequence[Item]], bool], size: int, progress: Progress
) -> list[Item]:
    """Try once to drop every block of ``size`` items."""
    queue = kept[::-1]
    for start in range(0, len(queue), size):
        block = set(queue[start : start + size])
        fewer = [item for item in kept if item not in block]
        if meets(fewer):
            kept = fewer
        progress("eliminate", min(start + size, len(queue)), len(queue))
    return kept


def _one_by_one(
    kept: list[Item], meets: Callable[[Sequence[Item]], bool], progress: Progress
) -> list[Item]:
    """Try to drop each item in turn until all have failed since the last one was dropped."""
    queue, n_refused = deque(reversed(kept)), 0
    while n_refused < len(queue):
        tried = queue.popleft()
        fewer = [item for item in kept if item != tried]
        if meets(fewer):
            kept, n_refused = fewer, 0
        else:
            queue.append(tried)
            n_refused += 1
        progress("eliminate", n_refused, len(queue))
    return kept


def drop_free(nodes: NodeSet, criterion: Criterion) -> NodeSet:
    """Drop nodes that cannot matter by the weights alone, if the target holds."""
    bound = nodes - without_partner(nodes, has_sink=criterion.model.arch.attention_sink)
    connected = NodeSet.of(on_a_path(bound, criterion), nodes.widths)
    return connected if len(connected) < len(nodes) and criterion.meets(connected) else nodes


def without_partner(nodes: NodeSet, *, has_sink: bool) -> NodeSet:
    """The q channels whose k is ablated: they add the same to every key, which softmax cancels.

    With a sink they do not cancel, since the sink's logit does not change.
    """
    lone = [
        node
        for node in nodes
        if node.site.kind == "attn.q"
        and node.channel not in nodes[Site(node.site.layer, "attn", "k")]
    ]
    return NodeSet.of([] if has_sink else lone, nodes.widths)


def on_a_path(nodes: NodeSet, criterion: Criterion) -> set[Node]:
    """The nodes that an input reaches and that reach the answer."""
    graph = wiring(criterion.model, nodes)
    graph.add_nodes_from(("embedding", "unembedding"))
    for node in nodes:
        if node.site.place == "act_in" or node.site == FINAL_RESID:
            graph.add_edge("embedding", node)
        if node.site == FINAL_RESID:
            graph.add_edge(node, "unembedding")
    reached = nx.descendants(graph, "embedding") & nx.ancestors(graph, "unembedding")
    return {node for node in reached if isinstance(node, Node)}
