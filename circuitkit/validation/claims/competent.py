"""Competent: the model itself does the task; otherwise there is no circuit to trust.

What can fool it: a task with an easy shortcut, which a competent model may use.
"""

from __future__ import annotations

from circuitkit.checkpoints.competence_json import MIN_ACCURACY as ACCURACY
from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import hits_of
from circuitkit.statistics.decision import MIN_CLUSTERS, Requirement, decide, joined
from circuitkit.statistics.intervals import proportion
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.COMPETENT,
    suite="default",
    fooled_by="a task that an easy shortcut solves",
)

_NOTES = {
    "fail": "the model does not do this task",
    "inconclusive": "it is undecided whether the model does this task",
}


def check_competent(trial: Trial) -> Finding:
    """The lower bound of the model's accuracy is at least 0.90."""
    accuracy = proportion(hits_of(trial.scored.model), trial.clusters, trial.seed)
    decision = decide(len(trial.pairs), Requirement(estimate=accuracy, low=ACCURACY))
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined(_NOTES.get(decision.outcome, ""), decision.note, _few(trial), *trial.remarks),
        **accuracy.fields(),
        unit="accuracy of the model",
        threshold=f"lower bound ≥ {ACCURACY:.2f}",
        threshold_source="docs/validation.md#competent",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by=CLAIM.fooled_by,
    )


def _few(trial: Trial) -> str:
    """A note where templates are too few for a better grade than C."""
    if trial.n_clusters >= MIN_CLUSTERS:
        return ""
    n, s = trial.n_clusters, "s" * (trial.n_clusters > 1)
    return f"{n} template{s} only: with fewer than {MIN_CLUSTERS} no grade is better than C"
