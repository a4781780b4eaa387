"""Worst case: over 3,000 prompts, the circuit hardly ever fails where the model does not.

A mean loss of 0.15 nats allows one template on which the circuit is always wrong. Up to 1,500
test pairs are run. Of the prompts that the model answers correctly, the share that the circuit
answers correctly too is bounded from below. The worst pair and the worst template are named.

Source: docs/validation.md#worst_case; worst inputs instead of means after Uit de Bos and
Garriga-Alonso 2024. The pass region is ours.

What can fool it: templates that nobody wrote; the worst of the known ones does not bound
the others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.findings import Claim, Finding
from circuitkit.model import hits
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.intervals import cluster_ratio, proportion
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.WORST_CASE,
    suite="thorough",
    fooled_by="templates that nobody wrote",
)

N_PAIRS = 1500
SHARE = 0.90
"""A circuit that is never wrong has a lower bound of 0.934 over 28 templates: 0.95 would ask for
more of them."""


def check_worst_case(trial: SearchTrial) -> Finding:
    """The circuit is right on at least 90 % of the prompts on which the model is."""
    pairs = trial.ask("test", N_PAIRS)
    model = tapped_differences(trial.model, pairs, None)
    circuit = trial.kept(trial.nodes, pairs)
    trial.passes += 1
    right = hits(model).double().view(2, -1).sum(0).numpy()
    both = (hits(model) * hits(circuit)).double().view(2, -1).sum(0).numpy()
    share = (
        proportion(both / 2, pairs.templates, trial.seed)
        if right.min() == 2
        else cluster_ratio(both, right, pairs.templates, trial.seed)
    )
    share = replace(share, high=min(1.0, share.high))
    return Finding(
        claim=CLAIM.id,
        outcome=share.within(low=SHARE),
        note=_note(losses_of(circuit), both / np.maximum(right, 1), pairs.templates),
        **share.fields(),
        unit="of the prompts that the model answers rightly",
        threshold=f"lower bound ≥ {SHARE}",
        threshold_source="ours",
        n_pairs=len(pairs),
        n_clusters=len(set(pairs.templates)),
        seeds=(trial.search.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _note(losses: np.ndarray, shares: np.ndarray, templates: tuple[str, ...]) -> str:
    names = np.array(templates)
    by_template = {name: float(shares[names == name].mean()) for name in dict.fromkeys(templates)}
    worst, pair = min(by_template, key=by_template.__getitem__), int(losses.argmax())
    return (
        f"worst pair: {losses[pair]:.2f} nats ({templates[pair]}); 99th percentile "
        f"{np.quantile(losses, 0.99):.2f} nats; worst template: {worst}, "
        f"{by_template[worst]:.3f} right"
    )
