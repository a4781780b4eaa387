"""One search: rank the nodes by some method, discretise, eliminate.

In: training pairs, the criterion, a config. Out: a ``Restart``, a candidate circuit with the
scores it came from. Several of them differ in their seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import inf

from circuitkit.circuit import Outcome
from circuitkit.extraction.attribution import attribute, shuffled
from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.discretise import (
    bisect_scores,
    discretise,
    ranked_nodes,
    size_around,
    smallest_prefix,
)
from circuitkit.extraction.edge_pruning import Kept
from circuitkit.extraction.elimination import eliminate
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.mask_learning import PruningConfig, Scores, learn_masks
from circuitkit.model import EncodedPairs
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress, silent

_FAR = 4.0
"""A set of so many times the learned size counts as different from the learned set."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Restart:
    """The result of one ranking: 1-minimal if it was refined and the target is met."""

    learning: PruningConfig
    scores: Scores
    outcome: Outcome
    nodes: NodeSet
    n_edges: int
    n_judged: int

    @property
    def size(self) -> tuple[bool, int, int]:
        """What restarts are compared by: target met first, then edges, then nodes."""
        return (self.outcome != "target_met", self.n_edges, len(self.nodes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The circuit, the restart it came from, and other circuits that are no larger."""

    restart: Restart
    kept: Kept
    alternatives: tuple[NodeSet, ...] = ()

    @property
    def is_minimal(self) -> bool:
        """Whether elimination was completed."""
        return self.restart.outcome == "target_met"


def search(
    train: EncodedPairs,
    criterion: Criterion,
    config: ExtractConfig,
    seed: int,
    *,
    within: NodeSet | None = None,
    progress: Progress = silent,
) -> Restart:
    """Rank, discretise, eliminate: one candidate circuit."""
    scores = rank(train, criterion, config, seed, within=within, progress=progress)
    return follow(scores, criterion, config, progress)


def rank(
    train: EncodedPairs,
    criterion: Criterion,
    config: ExtractConfig,
    seed: int,
    *,
    within: NodeSet | None = None,
    progress: Progress = silent,
) -> Scores:
    """The ranking of the config's method; masks that say little are learned again, with less λ.

    Where many nodes close before the loss rises, the size pressure has grown so high that the
    task is not recovered as it falls. Where a few more nodes do the task, the ranking is used
    all the same: it may give the smallest circuit of all. Of two rankings the one is used whose
    set is smaller.
    """
    if config.method == "pruning":
        asked = config.learning
        learn = partial(
            learn_masks, criterion.model, train, criterion.values,
            target_loss_nats=criterion.target_loss_nats, seed=seed, within=within,
            progress=progress,
        )  # fmt: skip
        scores = _discretised(learn(config=asked), criterion, config)
        if asked.gentler > 1 and not _is_near(scores):
            gentle = _discretised(learn(config=asked.of_restart(1)), criterion, config)
            scores = min((gentle, scores), key=_n_discretised)
        return scores
    scores = attribute(
        criterion.model, train, criterion.values, n_points=config.n_gradient_points, seed=seed,
        within=within, progress=progress,
    )  # fmt: skip
    return shuffled(scores, seed) if config.method == "random" else scores


def _discretised(scores: Scores, criterion: Criterion, config: ExtractConfig) -> Scores:
    before = criterion.n_asked
    nodes = _discretise(scores, criterion, config)
    return replace(scores, discretised=nodes, n_judged=criterion.n_asked - before)


def _n_discretised(scores: Scores) -> float:
    return inf if scores.discretised is None else float(len(scores.discretised))


def _is_near(scores: Scores) -> bool:
    """Whether the set that meets the target is at most a few times the learned one."""
    return _n_discretised(scores) <= _FAR * size_around(scores)


def in_force(scores: Scores, config: ExtractConfig) -> PruningConfig:
    """The settings that the scores were learned under: the pressure may have begun lower."""
    asked = config.learning
    return replace(asked, pressure_start=scores.history[0][2]) if scores.history else asked


def follow(
    scores: Scores, criterion: Criterion, config: ExtractConfig, progress: Progress = silent
) -> Restart:
    """From a ranking to a circuit."""
    before = criterion.n_asked - scores.n_judged
    nodes = scores.discretised if scores.n_judged else _discretise(scores, criterion, config)
    outcome: Outcome = "target_met"
    if nodes is None:
        everything = scores.within or NodeSet.full(criterion.model.arch.widths)
        emptied = config.method == "pruning" and not len(scores.learned)
        outcome = "collapsed" if emptied else "target_missed"
        nodes = scores.learned if config.method == "pruning" else everything
    elif config.refine:
        nodes = eliminate(nodes, criterion, ranked_nodes(scores), progress)
    return Restart(
        learning=in_force(scores, config), scores=scores, outcome=outcome, nodes=nodes,
        n_edges=len(edges_between(criterion.model, nodes)), n_judged=criterion.n_asked - before,
    )  # fmt: skip


def _discretise(scores: Scores, criterion: Criterion, config: ExtractConfig) -> NodeSet | None:
    if config.method != "pruning":
        return smallest_prefix(scores, criterion)
    if config.schedule == "paper":
        return bisect_scores(scores, criterion)
    return discretise(scores, criterion)
