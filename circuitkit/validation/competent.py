"""Competent: the model itself does the task; otherwise there is no circuit to trust.

What can fool it: a task with an easy shortcut, which a competent model may use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from circuitkit.checkpoints.competence import MIN_ACCURACY as ACCURACY
from circuitkit.evidence import Claim, Finding
from circuitkit.extraction.masked import tapped_differences
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.validation.decision import Requirement, decide, joined
from circuitkit.validation.statistics import Estimate, mean_loss, proportion
from circuitkit.validation.trial import Trial, hits_of, losses_of
from circuitkit.validation.verdict import MIN_CLUSTERS

_NOTES = {
    "fail": "the model does not do this task",
    "inconclusive": "whether the model does this task cannot be told",
}


class Ability(NamedTuple):
    """A model's loss in nats and its accuracy on some pairs, with intervals over templates."""

    loss_nats: Estimate
    accuracy: Estimate


def measure_ability(model: Transformer, pairs: EncodedPairs) -> Ability:
    """How well the whole model does the task that these pairs ask."""
    return ability_of(tapped_differences(model, pairs, None), pairs.templates)


def ability_of(differences: Float[Tensor, " rows"], templates: Sequence[str]) -> Ability:
    """How well a task is done by these logit differences, with the template as the unit."""
    return Ability(
        loss_nats=mean_loss(losses_of(differences), templates, seed=0),
        accuracy=proportion(hits_of(differences), templates, seed=0),
    )


def check_competent(trial: Trial) -> Finding:
    """The lower bound of the model's accuracy is at least 0.90."""
    accuracy = proportion(hits_of(trial.scored.model), trial.clusters, trial.seed)
    decision = decide(len(trial.pairs), Requirement(estimate=accuracy, low=ACCURACY))
    return Finding(
        claim=Claim.COMPETENT,
        outcome=decision.outcome,
        note=joined(_NOTES.get(decision.outcome, ""), decision.note, _few(trial), *trial.remarks),
        **accuracy.fields(),
        unit="accuracy of the model",
        threshold=f"lower bound ≥ {ACCURACY:.2f}",
        threshold_source="VALIDATION section 3",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by="a task that an easy shortcut solves",
    )


def _few(trial: Trial) -> str:
    """Said where templates are too few for a better grade than C."""
    if trial.n_clusters >= MIN_CLUSTERS:
        return ""
    n, s = trial.n_clusters, "s" * (trial.n_clusters > 1)
    return f"{n} template{s} only: with fewer than {MIN_CLUSTERS} no grade is better than C"
