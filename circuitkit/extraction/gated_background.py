"""A circuit in a background with a gate on every candidate node.

In: a folded background, the nodes that may still be kept. Out: logit differences with gradients
in the gates, at a cost that falls with the candidates: the counterpart of ``gated_model``.
Source: ours (docs/extraction.md#asks).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from circuitkit.compiled.background import FoldedBackground, pick
from circuitkit.compiled.patched import Patched, PatchedCircuit
from circuitkit.extraction.masked_model import gates_of
from circuitkit.model.device import placed
from circuitkit.nodes import NodeSet, Site


class GatedBackground:
    """Gates are 0 outside ``candidates``."""

    def __init__(self, folded: FoldedBackground, candidates: NodeSet) -> None:
        self.folded, widths = folded, folded.arch.widths
        given = None if folded.given is None else gates_of(folded.given, widths)
        self.given = given and placed(given, folded.model.device)
        self.narrow(candidates)

    def narrow(self, candidates: NodeSet) -> None:
        """Fold away everything but these candidates."""
        self.circuit: PatchedCircuit = PatchedCircuit(self.folded, candidates)

    def run(self, gates: Mapping[Site, Tensor]) -> Patched:
        """The logit difference of every prompt; ``gates`` has one for every node there is.

        Gates may be on any device.
        """

        def tap(site: Site, x: Tensor) -> Tensor:
            at = self.circuit.kept[site]
            gate = gates[site].to(at.device).index_select(0, at)
            if self.given is not None:
                gate = torch.maximum(gate, self.given[site].index_select(0, at))
            return gate * x + (1 - gate) * pick(self.folded.value(site, x.shape[1]), at)

        return self.circuit.run(tap)
