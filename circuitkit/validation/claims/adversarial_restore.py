"""Adversarial restore: no set of ablated nodes breaks the circuit when restored.

The default suite restores nodes at random; here they are chosen to harm. Starting from the
circuit, the nodes whose gates raise the loss most, to first order, are opened: twice as many in
each round, with new gradients. The set with the largest loss counts, measured on pairs that
were not used to choose it. A circuit that works only because its opposite is ablated falls to
chance once the opposite is restored.

Source: ours (docs/validation.md#adversarial_restore). The pass region is ours: halfway to
chance.

What can fool it: a set that gradients do not find. A good circuit may fail it in a model with
activation top-k, where many open channels displace the kept ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from circuitkit.extraction.masked_model import gate_gradients, masked_differences
from circuitkit.findings import Claim, Finding
from circuitkit.model import LN2, EncodedPairs
from circuitkit.model.per_pair import losses_of
from circuitkit.nodes import Node, NodeSet
from circuitkit.statistics.intervals import mean_loss
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.ADVERSARIAL_RESTORE,
    suite="thorough",
    fooled_by="a harmful set that gradients do not find",
)

LIMIT_NATS = LN2 / 2
_FIRST = 2
_PAIRS = 32


def check_adversarial_restore(trial: SearchTrial) -> Finding:
    """With the worst set restored, the circuit still does the task."""
    half = len(trial.few) // 2
    if not half:
        return Finding(
            claim=CLAIM.id,
            outcome="not_run",
            note="one test pair cannot both choose the worst set and test it: ask for more pairs",
        )
    search, held = trial.few[: min(_PAIRS, half)], trial.few[half:]
    worst = _worst(trial, search)
    loss = mean_loss(_losses(trial, worst, held), held.templates, trial.seed)
    restored = worst - trial.nodes
    named = ", ".join(map(str, list(restored)[:5])) + (" …" if len(restored) > 5 else "")
    outcome = loss.within(high=LIMIT_NATS)
    cancels = outcome == "fail" and len(restored) > 0
    warning = "the complement holds cancelling pathways: " if cancels else ""
    return Finding(
        claim=CLAIM.id,
        outcome=outcome,
        note=f"{warning}{len(restored)} nodes restored ({named or 'none harms'})",
        **loss.fields(),
        unit="nats, circuit with the worst set restored",
        threshold=f"upper bound ≤ {LIMIT_NATS:.3f} nats, halfway to chance",
        threshold_source="ours",
        n_pairs=len(held),
        n_clusters=len(set(held.templates)),
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _worst(trial: SearchTrial, pairs: EncodedPairs) -> NodeSet:
    """The gates of the circuit with the set restored under which its loss is largest."""
    nodes, seen = trial.nodes, []
    n, total = _FIRST, len(trial.rest(trial.nodes))
    while True:
        seen.append((float(_losses(trial, nodes, pairs).mean()), len(seen), nodes))
        trial.progress("adversarial restore", len(nodes) - len(trial.nodes), max(1, total))
        harmful = _harmful(trial, nodes, pairs)[:n]
        if not harmful:
            return max(seen)[2]
        nodes, n = nodes | NodeSet.of(harmful), 2 * n


def _harmful(trial: SearchTrial, nodes: NodeSet, pairs: EncodedPairs) -> list[Node]:
    """The closed nodes whose opening raises the loss, the worst first."""
    trial.passes += 1
    gradients = gate_gradients(trial.circuit_model, pairs, nodes, trial.values)
    rises = [
        (-float(g), site, channel)
        for site, gradient in gradients.items()
        for channel, g in enumerate(gradient)
        if g > 0
    ]
    worst_first = (Node(site, channel) for _, site, channel in sorted(rises))
    return [node for node in worst_first if node not in nodes]


def _losses(trial: SearchTrial, nodes: NodeSet, pairs: EncodedPairs) -> NDArray[np.float64]:
    trial.passes += 1
    return losses_of(masked_differences(trial.circuit_model, pairs, nodes, trial.values))
