"""Measure transfer: the circuit of every family on the test pairs of every family.

In: node sets by family, families, a model with its ablation values. Out: a ``Transfer``. What all
circuits share on a family (its prompts encoded, the model's losses, the runs on the other prompts)
is computed once. F = (ln 2 - l_C) / (ln 2 - l_M); F_x is F with everything outside the circuit as
on the other prompt of its pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.circuit import Circuit, Rung
from circuitkit.circuit.transfer import WHOLE, Bounded, Cell, FamilyCircuit, Overlap, Transfer
from circuitkit.compiled import CompiledCircuit, FoldedModel
from circuitkit.compiled.background import FoldedBackground, other_prompts
from circuitkit.compiled.patched import PatchedCircuit
from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.families.name_mechanisms import F_DOES, Matrix, name_mechanisms
from circuitkit.model import LN2, EncodedPairs, Transformer
from circuitkit.model.per_pair import losses_of
from circuitkit.nodes import NodeSet, Site
from circuitkit.progress import Progress, silent
from circuitkit.provenance import Named
from circuitkit.statistics.intervals import FEWEST, cluster_ratio, ratio_of_few

_PAIRS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class FamilyTrial:
    """A family's circuit and the pairs that any circuit is measured on."""

    name: str
    folder: str | None
    circuit: Circuit
    pairs: EncodedPairs


@dataclass(frozen=True, kw_only=True)
class TransferTrial:
    """What a transfer matrix is measured on.

    ``whole`` is the circuit of the whole task, ``missing`` are families without a circuit,
    ``left_out`` those that were not searched.
    """

    task: Named
    checkpoint: Named
    by: str
    model: Transformer
    values: Mapping[Site, Tensor]
    families: Sequence[FamilyTrial]
    whole: Circuit | None
    seed: int
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @cached_property
    def circuits(self) -> dict[str, NodeSet]:
        """The nodes of every circuit, by its row."""
        widths = self.model.arch.widths
        found = {f.name: NodeSet(f.circuit.nodes.channels, widths) for f in self.families}
        if self.whole is not None:
            found[WHOLE] = NodeSet(self.whole.nodes.channels, widths)
        return found

    @cached_property
    def compiled(self) -> dict[str, CompiledCircuit]:
        """Every circuit, compiled once for all families."""
        folded = FoldedModel(self.model, self.values)
        return {row: CompiledCircuit(folded, nodes) for row, nodes in self.circuits.items()}


def measure_transfer(trial: TransferTrial, progress: Progress = silent) -> Transfer:
    """The matrix, and the outcome that it decides."""
    cells: list[Cell] = []
    own: dict[str, float] = {}
    for i, family in enumerate(trial.families):
        progress("transfer", i, len(trial.families))
        model = losses_of(tapped_differences(trial.model, family.pairs, None))
        own[family.name] = float(model.mean())
        cells += _cells(trial, family, model)
    named = name_mechanisms(_matrix(trial, cells))
    return Transfer(
        task=trial.task, checkpoint=trial.checkpoint, by=trial.by, f_limit=F_DOES,
        circuit_sha256=None if trial.whole is None else trial.whole.sha256,
        rung=_rung(trial.families),
        families=tuple(_family(family, own[family.name]) for family in trial.families),
        cells=tuple(cells), overlaps=tuple(_overlaps(trial)), outcome=named.outcome,
        reason=named.reason, groups=named.groups, notes=trial.notes,
    )  # fmt: skip


def _rung(families: Sequence[FamilyTrial]) -> Rung:
    """The rung that the circuits of all families have reached."""
    reached = {family.circuit.rung or "smallest" for family in families}
    return "trusted" if reached == {"trusted"} else "smallest"


def _matrix(trial: TransferTrial, cells: Sequence[Cell]) -> Matrix:
    return Matrix(
        names=tuple(family.name for family in trial.families),
        f={(cell.circuit, cell.family): cell.f for cell in cells},
        n_nodes={name: len(nodes) for name, nodes in trial.circuits.items()},
        overlaps=tuple(_overlaps(trial)),
        missing=trial.missing,
        left_out=trial.left_out,
    )


def _family(family: FamilyTrial, model_loss_nats: float) -> FamilyCircuit:
    circuit = family.circuit
    return FamilyCircuit(
        name=family.name, folder=family.folder, n_pairs=len(family.pairs),
        n_templates=len(set(family.pairs.templates)), model_loss_nats=model_loss_nats,
        target_loss_nats=circuit.target_loss_nats, n_nodes=circuit.n_nodes,
        n_edges=circuit.n_edges, circuit_sha256=circuit.sha256,
    )  # fmt: skip


def _overlaps(trial: TransferTrial) -> Iterator[Overlap]:
    for a, b in combinations([family.name for family in trial.families], 2):
        first, second = trial.circuits[a], trial.circuits[b]
        yield Overlap(first=a, second=b, n_shared=len(first & second), n_either=len(first | second))


def _cells(trial: TransferTrial, family: FamilyTrial, model: NDArray[np.float64]) -> Iterator[Cell]:
    """Every circuit on one family."""
    swapped = _interchanged(trial, family.pairs)
    for row, circuit in trial.compiled.items():
        losses = losses_of(circuit.differences(family.pairs))
        yield Cell(
            circuit=row,
            family=family.name,
            loss_nats=float(losses.mean()),
            f=_f(losses, model, family.pairs.templates, trial.seed),
            f_x=_f(losses_of(swapped[row]), model, family.pairs.templates, trial.seed),
        )


@torch.no_grad()
def _interchanged(trial: TransferTrial, pairs: EncodedPairs) -> dict[str, Tensor]:
    """The logit differences of every circuit, the rest as on the other prompt of each pair."""

    def run(batch: EncodedPairs) -> Tensor:
        folded = FoldedBackground(trial.model, other_prompts(trial.model, batch))
        found = [PatchedCircuit(folded, n).differences() for n in trial.circuits.values()]
        return torch.stack(found)

    return dict(zip(trial.circuits, pairs.each(_PAIRS_AT_ONCE, run), strict=True))


def _f(
    losses: NDArray[np.float64], model: NDArray[np.float64], templates: Sequence[str], seed: int
) -> Bounded:
    above, below = LN2 - losses, LN2 - model
    if len(set(templates)) < FEWEST:
        found = ratio_of_few(above, below, templates)
    else:
        found = cluster_ratio(above, below, templates, seed)
    low, high = found.bounds
    return Bounded(effect=found.effect, low=low, high=high)
