"""Generalises: the circuit does as well on new templates as on those it was learned on.

Source: docs/validation.md#generalises. The share of templates is a count of those tried, not
an estimate.

What can fool it: templates of test and train that differ in nothing that matters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from circuitkit.findings import Claim, Finding, Outcome
from circuitkit.model import LN2
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import FEWEST, all_of, cluster_difference
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.GENERALISES,
    suite="default",
    fooled_by="test templates that differ from the train ones in nothing that matters",
    needs=("train pairs",),
)

GAP_NATS = 0.10
SHARE, HALF_WAY_NATS = 0.90, LN2 / 2


def check_generalises(trial: Trial) -> Finding:
    """Test less train loss at most 0.10, at least 90 % of templates below ln2 / 2."""
    train, test = trial.split("train", len(trial.pairs)), losses_of(trial.scored.circuit)
    learned = trial.circuit_losses(trial.nodes, train)
    gap = cluster_difference(test, trial.clusters, learned, train.templates, trial.seed)
    decision = decide(len(trial.pairs), Requirement(estimate=gap, high=GAP_NATS))
    means = _by_template(test, trial.clusters)
    worst = max(means, key=lambda name: means[name])
    share = float(np.mean([loss < HALF_WAY_NATS for loss in means.values()]))
    shares = f"{share:.0%} of templates below {HALF_WAY_NATS:.3f} nats; worst {worst}"
    return Finding(
        claim=CLAIM.id,
        outcome=all_of(decision.outcome, _counted(share, len(means))),
        note=joined(f"{shares}, {means[worst]:.3f} nats", decision.note),
        **gap.fields(),
        unit="nats, test less train loss",
        threshold=f"upper bound ≤ {GAP_NATS:.2f} nats, ≥ {SHARE:.0%} of templates below ln2 / 2",
        threshold_source="docs/validation.md#generalises",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by=CLAIM.fooled_by,
    )


def _counted(share: float, n_templates: int) -> Outcome:
    """A share of fewer than five templates decides nothing."""
    if n_templates < FEWEST:
        return "inconclusive"
    return "pass" if share >= SHARE else "fail"


def _by_template(losses: NDArray[np.float64], templates: tuple[str, ...]) -> dict[str, float]:
    """The mean loss of each template, in nats."""
    names = np.array(templates)
    return {name: float(losses[names == name].mean()) for name in dict.fromkeys(templates)}
