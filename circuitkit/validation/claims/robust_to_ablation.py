"""Robust to ablation: the circuit finds the cue whatever the rest of the model says.

All ablated nodes have their values at a random reference token, drawn once for both prompts of
a pair. Such a background adds the same to both: it has an offset, and no cue. The claim is that
the cue, (d_a + d_b) / 2, is still positive. Whether the circuit also outweighs the offset is
another question: ``stands_alone``.

Where a few pairs leave it open, all test pairs are asked. Also reported: F under all six kinds of
ablation, on the few, where each prompt has a draw of its own. Source:
docs/validation.md#robust_to_ablation.

What can fool it: a rest that is silent under every kind, as in a model with nothing else in
it. Note that ``resample_joint`` leaves each site consistent with itself.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from circuitkit.findings import Claim, Finding
from circuitkit.model import EncodedPairs, hits
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.decision import Decision, Requirement, decide, joined
from circuitkit.statistics.intervals import Estimate, proportion
from circuitkit.validation.ablations import KINDS, Kind, ablated_differences
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.ROBUST_TO_ABLATION,
    suite="default",
    fooled_by="a rest that is silent however it is ablated",
    needs=("train pairs", "reference"),
)

KEEPS_SIGN = 0.90
N_DRAWS = 4


def check_robust_to_ablation(trial: Trial) -> Finding:
    """The lower bound of the share of pairs whose cue keeps its sign is at least 0.90."""
    pairs = trial.few
    share, decision = _kept(trial, pairs)
    if decision.outcome == "inconclusive" and len(pairs) < len(trial.pairs):
        pairs = trial.pairs
        share, decision = _kept(trial, pairs)
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined(_table(trial), decision.note),
        **share.fields(),
        unit="of pairs whose cue keeps its sign under a random background that both prompts share",
        threshold=f"lower bound ≥ {KEEPS_SIGN:.2f}",
        threshold_source="docs/validation.md#robust_to_ablation",
        n_pairs=len(pairs),
        n_clusters=len(set(pairs.templates)),
        n_draws=N_DRAWS,
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _kept(trial: Trial, pairs: EncodedPairs) -> tuple[Estimate, Decision]:
    share = proportion(_right_cues(trial, pairs), pairs.templates, trial.seed)
    return share, decide(len(pairs), Requirement(estimate=share, low=KEEPS_SIGN))


def _right_cues(trial: Trial, pairs: EncodedPairs) -> NDArray[np.float64]:
    """For every pair the share of draws in which its cue is positive; a tie is half."""
    generator = torch.Generator().manual_seed(trial.seed)
    found = []
    for i in range(N_DRAWS):
        differences = ablated_differences(
            trial, "resample_joint", trial.nodes, pairs, trial.circuit_model, generator
        )
        found.append(hits(differences.view(2, -1).mean(0)).double().numpy())
        trial.progress("backgrounds", i + 1, N_DRAWS)
    return np.mean(found, axis=0)


def _table(trial: Trial) -> str:
    """F under each of the six kinds."""
    n = len(trial.few)
    model = losses_of(trial.scored.model)[:n]
    shown = []
    for i, kind in enumerate(KINDS):
        f = trial.recovered(_losses(trial, kind)[:n], model, trial.few.templates)
        shown.append(f"{kind} {f.effect:z.2f}")
        trial.progress("ablations", i + 1, len(KINDS))
    return f"F on these {n} pairs: {', '.join(shown)}"


def _losses(trial: Trial, kind: Kind) -> NDArray[np.float64]:
    """Of the few pairs at least: interchange is known for all of them."""
    if kind == "resample_pair":
        return losses_of(trial.interchanged)
    return losses_of(trial.ablated_circuit(kind, trial.few))
