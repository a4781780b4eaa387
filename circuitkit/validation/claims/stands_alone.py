"""Stands alone: the circuit does the task while the rest of the model is at random tokens.

Every prompt has a background of its own, drawn from the reference. A background has an offset,
a preference for one of the two answers whatever the prompt says. So the circuit must carry more
than the cue: enough to outweigh the offset. ``robust_to_ablation`` asks for the cue alone.

Source: docs/validation.md#stands_alone.

What can fool it: a rest that is silent under every kind of ablation, as in a model with nothing
else in it.
"""

from __future__ import annotations

from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.decision import Requirement, decide
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.STANDS_ALONE,
    suite="thorough",
    fooled_by="a rest that is silent however it is ablated",
    needs=("reference",),
)

F_LOW = 0.50


def check_stands_alone(trial: SearchTrial) -> Finding:
    """The lower bound of F under ``resample_joint`` is at least 0.50."""
    losses = losses_of(trial.ablated_circuit("resample_joint", trial.pairs))
    f = trial.recovered(losses, losses_of(trial.scored.model), trial.clusters)
    decision = decide(len(trial.pairs), Requirement(estimate=f, low=F_LOW))
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=decision.note,
        **f.fields(),
        unit="F under resample_joint",
        threshold=f"lower bound ≥ {F_LOW:.2f}",
        threshold_source="docs/validation.md#stands_alone",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )
