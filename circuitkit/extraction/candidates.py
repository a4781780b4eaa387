"""Candidates: the few nodes that masks are learned over, or that a large model's circuit may have.

In: a model, training pairs, and the criterion. Out: the nodes of largest attribution,
|gradient × (activation - ablation value)| with all gates partly open. There are enough of
them to meet the target when all are kept. None when the model is small enough to use all
nodes. A node that always has its ablation value on the task has attribution 0, and ablating
it changes no loss. So has one whose moves cancel over the pairs; where the others miss the
target without it, all nodes are candidates. Source: docs/extraction.md#candidates.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.masked_model import gate_gradients, nodes_of
from circuitkit.model import EncodedPairs
from circuitkit.nodes import NodeSet, Site
from circuitkit.progress import Progress, silent

SMALL_MODEL = 16_384
"""Nodes up to which a circuit may have any of them."""

FIRST_CANDIDATES = 2_048

LEARNED_AT_FIRST = 512
"""Nodes that our masks are learned over, at first: the first steps, when no node is decided yet,
take most of the time."""

_N_PAIRS = 32

OPENNESS = (1.0, 0.5, 0.25)
"""How far all gates are open for the gradients: fully open, a saturated softmax has none."""


def find_candidates(
    pairs: EncodedPairs,
    criterion: Criterion,
    *,
    small_model: int = SMALL_MODEL,
    first: int = FIRST_CANDIDATES,
    progress: Progress = silent,
) -> NodeSet | None:
    """The first nodes by attribution: more are added until together they meet the target."""
    widths = criterion.model.arch.widths
    if sum(widths.values()) <= small_model:
        return None
    moved = attribution(pairs, criterion)
    ranking = ranked(moved)
    n_moved = int((moved.amax(0) > 0).sum())
    while first < n_moved:
        candidates = _chosen(ranking[:first], widths)
        progress("candidates", first, n_moved)
        if criterion.meets(candidates):
            return candidates
        first *= 2
    candidates = _chosen(ranking[:n_moved], widths)
    return candidates if criterion.meets(candidates) else NodeSet.full(widths)


def ranked(moved: Float[Tensor, "kinds nodes"]) -> Int[Tensor, " nodes"]:
    """The numbers of the nodes by their best rank of any kind; those that never move come last."""
    best_rank = moved.argsort(dim=1, descending=True, stable=True).argsort(dim=1).amin(0)
    return best_rank.masked_fill(moved.amax(0) == 0, len(best_rank)).argsort(stable=True)


def nodes_to_learn(
    pairs: EncodedPairs, criterion: Criterion, config: ExtractConfig,
    within: NodeSet | None = None, progress: Progress = silent,
) -> NodeSet | None:  # fmt: skip
    """The nodes that masks are learned over: few, unless the method ranks all of ``within``."""
    if within is not None or not config.narrows:
        return within
    return find_candidates(
        pairs, criterion, small_model=0, first=LEARNED_AT_FIRST, progress=progress
    )


def attribution(pairs: EncodedPairs, criterion: Criterion) -> Float[Tensor, "kinds nodes"]:
    """How far, to first order, each node alone moves the prompts of a pair, together and apart.

    Together is the logit difference; apart is the answer of one prompt against the other's, which
    a node may move alone, as a bias does. Over a few pairs, spread over all lengths, with all
    gates as far open as ``OPENNESS`` says.
    """
    order = pairs.by_length()
    some = pairs[order[:: max(1, len(order) // _N_PAIRS)][:_N_PAIRS]]
    everything = NodeSet.full(criterion.model.arch.widths)
    rows = [
        gate_gradients(criterion.model, some, everything, criterion.values, moves, openness)
        for openness in OPENNESS
        for moves in (lambda d: d, _apart)
    ]
    return torch.stack([torch.cat(list(row.values())).abs() for row in rows])


def _apart(differences: Float[Tensor, " rows"]) -> Float[Tensor, " pairs"]:
    one, other = differences.view(2, -1)
    return one - other


def _chosen(flat: Tensor, widths: dict[Site, int]) -> NodeSet:
    gates = torch.zeros(sum(widths.values())).index_fill(0, flat, 1.0)
    return nodes_of(dict(zip(widths, gates.split(list(widths.values())), strict=True)))
