"""What every claim is tried on: the model, the circuit, its ablation values, test pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.asking import remarks
from circuitkit.circuit import Circuit
from circuitkit.compiled import CompiledCircuit, Foundation, compile_circuit
from circuitkit.extraction.cut import cut_model
from circuitkit.extraction.means import Means, Progress, silent
from circuitkit.extraction.score import FourDifferences, four_differences
from circuitkit.model import EncodedPairs, Transformer, pair_losses, record_tap
from circuitkit.nodes import NodeSet, Site
from circuitkit.task import SPLITS, Split, Task
from circuitkit.validation.ablations import Kind, ablated_differences, means_over
from circuitkit.validation.statistics import Estimate, cluster_ratio

LN2 = log(2)
"""The pair loss, in nats, of anything blind to the pair."""

_POOL_SEQUENCES = 64
_FEW = 128


@dataclass(kw_only=True)
class Trial:
    """One circuit before the court; what is asked twice is computed once.

    ``others`` are circuits of other tasks on the same checkpoint, ``rival_notes`` say how they
    were chosen. ``passes`` counts forward
    passes over a batch of pairs.
    """

    checkpoint: Checkpoint
    model: Transformer
    task: Task
    circuit: Circuit
    means: Means
    reference: Int[Tensor, "n length"]
    pairs: EncodedPairs
    seed: int
    others: Sequence[Circuit] = ()
    rival_notes: tuple[str, ...] = ()
    progress: Progress = silent
    passes: int = field(default=0, init=False)
    _splits: dict[Split, tuple[int, EncodedPairs]] = field(default_factory=dict, init=False)

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

    def split(self, split: Split, n_pairs: int) -> EncodedPairs:
        """Up to so many pairs of a split, as the extraction drew them: the first of those read."""
        wanted, read = self._splits.get(split, (0, None))
        if read is None or wanted < n_pairs:
            read = self.checkpoint.ask(self.task, split, n_pairs, self.seed)
            self._splits[split] = n_pairs, read
        return read[:n_pairs] if len(read) > n_pairs else read

    def read_splits(self) -> None:
        """Read every split now: what cannot be asked is refused before anything runs.

        Raises:
            TaskError: if a pair of any split cannot be asked.
        """
        n = len(self.pairs)
        self._splits["test"] = n, self.pairs
        for split in SPLITS:
            if self.task.templates(split):
                self.split(split, _FEW if split == "select" else n)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of the pairs that were read so far."""
        return remarks({split: read for split, (_, read) in self._splits.items()})

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
        return losses_of(self.circuit_differences(nodes, pairs, values))

    def circuit_differences(
        self, nodes: NodeSet, pairs: EncodedPairs, values: Mapping[Site, Tensor] | None = None
    ) -> Float[Tensor, " rows"]:
        """The logit differences of the circuit of ``nodes``, compiled."""
        self.passes += 1
        if values is not None:
            return compile_circuit(self.model, nodes, values).differences(pairs)
        return CompiledCircuit(self.foundation, nodes).differences(pairs)

    @cached_property
    def foundation(self) -> Foundation:
        """What every compiled circuit of this model and these ablation values shares."""
        return Foundation(self.model, self.values)

    def recovered(
        self,
        losses: NDArray[np.float64],
        model: NDArray[np.float64],
        clusters: Sequence[str],
    ) -> Estimate:
        """F, the share of what the model gains over ln 2 that some losses gain."""
        return cluster_ratio(LN2 - losses, LN2 - model, clusters, self.seed)

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

    @cached_property
    def reference_means(self) -> Mapping[Site, Tensor]:
        """Means over the reference; for a circuit of zero ablation, over a few sequences of it."""
        if self.circuit.ablation == "mean":
            return self.values
        return {site: x.mean(0) for site, x in self.pool.items()}

    @cached_property
    def task_means(self) -> Mapping[Site, Tensor]:
        """Means over the prompts of a few training pairs."""
        pairs = self.split("train", _FEW)
        self.passes += 1
        return means_over(self.model, pairs)

    def ablated(self, kind: Kind, nodes: NodeSet, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """The logit differences with all but ``nodes`` ablated in one of the six ways."""
        return ablated_differences(self, kind, nodes, pairs)


def losses_of(differences: Float[Tensor, " rows"]) -> NDArray[np.float64]:
    """Pair losses in nats as an array, one a pair."""
    return pair_losses(differences).double().numpy()


def hits_of(differences: Float[Tensor, " rows"]) -> NDArray[np.float64]:
    """The share of a pair's two prompts answered rightly, one a pair; a tie is half an answer."""
    return ((differences.sign() + 1) / 2).double().view(2, -1).mean(0).numpy()


def agreement_of(
    differences: Float[Tensor, " rows"], others: Float[Tensor, " rows"]
) -> NDArray[np.float64]:
    """The share of a pair's two prompts on which both prefer the same answer, one a pair."""
    return (differences.sign() == others.sign()).double().view(2, -1).mean(0).numpy()
