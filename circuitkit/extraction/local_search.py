"""Circuits near one and beside one: smaller ones to move to, equal ones to tell of.

In: 1-minimal circuits and the criterion. Out: more of them, the smallest first. 1-minimal is not
minimum: one node in may let several out (a swap), and what a circuit leaves over may hold
another one (a detour). Where the smallest is not alone, a user has to know. Each neighbour
costs an elimination, so a circuit of hundreds of nodes, as of a dense model, is left as it is.
Source: ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from circuitkit.extraction.attribution import attribute
from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.discretise import loss_rises, ranked_nodes, smallest_prefix, steepest
from circuitkit.extraction.elimination import eliminate
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.model import EncodedPairs
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress, silent

_TRIED_IN, _TRIED_OUT = 4, 6
_ROUNDS, _MOST_NODES = 4, 200


def explore(
    found: Sequence[NodeSet],
    criterion: Criterion,
    train: EncodedPairs,
    *,
    within: NodeSet | None = None,
    progress: Progress = silent,
) -> tuple[NodeSet, ...]:
    """Swap and detour from the smallest circuit, if at most 200 nodes, until none smaller turns up.

    Args:
        found: 1-minimal circuits that meet the target.
        criterion: who says so.
        train: pairs to attribute on.
        within: the nodes to be had; None for all.
        progress: told how far each pass is.

    Returns:
        Every circuit known that meets the target, the smallest (edges first, then nodes) first:
        of several that are as small the one of lowest loss, 1-minimal.
    """
    known = list(dict.fromkeys(found))
    best = min(known, key=lambda nodes: size(nodes, criterion))
    for _ in range(_ROUNDS if len(best) <= _MOST_NODES else 0):
        near = [*swaps(best, criterion, within), *detours(best, criterion, train, within, progress)]
        known += [nodes for nodes in near if nodes not in known]
        smaller = min(known, key=lambda nodes: size(nodes, criterion))
        if smaller == best:
            break
        best = eliminate(smaller, criterion, list(smaller), progress, first_block=1)
        known.append(best)
    ties = [nodes for nodes in known if size(nodes, criterion) == size(best, criterion)]
    closest = min(ties, key=criterion.bound)
    if closest != best:
        best = eliminate(closest, criterion, list(closest), progress, first_block=1)
    rest = sorted(known, key=lambda nodes: size(nodes, criterion))
    return tuple(dict.fromkeys([best, *rest]))


def size(nodes: NodeSet, criterion: Criterion) -> tuple[int, int]:
    """What circuits are compared by: edges, then nodes."""
    return len(edges_between(criterion.model, nodes)), len(nodes)


def swaps(nodes: NodeSet, criterion: Criterion, within: NodeSet | None = None) -> Iterator[NodeSet]:
    """Put in one node that lowers the loss, and take out those that can go most cheaply.

    What comes out meets the target and is no larger, but need not be 1-minimal.
    """
    for node in steepest(nodes, criterion, within)[:_TRIED_IN]:
        wider = nodes | NodeSet.of([node])
        rises = sorted(
            (rise, out) for rise, out in loss_rises(wider, criterion, wider) if out in nodes
        )
        swapped = wider
        for _, out in rises[::-1][:_TRIED_OUT]:
            fewer = swapped - NodeSet.of([out])
            if criterion.meets(fewer):
                swapped = fewer
        if swapped != wider:
            yield swapped


def detours(
    nodes: NodeSet,
    criterion: Criterion,
    train: EncodedPairs,
    within: NodeSet | None = None,
    progress: Progress = silent,
) -> Iterator[NodeSet]:
    """Look for a circuit in what is left without these nodes, where that does the task."""
    whole = NodeSet.full(criterion.model.arch.widths) if within is None else within
    left = whole - nodes
    if not criterion.meets(left):
        return
    scores = attribute(criterion.model, train, criterion.values, within=left)
    start = smallest_prefix(scores, criterion)
    if start is not None:
        yield eliminate(start, criterion, ranked_nodes(scores), progress)
