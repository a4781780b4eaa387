"""What every claim is tried on: the model, the circuit, its ablation values, test pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import log

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.circuit import Circuit
from circuitkit.compiled import compile_circuit
from circuitkit.extraction.cut import cut_model
from circuitkit.extraction.masked import gates_of
from circuitkit.extraction.means import Means, Progress, silent
from circuitkit.extraction.score import FourDifferences, four_differences
from circuitkit.model import (
    EncodedPairs,
    Transformer,
    gate_tap,
    logit_differences,
    pair_losses,
    record_tap,
)
from circuitkit.nodes import NodeSet, Site
from circuitkit.task import Task

LN2 = log(2)
"""The pair loss, in nats, of anything blind to the pair."""

_POOL_SEQUENCES = 64
_FEW = 128


@dataclass(kw_only=True)
class Trial:
    """One circuit before the court; what is asked twice is computed once.

    ``passes`` counts forward passes over a batch of pairs.
    """

    model: Transformer
    task: Task
    circuit: Circuit
    means: Means
    reference: Int[Tensor, "n length"]
    pairs: EncodedPairs
    seed: int
    progress: Progress = silent
    passes: int = field(default=0, init=False)

    @property
    def values(self) -> Mapping[Site, Tensor]:
        """What an ablated node is replaced by."""
        return self.means.values

    @property
    def nodes(self) -> NodeSet:
        """The circuit's nodes, with the model's widths as their universe."""
        return NodeSet(self.circuit.nodes.channels, self.model.arch.widths)

    @property
    def clusters(self) -> tuple[str, ...]:
        """The template of every pair."""
        return self.pairs.templates

    @property
    def n_clusters(self) -> int:
        """How many templates the pairs come from."""
        return len(set(self.clusters))

    @cached_property
    def few(self) -> EncodedPairs:
        """Fewer pairs, for claims that need many passes; the first 128, templates in turn."""
        return self.pairs[:_FEW]

    @cached_property
    def scored(self) -> FourDifferences:
        """Model, circuit, complement and empty circuit on the test pairs."""
        self.passes += 4
        cut = cut_model(self.model, self.nodes, self.circuit.edges, self.values)
        return four_differences(self.model, self.pairs, self.nodes, self.values, circuit_model=cut)

    def circuit_losses(
        self, nodes: NodeSet, pairs: EncodedPairs, values: Mapping[Site, Tensor] | None = None
    ) -> NDArray[np.float64]:
        """The pair losses, in nats, of the circuit of ``nodes``, compiled."""
        self.passes += 1
        compiled = compile_circuit(self.model, nodes, self.values if values is None else values)
        return pair_losses(compiled.differences(pairs)).double().numpy()

    @cached_property
    def pool(self) -> dict[Site, Float[Tensor, "token width"]]:
        """Activations of the model at every token of a few reference sequences."""
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.randperm(len(self.reference), generator=generator)[:_POOL_SEQUENCES]
        seen: dict[Site, Tensor] = {}
        self.passes += 1
        with torch.no_grad():
            self.model.stream(self.reference[chosen].long(), record_tap(seen))
        return {site: x.flatten(0, 1) for site, x in seen.items()}

    @torch.no_grad()
    def resampled_differences(self, nodes: NodeSet, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """``resample_joint``: a site's ablated nodes take the values of one reference token.

        One token a prompt and site, held over all positions of the prompt.
        """
        generator = torch.Generator().manual_seed(self.seed)
        gates, parts = gates_of(nodes, self.model.arch.widths), []
        for start in range(0, len(pairs), 64):
            batch = pairs[start : start + 64]
            values = {
                site: x[torch.randint(len(x), (len(batch.tokens), 1), generator=generator)]
                for site, x in self.pool.items()
            }
            logits = self.model(batch.tokens, gate_tap(gates, values), batch.last)[:, 0]
            parts.append(logit_differences(logits, batch).view(2, -1))
            self.passes += 1
        return torch.cat(parts, dim=1).flatten()


def losses_of(differences: Float[Tensor, " rows"]) -> NDArray[np.float64]:
    """Pair losses in nats as an array, one a pair."""
    return pair_losses(differences).double().numpy()


def hits_of(differences: Float[Tensor, " rows"]) -> NDArray[np.float64]:
    """The share of a pair's two prompts answered rightly, one a pair."""
    return (differences > 0).double().view(2, -1).mean(0).numpy()
