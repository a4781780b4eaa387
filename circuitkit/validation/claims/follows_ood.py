"""Follows the model out of distribution: where a shortcut fails, the circuit fails with it.

On the task's ``ood`` prompts, which break its shortcuts, the circuit has to answer as the
model does, right or wrong, and be right about as often. Source: docs/validation.md#follows_ood.

What can fool it: ``ood`` forms that break no shortcut the circuit could have taken.
"""

from __future__ import annotations

from typing import Any

from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import agreement_of, hits_of
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import proportion
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.FOLLOWS_OOD,
    suite="default",
    fooled_by="ood forms that break no shortcut the circuit could have taken",
    needs=("ood pairs",),
)

AGREEMENT = 0.80
APART = 0.15
_LIMITS: dict[str, Any] = {
    "threshold": f"lower bound ≥ {AGREEMENT:.2f}, accuracies equivalent within {APART:.2f}",
    "threshold_source": "docs/validation.md#follows_ood",
    "fooled_by": CLAIM.fooled_by,
}


def check_follows_ood(trial: Trial) -> Finding:
    """Agreement with the model at least 0.80, accuracies equivalent within 0.15."""
    if not trial.task.templates("ood"):
        note = "the task has no ood forms; without them no grade is better than B"
        return Finding(claim=CLAIM.id, outcome="not_run", note=note, **_LIMITS)
    pairs = trial.split("ood", len(trial.pairs))
    model = tapped_differences(trial.model, pairs, None)
    circuit = trial.circuit_differences(trial.nodes, pairs)
    trial.passes += 1
    agreement = proportion(agreement_of(circuit, model), pairs.templates, trial.seed)
    apart = hits_of(circuit) - hits_of(model)
    apart = proportion(apart, pairs.templates, trial.seed, limits=(-1.0, 1.0))
    decision = decide(
        len(pairs),
        Requirement(estimate=agreement, low=AGREEMENT),
        Requirement(estimate=apart, low=-APART, high=APART),
    )
    accuracies = f"accuracy {hits_of(circuit).mean():.3f}, the model's {hits_of(model).mean():.3f}"
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined(f"{accuracies}, apart by {apart}", decision.note),
        **agreement.fields(),
        unit="of ood prompts answered as the model does",
        n_pairs=len(pairs),
        n_clusters=len(set(pairs.templates)),
        **_LIMITS,
    )
