"""Local search: smaller circuits near the one found, and other circuits of the same size.

In: 1-minimal circuits and the criterion. Out: more of them, the smallest first. A 1-minimal
circuit need not be the smallest: one node added may allow several to be removed (a swap), and
the nodes outside a circuit may hold another one (a detour). Several smallest circuits are all
reported. Each neighbour costs an elimination, so a circuit of hundreds of nodes, as of a dense
model, is not changed. Source: ours (docs/extraction.md#search).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

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
    """Swap and detour from each circuit of at most 200 nodes, until none is smaller.

    The smallest to begin with need not lead to the smallest in the end.

    Args:
        found: 1-minimal circuits that meet the target.
        criterion: decides whether the target is met.
        train: pairs to attribute on.
        within: the nodes a circuit may have; None for all.
        progress: called after each step of a pass.

    Returns:
        Every circuit known that meets the target, the smallest (edges, then nodes) first: of
        several equally small ones the one with the lowest loss, 1-minimal.
    """

    def near(nodes: NodeSet) -> Iterator[NodeSet]:
        yield from swaps(nodes, criterion, within)
        yield from detours(nodes, criterion, train, within, progress)

    known = list(dict.fromkeys(found))
    for start in tuple(known):
        known += _descend(start, criterion, near, progress)
    best = min(known, key=lambda nodes: size(nodes, criterion))
    if best not in found:
        best = eliminate(best, criterion, list(best), progress, first_block=1)
        known.append(best)
    ties = [nodes for nodes in known if size(nodes, criterion) == size(best, criterion)]
    closest = min(ties, key=criterion.excess)
    if closest != best:
        best = eliminate(closest, criterion, list(closest), progress, first_block=1)
    rest = sorted(known, key=lambda nodes: size(nodes, criterion))
    return tuple(dict.fromkeys([best, *rest]))


def improve(
    found: Sequence[NodeSet], criterion: Criterion, within: NodeSet, progress: Progress = silent
) -> NodeSet:
    """The smallest of some circuits after swaps, 1-minimal; without detours."""
    best = min(dict.fromkeys(found), key=lambda nodes: size(nodes, criterion))
    known = _descend(best, criterion, lambda nodes: swaps(nodes, criterion, within), progress)
    return min([best, *known], key=lambda nodes: size(nodes, criterion))


def _descend(
    best: NodeSet, criterion: Criterion, near: Callable[[NodeSet], Iterable[NodeSet]],
    progress: Progress,
) -> list[NodeSet]:  # fmt: skip
    """Every circuit met on the way from one to a smaller one near it, as often as there is one."""
    met: list[NodeSet] = []
    for _ in range(_ROUNDS if len(best) <= _MOST_NODES else 0):
        some = [*near(best)]
        met += some
        smaller = min([best, *some], key=lambda nodes: size(nodes, criterion))
        if smaller == best:
            break
        best = eliminate(smaller, criterion, list(smaller), progress, first_block=1)
        met.append(best)
    return met


def size(nodes: NodeSet, criterion: Criterion) -> tuple[int, int]:
    """What circuits are compared by: edges, then nodes."""
    return len(edges_between(criterion.model, nodes)), len(nodes)


def swaps(nodes: NodeSet, criterion: Criterion, within: NodeSet | None = None) -> Iterator[NodeSet]:
    """Add one node that lowers the loss, and remove those that raise it least.

    The result meets the target and is no larger, but need not be 1-minimal.
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
    """Look for a circuit among the other nodes, if they do the task without these."""
    whole = NodeSet.full(criterion.model.arch.widths) if within is None else within
    left = whole - nodes
    if not criterion.meets(left):
        return
    scores = attribute(criterion.model, train, criterion.values, within=left)
    start = smallest_prefix(scores, criterion)
    if start is not None:
        yield eliminate(start, criterion, ranked_nodes(scores), progress)
