"""Resample-independent: the circuit works while each ablated node takes a random value of its own.

Every ablated node takes its value at a reference token drawn for it alone, one for each
prompt, the same at all positions. So ablated nodes contradict one another, as they never do
in a text: half of causal scrubbing. Expect a low value; ``stands_alone`` keeps the values of
a site together.

Source: Chan et al. 2022 (causal scrubbing); docs/validation.md#ablations. The pass region is
ours: half of that of ``stands_alone``.

What can fool it: a model in which ablated nodes hardly vary. A good circuit may fail it in a
model with norms or activation top-k, which react to values that never occur together.
"""

from __future__ import annotations

from circuitkit.findings import Claim, Finding
from circuitkit.model.per_pair import losses_of
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.RESAMPLE_INDEPENDENT,
    suite="thorough",
    fooled_by="a model whose ablated nodes hardly vary",
    needs=("reference",),
)

F_LOW = 0.25


def check_resample_independent(trial: SearchTrial) -> Finding:
    """F is at least 0.25 with every ablated node resampled on its own."""
    losses = losses_of(trial.ablated_circuit("resample_independent", trial.pairs))
    f = trial.recovered(losses, losses_of(trial.scored.model), trial.clusters)
    return Finding(
        claim=CLAIM.id,
        outcome=f.within(low=F_LOW),
        note=f"circuit loss {losses.mean():.3f} nats",
        **f.fields(),
        unit="F, every ablated node resampled on its own",
        threshold=f"lower bound ≥ {F_LOW}",
        threshold_source="ours",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        seeds=(trial.seed,),
        fooled_by=CLAIM.fooled_by,
    )
