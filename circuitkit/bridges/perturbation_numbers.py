"""The numbers of a perturbation: logit differences in, means and shares with intervals out.

Intervals are over templates, two-sided 90 %; docs/bridges.md says what each number is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.bridges.crossings import crossing_names, crossing_of
from circuitkit.bridges.perturb_pairs import Perturbed
from circuitkit.circuit.perturbation import Perturbation, RandomDirections, Strength
from circuitkit.circuit.transfer import Bounded
from circuitkit.errors import CircuitError, TaskError
from circuitkit.model.encoded_pairs import EncodedPairs, hits
from circuitkit.nodes import NodeSet
from circuitkit.statistics.intervals import (
    Estimate,
    cluster_mean,
    cluster_ratio,
    monte_carlo_p,
    proportion,
)


def summary(
    found: Perturbed, pairs: EncodedPairs, nodes: NodeSet, n_layer: int,
    strengths: Sequence[float], seed: int, about: dict,
) -> Perturbation:  # fmt: skip
    """The numbers of a perturbation, with intervals over templates.

    Raises:
        CircuitError: if the nodes have nothing to carry over.
        TaskError: if the dense model answers no prompt rightly.
    """
    _check(found, nodes, about)
    own, names, clusters = found.dense[0], crossing_names(n_layer), pairs.templates
    crossings = {crossing_of(site, n_layer) for site in nodes.channels}

    def per_norm(d: Tensor) -> Bounded:
        return _bounded(cluster_ratio(_pairs(own - d), _pairs(found.norm), clusters, seed))

    def follows(d: Tensor) -> Bounded:
        return _bounded(turned(own, d, clusters, seed))

    def mean(values: Tensor) -> Bounded:
        return _bounded(cluster_mean(_pairs(values), clusters, seed))

    return Perturbation(
        **about,
        nodes=tuple(map(str, nodes)),
        crossings=tuple(names[i] for i in sorted(crossings)),
        seed=seed,
        n_pairs=len(pairs),
        n_templates=len(set(clusters)),
        n_right=int((own > 0).sum()),
        curve=tuple(
            Strength(
                strength=strength,
                dense_d=mean(dense),
                dense_other_answer=_bounded(
                    proportion(_pairs(torch.sigmoid(-dense)), clusters, seed)
                ),
                dense_follows=follows(dense),
                sparse_d=mean(sparse),
            )
            for strength, dense, sparse in zip(strengths, found.dense, found.sparse, strict=True)
        ),
        norm=float(found.norm.double().mean()),
        d_per_norm=per_norm(found.dense[-1]),
        by_means_d_per_norm=per_norm(found.by_means),
        by_means_follows=follows(found.by_means),
        random=_random(found, clusters, seed),
    )


def _check(found: Perturbed, nodes: NodeSet, about: dict) -> None:
    if not float(hits(found.dense[0]).sum()):
        raise TaskError(
            f"dense checkpoint {about['dense'].name} answers no prompt of {about['task'].name} "
            "rightly: there is no answer to turn. Choose a task that it does."
        )
    if not float(found.norm.sum()):
        raise CircuitError(
            f"{', '.join(map(str, nodes))}: the same on both prompts of every pair, or nothing "
            "reads it: there is nothing to carry over. Choose another node."
        )


def _random(found: Perturbed, clusters: Sequence[str], seed: int) -> RandomDirections:
    """How far the random directions go, and how many as far as the nodes."""
    own, n_draws = found.dense[0], len(found.random)
    falls = (own - found.random).double().mean(1)
    by_norm = falls / found.norm.double().mean()
    reaches = int((falls >= (own - found.dense[-1]).double().mean()).sum())
    return RandomDirections(
        n_draws=n_draws,
        d_per_norm=float(by_norm.mean()),
        highest_d_per_norm=float(by_norm.max()),
        follows=float(np.mean([turned(own, d, clusters, seed).effect for d in found.random])),
        p_value=monte_carlo_p(reaches, n_draws),
    )


def turned(own: Tensor, moved: Tensor, clusters: Sequence[str], seed: int) -> Estimate:
    """Of the prompts answered rightly, the share whose answer is the other one when moved."""
    right = (own > 0).double()
    return proportion(_pairs(right * (moved < 0)), clusters, seed, among=_pairs(right))


def _pairs(rows: Tensor) -> NDArray[np.float64]:
    """The mean of a pair's two prompts."""
    return rows.double().view(2, -1).mean(0).numpy()


def _bounded(estimate: Estimate) -> Bounded:
    low, high = estimate.bounds
    return Bounded(effect=estimate.effect, low=low, high=high)
