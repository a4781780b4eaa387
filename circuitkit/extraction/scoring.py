"""Score a circuit once, on the test split, which nothing before has used.

Four models are scored: the model, the circuit, its complement (the circuit's
nodes ablated: the paper's inverse pruning) and the empty circuit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from circuitkit.circuit import Scores
from circuitkit.compiled import compile_circuit
from circuitkit.extraction.masked_model import masked_differences, tapped_differences
from circuitkit.model import EncodedPairs, Transformer, hits, pair_losses
from circuitkit.nodes import NodeSet, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class FourDifferences:
    """Logit differences, one a prompt, of the four models that are compared."""

    model: Float[Tensor, " rows"]
    circuit: Float[Tensor, " rows"]
    complement: Float[Tensor, " rows"]
    empty: Float[Tensor, " rows"]

    def losses(self) -> Scores:
        """The mean pair loss of each, in nats."""
        return Scores(**{k: float(pair_losses(d).mean()) for k, d in self._items()})

    def accuracies(self) -> Scores:
        """The share of prompts that each answers correctly; a tie counts as half."""
        return Scores(**{k: float(hits(d).mean()) for k, d in self._items()})

    def _items(self) -> list[tuple[str, Tensor]]:
        return [(k, getattr(self, k)) for k in ("model", "circuit", "complement", "empty")]


def four_differences(
    model: Transformer,
    pairs: EncodedPairs,
    nodes: NodeSet,
    values: Mapping[Site, Tensor],
    circuit_model: Transformer | None = None,
) -> FourDifferences:
    """Run the model, the circuit and its complement, uncompiled: these are the reported figures.

    The empty circuit depends on the last token only, and is run compiled.
    ``circuit_model`` is the model the circuit is run on, where edges of it are cut.
    """
    nothing = NodeSet(widths=model.arch.widths)
    return FourDifferences(
        model=tapped_differences(model, pairs, None),
        circuit=masked_differences(circuit_model or model, pairs, nodes, values),
        complement=masked_differences(
            model, pairs, NodeSet.full(model.arch.widths) - nodes, values
        ),
        empty=compile_circuit(model, nothing, values).differences(pairs),
    )
