"""Edge-sufficient: the edges that are listed, and no others, do the task.

Between kept nodes every weight that is not among the circuit's edges is cut: its target
reads weight times the ablation value of its source instead. A circuit of node granularity
lists every weight there is between its nodes, so that this asks whether the list is whole;
one of edge granularity has dropped some, and must still meet the target.

Source: Gao et al. 2025, section 2.2 (a circuit is its edges); EXTRACTION section 4 for what a
dropped edge carries.

What can fool it: influence that runs along no edge, through the residual stream, the norm's
denominator, the pairing of q and k. A cut edge from a v channel carries the channel's whole
ablation value, also where a sink would have taken a share of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from circuitkit.evidence import Claim, Finding
from circuitkit.extraction.edges import edges_between
from circuitkit.extraction.masked import masked_differences
from circuitkit.model import Transformer
from circuitkit.nodes import Edge
from circuitkit.validation.statistics import all_of, cluster_mean, cluster_ratio
from circuitkit.validation.sufficient import ABOVE_TARGET_NATS, F_HIGH, F_LOW
from circuitkit.validation.thorough.trial import ThoroughTrial
from circuitkit.validation.trial import LN2, losses_of


def check_edge_sufficient(trial: ThoroughTrial) -> Finding:
    """The same bounds as for ``sufficient``, with only the listed edges."""
    cut = cut_edges(trial)
    model = without_edges(trial, cut)
    trial.passes += 1
    circuit = losses_of(masked_differences(model, trial.pairs, trial.nodes, trial.values))
    whole = losses_of(trial.scored.model)
    limit = trial.circuit.target_loss_nats + ABOVE_TARGET_NATS
    loss = cluster_mean(circuit, trial.clusters, trial.seed)
    f = cluster_ratio(LN2 - circuit, LN2 - whole, trial.clusters, trial.seed)
    return Finding(
        claim=Claim.EDGE_SUFFICIENT,
        outcome=all_of(loss.within(high=limit), f.within(F_LOW, F_HIGH)),
        note=f"{len(cut)} weights between kept nodes are not listed and were cut; "
        f"F = {f.effect:.3f} [{f.low:.3f}, {f.high:.3f}]",
        effect=loss.effect,
        unit="nats, circuit loss with its edges alone",
        low=loss.low,
        high=loss.high,
        interval_method=loss.method,
        threshold=f"upper bound ≤ {limit:.3f} nats, F in [{F_LOW:.2f}, {F_HIGH:.2f}]",
        threshold_source="VALIDATION section 3, as for sufficient",
        n_pairs=len(trial.pairs),
        n_clusters=trial.n_clusters,
        fooled_by="influence along no edge: residual stream, norms, the pairing of q and k",
    )


def cut_edges(trial: ThoroughTrial) -> list[Edge]:
    """The weights between kept nodes that the circuit does not list."""
    listed = {(edge.source, edge.target) for edge in trial.circuit.edges}
    every = edges_between(trial.model, trial.nodes)
    return [edge for edge in every if (edge.source, edge.target) not in listed]


def without_edges(trial: ThoroughTrial, cut: Iterable[Edge]) -> Transformer:
    """The model with some weights cut, each replaced by what it carries from an ablated source."""
    with torch.device("meta"):
        model = Transformer(trial.model.arch.model_copy(update={"bias": True}))
    weights = {name: torch.zeros(t.shape) for name, t in model.state_dict().items()}
    weights |= {name: t.clone() for name, t in trial.model.state_dict().items()}
    model.load_state_dict(weights, strict=True, assign=True)
    model.requires_grad_(requires_grad=False).eval()
    for edge in cut:
        weight, bias, row = _entry(model, edge)
        read = edge.source.channel
        bias[row] += weight[row, read] * trial.values[edge.source.site][read]
        weight[row, read] = 0.0
    return model


def _entry(model: Transformer, edge: Edge) -> tuple[Tensor, Tensor, int]:
    """Weight, bias and row of the linear map that an edge belongs to."""
    layer, place = model.layers[edge.target.site.layer], edge.target.site.place
    if place in ("q", "k", "v"):
        row = "qkv".index(place) * model.arch.d_attn + edge.target.channel
        return layer.attn.c_attn.weight, layer.attn.c_attn.bias, row
    block = layer.attn if edge.target.site.block == "attn" else layer.mlp
    linear = layer.mlp.c_fc if place == "post_act" else block.c_proj
    return linear.weight, linear.bias, edge.target.channel
