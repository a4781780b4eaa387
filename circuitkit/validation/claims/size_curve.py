"""Size curve: F stays the same as the circuit grows into the model.

Nodes are ranked, the circuit's own first, each part by |gradient × (activation - ablation
value)|. F is measured on a geometric grid of sizes up to the whole model. From the circuit's
size on, every F has to lie in the region of ``sufficient``: a circuit that works only because
its opposite is ablated falls once the opposite is added. CPR is the area under the whole
curve, CMD the area between it and 1, both over the share of nodes kept. Up to its own size the
circuit has only its own edges; beyond it, every weight between the nodes.

Source: CPR and CMD after Mueller et al. 2025 (MIB), with nodes as the size; the tested
part of the curve is ours (docs/validation.md#size_curve).

What can fool it: a ranking that adds together what harms and what repairs. A good circuit may
fail it in a model with activation top-k, where the added nodes compete with its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from circuitkit.extraction.masked_model import gate_gradients
from circuitkit.findings import Claim, Finding, Outcome
from circuitkit.model import LN2, EncodedPairs
from circuitkit.model.per_pair import losses_of
from circuitkit.nodes import Node, NodeSet
from circuitkit.statistics.intervals import all_of, cluster_ratio
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.claims.sufficient import F_HIGH, F_LOW
from circuitkit.validation.search_trial import SearchTrial, faithfulness

CLAIM = Declared(
    id=Claim.SIZE_CURVE,
    suite="thorough",
    fooled_by="a ranking that brings in together what harms and what mends it",
)

_RANKED_ON = 32


def check_size_curve(trial: SearchTrial) -> Finding:
    """F lies in [0.70, 1.10] at every size from the circuit's to the model's."""
    ranking = ranked(trial)
    sizes = _sizes(len(trial.nodes), len(ranking))
    model, templates = losses_of(trial.scored.model)[: len(trial.few)], trial.few.templates
    losses = np.array(
        [_losses(trial, ranking[:size], i, len(sizes)) for i, size in enumerate(sizes)]
    )
    tested = [
        cluster_ratio(LN2 - losses[i], LN2 - model, templates, trial.seed)
        for i, size in enumerate(sizes)
        if size >= len(trial.nodes)
    ]
    outcomes: list[Outcome] = [f.within(F_LOW, F_HIGH) for f in tested]
    worst = max(tested, key=lambda f: abs(1 - f.effect))
    return Finding(
        claim=CLAIM.id,
        outcome=all_of(*outcomes),
        note=_note(sizes, faithfulness(losses, model), len(ranking)),
        **worst.fields(),
        unit="F, furthest from 1 between the circuit's size and the model's",
        threshold=f"F in [{F_LOW:.2f}, {F_HIGH:.2f}] at every size",
        threshold_source="ours; for one size docs/validation.md#sufficient",
        n_pairs=len(trial.few),
        n_clusters=len(set(templates)),
        n_draws=len(sizes),
        fooled_by=CLAIM.fooled_by,
    )


def ranked(trial: SearchTrial) -> list[Node]:
    """Every node: the circuit's first, each part by attribution, largest first."""
    pairs = trial.few[:_RANKED_ON]
    inside = _attribution(trial, pairs, trial.nodes)
    outside = _attribution(trial, pairs, NodeSet.full(trial.model.arch.widths))
    return [
        *sorted(trial.nodes, key=lambda n: (-inside[n], n)),
        *sorted(trial.rest(trial.nodes), key=lambda n: (-outside[n], n)),
    ]


def _attribution(trial: SearchTrial, pairs: EncodedPairs, nodes: NodeSet) -> dict[Node, float]:
    trial.passes += 1
    model = trial.circuit_model if nodes == trial.nodes else trial.model
    moved = gate_gradients(model, pairs, nodes, trial.values, objective=lambda d: d)
    return {
        Node(site, channel): abs(value)
        for site, gradient in moved.items()
        for channel, value in enumerate(gradient.tolist())
    }


def _sizes(circuit: int, whole: int) -> list[int]:
    """None, halves of the circuit, the circuit, its doubles, everything."""
    up = [circuit * 2**i for i in range(1, 40) if 0 < circuit * 2**i < whole]
    return sorted({0, circuit // 4, circuit // 2, circuit, *up, whole})


def _losses(trial: SearchTrial, kept: list[Node], i: int, n: int) -> NDArray[np.float64]:
    trial.progress("size curve", i + 1, n)
    nodes = NodeSet.of(kept, trial.model.arch.widths)
    run = trial.kept if len(nodes) <= len(trial.nodes) else trial.others_kept
    return losses_of(run(nodes, trial.few))


def _area(values: NDArray[np.float64], places: list[float]) -> float:
    """The area by the trapezoidal rule."""
    return float(np.sum((values[1:] + values[:-1]) / 2 * np.diff(places)))


def _note(sizes: list[int], f: NDArray[np.float64], whole: int) -> str:
    shares = [size / whole for size in sizes]
    curve = ", ".join(f"{size}: {value:.2f}" for size, value in zip(sizes, f, strict=True))
    cpr, cmd = _area(f, shares), _area(np.abs(1 - f), shares)
    return f"CPR {cpr:.3f}, CMD {cmd:.3f}; F by nodes kept: {curve}"
