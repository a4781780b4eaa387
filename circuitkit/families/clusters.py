"""Clusters of pairs by their effects: how many there are, one being a real answer.

In: one vector of effects a pair, and the template of each. Out: a label for every pair, and how
stable every number of clusters is. Vectors are scaled to length 1, so that pairs are compared by
which nodes do the work and not by how much.

The number of clusters is the largest whose prediction strength is at least 0.8 (Tibshirani and
Walther 2005): the pairs of one half are clustered and labelled by the centres of the other half;
of two pairs in one cluster, the share that the other half puts together too, in the worst
cluster. Halves are of templates. Clusters whose centres point the same way (cosine above 0.8)
count as one: their pairs use the same nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import ClusterError, kmeans2, vq

Vectors = NDArray[np.float64]

STABLE = 0.8
"""The prediction strength from which a number of clusters counts; Tibshirani and Walther's."""

ALIKE = 0.8
"""The cosine of two centres from which they are one mechanism; set on planted models."""

MOST_CLUSTERS = 6
N_NODES = 256
"""Nodes of the largest effect: the others add noise alone."""

_N_HALVES, _N_STARTS, _N_STEPS, _DIGITS = 5, 8, 30, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """The centres, over the chosen nodes; ``strength`` by number of clusters, 1 having 1."""

    nodes: NDArray[np.int64]
    centres: Vectors
    strength: Mapping[int, float]

    def labels(self, effects: Vectors) -> NDArray[np.int64]:
        """The nearest centre of each pair."""
        return vq(_scaled(effects[:, self.nodes]), self.centres)[0].astype(np.int64)


def find_clusters(effects: Vectors, templates: Sequence[str], seed: int = 0) -> Clusters:
    """Cluster the pairs, with as many clusters as are stable, and largest first."""
    nodes = np.argsort(-np.abs(effects).mean(0), kind="stable")[:N_NODES]
    vectors = _scaled(effects[:, nodes])
    halves = [_half(templates, seed + i) for i in range(_N_HALVES)]
    strength = {1: 1.0}
    chosen = vectors.mean(0, keepdims=True)
    for k in range(2, MOST_CLUSTERS + 1):
        centres = _centres(vectors, k, seed)
        if centres is None:
            break
        found = [_strength(vectors, half, k, seed) for half in halves]
        strength[k] = float(np.mean(found))
        if strength[k] >= STABLE and _are_apart(centres):
            chosen = centres
    sizes = np.bincount(vq(vectors, chosen)[0], minlength=len(chosen))
    return Clusters(nodes=nodes, centres=chosen[np.argsort(-sizes, kind="stable")],
                    strength=strength)  # fmt: skip


def _scaled(effects: Vectors) -> Vectors:
    sizes = np.linalg.norm(effects, axis=1, keepdims=True)
    return np.asarray(effects / np.maximum(sizes, np.finfo(np.float64).tiny), dtype=np.float64)


def _half(templates: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Which pairs are in the first half: those of half of the templates."""
    names = sorted(set(templates))
    chosen = np.random.default_rng(seed).permutation(len(names))[: len(names) // 2]
    return np.isin(templates, [names[i] for i in chosen])


def _centres(vectors: Vectors, k: int, seed: int) -> Vectors | None:
    """The best of several k-means; None where k clusters cannot be filled."""
    best, least = None, np.inf
    if len(np.unique(vectors.round(_DIGITS), axis=0)) < k:
        return None
    for start in range(_N_STARTS):
        first = _first_centres(vectors, k, np.random.default_rng([seed, k, start]))
        try:
            centres, labels = kmeans2(
                vectors, first, iter=_N_STEPS, minit="matrix", missing="raise"
            )
        except ClusterError:
            continue
        spread = float(np.square(vectors - centres[labels]).sum())
        if spread < least:
            best, least = centres, spread
    return best


def _first_centres(vectors: Vectors, k: int, rng: np.random.Generator) -> Vectors:
    """Points far from each other (k-means++, Arthur and Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(vectors)))]
    far = np.full(len(vectors), np.inf)
    while len(chosen) < k:
        far = np.minimum(far, np.square(vectors - vectors[chosen[-1]]).sum(1))
        chosen.append(int(rng.choice(len(vectors), p=far / far.sum())))
    return vectors[chosen]


def _strength(vectors: Vectors, half: NDArray[np.bool_], k: int, seed: int) -> float:
    """The prediction strength of k clusters, of the two ways round the worse."""
    parts = vectors[half], vectors[~half]
    centres = [_centres(part, k, seed) for part in parts]
    if centres[0] is None or centres[1] is None:
        return 0.0
    return min(
        _together(vq(part, own)[0], vq(part, other)[0])
        for part, own, other in zip(parts, centres, reversed(centres), strict=True)
    )


def _together(own: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Of two points in one cluster the share that the other labels put together; the worst."""
    shares = []
    for label in np.unique(own):
        counts = np.bincount(other[own == label])
        n = int(counts.sum())
        shares.append(float((counts * (counts - 1)).sum() / (n * (n - 1))) if n > 1 else 0.0)
    return min(shares)


def _are_apart(centres: Vectors) -> bool:
    unit = _scaled(centres)
    return all(float(a @ b) < ALIKE for a, b in combinations(unit, 2))
