"""The truth of a planted model under LayerNorm: searched, compared with what was wired, or refused.

In: a planted model and its selection pairs. Out: the smallest circuits, the wrong ones, and the
drift: the most, in nats, that nodes which reach no answer change a loss. Their writes move the
mean and the variance of a norm, and with them everything that is read through it. Constants hold
both, so that this is small; it is measured for every model that is planted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from circuitkit.errors import UsageError
from circuitkit.extraction import measure_means
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.model import EncodedPairs, pair_losses
from circuitkit.nodes import NodeSet
from circuitkit.planted.planted_model import TARGET_NATS, Planted
from circuitkit.planted.truth import Truth, find_truth
from circuitkit.planted.wrong_circuits import Wrong, wrong_circuits

_SHARES = (0.5, 1.0)
_BROKEN = "LayerNorm breaks the truth of"
_REMEDY = "Wire it with smaller writes or less noise, or plant it without --format gpt2."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTruth:
    """What is true of a model, what is not, and the drift in nats."""

    truth: Truth
    wrong: tuple[Wrong, ...]
    drift_nats: float


def check_truth(planted: Planted, pairs: EncodedPairs) -> CheckedTruth:
    """Search and measure on these pairs.

    Raises:
        UsageError: if brute force finds other circuits than those wired, or the drift could
            move a circuit across the target.
    """
    model, means = planted.model, measure_means(planted.model, planted.reference)

    def loss(nodes: NodeSet) -> float:
        return float(pair_losses(masked_differences(model, pairs, nodes, means.values)).mean())

    truth = find_truth(model, pairs, means, TARGET_NATS, inert=planted.inert)
    _check_circuits(planted, truth)
    wrong = tuple(wrong_circuits(planted, lambda nodes: loss(nodes) <= TARGET_NATS))
    drift_nats = max(
        abs(loss(nodes | dead) - loss(nodes)) for nodes, dead in _with_dead(planted, truth, wrong)
    )
    _check_drift(planted, truth, drift_nats)
    return CheckedTruth(truth=truth, wrong=wrong, drift_nats=drift_nats)


def _with_dead(
    planted: Planted, truth: Truth, wrong: tuple[Wrong, ...]
) -> Iterator[tuple[NodeSet, NodeSet]]:
    """A circuit, one that misses the target, and none, each with half or all of what is dead."""
    widths = planted.model.arch.widths
    wired = planted.mechanism | NodeSet.of(truth.alive)
    dead, draw = NodeSet.full(widths) - wired, Random(f"drift:{planted.variation.seed}")
    missing = [w.nodes for w in wrong if w.kind == "less one part"]
    for nodes in (truth.circuits[0], *missing, NodeSet({}, widths)):
        for share in _SHARES:
            yield nodes, NodeSet.of((n for n in dead if draw.random() < share), widths)


def _check_circuits(planted: Planted, truth: Truth) -> None:
    if set(truth.circuits) == set(planted.wired):
        return
    other = next((c for c in truth.circuits if c not in planted.wired), truth.circuits[0])
    raise UsageError(
        f"{_BROKEN} {planted.name}: brute force finds {len(truth.circuits)} smallest circuits of "
        f"{len(truth.circuits[0])} nodes, expected the {len(planted.wired)} wired of "
        f"{len(planted.wired[0])}. It finds {', '.join(map(str, other))}. Nothing was written. "
        f"{_REMEDY}"
    )


def _check_drift(planted: Planted, truth: Truth, drift_nats: float) -> None:
    nearest = TARGET_NATS - truth.loss_nats
    if truth.refused_nats is not None:
        nearest = min(nearest, truth.refused_nats - TARGET_NATS)
    if drift_nats >= nearest:
        raise UsageError(
            f"{_BROKEN} {planted.name}: nodes that reach no answer change a loss by "
            f"{drift_nats:.3f} nats through its mean and variance, and the loss nearest to the "
            f"target is {nearest:.3f} nats from it. Nothing was written. {_REMEDY}"
        )
