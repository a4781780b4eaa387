"""Edges dropped one by one: what each carried is replaced by its source's ablation value.

In: a model, nodes, the edges kept between them. Out: a model of the same shape. Its weights at
the other edges are 0, and its biases hold weight × ablation value instead. So masking,
compiling and scoring need not know of edges. With an attention sink, the constant of a v
channel is added in full, not scaled by the attention that the sink leaves. Source: ours
(docs/extraction.md#edge-pruning).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.elimination import minimise
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.model import Transformer
from circuitkit.nodes import Edge, Node, NodeSet, Site
from circuitkit.progress import Progress, silent

_MODULES = {
    "attn.q": ("attn.c_attn", 0), "attn.k": ("attn.c_attn", 1), "attn.v": ("attn.c_attn", 2),
    "attn.resid_delta": ("attn.c_proj", 0), "mlp.post_act": ("mlp.c_fc", 0),
    "mlp.resid_delta": ("mlp.c_proj", 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Nodes and the edges kept between them: no single one of either can be removed."""

    nodes: NodeSet
    edges: tuple[Edge, ...]


def cut_model(
    model: Transformer, nodes: NodeSet, kept: Collection[Edge], values: Mapping[Site, Tensor]
) -> Transformer:
    """The model in which, of the edges between ``nodes``, only ``kept`` are left."""
    endpoints = {(edge.source, edge.target) for edge in kept}
    dropped = [e for e in edges_between(model, nodes) if (e.source, e.target) not in endpoints]
    return cut_edges(model, dropped, values) if dropped else model


def cut_edges(
    model: Transformer, edges: Iterable[Edge], values: Mapping[Site, Tensor]
) -> Transformer:
    """The model without some edges; parameters that stay as they were are shared."""
    state = dict(model.state_dict())
    changed: set[str] = set()
    for edge in edges:
        module, row = _place(model, edge.target)
        weight, bias = f"{module}.weight", f"{module}.bias"
        state.setdefault(bias, state[weight].new_zeros(len(state[weight])))
        for name in {weight, bias} - changed:
            state[name] = state[name].clone()
        changed |= {weight, bias}
        source = edge.source
        state[bias][row] += state[weight][row, source.channel] * values[source.site][source.channel]
        state[weight][row, source.channel] = 0.0
    return _of_state(model, state)


def _place(model: Transformer, target: Node) -> tuple[str, int]:
    """The linear map that writes a node, and the row of its weight."""
    module, part = _MODULES[target.site.kind]
    row = part * model.arch.d_attn + target.channel
    return f"transformer.h.{target.site.layer}.{module}", row


def _of_state(model: Transformer, state: dict[str, Tensor]) -> Transformer:
    """A transformer with these parameters; maps that had no bias get one of zeros."""
    with torch.device("meta"):
        cut = Transformer(model.arch.model_copy(update={"bias": True}))
    for name, parameter in cut.named_parameters():
        if name not in state:
            state[name] = torch.zeros(parameter.shape, device=model.device)
    cut.load_state_dict(state, strict=True, assign=True)
    return cut.requires_grad_(requires_grad=False).eval()


def drop_edges(
    nodes: NodeSet, criterion: Criterion, order: Sequence[Node], progress: Progress = silent
) -> Kept:
    """Drop edges, then nodes that no longer matter, while the target holds.

    Args:
        nodes: a set that meets the target.
        criterion: decides whether the target is met.
        order: every node of the set, the most important first; the last are tried first.
        progress: called after each step of a pass.
    """
    kept = Kept(nodes=nodes, edges=edges_between(criterion.model, nodes))
    while True:
        fewer = _without_idle_nodes(
            _fewer_edges(kept, criterion, progress), criterion, order, progress
        )
        if fewer == kept:
            return kept
        kept = fewer


def _fewer_edges(kept: Kept, criterion: Criterion, progress: Progress) -> Kept:
    """Drop edges until no single one can be removed, the smallest weights first."""
    order = sorted(kept.edges, key=lambda edge: -abs(edge.weight))
    edges = minimise(order, lambda some: _meets(criterion, kept.nodes, some), progress)
    return _in_order(kept.nodes, edges)


def _without_idle_nodes(
    kept: Kept, criterion: Criterion, order: Sequence[Node], progress: Progress
) -> Kept:
    """Drop nodes, the edges unchanged, until no single one can be removed."""
    widths = kept.nodes.widths
    nodes = minimise(
        [node for node in order if node in kept.nodes],
        lambda some: _meets(criterion, NodeSet.of(some, widths), kept.edges),
        progress,
    )
    return _in_order(NodeSet.of(nodes, widths), kept.edges)


def _in_order(nodes: NodeSet, edges: Iterable[Edge]) -> Kept:
    """The edges whose source and target are kept, in the order of the forward pass."""
    kept = [edge for edge in edges if edge.source in nodes and edge.target in nodes]
    kept.sort(key=lambda edge: (edge.target.site, edge.source.site, edge.source, edge.target))
    return Kept(nodes=nodes, edges=tuple(kept))


def _meets(criterion: Criterion, nodes: NodeSet, edges: Collection[Edge]) -> bool:
    """The criterion under these edges; a cut edge carries the ablation value in force."""
    criterion.n_asked += 1
    cut = partial(cut_model, criterion.model, nodes, edges)
    return replace(criterion, model_under=cut).meets(nodes)
