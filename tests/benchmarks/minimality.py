"""Whether any single node of a smallest circuit could go, tried on the masked model.

Of the circuits of the gallery. Independent of the search: no compiled circuit, no criterion, the
upper bound and the drift under pushed ablation values computed here. On the selection pairs that
decided the search.
Without folders, those of the sparse checkpoints: a dense circuit takes many minutes.

Usage: python tests/benchmarks/minimality.py [FOLDER ...]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from goal import tell
from shown import Shown, shown_folders
from torch import Tensor

from circuitkit import Node, NodeSet
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.model import EncodedPairs, pair_losses
from circuitkit.nodes import Site

Z95, PUSH, DRIFT_NATS, DRIFT_PAIRS, ABOVE_MODEL_NATS = 1.6448536, 3.0, 0.01, 64, 0.05


@dataclass(frozen=True, kw_only=True)
class Selected:
    """A circuit on the selection pairs of its search."""

    shown: Shown
    pairs: EncodedPairs

    @classmethod
    def of(cls, shown: Shown) -> Selected:
        """The pairs are drawn as the folder's record says."""
        pairs = shown.pairs("select", shown.config["n_select"], shown.config["seed"])
        return cls(shown=shown, pairs=pairs[pairs.by_length()])

    def could_go(self, nodes: NodeSet) -> list[Node]:
        """The nodes without which the others still meet the target."""
        return [node for node in nodes if self.meets(nodes - NodeSet.of([node]))]

    def meets(self, nodes: NodeSet) -> bool:
        """The upper 95 % bound over templates within the target, every form too; drift small."""
        means, target = self.shown.means, self.shown.circuit.target_loss_nats
        losses = self._losses(self.pairs, nodes, means.values)
        if losses.mean() > target:
            return False
        names = np.array(self.pairs.templates)
        off = [(losses[names == name] - losses.mean()).sum() for name in set(names)]
        variance = np.square(off).sum() / len(losses) ** 2 * len(off) / (len(off) - 1)
        if losses.mean() + Z95 * np.sqrt(variance) > target:
            return False
        if not self.shown.config.get("on_average", True) and self._fails_a_form(losses, target):
            return False
        few = self.pairs[:: max(1, len(self.pairs) // DRIFT_PAIRS)]
        found = [self._losses(few, nodes, means.pushed(x)).mean() for x in (-PUSH, 0.0, PUSH)]
        return max(found) - min(found) <= DRIFT_NATS

    def _fails_a_form(self, losses: Any, target: float) -> bool:
        """Whether the mean over one form exceeds the target, or the model's worst form + 0.05."""
        names = [name.partition("/") for name in self.pairs.templates]
        if not all(slash for _, slash, _ in names):
            return False
        forms = np.array([form for form, _, _ in names])
        full = NodeSet.full(self.shown.model.arch.widths)
        own = self._losses(self.pairs, full, self.shown.means.values)

        def worst(values: Any) -> float:
            return max(values[forms == form].mean() for form in set(forms))

        return worst(losses) > max(target, worst(own) + ABOVE_MODEL_NATS)

    def _losses(self, pairs: EncodedPairs, nodes: NodeSet, values: Mapping[Site, Tensor]):
        differences = masked_differences(self.shown.model, pairs, nodes, values)
        return pair_losses(differences).double().numpy()


def tried(folder: Path) -> tuple[str, bool]:
    """The row of a circuit, and whether it is as it should be."""
    torch.set_num_threads(1)
    shown = Shown.load(folder)
    selected, nodes = Selected.of(shown), shown.nodes
    met, went = selected.meets(nodes), selected.could_go(nodes)
    told = f"{'yes' if met else 'no'} | {', '.join(map(str, went)) or 'none'}"
    return f"| {shown.name} | {shown.circuit.outcome} | {len(nodes)} | {told} |\n", met and not went


def main() -> None:
    """A row a circuit, as it comes."""
    sys.stdout.write("| circuit | outcome | nodes | meets the target | could go |\n")
    sys.stdout.write("|" + "---|" * 5 + "\n")
    sparse = [folder for folder in shown_folders() if folder.parent.name != "tinypython-dense"]
    minimal: list[bool] = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for row, is_minimal in pool.map(tried, [Path(name) for name in sys.argv[1:]] or sparse):
            minimal.append(is_minimal)
            sys.stdout.write(row)
            sys.stdout.flush()
    found = f"{sum(minimal)} of {len(minimal)}"
    tell("circuits that meet the target and are 1-minimal", "all", found)


if __name__ == "__main__":
    main()
