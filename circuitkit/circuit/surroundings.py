"""The context a report shows around a circuit: an example pair, embeddings, biases, means."""

from __future__ import annotations

from pydantic import BaseModel, FiniteFloat, NonNegativeInt, PositiveInt

from circuitkit.provenance import STRICT


class Side(BaseModel):
    """One prompt of the example pair as the model reads it.

    A token is a text that no other token of the vocabulary has: equal texts are equal ids.
    ``activations`` holds the kept nodes' values, one a token, in the run of the circuit.
    """

    model_config = STRICT
    tokens: tuple[str, ...]
    answer: str
    logit_difference: FiniteFloat
    activations: dict[str, tuple[FiniteFloat, ...]]


class Surroundings(BaseModel):
    """The context that a report shows around a circuit; never counted in its size.

    ``embedding`` holds [token, node, weight] for the example's tokens and the kept
    reads of the residual stream, ``unembedding`` [node, token, weight] for the kept
    channels and the two answers, ``biases`` and ``means`` a value a node.
    """

    model_config = STRICT
    question: str
    source: str
    d_head: PositiveInt
    n_nodes_model: PositiveInt
    n_edges_model: NonNegativeInt
    a: Side
    b: Side
    embedding: tuple[tuple[str, str, FiniteFloat], ...]
    unembedding: tuple[tuple[str, str, FiniteFloat], ...]
    biases: dict[str, FiniteFloat]
    means: dict[str, FiniteFloat]

    def __repr__(self) -> str:
        return f"Surroundings({self.question!r}, {self.n_nodes_model:,} nodes in the model)"
