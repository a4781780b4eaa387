"""The criterion: whether a set of nodes meets the target on fixed pairs.

In: a set of nodes. Out: accepted or not; every decision of the search is one such call. Two
rules (docs/extraction.md#target):

- The upper 95 % bound of the loss meets the target. Its unit is the template, or the pair
  where there is one template only.
- The loss does not depend on the sample that the means were measured over. With activation
  top-k, a constant close to the threshold can survive under the means of one sample and not
  under those of another. So the ablation values are also moved apart, three times as far as
  those of two halves of the sample, and the loss must stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

from circuitkit.compiled import CompiledCircuit, FoldedModel, Prompts
from circuitkit.model import EncodedPairs, Transformer, pair_losses
from circuitkit.nodes import NodeSet, Site

_LEVEL = 0.95
_UPPER = NormalDist().inv_cdf(_LEVEL)
_FEW_TEMPLATES = 12
"""With fewer, Student's quantile for a normal one: from here on they differ by a tenth at most."""

_FIRST_CHUNK = 32
_DRIFT_PAIRS = 64


class _Asked:
    """Ablation values with the pairs that circuits are run on under them, prepared once."""

    def __init__(
        self, model: Transformer, values: Mapping[Site, Tensor], chunks: list[EncodedPairs]
    ) -> None:
        self.folded = FoldedModel(model, values)
        self.chunks: list[Prompts] = [self.folded.prepare(chunk) for chunk in chunks]

    def losses(self, nodes: NodeSet) -> Iterator[Float[Tensor, " some"]]:
        """The pair losses of a circuit, in nats, a chunk at a time."""
        circuit = CompiledCircuit(self.folded, nodes)
        for chunk in self.chunks:
            yield pair_losses(circuit.differences(chunk))


def _growing(pairs: EncodedPairs) -> list[EncodedPairs]:
    """The pairs in chunks, each twice as large as the last: most circuits fail on the first."""
    chunks, start, size = [], 0, _FIRST_CHUNK
    while start < len(pairs):
        chunks.append(pairs[start : start + size])
        start, size = start + size, 2 * size
    return chunks


PUSH = 3.0
"""How far the values are pushed, in units of the distance to the means of half the reference."""

DRIFT_NATS = 0.01
"""The largest allowed difference between the losses under the measured and the pushed values."""


@dataclass(slots=True, kw_only=True)
class Criterion:
    """Accepts a set of nodes if its loss on fixed selection pairs meets the target, in nats.

    ``is_strict`` False compares the mean loss with the target, as the paper does.
    ``model_under`` gives what is run under some ablation values; None runs ``model``.
    """

    model: Transformer
    values: Mapping[Site, Tensor]
    pairs: EncodedPairs
    target_loss_nats: float
    pushed: tuple[Mapping[Site, Tensor], ...] = ()
    is_strict: bool = True
    model_under: Callable[[Mapping[Site, Tensor]], Transformer] | None = None
    n_asked: int = 0
    chunks: _Asked = field(init=False)
    under_pushed: list[_Asked] = field(init=False)
    few: slice = field(init=False)
    clusters: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.pairs = self.pairs[self.pairs.by_length()]
        self.chunks = self._under(self.values, _growing(self.pairs))
        self.few = slice(None, None, max(1, len(self.pairs) // _DRIFT_PAIRS))
        few = self.pairs[self.few]
        self.under_pushed = [self._under(values, [few]) for values in self.pushed]
        known = {name: i for i, name in enumerate(dict.fromkeys(self.pairs.templates))}
        units = [known[name] for name in self.pairs.templates]
        self.clusters = torch.tensor(units if len(known) > 1 else range(len(units)))

    def _under(self, values: Mapping[Site, Tensor], chunks: list[EncodedPairs]) -> _Asked:
        model = self.model if self.model_under is None else self.model_under(values)
        return _Asked(model, values, chunks)

    @property
    def n_templates(self) -> int:
        """How many templates the pairs come from: the units of the upper bound."""
        return len(set(self.pairs.templates))

    def meets(self, nodes: NodeSet) -> bool:
        """Whether the circuit's upper bound is at most the target, and its drift small.

        Losses are never negative. So evaluation stops as soon as their sum so far, divided by
        the number of all pairs, exceeds the target.
        """
        self.n_asked += 1
        losses: list[Tensor] = []
        total = 0.0
        for some in self.chunks.losses(nodes):
            losses.append(some)
            total += float(losses[-1].sum())
            if total > self.target_loss_nats * len(self.pairs):
                return False
        if not self.is_strict:
            return True
        found = torch.cat(losses)
        met = upper_bound(found, self.clusters) <= self.target_loss_nats
        return met and self._drift(nodes, found) <= DRIFT_NATS

    def drift(self, nodes: NodeSet) -> float:
        """The spread, in nats, of the losses under the measured and the pushed values."""
        return self._drift(nodes, self.losses(nodes))

    def _drift(self, nodes: NodeSet, losses: Float[Tensor, " pairs"]) -> float:
        """The spread, given the losses under the measured values.

        All values count, so that a loss which moves the same way under both pushes shows too.
        """
        under = [losses[self.few], *(next(asked.losses(nodes)) for asked in self.under_pushed)]
        means = [float(some.mean()) for some in under]
        return max(means) - min(means)

    def losses(self, nodes: NodeSet) -> Float[Tensor, " pairs"]:
        """The loss of every selection pair, in nats."""
        return torch.cat(list(self.chunks.losses(nodes)))

    def bound(self, nodes: NodeSet) -> float:
        """The upper 95 % bound of the mean loss, in nats."""
        return upper_bound(self.losses(nodes), self.clusters)


def upper_bound(losses: Float[Tensor, " pairs"], clusters: Tensor) -> float:
    """The one-sided upper 95 % bound of a mean whose units are clusters of pairs.

    With few clusters the bound is wide: it then uses Student's quantile.
    """
    mean = losses.double().mean()
    n_clusters = int(clusters.max()) + 1
    sums = torch.zeros(n_clusters, dtype=torch.float64)
    sums.index_add_(0, clusters, losses.double() - mean)
    variance = sums.square().sum() / len(losses) ** 2 * n_clusters / max(1, n_clusters - 1)
    return float(mean + _quantile(n_clusters) * variance.sqrt())


def _quantile(n_clusters: int) -> float:
    if 1 < n_clusters < _FEW_TEMPLATES:
        return float(stdtrit(n_clusters - 1, _LEVEL))
    return _UPPER
