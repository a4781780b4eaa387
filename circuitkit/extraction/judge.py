"""The judge: does a set of nodes meet the target on fixed pairs?

Every decision of the search is one question to the judge. It accepts when the
upper 95 % bound of the loss, with the template as the unit, meets the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.compiled import compile_circuit
from circuitkit.model import EncodedPairs, Transformer, pair_losses
from circuitkit.nodes import NodeSet, Site

_UPPER = NormalDist().inv_cdf(0.95)
_CHUNK = 32


@dataclass(slots=True, kw_only=True)
class Judge:
    """Fixed selection pairs and the target that a circuit has to meet on them, in nats."""

    model: Transformer
    values: Mapping[Site, Tensor]
    pairs: EncodedPairs
    target_loss_nats: float
    n_asked: int = 0
    chunks: list[EncodedPairs] = field(init=False)
    clusters: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.pairs = self.pairs[self.pairs.by_length()]
        starts = range(0, len(self.pairs), _CHUNK)
        self.chunks = [self.pairs[start : start + _CHUNK] for start in starts]
        known = {name: i for i, name in enumerate(dict.fromkeys(self.pairs.templates))}
        self.clusters = torch.tensor([known[name] for name in self.pairs.templates])

    def meets(self, nodes: NodeSet) -> bool:
        """Whether the circuit's upper bound is at most the target.

        Losses are never negative, so the answer is no as soon as their sum so far,
        spread over all pairs, exceeds it.
        """
        self.n_asked += 1
        circuit = compile_circuit(self.model, nodes, self.values)
        losses: list[Tensor] = []
        total = 0.0
        for chunk in self.chunks:
            losses.append(pair_losses(circuit.differences(chunk)))
            total += float(losses[-1].sum())
            if total > self.target_loss_nats * len(self.pairs):
                return False
        return upper_bound(torch.cat(losses), self.clusters) <= self.target_loss_nats

    def losses(self, nodes: NodeSet) -> Float[Tensor, " pairs"]:
        """The loss of every selection pair, in nats."""
        circuit = compile_circuit(self.model, nodes, self.values)
        return torch.cat([pair_losses(circuit.differences(chunk)) for chunk in self.chunks])

    def bound(self, nodes: NodeSet) -> float:
        """The upper 95 % bound of the mean loss, in nats."""
        return upper_bound(self.losses(nodes), self.clusters)


def upper_bound(losses: Float[Tensor, " pairs"], clusters: Tensor) -> float:
    """The one-sided upper 95 % bound of a mean whose units are clusters of pairs."""
    mean = losses.double().mean()
    n_clusters = int(clusters.max()) + 1
    sums = torch.zeros(n_clusters, dtype=torch.float64)
    sums.index_add_(0, clusters, losses.double() - mean)
    variance = sums.square().sum() / len(losses) ** 2 * n_clusters / max(1, n_clusters - 1)
    return float(mean + _UPPER * variance.sqrt())
