"""The truth about a small model, by brute force: every circuit of minimum size.

In: a model, pairs, ablation values and a target. Out: all smallest sets of nodes whose loss
meets the target, with their edges, and by how much the nearest other set misses it.

Guaranteed: no smaller set meets the target, and no other of this size. Sets are tried size
by size, every set in which each node reaches the answers through nodes of the set, and at
least one node reads an embedding that differs between the prompts of a pair. No others need
be tried: a node that reaches no answer can be removed, and without such a reading both prompts
look the same, which costs ln 2. So the search is exact, though the loss is not monotone. With
activation top-k one case is left out: nodes that matter only by competing at their site.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from circuitkit.compiled import CompiledCircuit, FoldedModel, Prompts
from circuitkit.errors import UsageError
from circuitkit.extraction import Means, edges_between
from circuitkit.model import LN2, EncodedPairs, Transformer, pair_losses
from circuitkit.nodes import Edge, Node, NodeSet, Site
from circuitkit.planted.live_nodes import Alive, find_alive, has_even_norms

MAX_SETS = 2_000_000

Places = tuple[int, ...]
"""A set of live nodes by their places in ``Alive.nodes``, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Every circuit of minimum size.

    ``loss_nats`` is the largest loss of a circuit, ``refused_nats`` the smallest of any other
    set tried up to that size (None if there was none): the target can lie anywhere between.
    """

    circuits: tuple[NodeSet, ...]
    edges: tuple[tuple[Edge, ...], ...]
    target_loss_nats: float
    loss_nats: float
    refused_nats: float | None
    alive: tuple[Node, ...]
    n_tried: int

    @property
    def n_alive(self) -> int:
        """How many nodes can matter."""
        return len(self.alive)


def find_truth(
    model: Transformer,
    pairs: EncodedPairs,
    means: Means,
    target_loss_nats: float,
    inert: NodeSet | None = None,
) -> Truth:
    """Find all smallest circuits that meet the target on these pairs.

    ``inert`` nodes are in none: what they reach is known to be no answer.

    Raises:
        UsageError: if the target is no better than chance, nothing meets it, or there are
            too many sets to try.
    """
    _check(model, pairs, target_loss_nats)
    alive = find_alive(model, pairs, means.values, inert)
    trial = _Trial(
        model=model, pairs=pairs, values=means.values, alive=alive,
        target_loss_nats=target_loss_nats,
    )  # fmt: skip
    level: list[Places] = [()]
    while level := _grown(level, alive, trial.n_tried):
        met = trial.losses(s for s in level if not alive.cues.isdisjoint(s))
        if met:
            return _truth(trial, met)
    raise UsageError(
        f"no set of the {len(alive.nodes)} nodes that can matter meets {target_loss_nats} nats; "
        "the model does not do the task. Give a larger target or another task."
    )


def _check(model: Transformer, pairs: EncodedPairs, target_loss_nats: float) -> None:
    """Refuse anything under which the search would not be exact."""
    if not 0 < target_loss_nats < LN2:
        raise UsageError(f"target {target_loss_nats} nats: expected more than 0, less than ln 2.")
    arch = model.arch
    same_length = torch.equal(*pairs.last.chunk(2))
    uneven = arch.norm == "layernorm" and not has_even_norms(model, pairs)
    if arch.bigram_table or (arch.positions == "learned" and not same_length) or uneven:
        raise UsageError(
            "brute force does not cover a bigram table, learned positions under prompts of two "
            "lengths, or LayerNorm of embeddings that differ in mean or variance: through these "
            "more than a circuit's nodes can distinguish prompts. Use planted models."
        )


def _grown(level: Sequence[Places], alive: Alive, n_tried: int) -> list[Places]:
    """All sets of one node more: the earlier of two nodes comes in after the later."""
    found = [
        (*chosen, i)
        for chosen in level
        for i in range(chosen[-1] + 1 if chosen else 0, len(alive.nodes))
        if i in alive.answering or not alive.readers[i].isdisjoint(chosen)
    ]
    if n_tried + len(found) > MAX_SETS:
        raise UsageError(
            f"more than {MAX_SETS:,} sets of the {len(alive.nodes)} nodes that can matter would "
            "have to be tried; brute force is for small planted models."
        )
    return found


@dataclass(slots=True, kw_only=True)
class _Trial:
    """Tries sets of nodes and counts them."""

    model: Transformer
    pairs: EncodedPairs
    values: Mapping[Site, Tensor]
    alive: Alive
    target_loss_nats: float
    n_tried: int = 0
    refused_nats: float = math.inf
    folded: FoldedModel = field(init=False)
    prompts: Prompts = field(init=False)

    def __post_init__(self) -> None:
        self.folded = FoldedModel(self.model, self.values)
        self.prompts = self.folded.prepare(self.pairs)

    def losses(self, sets: Iterable[Places]) -> dict[Places, float]:
        """The sets that meet the target, each with its mean loss in nats."""
        met = {}
        for chosen in sets:
            loss = self._loss(chosen)
            self.n_tried += 1
            if loss <= self.target_loss_nats:
                met[chosen] = loss
            else:
                self.refused_nats = min(self.refused_nats, loss)
        return met

    def _loss(self, chosen: Places) -> float:
        circuit = CompiledCircuit(self.folded, self.nodes(chosen))
        return float(pair_losses(circuit.differences(self.prompts)).mean())

    def nodes(self, chosen: Places) -> NodeSet:
        """The nodes with these indices."""
        return NodeSet.of((self.alive.nodes[i] for i in chosen), self.model.arch.widths)


def _truth(trial: _Trial, met: Mapping[Places, float]) -> Truth:
    circuits = tuple(map(trial.nodes, met))
    return Truth(
        circuits=circuits,
        edges=tuple(edges_between(trial.model, nodes) for nodes in circuits),
        target_loss_nats=trial.target_loss_nats,
        loss_nats=max(met.values()),
        refused_nats=None if trial.refused_nats == math.inf else trial.refused_nats,
        alive=trial.alive.nodes,
        n_tried=trial.n_tried,
    )
