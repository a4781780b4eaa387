"""Cue nodes: the nodes of a circuit that by themselves carry which of its two prompts it is.

In: a sparse model, pairs, nodes. Out: those whose interchange alone, with the other prompt of the
pair, lowers the mean logit difference by at least a tenth.
"""

from __future__ import annotations

import torch
from torch import Tensor

from circuitkit.bridges.carry import end_differences
from circuitkit.bridges.crossings import streams
from circuitkit.model import EncodedPairs, Transformer, record_tap
from circuitkit.model.other_prompt import swapped
from circuitkit.nodes import Node, NodeSet, Site

SHARE = 0.10
"""An interchange that lowers the mean logit difference by less of it says little."""


@torch.no_grad()
def cue_nodes(sparse: Transformer, pairs: EncodedPairs, nodes: NodeSet) -> NodeSet:
    """The nodes whose interchange alone lowers d by a tenth or more; all of them if none does."""
    batch = pairs.to(sparse.device)
    seen: dict[Site, Tensor] = {}
    stream = streams(sparse, batch.tokens, record_tap(seen))
    own = float(end_differences(sparse, batch, stream[-1]).mean())
    other = swapped(batch, {site: seen[site] for site in nodes.channels})

    def falls(node: Node) -> float:
        def tap(site: Site, x: Tensor) -> Tensor:
            if site != node.site:
                return x
            moved = x.clone()
            moved[..., node.channel] = other[site][..., node.channel]
            return moved

        end = streams(sparse, batch.tokens, tap)[-1]
        return own - float(end_differences(sparse, batch, end).mean())

    found = [node for node in nodes if falls(node) >= SHARE * own]
    return NodeSet.of(found or nodes, nodes.widths)
