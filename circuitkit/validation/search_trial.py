"""The data that thorough claims are tested on: a trial that can also search and run other tasks.

In: the trial of the default suite, the checkpoint, the settings of the extraction, and the
circuits in the folders beside this one. Out: pairs of every split; logit differences of node
sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.circuit import Circuit
from circuitkit.extraction import ExtractConfig
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.model import LN2, EncodedPairs
from circuitkit.nodes import NodeSet
from circuitkit.task import Split, Task
from circuitkit.validation.saved_findings import SavedFindings
from circuitkit.validation.trial import Trial

_PAIRS_A_BATCH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """Another task's circuit, of the same checkpoint and under the same ablation values."""

    task: Task
    circuit: Circuit


@dataclass(kw_only=True)
class SearchTrial(Trial):
    """A trial with the settings and the pairs of the extraction.

    ``search`` holds the settings of the extraction, of which every search here makes one
    restart; ``siblings`` may be empty. ``parts`` are circuits of the task's families that are
    known already, sorted by ``parts_by`` (None: by forms or effects). ``saved`` is what an earlier
    run found.
    """

    search: ExtractConfig
    siblings: tuple[Sibling, ...] = ()
    parts: Mapping[str, Circuit] = field(default_factory=dict)
    parts_by: str | None = None
    saved: SavedFindings = field(default_factory=lambda: SavedFindings(None, ""))

    @classmethod
    def of(
        cls,
        trial: Trial,
        search: ExtractConfig,
        siblings: tuple[Sibling, ...] = (),
        parts: Mapping[str, Circuit] | None = None,
        parts_by: str | None = None,
    ) -> SearchTrial:
        """The same trial, with the results it has cached."""
        given = {f.name: getattr(trial, f.name) for f in fields(Trial) if f.init}
        made = cls(**given, search=search, siblings=siblings, parts=parts or {}, parts_by=parts_by)
        vars(made).update(vars(trial))
        return made

    @cached_property
    def train(self) -> EncodedPairs:
        """The pairs on which the extraction learned its masks."""
        n, seed = self.search.n_train, self.search.seed
        return self.checkpoint.ask(self.task, "train", n, seed, copies=True)

    @cached_property
    def select(self) -> EncodedPairs:
        """The pairs on which the extraction chose its nodes."""
        return self.ask("select", self.search.n_select)

    def ask(self, split: Split, n: int, task: Task | None = None) -> EncodedPairs:
        """Up to ``n`` pairs of a split, of this task or another.

        Raises:
            TaskError: if the checkpoint cannot be asked the other task.
        """
        return self.checkpoint.ask(task or self.task, split, n, self.search.seed)

    def kept(self, nodes: NodeSet, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """Logit differences of the circuit with ``nodes`` of it kept, a bounded batch at a time."""
        return _in_batches(partial(self.circuit_differences, nodes), pairs)

    def others_kept(self, nodes: NodeSet, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """Logit differences with other nodes kept, a bounded batch at a time."""
        return _in_batches(partial(self.other_differences, nodes), pairs)

    def without(self, nodes: NodeSet, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """Logit differences of the model with only ``nodes`` ablated."""
        self.passes += 1
        return masked_differences(self.model, pairs, self.rest(nodes), self.values)

    def rest(self, nodes: NodeSet) -> NodeSet:
        """Every node but these."""
        return NodeSet.full(self.model.arch.widths) - nodes


def _in_batches(
    run: Callable[[EncodedPairs], Float[Tensor, " some"]], pairs: EncodedPairs
) -> Float[Tensor, " rows"]:
    starts = range(0, len(pairs), _PAIRS_A_BATCH)
    parts = [run(pairs[i : i + _PAIRS_A_BATCH]).view(2, -1) for i in starts]
    return torch.cat(parts, dim=1).flatten()


def faithfulness(
    losses: NDArray[np.float64], model_losses: NDArray[np.float64]
) -> NDArray[np.float64]:
    """F = (ln 2 - l) / (ln 2 - l_M), over the last axis: a ratio of means."""
    return (LN2 - losses.mean(-1)) / (LN2 - model_losses.mean())
