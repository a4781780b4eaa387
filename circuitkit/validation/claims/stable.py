"""Stable: another seed and half of the pairs give a circuit that answers alike.

Ten searches, each from its own seed on a random half of the train and selection pairs. The
claim is tested on behaviour: how often the circuits found answer as this one does, on test
pairs. Different nodes with the same function are normal (two paths, any three of six
voters). So the overlap of nodes is only reported, with what chance would give and the nodes
that every search found.

Source: docs/validation.md#stable. The pass region is ours: that of ``faithful``.

What can fool it: a search that is biased the same way every time. A model with
several circuits of different errors may fail it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from circuitkit.findings import Claim, Finding
from circuitkit.model import EncodedPairs
from circuitkit.model.per_pair import agreement_of
from circuitkit.nodes import NodeSet
from circuitkit.statistics.intervals import monte_carlo_p, proportion
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.controls.repeated_search import (
    Found,
    Problem,
    own_problem,
    search,
    within,
)
from circuitkit.validation.controls.same_size import location_matched
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.STABLE,
    suite="thorough",
    fooled_by="a search that is biased the same way every time",
    needs=("train pairs", "select pairs"),
    n_searches=10,
)

N_SEARCHES = 10
AGREEMENT = 0.90
_CHANCE_DRAWS = 99
_FIRST_INDEX = 101
"""Restarts of the extraction and of the search null count from 0."""


def check_stable(trial: SearchTrial) -> Finding:
    """The circuits found answer as this one does on at least 90 % of the prompts."""
    found = [_again(trial, i) for i in range(N_SEARCHES)]
    agreement = proportion(_agreement(trial, found), trial.few.templates, trial.seed)
    sets = [each.nodes for each in found]
    overlap, p = _overlap(sets, trial.seed)
    core = reduce(lambda a, b: a & b, sets)
    edges = sorted(each.size[0] for each in found if each.size)
    return Finding(
        claim=CLAIM.id,
        outcome=agreement.within(low=AGREEMENT),
        note=f"{len(edges)} of {N_SEARCHES} searches meet the target, edges "
        f"{', '.join(map(str, edges)) or 'none'}; Jaccard of their nodes {overlap:.2f} (p {p:.2f} "
        f"against sets with as many a site); {len(core & trial.nodes)} of {len(trial.nodes)} nodes "
        "are in all of them",
        **agreement.fields(),
        unit="of prompts answered alike by circuits of other seeds and halves",
        threshold=f"lower bound ≥ {AGREEMENT}",
        threshold_source="ours, as for faithful",
        null="random circuits with the same number of nodes at each site (for the overlap)",
        n_pairs=len(trial.few),
        n_clusters=len(set(trial.few.templates)),
        n_draws=N_SEARCHES,
        seeds=tuple(range(_FIRST_INDEX, _FIRST_INDEX + N_SEARCHES)),
        fooled_by=CLAIM.fooled_by,
    )


def _again(trial: SearchTrial, i: int) -> Found:
    """One search from its own seed, on half of the pairs."""
    generator = torch.Generator().manual_seed(104729 * (trial.seed + 1) + i)
    own = own_problem(trial)
    half = Problem(
        kind="half", model=own.model, means=own.means,
        train=_half(own.train, generator), select=_half(own.select, generator),
    )  # fmt: skip
    progress = within(trial.progress, "stability", i, N_SEARCHES)
    return search(trial, half, _FIRST_INDEX + i, progress)


def _half(pairs: EncodedPairs, generator: torch.Generator) -> EncodedPairs:
    chosen = torch.randperm(len(pairs), generator=generator)[: max(1, len(pairs) // 2)]
    return pairs[chosen.sort().values]


def _agreement(trial: SearchTrial, found: Sequence[Found]) -> NDArray[np.float64]:
    """For every pair, how many of its prompts the circuits found answer as this one does."""
    own = trial.kept(trial.nodes, trial.few)
    alike = [agreement_of(trial.others_kept(each.nodes, trial.few), own) for each in found]
    return np.mean(alike, axis=0)


def _overlap(sets: Sequence[NodeSet], seed: int) -> tuple[float, float]:
    """The median Jaccard of two of the sets, and its p-value against sets drawn at random."""
    own = _median_jaccard(sets)
    drawn = zip(
        *(location_matched(s, _CHANCE_DRAWS, seed + i) for i, s in enumerate(sets)), strict=True
    )
    as_much = sum(_median_jaccard(some) >= own for some in drawn)
    return own, monte_carlo_p(as_much, _CHANCE_DRAWS)


def _median_jaccard(sets: Sequence[NodeSet]) -> float:
    return median(len(a & b) / max(1, len(a | b)) for a, b in combinations(sets, 2))
