"""Sufficient: the circuit alone does the task, about as well as the model and no better.

F(C) = (ln 2 - l_C) / (ln 2 - l_M). Source: Gao et al. 2025, section 2.2; the
upper limit on F is ours: a circuit that beats its model was tuned to the labels.

A form of the task that misses the target on its own, by more than its interval, is named: the
mean over all forms may hide it.

What can fool it: a circuit whose ablation values, not its nodes, hold the answer;
sets chosen so that errors cancel.
"""

from __future__ import annotations

from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import mean_loss
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.form_losses import loss_by_form, that_miss
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.SUFFICIENT,
    suite="default",
    fooled_by="answers held by the ablation values; errors chosen to cancel",
)

ABOVE_TARGET_NATS = 0.05
F_LOW, F_HIGH = 0.70, 1.10


def check_sufficient(trial: Trial) -> Finding:
    """The loss is near the target and F between 0.70 and 1.10, bounds included."""
    circuit, model = losses_of(trial.scored.circuit), losses_of(trial.scored.model)
    limit = trial.circuit.target_loss_nats + ABOVE_TARGET_NATS
    loss = mean_loss(circuit, trial.clusters, trial.seed)
    f = trial.recovered(circuit, model, trial.clusters)
    forms = loss_by_form(circuit, trial.clusters, trial.seed)
    decision = decide(
        len(trial.pairs),
        Requirement(estimate=loss, high=limit),
        Requirement(estimate=f, low=F_LOW, high=F_HIGH),
    )
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined(*that_miss(forms, trial.circuit.target_loss_nats), f"F = {f}", decision.note),
        **loss.fields(),
        unit="nats, circuit loss",
        threshold=f"upper bound ≤ {limit:.3f} nats, F in [{F_LOW:.2f}, {F_HIGH:.2f}]",
        threshold_source="docs/validation.md#sufficient",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by=CLAIM.fooled_by,
    )
