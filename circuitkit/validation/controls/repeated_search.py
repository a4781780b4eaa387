"""One more search: the circuit's own extraction, on other labels, weights or pairs.

In: a problem, and how many sets of nodes its criterion may try. Out: the circuit found, with
its size. It runs one restart of the functions that extraction runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from circuitkit.extraction.asks import ASKS, AskName
from circuitkit.extraction.candidates import nodes_to_learn
from circuitkit.extraction.criterion import PUSH, Criterion
from circuitkit.extraction.means import Means
from circuitkit.extraction.search import search as search_once
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress
from circuitkit.validation.search_trial import SearchTrial

Size = tuple[int, int]
"""Edges, then nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem to find a circuit for."""

    kind: str
    model: Transformer
    means: Means
    train: EncodedPairs
    select: EncodedPairs


class _SpentError(Exception):
    """The budget is spent and nothing met the target: the search has missed it."""


@dataclass(slots=True, kw_only=True)
class CountingCriterion(Criterion):
    """A criterion that counts the sets it tries and, past its budget, rejects all.

    Exact bounds, which adding nodes back needs, count too. If no set met the target before the
    budget was spent, the search ends there: its gradients could take hours, and change nothing.
    """

    budget: int | None = None
    n_questions: int = 0
    has_met: bool = False

    def meets(self, nodes: NodeSet) -> bool:
        """Whether the circuit's upper bound is at most the target, and the budget not spent."""
        met = self._may_ask() and Criterion.meets(self, nodes)
        self.has_met |= met
        return met

    def excess(self, nodes: NodeSet, names: Sequence[AskName] = ASKS) -> float:
        """As a share of the target; infinite once the budget is spent."""
        return Criterion.excess(self, nodes, names) if self._may_ask() else float("inf")

    def _may_ask(self) -> bool:
        self.n_questions += 1
        is_spent = self.budget is not None and self.n_questions > self.budget
        if is_spent and not self.has_met:
            raise _SpentError
        return not is_spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of a search; ``size`` is None when it missed the target.

    A search that spent its budget in vain has no nodes.
    """

    nodes: NodeSet
    size: Size | None
    n_questions: int


def own_problem(trial: SearchTrial) -> Problem:
    """The problem that the circuit was extracted for."""
    return Problem(
        kind="real", model=trial.model, means=trial.means, train=trial.train, select=trial.select
    )


def search(
    trial: SearchTrial,
    problem: Problem,
    index: int,
    progress: Progress,
    budget: int | None = None,
) -> Found:
    """Learn masks, discretise and eliminate once, towards the target of the circuit.

    ``index`` is the number of the restart: it decides the random numbers.
    """
    criterion = CountingCriterion(
        model=problem.model,
        values=problem.means.values,
        pushed=(problem.means.pushed(PUSH), problem.means.pushed(-PUSH)),
        pairs=problem.select,
        target_loss_nats=trial.circuit.target_loss_nats,
        budget=budget,
    )
    config = trial.search
    seed = 1000 * config.seed + index
    nodes, size = NodeSet(widths=problem.model.arch.widths), None
    with suppress(_SpentError):
        some = nodes_to_learn(problem.train, criterion, config)
        criterion.has_met = False  # nodes to choose from are no circuit
        ended = search_once(problem.train, criterion, config, seed, within=some, progress=progress)
        nodes = ended.nodes
        if ended.outcome == "target_met":
            size = ended.n_edges, len(nodes)
    trial.passes += config.learning.n_steps + criterion.n_questions
    return Found(nodes=nodes, size=size, n_questions=criterion.n_questions)


def within(progress: Progress, stage: str, done: int, total: int) -> Progress:
    """Progress of one of ``total`` searches, as part of the whole."""

    def report(inner: str, step: int, steps: int) -> None:
        if inner == "masks":
            progress(stage, done * steps + step, total * steps)

    return report
