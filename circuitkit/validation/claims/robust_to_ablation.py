"""Robust to ablation: the circuit does the task under other kinds of ablation too.

The claim is tested on F with all ablated nodes at their values at a random reference token.
Also reported: F under all six kinds of ablation. Source: docs/validation.md#robust_to_ablation.

What can fool it: a rest that is silent under every kind, as in a model with nothing else in
it. Note that ``resample_joint`` leaves each site consistent with itself.
"""

from __future__ import annotations

from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.validation.ablations import KINDS
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.ROBUST_TO_ABLATION,
    suite="default",
    fooled_by="a rest that is silent however it is ablated",
    needs=("train pairs", "reference"),
)

F_LOW = 0.50


def check_robust_to_ablation(trial: Trial) -> Finding:
    """The lower bound of F under ``resample_joint`` is at least 0.50."""
    resampled = trial.ablated_circuit("resample_joint", trial.pairs)
    model = losses_of(trial.scored.model)
    f = trial.recovered(losses_of(resampled), model, trial.clusters)
    decision = decide(len(trial.pairs), Requirement(estimate=f, low=F_LOW))
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined(_table(trial), decision.note),
        **f.fields(),
        unit="F under resample_joint",
        threshold=f"lower bound ≥ {F_LOW:.2f}",
        threshold_source="docs/validation.md#robust_to_ablation",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _table(trial: Trial) -> str:
    """F under each of the six kinds, on a few pairs."""
    model = losses_of(trial.scored.model)[: len(trial.few)]
    shown = []
    for i, kind in enumerate(KINDS):
        losses = losses_of(trial.ablated_circuit(kind, trial.few))
        f = trial.recovered(losses, model, trial.few.templates)
        shown.append(f"{kind} {f.effect:.2f}")
        trial.progress("ablations", i + 1, len(KINDS))
    return f"F on {len(trial.few)} pairs: {', '.join(shown)}"
