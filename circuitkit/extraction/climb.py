"""Climb: from the smallest circuit to one that is to be trusted.

In: circuits that meet the target, and what more is asked. Out: the smallest set found that does
all that is asked, from which no single node can go, or the ask that could not be met and by how
much. Masks are learned with every ask in the objective, over the nodes that matter to any of
them. It is decided on selection and training pairs together: the more templates, the fewer that
a circuit can fail unseen. Source: ours (docs/extraction.md#ladder).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.circuit import Outcome
from circuitkit.extraction.ask_maker import AskMaker
from circuitkit.extraction.asks import AskName
from circuitkit.extraction.candidates import OPENNESS, attribution, ranked
from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.edge_pruning import Kept
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.gated_background import GatedBackground
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.local_search import improve
from circuitkit.extraction.mask_learning import Scores, learn_masks
from circuitkit.extraction.masked_model import nodes_of
from circuitkit.extraction.resume import SavedSearch
from circuitkit.extraction.search import Found, Restart, follow
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress

N_CANDIDATES = 512
"""Nodes that masks are learned over, at first: those that matter most to any ask."""

_N_ATTEMPTS = 2
_TRAIN_SHARE = 192
_GRADIENT_PAIRS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Climbed:
    """What came of it: ``nodes`` do all that is asked, or are the nearest to it.

    ``excesses`` are by ask, as a share of the limit; above 1 the ask is not met.
    """

    restarts: tuple[Restart, ...]
    nodes: NodeSet
    excesses: Mapping[AskName, float]

    @property
    def is_met(self) -> bool:
        """Whether every ask is met."""
        return max(self.excesses.values()) <= 1

    def found(self, model: Transformer) -> Found:
        """The circuit as something found by a restart that met every ask, if one did."""
        best = min(self.restarts, key=lambda restart: restart.size)
        outcome: Outcome = "target_met" if self.is_met else "target_missed"
        kept = Kept(nodes=self.nodes, edges=edges_between(model, self.nodes))
        return Found(restart=replace(best, outcome=outcome), kept=kept)


def pairs_to_decide(train: EncodedPairs, select: EncodedPairs) -> EncodedPairs:
    """The selection pairs and some training pairs."""
    return select + train[:_TRAIN_SHARE]


@dataclass(frozen=True, kw_only=True)
class Climb:
    """The steps, over what all of them share; ``known`` are circuits that meet the target."""

    known: Sequence[NodeSet]
    train: EncodedPairs
    criterion: Criterion
    maker: AskMaker
    config: ExtractConfig
    within: NodeSet | None
    saved: SavedSearch
    progress: Progress

    def run(self) -> Climbed:
        """Learn, discretise and eliminate, a second time more gently if need be; then look near."""
        tried = tuple(self._tried())
        met = [restart.nodes for restart in tried if restart.outcome == "target_met"]
        met += [nodes for nodes in self.known[:1] if self.criterion.meets(nodes)]
        if met:
            nodes = improve(met, self.criterion, self.candidates, self.progress)
        else:
            nodes = min((restart.nodes for restart in tried), key=self.criterion.excess)
        return Climbed(restarts=tried, nodes=nodes, excesses=self.criterion.excesses(nodes))

    def _tried(self) -> Iterator[Restart]:
        """A circuit, or its saved result, up to the first that does all that is asked."""
        for attempt in range(_N_ATTEMPTS):
            criterion = replace(self.criterion, n_asked=0)
            learning = self.config.learning.of_restart(attempt)
            name, scores = f"trusted {attempt}", self._scores(attempt)
            restart = self.saved.restart(name, scores, learning)
            if restart is None:
                criterion.answers = self.saved.answers(name)
                restart = follow(scores, criterion, self.config, self._named)
                self.saved.keep_restart(name, restart)
            yield restart
            if restart.outcome == "target_met":
                return

    def _scores(self, attempt: int) -> Scores:
        """What mask learning ends with, or its saved result."""
        name, model = f"trusted {attempt}", self.criterion.model
        scores = self.saved.scores(name, model.arch.widths)
        if scores is None:
            seed, asks = 1000 * self.config.seed, self.maker.known(self.config.asks)
            scores = learn_masks(
                model, self.train, self.criterion.values,
                target_loss_nats=self.criterion.target_loss_nats,
                config=self.config.learning.of_restart(attempt), seed=seed,
                within=self.candidates, progress=self._named,
                terms=self.maker.terms(asks, self.train, self.candidates, seed),
            )  # fmt: skip
            self.saved.keep_scores(name, scores)
        return scores

    def _named(self, stage: str, done: int, total: int) -> None:
        self.progress(f"trusted: {stage}", done, total)

    @cached_property
    def candidates(self) -> NodeSet:
        """The nodes of largest effect under any ask, enough of them to meet every ask."""
        widths, first = self.criterion.model.arch.widths, N_CANDIDATES
        ranking = ranked(self._effects())
        allowed = NodeSet.full(widths) if self.within is None else self.within
        while True:
            flat = torch.zeros(len(ranking)).index_fill(0, ranking[:first], 1.0)
            chosen = nodes_of(dict(zip(widths, flat.split(list(widths.values())), strict=True)))
            chosen = NodeSet.of(
                {*(chosen & allowed), *(n for known in self.known for n in known)}, widths
            )
            if first >= len(ranking) or self.criterion.meets(chosen):
                return chosen
            first *= 2

    def _effects(self) -> Float[Tensor, "kinds nodes"]:
        """How far, to first order, every node moves the logit difference, ablated or swapped."""
        order = self.train.by_length()
        some = self.train[order[:: max(1, len(order) // _GRADIENT_PAIRS)][:_GRADIENT_PAIRS]]
        widths = self.criterion.model.arch.widths
        folded = self.maker.folded("interchange", some)
        rows = [*attribution(self.train, self.criterion)]
        for openness in OPENNESS:
            gates = {s: torch.full((w,), openness, requires_grad=True) for s, w in widths.items()}
            gated = GatedBackground(folded, NodeSet.full(widths))
            gated.run(gates).differences.mean().backward(inputs=list(gates.values()))
            rows.append(torch.cat([_gradient(gate) for gate in gates.values()]).abs())
        return torch.stack(rows)


def _gradient(gate: Tensor) -> Tensor:
    return torch.zeros_like(gate) if gate.grad is None else gate.grad
