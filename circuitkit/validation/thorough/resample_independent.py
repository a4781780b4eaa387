"""Resample-independent: the circuit works while each ablated node says something of its own.

Every ablated node takes the value it has at a reference token drawn for it alone, one a
prompt, held over all positions. So ablated nodes contradict one another, as they never do
in a text: half of causal scrubbing. Expect it low; ``robust_to_ablation`` keeps the
values of a site together.

Source: Chan et al. 2022 (causal scrubbing); VALIDATION section 1. The pass region is ours:
half of what ``robust_to_ablation`` asks.

What can fool it: a model in which ablated nodes hardly vary. What it may punish: a sound
circuit of a model with norms or activation top-k, which noise off the data pushes around.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.evidence import Claim, Finding
from circuitkit.extraction.masked import gates_of, tapped_differences
from circuitkit.model import EncodedPairs, gate_tap
from circuitkit.nodes import Site
from circuitkit.validation.statistics import cluster_ratio
from circuitkit.validation.thorough.trial import ThoroughTrial
from circuitkit.validation.trial import LN2, losses_of

F_LOW = 0.25
_BATCH = 64


def check_resample_independent(trial: ThoroughTrial) -> Finding:
    """F is at least 0.25 with every ablated node resampled on its own."""
    losses, model = losses_of(_differences(trial, trial.pairs)), losses_of(trial.scored.model)
    f = cluster_ratio(LN2 - losses, LN2 - model, trial.clusters, trial.seed)
    return Finding(
        claim=Claim.RESAMPLE_INDEPENDENT,
        outcome=f.within(low=F_LOW),
        note=f"circuit loss {losses.mean():.3f} nats",
        **f.fields(),
        unit="F, every ablated node resampled on its own",
        threshold=f"lower bound ≥ {F_LOW}",
        threshold_source="ours",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        seeds=(trial.seed,),
        fooled_by="a model whose ablated nodes hardly vary",
    )


def _differences(trial: ThoroughTrial, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
    generator = torch.Generator().manual_seed(trial.seed)
    gates = gates_of(trial.nodes, trial.model.arch.widths)
    parts = []
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        values = _drawn(trial, len(batch.tokens), generator)
        trial.passes += 1
        parts.append(tapped_differences(trial.model, batch, gate_tap(gates, values)).view(2, -1))
    return torch.cat(parts, dim=1).flatten()


def _drawn(
    trial: ThoroughTrial, n_rows: int, generator: torch.Generator
) -> dict[Site, Float[Tensor, "rows 1 width"]]:
    """For every prompt and channel the value at a reference token of its own."""
    return {
        site: x.gather(0, torch.randint(len(x), (n_rows, x.shape[1]), generator=generator))[:, None]
        for site, x in trial.pool.items()
    }
