"""Complete: parts that are removed harm the circuit as they harm the model.

For sets K of the circuit's nodes, the ability of C without K is compared with that of M
without K: every node alone, 50 random halves, and sets grown greedily to be the worst.
Ability is F, or 0 where the loss is at chance or above.
A circuit that lacks a backup of the model's loses more than the model does.

Source: Wang et al. 2023 (completeness, with their greedy search), on F instead of the logit
difference; docs/validation.md#complete. The pass region is ours.

What can fool it: a serial circuit, of which any part breaks both; only parallel parts give
evidence. A backup that needs no node of the circuit shows in ``necessary``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import losses_of
from circuitkit.nodes import Node, NodeSet
from circuitkit.statistics.intervals import all_of
from circuitkit.statistics.jackknife import jackknife
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial, faithfulness

CLAIM = Declared(
    id=Claim.COMPLETE,
    suite="thorough",
    fooled_by="a serial circuit, of which any part breaks both",
)

MEAN_GAP, WORST_GAP = 0.15, 0.50
N_SUBSETS = 50
N_SINGLES = 60
_PAIRS = 64
_STEPS, _TRIED = 5, 8


class _Gaps:
    """The losses of C and of M without each set that was tried."""

    def __init__(self, trial: SearchTrial) -> None:
        self.trial = trial
        self.pairs = trial.few[:_PAIRS]
        self.model = losses_of(trial.scored.model)[: len(self.pairs)]
        self.found: dict[NodeSet, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def losses(self, gone: NodeSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if gone not in self.found:
            kept = losses_of(self.trial.kept(self.trial.nodes - gone, self.pairs))
            self.found[gone] = kept, losses_of(self.trial.without(gone, self.pairs))
        return self.found[gone]

    def gap(self, gone: NodeSet, chosen: NDArray[np.int_] | slice = slice(None)) -> float:
        """|A(C less K) - A(M less K)|, on all pairs or some."""
        circuit, model = (
            max(0.0, float(faithfulness(losses[chosen], self.model[chosen])))
            for losses in self.losses(gone)
        )
        return abs(circuit - model)


def check_complete(trial: SearchTrial) -> Finding:
    """The mean gap over nodes and subsets is small, and no set found has a large one."""
    gaps = _Gaps(trial)
    sets = _sets(trial)
    for i, gone in enumerate(sets):
        gaps.losses(gone)
        trial.progress("completeness", i + 1, len(sets) + _STEPS * _TRIED)
    greedy = _greedy(gaps, trial)
    mean = jackknife(
        lambda chosen: float(np.mean([gaps.gap(gone, chosen) for gone in sets] or [0.0])),
        gaps.pairs.templates,
    )
    worst = jackknife(lambda chosen: gaps.gap(greedy, chosen), gaps.pairs.templates)
    return Finding(
        claim=CLAIM.id,
        outcome=all_of(mean.within(high=MEAN_GAP), worst.within(high=WORST_GAP)),
        note=f"greedy worst: {worst} without "
        f"{len(greedy)} of {len(trial.nodes)} nodes ({', '.join(map(str, list(greedy)[:5]))})",
        **mean.fields(),
        unit="mean difference in F between circuit and model, parts removed",
        threshold=f"mean ≤ {MEAN_GAP}, greedy worst ≤ {WORST_GAP}",
        threshold_source="ours",
        n_pairs=len(gaps.pairs),
        n_clusters=len(set(gaps.pairs.templates)),
        n_draws=len(gaps.found),
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _sets(trial: SearchTrial) -> list[NodeSet]:
    """Single nodes and random halves of the circuit."""
    draw, nodes = random.Random(trial.seed), list(trial.nodes)
    singles = [[node] for node in draw.sample(nodes, min(N_SINGLES, len(nodes)))]
    halves = [[node for node in nodes if draw.random() < 0.5] for _ in range(N_SUBSETS)]
    return [_set(trial, some) for some in (*singles, *halves) if some]


def _greedy(gaps: _Gaps, trial: SearchTrial) -> NodeSet:
    """Add the worst of a few nodes, several times; the worst set found."""
    draw, gone = random.Random(trial.seed + 1), _set(trial, ())
    seen = [gone]
    for _ in range(_STEPS):
        left = list(trial.nodes - gone)
        tried = [gone | _set(trial, [n]) for n in draw.sample(left, min(_TRIED, len(left)))]
        if not tried:
            break
        gone = max(tried, key=gaps.gap)
        seen.append(gone)
    return max(seen, key=gaps.gap)


def _set(trial: SearchTrial, some: Sequence[Node]) -> NodeSet:
    return NodeSet.of(some, trial.model.arch.widths)
