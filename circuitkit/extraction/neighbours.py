"""Circuits near one and beside one: smaller ones to move to, equal ones to tell of.

In: 1-minimal circuits and the judge. Out: more of them, the smallest first. 1-minimal is not
minimum: one node in may let several out (a swap), and what a circuit leaves over may hold
another one (a detour). Where the smallest is not alone, a user has to know. Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from circuitkit.extraction.attribute import attribute
from circuitkit.extraction.discretise import ranked_nodes, smallest_prefix, steepest
from circuitkit.extraction.edges import edges_between
from circuitkit.extraction.eliminate import eliminate
from circuitkit.extraction.judge import Judge
from circuitkit.extraction.means import Progress, silent
from circuitkit.model import EncodedPairs
from circuitkit.nodes import NodeSet

_SWAPS = 6
_ROUNDS = 6


def explore(
    found: Sequence[NodeSet],
    judge: Judge,
    train: EncodedPairs,
    *,
    within: NodeSet | None = None,
    progress: Progress = silent,
) -> tuple[NodeSet, ...]:
    """Swap and detour from the smallest circuit until none smaller turns up.

    Args:
        found: 1-minimal circuits that meet the target.
        judge: who says so.
        train: pairs to attribute on.
        within: the nodes to be had; None for all.
        progress: told how far each pass is.

    Returns:
        Every circuit known, the smallest (edges first, then nodes) first.
    """
    known = list(dict.fromkeys(found))
    for _ in range(_ROUNDS):
        best = min(known, key=lambda nodes: size(nodes, judge))
        near = (*swaps(best, judge, within), *detours(best, judge, train, within, progress))
        known = list(dict.fromkeys([*known, *near]))
        if min(known, key=lambda nodes: size(nodes, judge)) == best:
            break
    return tuple(sorted(known, key=lambda nodes: size(nodes, judge)))


def size(nodes: NodeSet, judge: Judge) -> tuple[int, int]:
    """What circuits are compared by: edges, then nodes."""
    return len(edges_between(judge.model, nodes)), len(nodes)


def swaps(nodes: NodeSet, judge: Judge, within: NodeSet | None = None) -> Iterator[NodeSet]:
    """Put in one node that lowers the loss, and take out whatever can then go."""
    for node in steepest(nodes, judge, within)[:_SWAPS]:
        wider = nodes | NodeSet.of([node])
        fewer = eliminate(wider, judge, [node, *nodes], first_block=1)
        if fewer != nodes and judge.meets(fewer):
            yield fewer


def detours(
    nodes: NodeSet,
    judge: Judge,
    train: EncodedPairs,
    within: NodeSet | None = None,
    progress: Progress = silent,
) -> Iterator[NodeSet]:
    """Look for a circuit in what is left without these nodes, where that does the task."""
    whole = NodeSet.full(judge.model.arch.widths) if within is None else within
    left = whole - nodes
    if not judge.meets(left):
        return
    scores = attribute(judge.model, train, judge.values, within=left)
    start = smallest_prefix(scores, judge)
    if start is not None:
        yield eliminate(start, judge, ranked_nodes(scores), progress)
