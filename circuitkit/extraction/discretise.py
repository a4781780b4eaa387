"""From scores to a set of nodes that meets the target.

The loss is not monotone in the number of nodes kept: plain bisection can return
thousands for a circuit of twenty. So the scan starts from the learned set, tries
a geometric grid of sizes around it, and bisects only inside the lowest bracket
that works. Source: ours (docs/extraction.md#discretisation).
"""

from __future__ import annotations

from math import isinf

import torch

from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.gated_model import GatedModel
from circuitkit.extraction.mask_learning import Scores
from circuitkit.nodes import Node, NodeSet

_GRID = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0, 16.0, 64.0)
_SMALLEST_AROUND = 8
_TRIED_EXACTLY = 8
_MOST_ADDED, _SHARE_ADDED = 12, 0.2
_BISECTIONS = 6
_GRADIENT_PAIRS = 64


def ranked_nodes(scores: Scores) -> list[Node]:
    """Every node a circuit may have, best first; ties in the order of the forward pass."""
    pairs = [
        (-rank, site, channel)
        for site, ranks in scores.ranks.items()
        for channel, rank in enumerate(ranks.tolist())
    ]
    ranking = [Node(site, channel) for _, site, channel in sorted(pairs)]
    within = scores.within
    return ranking if within is None else [node for node in ranking if node in within]


def discretise(scores: Scores, criterion: Criterion) -> NodeSet | None:
    """The learned set, completed if needed, or the smallest prefix found to meet the target.

    None when mask learning kept no nodes and no prefix works either.
    """
    learned = scores.learned
    if criterion.meets(learned):
        return learned
    mended = add_back(learned, criterion, scores.within)
    return mended if mended is not None else smallest_prefix(scores, criterion)


def add_back(nodes: NodeSet, criterion: Criterion, within: NodeSet | None = None) -> NodeSet | None:
    """Add nodes until the set meets the target: of the few best by gradient, the best in fact.

    None when a dozen additions are not enough, or a fifth of the set's size where that is more;
    and when no excess is finite, as in a search that has spent its budget.
    (A circuit of hundreds needs dozens of additions. The alternative, a prefix of the ranking,
    may hold thousands of nodes.)
    """
    for _ in range(max(_MOST_ADDED, int(_SHARE_ADDED * len(nodes)))):
        fresh = steepest(nodes, criterion, within)[:_TRIED_EXACTLY]
        if not fresh:
            return None
        tried = [nodes | NodeSet.of([node]) for node in fresh]
        unmet = criterion.unmet(nodes)
        least, best = min((criterion.excess(wider, unmet), i) for i, wider in enumerate(tried))
        if isinf(least):
            return None
        nodes = tried[best]
        if criterion.meets(nodes):
            return nodes
    return None


def steepest(nodes: NodeSet, criterion: Criterion, within: NodeSet | None = None) -> list[Node]:
    """The ablated nodes whose gates lower the loss, to first order, the most first."""
    falls = [(rise, node) for rise, node in loss_rises(nodes, criterion, within) if rise < 0]
    return [
        node
        for _, node in sorted(falls)
        if node not in nodes and (within is None or node in within)
    ]


def loss_rises(
    nodes: NodeSet, criterion: Criterion, within: NodeSet | None = None
) -> list[tuple[float, Node]]:
    """How much the loss rises, to first order, as the gate of each node opens.

    Of several asks those count that the nodes do not meet, or all if they meet all; of several
    forms the one that exceeds its limit most, or all if none does.
    """
    pairs = criterion.hardest_pairs(nodes)
    some = pairs[:: max(1, len(pairs) // _GRADIENT_PAIRS)]
    reach = None if within is None else within | nodes
    gated = GatedModel(criterion.model, criterion.values, reach)
    slopes = gated.gradients(some, nodes=nodes)
    unmet = criterion.unmet(nodes) if criterion.asks else ()
    if criterion.asks and "mean" not in unmet:
        slopes = {site: torch.zeros_like(slope) for site, slope in slopes.items()}
    for ask in criterion.asks:
        if ask.name in unmet:
            more = ask.gradients(nodes, reach or NodeSet.full(criterion.model.arch.widths))
            slopes = {site: slope + more[site] for site, slope in slopes.items()}
    return [
        (rise, Node(site, channel))
        for site, slope in slopes.items()
        for channel, rise in enumerate(slope.tolist())
    ]


def size_around(scores: Scores) -> int:
    """The size around which prefixes are tried: that of the learned set, at least 8 nodes."""
    return max(_SMALLEST_AROUND, len(scores.learned))


def smallest_prefix(scores: Scores, criterion: Criterion) -> NodeSet | None:
    """Scan sizes upwards around the learned size, then bisect below the first that works."""
    ranking, widths = ranked_nodes(scores), criterion.model.arch.widths
    around = size_around(scores)
    sizes = sorted({min(len(ranking), max(1, round(around * g))) for g in _GRID} | {len(ranking)})
    low = 0
    for high in sizes:
        if criterion.meets(NodeSet.of(ranking[:high], widths)):
            break
        low = high
    else:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) // 2
        if middle in (low, high):
            break
        if criterion.meets(NodeSet.of(ranking[:middle], widths)):
            high = middle
        else:
            low = middle
    return NodeSet.of(ranking[:high], widths)


def bisect_scores(scores: Scores, criterion: Criterion) -> NodeSet | None:
    """As in the paper: bisect the number of nodes kept, best first, between none and all.

    None when not even all of them meet the target.
    """
    ranking, widths = ranked_nodes(scores), criterion.model.arch.widths
    low, high = 0, len(ranking)
    if not criterion.meets(NodeSet.of(ranking, widths)):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if criterion.meets(NodeSet.of(ranking[:middle], widths)):
            high = middle
        else:
            low = middle
    return NodeSet.of(ranking[:high], widths)
