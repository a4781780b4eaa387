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

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.compiled import CompiledCircuit, FoldedModel, Prompts
from circuitkit.extraction.answers import Answers
from circuitkit.extraction.asks import ASKS, Ask, AskName
from circuitkit.extraction.upper_bound import Limits, Units, growing, upper_bound
from circuitkit.model import EncodedPairs, Transformer, pair_losses
from circuitkit.model.device import placed
from circuitkit.nodes import NodeSet, Site

_DRIFT_PAIRS = 64


class _Asked:
    """Ablation values with the pairs that circuits are run on under them, prepared once."""

    def __init__(
        self, model: Transformer, values: Mapping[Site, Tensor], chunks: list[EncodedPairs]
    ) -> None:
        self.folded: FoldedModel = FoldedModel(model, values)
        self.chunks: list[Prompts] = [self.folded.prepare(chunk) for chunk in chunks]

    def losses(self, nodes: NodeSet) -> Iterator[Float[Tensor, " some"]]:
        """The pair losses of a circuit, in nats, a chunk at a time."""
        circuit = CompiledCircuit(self.folded, nodes)
        for chunk in self.chunks:
            yield pair_losses(circuit.differences(chunk))


PUSH = 3.0
"""How far the values are pushed, in units of the distance to the means of half the reference."""

DRIFT_NATS = 0.01
"""The largest allowed difference between the losses under the measured and the pushed values."""


@dataclass(slots=True, kw_only=True)
class Criterion:
    """Accepts a set of nodes if its loss on fixed selection pairs meets the target, in nats.

    ``is_strict`` False compares the mean loss with the target, as the paper does.
    ``model_under`` gives what is run under some ablation values; None runs ``model``. ``answers``
    are those of a search that was stopped; None decides every set anew.
    """

    model: Transformer
    values: Mapping[Site, Tensor]
    pairs: EncodedPairs
    target_loss_nats: float
    pushed: tuple[Mapping[Site, Tensor], ...] = ()
    is_strict: bool = True
    asks: Sequence[Ask] = ()
    limits: Limits | None = None
    model_under: Callable[[Mapping[Site, Tensor]], Transformer] | None = None
    answers: Answers | None = None
    n_asked: int = 0
    chunks: _Asked = field(init=False)
    under_pushed: list[_Asked] = field(init=False)
    few: slice = field(init=False)
    units: Units = field(init=False)

    def __post_init__(self) -> None:
        self.values = placed(self.values, self.model.device)
        self.pairs = self.pairs[self.pairs.by_length()]
        self.chunks = self._under(self.values, growing(self.pairs))
        self.few = slice(None, None, max(1, len(self.pairs) // _DRIFT_PAIRS))
        few = self.pairs[self.few]
        self.under_pushed = [self._under(values, [few]) for values in self.pushed]
        self.units = Units.of(self.pairs)

    def _under(self, values: Mapping[Site, Tensor], chunks: list[EncodedPairs]) -> _Asked:
        model = self.model if self.model_under is None else self.model_under(values)
        return _Asked(model, values, chunks)

    @property
    def n_templates(self) -> int:
        """How many templates the pairs come from: the units of the upper bound."""
        return len(set(self.pairs.templates))

    def meets(self, nodes: NodeSet) -> bool:
        """Whether the upper bound is at most the target, the drift small, and each ask met."""
        self.n_asked += 1
        return self._decide(nodes) if self.answers is None else self.answers.of(nodes, self._decide)

    def _decide(self, nodes: NodeSet) -> bool:
        """The same, by running the circuit.

        Losses are never negative. So evaluation stops as soon as their sum so far, divided by
        the number of all pairs, exceeds the target.
        """
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
        met = self._excess(found) <= 1
        met = met and self._drift(nodes, found) <= DRIFT_NATS
        return met and all(ask.meets(nodes) for ask in self.asks)

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
        return upper_bound(self.losses(nodes), self.units.clusters)

    def excess(self, nodes: NodeSet, names: Sequence[AskName] = ASKS) -> float:
        """The upper bound of the loss as a share of the target; of several asks the worst."""
        return max(self.excesses(nodes, names).values())

    def excesses(self, nodes: NodeSet, names: Sequence[AskName] = ASKS) -> dict[AskName, float]:
        """The same by ask, for the asks named."""
        excesses: dict[AskName, float] = {}
        if "mean" in names:
            excesses["mean"] = self._excess(self.losses(nodes))
        for ask in self.asks:
            if ask.name in names:
                excesses[ask.name] = ask.excess(nodes)
        return excesses

    def unmet(self, nodes: NodeSet) -> tuple[AskName, ...]:
        """The asks that some nodes do not meet, or all of them if they meet all."""
        if not self.asks:
            return ("mean",)
        excesses = self.excesses(nodes)
        return tuple(name for name, excess in excesses.items() if excess > 1) or tuple(excesses)

    def hardest_pairs(self, nodes: NodeSet) -> EncodedPairs:
        """The pairs of the form that most exceeds its limit; all pairs where none does."""
        if self.limits is None or self.limits.form is None:
            return self.pairs
        losses = self.losses(nodes)
        is_within = self.units.worst_form(losses) <= self.limits.form
        return self.pairs if is_within else self.pairs[self.units.of_worst_form(losses)]

    def _excess(self, losses: Float[Tensor, " pairs"]) -> float:
        limits = self.limits or Limits(mean=self.target_loss_nats)
        return limits.excess(losses, self.units)
