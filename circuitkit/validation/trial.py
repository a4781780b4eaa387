"""The data every claim is tested on: the model, the circuit, its ablation values, test pairs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.pair_remarks import remarks
from circuitkit.circuit import Circuit
from circuitkit.compiled import CompiledCircuit, FoldedModel, compile_circuit
from circuitkit.compiled.background import FoldedBackground, other_prompts
from circuitkit.compiled.patched import PatchedCircuit
from circuitkit.extraction.ask_maker import AskMaker
from circuitkit.extraction.asks import Ask, check_asks
from circuitkit.extraction.criterion import PUSH
from circuitkit.extraction.edge_pruning import cut_model
from circuitkit.extraction.means import Means
from circuitkit.extraction.scoring import FourDifferences, four_differences
from circuitkit.model import (
    LN2,
    EncodedPairs,
    Transformer,
    record_tap,
)
from circuitkit.model.device import placed
from circuitkit.model.per_pair import losses_of
from circuitkit.nodes import Edge, NodeSet, Site
from circuitkit.progress import Progress, silent
from circuitkit.statistics.intervals import Estimate, cluster_ratio
from circuitkit.task import SPLITS, Split, Task
from circuitkit.validation.ablations import STILL, Kind, ablated_differences, means_over
from circuitkit.validation.leave_one_out import LeftOut, leave_one_out

_POOL_SEQUENCES = 64
_FEW = 128
_PAIRS_AT_ONCE = 16


@dataclass(kw_only=True)
class Trial:
    """The data every claim is tested on. Results that several claims need are cached.

    ``others`` are circuits of other tasks on the same checkpoint, ``rival_notes`` say how they
    were chosen. ``passes`` counts forward passes over a batch of pairs.
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

    @cached_property
    def values(self) -> Mapping[Site, Tensor]:
        """What an ablated node is replaced by, where the model is."""
        return placed(self.means.values, self.model.device)

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
        """Read every split now, so that an error comes before anything runs.

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
        """Notes on the pairs that were read so far."""
        return remarks({split: read for split, (_, read) in self._splits.items()})

    @cached_property
    def few(self) -> EncodedPairs:
        """Fewer pairs, for claims that need many passes; the first 128, templates in turn."""
        return self.pairs[:_FEW]

    @cached_property
    def scored(self) -> FourDifferences:
        """Model, circuit, complement and empty circuit on the test pairs."""
        self.passes += 4
        return four_differences(
            self.model, self.pairs, self.nodes, self.values, circuit_model=self.circuit_model
        )

    @cached_property
    def circuit_model(self) -> Transformer:
        """The model that the circuit is run on: the edges that it dropped are cut.

        Every claim runs the circuit and parts of it on this, anything else on ``model``.
        """
        return self._cut(self.values)

    def _cut(self, values: Mapping[Site, Tensor]) -> Transformer:
        return cut_model(self.model, self.nodes, self.circuit.edges, values)

    def circuit_losses(
        self, nodes: NodeSet, pairs: EncodedPairs, values: Mapping[Site, Tensor] | None = None
    ) -> NDArray[np.float64]:
        """The pair losses, in nats, of the circuit with ``nodes`` of it kept, compiled."""
        return losses_of(self.circuit_differences(nodes, pairs, values))

    def circuit_differences(
        self, nodes: NodeSet, pairs: EncodedPairs, values: Mapping[Site, Tensor] | None = None
    ) -> Float[Tensor, " rows"]:
        """The logit differences of the circuit with ``nodes`` of it kept, compiled."""
        self.passes += 1
        if values is not None:
            return compile_circuit(self._cut(values), nodes, values).differences(pairs)
        return CompiledCircuit(self.folded, nodes).differences(pairs)

    def other_differences(
        self, nodes: NodeSet, pairs: EncodedPairs, edges: Collection[Edge] | None = None
    ) -> Float[Tensor, " rows"]:
        """The logit differences of other nodes, compiled, with every weight between them.

        Given ``edges``, only these weights.
        """
        self.passes += 1
        if edges is not None:
            cut = cut_model(self.model, nodes, edges, self.values)
            if cut is not self.model:
                return compile_circuit(cut, nodes, self.values).differences(pairs)
        return CompiledCircuit(self.whole_folded, nodes).differences(pairs)

    @cached_property
    def folded(self) -> FoldedModel:
        """The folded model that all compiled parts of the circuit share."""
        return FoldedModel(self.circuit_model, self.values)

    @cached_property
    def whole_folded(self) -> FoldedModel:
        """The folded model of every other compiled circuit; the same where no edge is cut."""
        whole = self.circuit_model is self.model
        return self.folded if whole else FoldedModel(self.model, self.values)

    @cached_property
    def asks(self) -> list[Ask]:
        """What the search asked of the circuit besides the target, on a few test pairs."""
        names = dict.fromkeys(asked.ask for asked in self.circuit.asks)
        maker = AskMaker(
            model=self.model, values=self.values, sample=self.reference, pairs=self.few,
            target_loss_nats=self.circuit.target_loss_nats, seed=self.seed,
        )  # fmt: skip
        return maker.criteria(check_asks([*names]))

    @cached_property
    def left_out(self) -> LeftOut:
        """What every node of the circuit is worth, on a few test pairs."""
        return leave_one_out(self)

    def drift(self, nodes: NodeSet, pairs: EncodedPairs) -> float:
        """The spread, in nats, of the circuit's losses under the pushed means of the search."""
        pushed = [None, self.means.pushed(PUSH), self.means.pushed(-PUSH)]
        means = [float(self.circuit_losses(nodes, pairs, values).mean()) for values in pushed]
        return max(means) - min(means)

    def recovered(
        self,
        losses: NDArray[np.float64],
        model: NDArray[np.float64],
        clusters: Sequence[str],
    ) -> Estimate:
        """F of some losses: how far they are below ln 2, as a share of the model's."""
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

    def ablated_circuit(self, kind: Kind, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """The circuit's logit differences, the rest ablated in one of the six ways.

        An edge that the circuit dropped carries its source's value under that ablation if it
        is the same for all prompts, else the value that the circuit was found under.
        """
        if kind in STILL:
            return self.circuit_differences(self.nodes, pairs, STILL[kind](self))
        return ablated_differences(self, kind, self.nodes, pairs, self.circuit_model)

    @cached_property
    def interchanged(self) -> Float[Tensor, " rows"]:
        """The circuit's logit differences on the test pairs, the rest as on the other prompt."""
        if self.circuit_model is not self.model:
            return self.ablated_circuit("resample_pair", self.pairs)

        def run(batch: EncodedPairs) -> Tensor:
            self.passes += 2
            folded = FoldedBackground(self.model, other_prompts(self.model, batch))
            return PatchedCircuit(folded, self.nodes).differences()

        return self.pairs.each(_PAIRS_AT_ONCE, run)

    def ablated_complement(self, kind: Kind, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """The model's logit differences, the circuit's nodes ablated in one of the six ways."""
        return ablated_differences(self, kind, ~self.nodes, pairs)
