"""Necessary: with the circuit's nodes ablated, the model is left at chance.

Tested under mean ablation and under ``resample_joint``. A complement that still
does the task is REDUNDANT: there is a backup, which is searched for there and named.
One that prefers the wrong answer is ANTI-CHANCE: the circuit outweighs something, which
is searched for in the same way. A large loss alone is no pass. Source: Gao et
al. 2025, section 2.2; the equivalence test and the backup are ours.

What can fool it: ablation so far from the data that anything would break; a backup between the
circuit's own reads and writes, which go with the circuit (``interchange`` finds that).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from circuitkit.findings import Claim, Finding
from circuitkit.model import LN2
from circuitkit.model.per_pair import hits_of, losses_of
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import Estimate, cluster_ratio, proportion
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.claims.sufficient import ABOVE_TARGET_NATS
from circuitkit.validation.controls.backup import find_backup
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.NECESSARY,
    suite="default",
    fooled_by="ablation so far from the data that anything would break; a backup between the "
    "circuit's own reads and writes",
    needs=("reference",),
)

CHANCE = (0.35, 0.65)
NECESSITY = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knockout:
    accuracy: Estimate
    necessity: Estimate

    @property
    def requirements(self) -> tuple[Requirement, Requirement]:
        """Accuracy equivalent to chance, and Nec."""
        low, high = CHANCE
        return (
            Requirement(estimate=self.accuracy, low=low, high=high),
            Requirement(estimate=self.necessity, low=NECESSITY),
        )

    def __str__(self) -> str:
        return f"accuracy {self.accuracy}, Nec {self.necessity}"

    @property
    def word(self) -> str:
        if self.accuracy.low > CHANCE[1]:
            return "REDUNDANT"
        return "ANTI-CHANCE" if self.accuracy.high < CHANCE[0] else ""


def check_necessary(trial: Trial) -> Finding:
    """The complement's accuracy is equivalent to chance and Nec at least 0.8, both ways."""
    mean = _knockout(trial, trial.scored.complement)
    resampled = _knockout(trial, trial.ablated_complement("resample_joint", trial.pairs))
    ways = {"mean": mean, "resample_joint": resampled}
    decision = decide(len(trial.pairs), *(r for k in ways.values() for r in k.requirements))
    both = "; ".join(f"{name}: {knockout}" for name, knockout in ways.items())
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined(_meaning(trial, ways), both, decision.note),
        **mean.accuracy.fields(),
        unit="accuracy of the complement",
        threshold=f"interval inside [{CHANCE[0]}, {CHANCE[1]}], Nec ≥ {NECESSITY}",
        threshold_source="docs/validation.md#necessary",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _knockout(trial: Trial, differences: Tensor) -> _Knockout:
    losses, model = losses_of(differences), losses_of(trial.scored.model)
    return _Knockout(
        accuracy=proportion(hits_of(differences), trial.clusters, trial.seed),
        necessity=cluster_ratio(losses - model, LN2 - model, trial.clusters, trial.seed),
    )


def _meaning(trial: Trial, ways: dict[str, _Knockout]) -> str:
    """What a complement that is not at chance means, in words, with the nodes responsible."""
    word = next((k.word for k in ways.values() if k.word), "")
    if word == "REDUNDANT":
        return (
            "REDUNDANT: without the circuit the model still does the task, so something else "
            f"in it does it too{_named(trial)}"
        )
    if word == "ANTI-CHANCE":
        return (
            "ANTI-CHANCE: without the circuit the model prefers the wrong answer, so the circuit "
            "outweighs something that prefers it, and does not account for all of how the model "
            f"does the task{_named(trial, against=True)}"
        )
    return ""


def _named(trial: Trial, *, against: bool = False) -> str:
    """The nodes that do it; of a circuit that does not do the task nothing is a backup."""
    limit = trial.circuit.target_loss_nats + ABOVE_TARGET_NATS
    if losses_of(trial.scored.circuit).mean() > limit:
        return ""
    return f": {find_backup(trial, against=against)}"
