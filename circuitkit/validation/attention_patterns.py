"""Attention patterns of kept heads, in the circuit and in the model.

In: a trial and pairs. Out: a note on how far the patterns differ, and on what the model does
when it attends as the circuit does. Source: docs/validation.md#roles.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from circuitkit.extraction.masked_model import gates_of
from circuitkit.model import EncodedPairs, Tap, chain, gate_tap, hits, logit_differences, record_tap
from circuitkit.model.attention_pattern import pattern
from circuitkit.nodes import Site
from circuitkit.validation.search_trial import SearchTrial

Seen = dict[Site, Tensor]


def distance_of_patterns(trial: SearchTrial, pairs: EncodedPairs) -> str:
    """Mean total variation per kept head, and the accuracy of M under the circuit's q and k."""
    heads = kept_heads(trial)
    if not heads:
        return "no head with a kept q or k"
    gate = gate_tap(gates_of(trial.nodes, trial.model.arch.widths), trial.values)
    model, circuit = _seen(trial, pairs, None), _seen(trial, pairs, gate)
    apart = [_apart(trial, pairs, layer, head, model, circuit) for layer, head in heads]
    accuracy = _attending_alike(trial, pairs, heads, circuit)
    return (
        f"attention of {len(heads)} heads: total variation {sum(apart) / len(apart):.3f}, at most "
        f"{max(apart):.3f}; the model attending as the circuit does: accuracy {accuracy:.3f}"
    )


def kept_heads(trial: SearchTrial) -> list[tuple[int, int]]:
    """Layer and head wherever a q or k channel is kept."""
    d_head = trial.model.arch.d_head
    return sorted(
        {(n.site.layer, n.channel // d_head) for n in trial.nodes if n.site.place in ("q", "k")}
    )


@torch.no_grad()
def _seen(trial: SearchTrial, pairs: EncodedPairs, tap: Tap | None) -> Seen:
    """The activations of the model or, under the circuit's tap, of the circuit."""
    seen: Seen = {}
    if tap is None:
        trial.model.stream(pairs.tokens, record_tap(seen))
    else:
        trial.circuit_model.stream(pairs.tokens, chain(tap, record_tap(seen)))
    trial.passes += 1
    return seen


def _apart(
    trial: SearchTrial, pairs: EncodedPairs, layer: int, head: int,
    model: Mapping[Site, Tensor], circuit: Mapping[Site, Tensor],
) -> float:  # fmt: skip
    """Total variation between the patterns of a head, at the positions that are read."""
    q, k = Site(layer, "attn", "q"), Site(layer, "attn", "k")
    attention = trial.model.layers[layer].attn
    m, c = (pattern(attention, seen[q], seen[k], head) for seen in (model, circuit))
    read = torch.arange(pairs.tokens.shape[1]) <= pairs.last[:, None]
    return float((m - c).abs().sum(-1)[read].mean() / 2)


@torch.no_grad()
def _attending_alike(
    trial: SearchTrial, pairs: EncodedPairs, heads: list[tuple[int, int]], circuit: Seen
) -> float:
    """Accuracy of the model whose kept heads have the circuit's q and k, and so its patterns."""
    d_head = trial.model.arch.d_head

    def tap(site: Site, x: Tensor) -> Tensor:
        if site.place not in ("q", "k"):
            return x
        x = x.clone()
        for layer, head in heads:
            if layer == site.layer:
                channels = slice(head * d_head, (head + 1) * d_head)
                x[..., channels] = circuit[site][..., channels]
        return x

    trial.passes += 1
    logits = trial.model(pairs.tokens, tap)[torch.arange(len(pairs.tokens)), pairs.last]
    return float(hits(logit_differences(logits, pairs)).mean())
