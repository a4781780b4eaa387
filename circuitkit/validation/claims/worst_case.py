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

from collections.abc import Mapping, Sequence

import numpy as np

from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.findings import Claim, Finding
from circuitkit.model import hits
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.intervals import proportion
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
    share = proportion(both, pairs.templates, trial.seed, among=right)
    return Finding(
        claim=CLAIM.id,
        outcome=share.within(low=SHARE),
        note=_note(losses_of(circuit), _by_template(both, right, pairs.templates), pairs.templates),
        **share.fields(),
        unit="of the prompts that the model answers rightly",
        threshold=f"lower bound ≥ {SHARE}",
        threshold_source="ours",
        n_pairs=len(pairs),
        n_clusters=len(set(pairs.templates)),
        seeds=(trial.search.seed,),
        fooled_by=CLAIM.fooled_by,
    )


def _by_template(both: np.ndarray, right: np.ndarray, templates: Sequence[str]) -> dict[str, float]:
    """Of the prompts that the model answers rightly, the share that the circuit does too."""
    names = np.array(templates)
    tried = dict.fromkeys(names[right > 0].tolist())
    return {name: float(both[names == name].sum() / right[names == name].sum()) for name in tried}


def _note(losses: np.ndarray, shares: Mapping[str, float], templates: Sequence[str]) -> str:
    worst, pair = min(shares, key=shares.__getitem__), int(losses.argmax())
    return (
        f"worst pair: {losses[pair]:.2f} nats ({templates[pair]}); 99th percentile "
        f"{np.quantile(losses, 0.99):.2f} nats; worst template: {worst}, "
        f"{shares[worst]:.3f} right"
    )
