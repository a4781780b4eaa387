"""Carry a node's move over: from the sparse model into the dense model's residual stream.

In: a bridged pair, pairs of prompts, nodes of the sparse model and a strength from 0 to 1. Out: the
change of the dense stream at every crossing, and the logit differences of both models under it.

A node goes from its value on the prompt (strength 0) to that on the pair's other prompt (1), at
aligned positions, as in ``model.other_prompt``. A node that reads the stream is the channel that
it reads: that channel is moved before the sublayer. Any other node is set within its sublayer, and
what counts is how the stream after the sublayer differs from that of the same sublayer without the
move. So several nodes can be carried together and nothing is carried twice: a node that an earlier
one has moved already adds only what is left. The change goes through the decoder (the bias drops
out) and is added to the dense stream at the same crossing; the dense model does the rest.

Source: Gao et al. 2025, section A.4. Where we differ: the change is added before the norm, so that
no ratio of scales is needed, and stays in the stream for all that follows; and any node may be
moved, not only one that reads (docs/bridges.md#carrying).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.bridges.bridge_file import BridgedPair
from circuitkit.bridges.crossings import (
    crossing_of,
    reads_stream,
    streams,
    sublayer_of,
    sublayers,
)
from circuitkit.model import EncodedPairs, Tap, Transformer, logit_differences, record_tap
from circuitkit.model.other_prompt import swapped
from circuitkit.nodes import NodeSet, Site

Changes = Mapping[int, Float[Tensor, "rows seq width"]]
"""What is added to the stream at a crossing, by the crossing's number."""


class Values(NamedTuple):
    """Where nodes are and where they go, by site; of a site that reads, the stream's channels."""

    own: Mapping[Site, Tensor]
    other: Mapping[Site, Tensor]

    def at(self, site: Site, channels: list[int], strength: float) -> Tensor:
        """The values of some channels, so far of the way."""
        own, other = self.own[site][..., channels], self.other[site][..., channels]
        return own + strength * (other - own)


class Moved(NamedTuple):
    """What a move changes in the sparse model's stream, by crossing, and where the stream ends."""

    changes: dict[int, Float[Tensor, "rows seq d_sparse"]]
    end: Float[Tensor, "rows seq d_sparse"]


def node_values(sparse: Transformer, batch: EncodedPairs, nodes: NodeSet) -> Values:
    """The values of the nodes' sites on each prompt, and on the other prompt of its pair."""
    seen: dict[Site, Tensor] = {}
    stream = streams(sparse, batch.tokens, record_tap(seen))
    sites = {
        site: stream[crossing_of(site, sparse.arch.n_layer)] if reads_stream(site) else seen[site]
        for site in nodes.channels
    }
    return Values(own=sites, other=swapped(batch, sites))


def move(
    sparse: Transformer, batch: EncodedPairs, nodes: NodeSet, values: Values, strength: float
) -> Moved:
    """Run the sparse model with the nodes moved, and keep what each move adds to the stream."""
    n_layer, changes = sparse.arch.n_layer, {}
    x, positions = sparse.embed(batch.tokens)
    for i, step in enumerate([*sublayers(sparse, positions), None]):
        mine = {s: list(c) for s, c in nodes.channels.items() if sublayer_of(s, n_layer) == i}
        reads = {site: mine[site] for site in mine if reads_stream(site)}
        inner = {site: mine[site] for site in mine if not reads_stream(site)}
        if reads:
            moved = _stream_set(x, reads, values, strength)
            changes[i] = changes.get(i, 0) + (moved - x)
            x = moved
        if step is None:
            return Moved(changes, x)
        after = step(x, _setting(inner, values, strength) if inner else None)
        if inner:
            changes[i + 1] = after - step(x, None)
        x = after
    raise AssertionError("the unembedding comes last")


def _stream_set(
    x: Tensor, reads: Mapping[Site, list[int]], values: Values, strength: float
) -> Tensor:
    """The stream with the channels that are read set."""
    moved = x.clone()
    for site, channels in reads.items():
        moved[..., channels] = values.at(site, channels, strength)
    return moved


def _setting(inner: Mapping[Site, list[int]], values: Values, strength: float) -> Tap:
    """A tap that sets the channels inside a sublayer."""

    def tap(site: Site, x: Tensor) -> Tensor:
        if site not in inner:
            return x
        moved = x.clone()
        moved[..., inner[site]] = values.at(site, inner[site], strength)
        return moved

    return tap


def carry(pair: BridgedPair, changes: Changes) -> dict[int, Float[Tensor, "rows seq d_dense"]]:
    """The changes of the sparse stream as changes of the dense one."""
    return {crossing: pair.bridges[crossing].carry(change) for crossing, change in changes.items()}


def end_differences(
    model: Transformer, batch: EncodedPairs, stream: Float[Tensor, "rows seq d_model"]
) -> Float[Tensor, " rows"]:
    """The logit difference of every prompt, from the stream after the last MLP."""
    rows = torch.arange(len(batch.tokens), device=stream.device)
    read = stream[rows, batch.last], batch.tokens[rows, batch.last]
    return logit_differences(model.unembed(*read), batch)


def changed_differences(
    dense: Transformer, batch: EncodedPairs, own: list[Tensor], changes: Changes
) -> Float[Tensor, " rows"]:
    """The logit difference of every prompt, with changes added to the dense stream.

    ``own`` are the streams without them: the pass begins at the first crossing that changes.
    """
    _, positions = dense.embed(batch.tokens)
    first = min(changes, default=len(own) - 1)
    x = own[first]
    for i, step in enumerate(sublayers(dense, positions)[first:], first):
        x = step(x + changes[i] if i in changes else x, None)
    last = len(own) - 1
    return end_differences(dense, batch, x + changes[last] if last in changes else x)


def norms(changes: Changes, last: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """The size of a change of each prompt: over all its positions and crossings, Euclidean."""
    total = torch.zeros(len(last), device=last.device)
    for change in changes.values():
        is_read = torch.arange(change.shape[1], device=last.device) <= last[:, None]
        total = total + (change.square().sum(-1) * is_read).sum(-1)
    return total.sqrt()
