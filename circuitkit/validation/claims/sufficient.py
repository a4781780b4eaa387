"""Sufficient: the circuit alone does the task, about as well as the model and no better.

F(C) = (ln 2 - l_C) / (ln 2 - l_M). Source: Gao et al. 2025, section 2.2; the
upper limit on F is ours: a circuit that beats its model was tuned to the labels.

A form of the task that misses the target on its own, by more than its interval, is named, and
if it does so by more than the 0.05 nats that the mean may, the claim fails: the mean over all
forms may hide it. Where the model itself is weak on a form, its own loss plus 0.05 nats counts.

What can fool it: a circuit whose ablation values, not its nodes, hold the answer;
sets chosen so that errors cancel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from circuitkit.extraction.ask_maker import ABOVE_MODEL_NATS
from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import mean_loss
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.form_losses import by_form, in_words, loss_by_form, that_miss
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.SUFFICIENT,
    suite="default",
    fooled_by="answers held by the ablation values; errors chosen to cancel",
)

ABOVE_TARGET_NATS = 0.05
F_LOW, F_HIGH = 0.70, 1.10


def check_sufficient(trial: Trial) -> Finding:
    """The loss is near the target, on every form, and F between 0.70 and 1.10, bounds included."""
    circuit, model = losses_of(trial.scored.circuit), losses_of(trial.scored.model)
    limit = trial.circuit.target_loss_nats + ABOVE_TARGET_NATS
    loss = mean_loss(circuit, trial.clusters, trial.seed)
    f = trial.recovered(circuit, model, trial.clusters)
    forms = loss_by_form(circuit, trial.clusters, trial.seed)
    limits = _limits(trial, model)
    decision = decide(
        len(trial.pairs),
        Requirement(estimate=loss, high=limit),
        Requirement(estimate=f, low=F_LOW, high=F_HIGH),
    )
    return Finding(
        claim=CLAIM.id,
        outcome="fail" if any(that_miss(forms, limits, ABOVE_TARGET_NATS)) else decision.outcome,
        note=joined(*map(in_words, that_miss(forms, limits)), f"F = {f}", decision.note),
        **loss.fields(),
        unit="nats, circuit loss",
        threshold=(
            f"upper bound ≤ {limit:.3f} nats, no form's lower bound above, "
            f"F in [{F_LOW:.2f}, {F_HIGH:.2f}]"
        ),
        threshold_source="docs/validation.md#sufficient",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by=CLAIM.fooled_by,
    )


def _limits(trial: Trial, model: NDArray[np.float64]) -> dict[str, float]:
    """What every form may lose, in nats: the target, or the model's own loss and a little more."""
    return {
        form: max(trial.circuit.target_loss_nats, float(model[here].mean()) + ABOVE_MODEL_NATS)
        for form, here in by_form(trial.clusters).items()
    }
