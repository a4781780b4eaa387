"""Edge-sufficient: the edges that are listed, and no others, do the task.

Between kept nodes every weight that is not among the circuit's edges is cut: its target
reads weight times the ablation value of its source instead. A circuit of node granularity
lists every weight between its nodes, so here the claim is that the list is complete. One of
edge granularity has dropped some, and must still meet the target.

Source: Gao et al. 2025, section 2.2 (a circuit is its edges); docs/extraction.md#edge-pruning
for what a dropped edge carries.

What can fool it: influence that runs along no edge, through the residual stream, the norm's
denominator, the pairing of q and k. A cut edge from a v channel carries the channel's whole
ablation value, even where the sink would have taken a share of it.
"""

from __future__ import annotations

from circuitkit.extraction.induced_edges import edges_between
from circuitkit.findings import Claim, Finding
from circuitkit.model import LN2
from circuitkit.model.per_pair import losses_of
from circuitkit.statistics.intervals import all_of, cluster_ratio, mean_loss
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.claims.sufficient import ABOVE_TARGET_NATS, F_HIGH, F_LOW
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.EDGE_SUFFICIENT,
    suite="thorough",
    fooled_by="influence along no edge: residual stream, norms, the pairing of q and k",
)


def check_edge_sufficient(trial: SearchTrial) -> Finding:
    """The same bounds as for ``sufficient``, with only the listed edges."""
    n_cut = len(edges_between(trial.model, trial.nodes)) - len(trial.circuit.edges)
    circuit = losses_of(trial.scored.circuit)
    whole = losses_of(trial.scored.model)
    limit = trial.circuit.target_loss_nats + ABOVE_TARGET_NATS
    loss = mean_loss(circuit, trial.clusters, trial.seed)
    f = cluster_ratio(LN2 - circuit, LN2 - whole, trial.clusters, trial.seed)
    return Finding(
        claim=CLAIM.id,
        outcome=all_of(loss.within(high=limit), f.within(F_LOW, F_HIGH)),
        note=f"{n_cut} weights between kept nodes are not listed and were cut; F = {f}",
        **loss.fields(),
        unit="nats, circuit loss with its edges alone",
        threshold=f"upper bound ≤ {limit:.3f} nats, F in [{F_LOW:.2f}, {F_HIGH:.2f}]",
        threshold_source="docs/validation.md#sufficient",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by=CLAIM.fooled_by,
    )
