"""What outweighs a circuit: the nodes of the rest whose interchange moves the answer most.

One node of the model at a time takes its value on the other prompt of the pair. To first order
the logit difference then falls by gradient × (own value - other value), summed over positions:
one backward pass gives it for every node. The first few are then run exactly, and named with
how far d falls.

In: a trial. Out: words. Source: ours (docs/validation.md#interchange); the first order is that
of attribution patching (Syed et al. 2023).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.extraction.masked_model import gate_gradients, tapped_differences
from circuitkit.model import EncodedPairs
from circuitkit.nodes import Node, NodeSet, Site
from circuitkit.validation.ablations import ablated_differences, other_prompt_values
from circuitkit.validation.trial import Trial

_RANKED_ON = 8
_NAMED = 5


def what_outweighs(trial: Trial) -> str:
    """A part of the note of ``interchange``; nothing if no node of the rest moves the answer."""
    pairs = trial.few[:_RANKED_ON]
    own = float(tapped_differences(trial.model, pairs, None).mean())
    falls = {node: own - _without(trial, node, pairs) for node in _ranked(trial, pairs)[:_NAMED]}
    named = sorted((node for node in falls if falls[node] > 0), key=lambda n: -falls[n])
    if not named:
        return ""
    each = ", ".join(f"{node} {falls[node]:.2f}" for node in named)
    return (
        f"outweighed by the rest: of the model's d = {own:.2f}, this much goes with the "
        f"interchange of one node: {each}"
    )


def _ranked(trial: Trial, pairs: EncodedPairs) -> list[Node]:
    """The nodes outside the circuit by how far d falls to first order, those that move it."""
    first_order = _first_order(trial, pairs)
    ranked = sorted(
        (-float(falls), site, channel)
        for site, by_channel in first_order.items()
        for channel, falls in enumerate(by_channel)
        if falls > 0
    )
    others = (Node(site, channel) for _, site, channel in ranked)
    return [node for node in others if node not in trial.nodes]


def _first_order(trial: Trial, pairs: EncodedPairs) -> dict[Site, Float[Tensor, " width"]]:
    """The mean over prompts of gradient × (own value - other value), summed over positions.

    A pair at a time: its values are of its length, and a backward pass may hold no more.
    """
    total: dict[Site, Tensor] = {}
    whole = NodeSet.full(trial.model.arch.widths)
    for i in range(len(pairs)):
        pair = pairs[i : i + 1]
        with torch.no_grad():
            values = other_prompt_values(trial, pair)
        moved = gate_gradients(trial.model, pair, whole, values, objective=lambda d: d)
        trial.passes += 1
        total = {site: total.get(site, 0) + each / len(pairs) for site, each in moved.items()}
    return total


def _without(trial: Trial, node: Node, pairs: EncodedPairs) -> float:
    """The mean d of the model with one node's value taken from the other prompt."""
    rest = NodeSet.full(trial.model.arch.widths) - NodeSet.of([node])
    return float(ablated_differences(trial, "resample_pair", rest, pairs).mean())
