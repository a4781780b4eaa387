"""Taps: how activations are read and changed.

A tap is called at every site of the forward pass with the site and its
activations, after activation top-k, and returns the activations that the model continues with.
Recording, ablation, mask learning and patching are all taps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.nodes import NodeSet, Site

Tap = Callable[[Site, Tensor], Tensor]


def record_tap(store: dict[Site, Tensor]) -> Tap:
    """Keep every site's activations in ``store``; the model is unchanged."""

    def tap(site: Site, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        store[site] = x
        return x

    return tap


def gates_of(nodes: NodeSet, widths: Mapping[Site, int]) -> dict[Site, Float[Tensor, " width"]]:
    """A gate for every channel of every site: 1 where the node is kept, else 0."""
    gates = {site: torch.zeros(width) for site, width in widths.items()}
    for site, channels in nodes.channels.items():
        gates[site][list(channels)] = 1.0
    return gates


def gate_tap(gates: Mapping[Site, Tensor], ablation_values: Mapping[Site, Tensor]) -> Tap:
    """Keep channels where the gate is 1 and put the ablation value where it is 0.

    Gates broadcast against the activations: ``(width,)`` is one mask for every prompt
    and position. In this form gate 1 is the model bitwise and gate 0 the constant
    bitwise; ``value + gate * (x - value)`` is neither. Gates and values are moved once to where
    the activations are.
    """
    moved: dict[Site, tuple[Tensor, Tensor]] = {}

    def tap(site: Site, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        if site not in moved:
            moved[site] = gates[site].to(x.device), ablation_values[site].to(x.device)
        gate, value = moved[site]
        return gate * x + (1 - gate) * value

    return tap


def chain(*taps: Tap) -> Tap:
    """The taps one after the other."""

    def tap(site: Site, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        for each in taps:
            x = each(site, x)
        return x

    return tap
