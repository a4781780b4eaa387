"""The model with a gate on every candidate node, everything else folded to constants.

In: a model, ablation values, the nodes that may still be kept. Out: logit differences
with gradients in the gates, at a cost that falls with the candidates. Source: ours
(docs/extraction.md#mask-learning).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.compiled import CompiledCircuit, FoldedModel
from circuitkit.extraction.masked_model import gates_of, nodes_of
from circuitkit.model import EncodedPairs, Transformer, gate_tap, pair_losses
from circuitkit.nodes import NodeSet, Site

_WORTH_COMPILING = 0.8
"""Candidates are compiled again when they are fewer than this share of those before."""


class GatedModel:
    """The masked model for gates that are 0 outside ``candidates``; None takes every node."""

    def __init__(
        self, model: Transformer, values: Mapping[Site, Tensor], candidates: NodeSet | None = None
    ) -> None:
        self.folded, self.widths = FoldedModel(model, values), model.arch.widths
        self._compile(NodeSet.full(self.widths) if candidates is None else candidates)

    def _compile(self, candidates: NodeSet) -> None:
        self.candidates = candidates
        self.circuit: CompiledCircuit = CompiledCircuit(self.folded, candidates)
        device = self.folded.device
        self.at = {s: torch.tensor(candidates[s], device=device).long() for s in self.widths}
        self.values = {site: self.folded.values[site][at] for site, at in self.at.items()}

    def differences(
        self, pairs: EncodedPairs, gates: Mapping[Site, Tensor]
    ) -> Float[Tensor, " rows"]:
        """The logit difference of every prompt; ``gates`` has one for every node there is.

        Gates may be on any device.
        """
        device = self.folded.device
        few = {s: gates[s].to(device).index_select(0, at) for s, at in self.at.items()}
        return self.circuit.run(pairs, gate_tap(few, self.values))

    def gradients(
        self,
        pairs: EncodedPairs,
        objective: Callable[[Tensor], Tensor] = pair_losses,
        nodes: NodeSet | None = None,
    ) -> dict[Site, Float[Tensor, " width"]]:
        """As ``gate_gradients``, where ``nodes`` are open; None opens all candidates."""
        gates = gates_of(self.candidates if nodes is None else nodes, self.widths)
        for gate in gates.values():
            gate.requires_grad_()
        mean = objective(self.differences(pairs, gates)).mean()
        mean.backward(inputs=list(gates.values()))  # not also in weights that want gradients
        return {s: torch.zeros_like(g) if g.grad is None else g.grad for s, g in gates.items()}

    def narrow(self, live: Mapping[Site, Tensor]) -> None:
        """Fold away the candidates that are not ``live`` (0 by site), if they are many."""
        n_live = sum(int(x.sum()) for x in live.values())
        if n_live < _WORTH_COMPILING * len(self.candidates):
            del self.circuit  # before the next is there: either may be large
            self._compile(nodes_of(live))
