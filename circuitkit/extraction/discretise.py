"""From scores to a set of nodes that meets the target.

The loss is not monotone in the number of nodes kept: plain bisection can return
thousands for a circuit of twenty. So the scan starts from the learned set, walks
a geometric grid of sizes around it, and bisects only inside the lowest bracket
that works. Source: ours (EXTRACTION section 5, step 4).
"""

from __future__ import annotations

from circuitkit.extraction.gated import GatedModel
from circuitkit.extraction.judge import Judge
from circuitkit.extraction.learn import Scores
from circuitkit.nodes import Node, NodeSet

_GRID = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0, 16.0, 64.0)
_TRIED_EXACTLY = 8
_MOST_ADDED = 12
_BISECTIONS = 6


def ranked_nodes(scores: Scores) -> list[Node]:
    """Every node to be had, best first; equal scores stay in the order of the forward pass."""
    pairs = [
        (-float(rank), site, channel)
        for site, ranks in scores.ranks.items()
        for channel, rank in enumerate(ranks)
    ]
    ranking = [Node(site, channel) for _, site, channel in sorted(pairs)]
    within = scores.within
    return ranking if within is None else [node for node in ranking if node in within]


def discretise(scores: Scores, judge: Judge) -> NodeSet | None:
    """The learned set mended, or the smallest prefix of the ranking found to meet the target.

    None when the mask learning emptied itself and no prefix works either.
    """
    learned = scores.learned
    if judge.meets(learned):
        return learned
    mended = add_back(learned, judge, scores.within)
    return mended if mended is not None else smallest_prefix(scores, judge)


def add_back(nodes: NodeSet, judge: Judge, within: NodeSet | None = None) -> NodeSet | None:
    """Add nodes by the gradient of their gates, the best of a few tried exactly, until it meets.

    None when a dozen additions are not enough.
    """
    gated = GatedModel(judge.model, judge.values, within)
    for _ in range(_MOST_ADDED):
        gradients = gated.gradients(judge.pairs[: len(judge.pairs) // 2], nodes=nodes)
        falls = [
            (float(g), site, channel)
            for site, gradient in gradients.items()
            for channel, g in enumerate(gradient)
            if g < 0
        ]
        steepest = [Node(site, channel) for _, site, channel in sorted(falls)]
        allowed = (node for node in steepest if within is None or node in within)
        fresh = [node for node in allowed if node not in nodes][:_TRIED_EXACTLY]
        if not fresh:
            return None
        tried = [nodes | NodeSet.of([node]) for node in fresh]
        nodes = min(tried, key=judge.bound)
        if judge.meets(nodes):
            return nodes
    return None


def smallest_prefix(scores: Scores, judge: Judge) -> NodeSet | None:
    """Scan sizes upwards around the learned one, then bisect below the first that works."""
    ranking, widths = ranked_nodes(scores), scores.learned.widths
    around = max(8, len(scores.learned))
    sizes = sorted({min(len(ranking), max(1, round(around * g))) for g in _GRID} | {len(ranking)})
    low = 0
    for high in sizes:
        if judge.meets(NodeSet.of(ranking[:high], widths)):
            break
        low = high
    else:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) // 2
        if middle in (low, high):
            break
        if judge.meets(NodeSet.of(ranking[:middle], widths)):
            high = middle
        else:
            low = middle
    return NodeSet.of(ranking[:high], widths)
