"""Asks: what a circuit has to do besides the task with everything else at its mean.

A circuit that is asked for one thing is good at that alone, so a circuit to be trusted is asked
what validation asks. Every ask has a criterion on selection pairs (``Ask``) and a term of the
objective of mask learning (``Term``). Source: ours (docs/extraction.md#asks).

``mean``: the pair loss, the rest at its ablation value. ``interchange``: the pair loss, the rest
as on the other prompt of the pair. ``restore``: the pair loss, every other node given back with
some probability. ``norms``: the pair loss, every norm divided by what it is
divided by in the whole model. ``background``: the sign of the cue, the rest at random reference
tokens, the same for both prompts of a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from circuitkit.compiled.background import FoldedBackground
from circuitkit.compiled.patched import Patched, PatchedCircuit
from circuitkit.errors import UsageError
from circuitkit.extraction.gated_background import GatedBackground
from circuitkit.extraction.masked_model import gates_of
from circuitkit.extraction.upper_bound import Limits, Units
from circuitkit.model import EncodedPairs, hits, pair_losses
from circuitkit.nodes import NodeSet, Site

AskName = Literal["mean", "interchange", "restore", "norms", "background"]
ASKS: tuple[AskName, ...] = get_args(AskName)

DEFAULT_ASKS: tuple[AskName, ...] = ("mean", "interchange", "norms", "background")
"""``restore`` runs half the model, and circuits that meet the others meet it too."""

GAIN_ASKED = 2.7
"""How many times the final norm may amplify; validation allows 3 on other prompts."""

_HEAVIEST = 4.0
"""The largest weight of a term, and one over the smallest; the task loss has weight 1."""

Of = Callable[[Patched], Float[Tensor, " pairs"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number a pair, never negative, and its limits."""

    name: str
    of: Of
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A criterion on selection pairs: every measure is within its limit."""

    name: AskName
    measures: tuple[Measure, ...]
    loss_of: Of
    pairs: EncodedPairs
    chunks: list[FoldedBackground]
    units: Units

    def meets(self, nodes: NodeSet) -> bool:
        """Whether a circuit does what is asked. No measure is negative, so most fail early."""
        values = [torch.zeros(0) for _ in self.measures]
        for chunk in self.chunks:
            values = self._more(values, chunk, nodes)
            for measure, some in zip(self.measures, values, strict=True):
                if float(some.sum()) > measure.limits.mean * len(self.units):
                    return False
        return self._excess(values) <= 1

    def excess(self, nodes: NodeSet) -> float:
        """The largest upper bound of a measure, as a share of its limit."""
        return self._excess(self.values(nodes))

    def values(self, nodes: NodeSet) -> list[Float[Tensor, " pairs"]]:
        """Every measure of a circuit, one number a pair."""
        values = [torch.zeros(0) for _ in self.measures]
        for chunk in self.chunks:
            values = self._more(values, chunk, nodes)
        return values

    @torch.no_grad()
    def losses(self, nodes: NodeSet) -> Float[Tensor, " pairs"]:
        """What the search lowers, in nats, one a pair."""
        runs = [PatchedCircuit(chunk, nodes).run() for chunk in self.chunks]
        return torch.cat([self.loss_of(found).cpu() for found in runs])

    def gradients(self, nodes: NodeSet, within: NodeSet) -> dict[Site, Float[Tensor, " width"]]:
        """The gradient in every gate of the mean loss of the first pairs, ``nodes`` open."""
        gated = GatedBackground(self.chunks[0], within)
        gates = gates_of(nodes, self.chunks[0].arch.widths)
        for gate in gates.values():
            gate.requires_grad_()
        self.loss_of(gated.run(gates)).mean().backward(inputs=list(gates.values()))
        return {s: torch.zeros_like(g) if g.grad is None else g.grad for s, g in gates.items()}

    @torch.no_grad()
    def _more(
        self, values: list[Tensor], chunk: FoldedBackground, nodes: NodeSet
    ) -> list[Float[Tensor, " pairs"]]:
        found = PatchedCircuit(chunk, nodes).run()
        return [
            torch.cat([some, m.of(found).cpu()])
            for some, m in zip(values, self.measures, strict=True)
        ]

    def _excess(self, values: list[Tensor]) -> float:
        return max(
            m.limits.excess(v, self.units) for m, v in zip(self.measures, values, strict=True)
        )


@dataclass(slots=True, kw_only=True)
class Term:
    """A term of the objective: a mean loss in nats, on batches of training pairs in turn.

    Its weight rises while the loss is above the target and falls otherwise.
    """

    name: AskName
    target: float
    loss_of: Of
    batches: list[GatedBackground]
    weight: float = 1.0

    def loss(self, step: int, gates: Mapping[Site, Tensor]) -> Float[Tensor, ""]:
        """The loss on the batch of this step."""
        return self.loss_of(self.batches[step % len(self.batches)].run(gates)).mean()

    def weigh(self, factor: float) -> None:
        """Change the weight by a factor, within bounds."""
        self.weight = min(_HEAVIEST, max(1 / _HEAVIEST, self.weight * factor))

    def narrow(self, candidates: NodeSet) -> None:
        """Fold away everything but these candidates."""
        for batch in self.batches:
            batch.narrow(candidates)


def losses(found: Patched) -> Float[Tensor, " pairs"]:
    """The pair loss in nats."""
    return pair_losses(found.differences)


def misses(found: Patched) -> Float[Tensor, " pairs"]:
    """The share of a pair's two prompts that are answered wrongly."""
    return 1 - hits(found.differences).view(2, -1).mean(0)


def cue_losses(found: Patched) -> Float[Tensor, " pairs"]:
    """softplus(-cue) in nats; the cue is what the two prompts of a pair disagree on."""
    return F.softplus(-found.differences.view(2, -1).mean(0))


def cue_lost(found: Patched) -> Float[Tensor, " pairs"]:
    """1 where the cue has the wrong sign, else 0."""
    return 1 - hits(found.differences.view(2, -1).mean(0))


def gains(found: Patched) -> Float[Tensor, " pairs"]:
    """How many times more the final norm amplifies than the whole model's."""
    return found.gains.view(2, -1).mean(0)


def losses_and_gains(found: Patched) -> Float[Tensor, " pairs"]:
    """The pair loss, and what the gain is above the largest allowed."""
    return losses(found) + F.relu(gains(found) - GAIN_ASKED)


def check_asks(names: Sequence[str]) -> tuple[AskName, ...]:
    """The asks by name, in their order; ``mean`` is always among them.

    Raises:
        UsageError: if there is no such ask.
    """
    unknown = [name for name in names if name not in ASKS]
    if unknown:
        raise UsageError(f"no such ask: {unknown[0]!r}; expected some of {', '.join(ASKS)}.")
    return tuple(name for name in ASKS if name == "mean" or name in names)
