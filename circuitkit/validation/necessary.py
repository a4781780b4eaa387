"""Necessary: with the circuit's nodes ablated, the model is left at chance.

Tried under mean ablation and under ``resample_joint``. A complement that still
does the task is REDUNDANT: there is a backup. One that votes for the foil is
ANTI-CHANCE: the circuit was cancelling something. A loss that merely got huge is
no pass. Source: Gao et al. 2025, section 2.2; the equivalence test is ours.

What can fool it: ablation so far from the data that anything would break.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from circuitkit.evidence import Claim, Finding, Outcome
from circuitkit.validation.statistics import Estimate, all_of, cluster_ratio, proportion
from circuitkit.validation.trial import LN2, Trial, hits_of, losses_of

CHANCE = (0.35, 0.65)
NECESSITY = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knockout:
    accuracy: Estimate
    necessity: Estimate

    @property
    def word(self) -> str:
        if self.accuracy.low > CHANCE[1]:
            return "REDUNDANT"
        return "ANTI-CHANCE" if self.accuracy.high < CHANCE[0] else ""


def check_necessary(trial: Trial) -> Finding:
    """The complement's accuracy is equivalent to chance and Nec at least 0.8, both ways."""
    mean = _knockout(trial, trial.scored.complement)
    resampled = _knockout(trial, trial.resampled_differences(~trial.nodes, trial.pairs))
    ways = {"mean": mean, "resample_joint": resampled}
    outcomes: list[Outcome] = [
        all_of(k.accuracy.within(*CHANCE), k.necessity.within(low=NECESSITY)) for k in ways.values()
    ]
    return Finding(
        claim=Claim.NECESSARY,
        outcome=all_of(*outcomes),
        note=_note(ways),
        effect=mean.accuracy.effect,
        unit="accuracy of the complement",
        low=mean.accuracy.low,
        high=mean.accuracy.high,
        interval_method=mean.accuracy.method,
        threshold=f"interval inside [{CHANCE[0]}, {CHANCE[1]}], Nec ≥ {NECESSITY}",
        threshold_source="VALIDATION section 3",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        seeds=(trial.seed,),
        fooled_by="ablation so far from the data that anything would break",
    )


def _knockout(trial: Trial, differences: Tensor) -> _Knockout:
    losses, model = losses_of(differences), losses_of(trial.scored.model)
    return _Knockout(
        accuracy=proportion(hits_of(differences), trial.clusters, trial.seed),
        necessity=cluster_ratio(losses - model, LN2 - model, trial.clusters, trial.seed),
    )


def _note(ways: dict[str, _Knockout]) -> str:
    meaning = {
        "REDUNDANT": "REDUNDANT: the model still does the task without the circuit, by a backup. ",
        "ANTI-CHANCE": "ANTI-CHANCE: without the circuit the model votes for the foil. ",
        "": "",
    }
    told = [
        f"{name}: accuracy {k.accuracy.effect:.3f} [{k.accuracy.low:.3f}, {k.accuracy.high:.3f}], "
        f"Nec {k.necessity.effect:.2f} [{k.necessity.low:.2f}, {k.necessity.high:.2f}]"
        for name, k in ways.items()
    ]
    word = next((k.word for k in ways.values() if k.word), "")
    return meaning[word] + "; ".join(told)
