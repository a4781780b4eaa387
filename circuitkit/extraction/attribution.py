"""Rank nodes without learning: by attribution, and by chance.

In: a model, training pairs, ablation values. Out: ``Scores``, as mask learning gives
them, with an empty learned set. A node's attribution is |gradient × (activation - ablation
value)| of the logit difference, summed over positions, averaged over prompts. Integrated
gradients average it over models from all ablated to all kept (Sundararajan et al. 2017).
The loss is not used, since it is flat where the model is confident.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.extraction.mask_learning import Scores
from circuitkit.extraction.masked_model import gate_gradients
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import NodeSet, Site
from circuitkit.progress import Progress, silent

_PAIRS = 128
_PAIRS_A_BATCH = 32


def attribute(
    model: Transformer,
    pairs: EncodedPairs,
    values: Mapping[Site, Tensor],
    *,
    n_points: int = 1,
    seed: int = 0,
    within: NodeSet | None = None,
    progress: Progress = silent,
) -> Scores:
    """Rank by attribution in the model with only ``within`` kept; None keeps all.

    Args:
        model: the model.
        pairs: where to draw the pairs from.
        values: what ablated nodes are replaced by.
        n_points: 1 for the plain gradient, more to integrate it.
        seed: which pairs are drawn.
        within: the nodes a circuit may have; None for all.
        progress: called with the number of pairs done.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = pairs[torch.randperm(len(pairs), generator=generator)[:_PAIRS]]
    drawn = drawn[drawn.by_length()]
    widths = model.arch.widths
    kept = NodeSet.full(widths) if within is None else within
    points = [1.0] if n_points == 1 else [(i + 0.5) / n_points for i in range(n_points)]
    total = {site: torch.zeros(width) for site, width in widths.items()}
    for start in range(0, len(drawn), _PAIRS_A_BATCH):
        batch = drawn[start : start + _PAIRS_A_BATCH]
        for point in points:
            slopes = gate_gradients(model, batch, kept, values, lambda d: d, point)
            for site, slope in slopes.items():
                total[site] += slope * len(batch)
        progress("attribution", start + len(batch), len(drawn))
    ranks = {site: (t / (len(drawn) * len(points))).abs() for site, t in total.items()}
    return Scores(ranks=ranks, learned=NodeSet(widths=widths), within=within)


def shuffled(scores: Scores, seed: int) -> Scores:
    """The same ranks, permuted among the nodes of each site: a location-matched null.

    Every prefix of the ranking has as many nodes at each site as before.
    """
    generator = torch.Generator().manual_seed(seed)
    ranks = {
        site: _dealt(rank, scores.within, site, generator) for site, rank in scores.ranks.items()
    }
    return Scores(ranks=ranks, learned=scores.learned, within=scores.within)


def _dealt(
    rank: Float[Tensor, " width"], within: NodeSet | None, site: Site, generator: torch.Generator
) -> Float[Tensor, " width"]:
    """A permutation of the ranks of the nodes that a circuit may have."""
    places = torch.arange(len(rank)) if within is None else torch.tensor(within[site]).long()
    dealt = rank.clone()
    dealt[places] = rank[places[torch.randperm(len(places), generator=generator)]]
    return dealt
