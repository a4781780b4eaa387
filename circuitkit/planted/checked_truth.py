"""The truth of a planted model under LayerNorm: searched, compared with what was wired, or refused.

In: a planted model and its selection pairs. Out: the smallest circuits, the wrong ones, and the
drift: the most, in nats, that nodes which reach no answer change the loss of a smallest circuit.
Their writes move the mean and the variance of a norm, and with them everything that is read
through it. Constants hold both, so that this is small; it is measured for every model.
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
    dead, circuit = [*_dead(planted, truth)], truth.circuits[0]
    alone = loss(circuit)
    drift_nats = max(abs(loss(circuit | some) - alone) for some in dead)
    less_one = [circuit - NodeSet.of([node]) for node in circuit]
    least = min(loss(nodes | some) for nodes in less_one for some in dead)
    if drift_nats >= TARGET_NATS - truth.loss_nats or least <= TARGET_NATS:
        raise UsageError(
            f"{_BROKEN} {planted.name}: nodes that reach no answer change the loss of a smallest "
            f"circuit, {alone:.3f} nats, by {drift_nats:.3f}, and that of such a circuit less one "
            f"node to {least:.3f}, through mean and variance; the target is {TARGET_NATS}. "
            f"Nothing was written. {_REMEDY}"
        )
    return CheckedTruth(truth=truth, wrong=wrong, drift_nats=drift_nats)


def _dead(planted: Planted, truth: Truth) -> Iterator[NodeSet]:
    """Half and all of the nodes that no answer is wired to."""
    widths = planted.model.arch.widths
    dead = NodeSet.full(widths) - (planted.mechanism | NodeSet.of(truth.alive))
    draw = Random(f"drift:{planted.variation.seed}")
    yield NodeSet.of((node for node in dead if draw.random() < 0.5), widths)
    yield dead


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
