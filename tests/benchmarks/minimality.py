"""Whether any single node of a gallery circuit could go, tried on the masked model.

Independent of the search: no compiled circuit, no judge, the upper bound and the drift under
pushed ablation values computed here. On the selection pairs that the search was judged by.

Usage: python tests/benchmarks/minimality.py [FOLDER ...]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from circuitkit import Circuit, Means, Node, NodeSet, Transformer, load_checkpoint, load_task
from circuitkit.extraction.masked import masked_differences
from circuitkit.model import EncodedPairs, pair_losses
from circuitkit.nodes import Site

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"
Z95, PUSH, DRIFT_NATS, DRIFT_PAIRS = 1.6448536, 3.0, 0.01, 64


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A circuit folder, read."""

    circuit: Circuit
    model: Transformer
    means: Means
    pairs: EncodedPairs

    @classmethod
    def load(cls, folder: Path) -> Shown:
        """The selection pairs are drawn as the folder's record says."""
        circuit = Circuit.load(folder)
        checkpoint = load_checkpoint(circuit.checkpoint.name)
        config = json.loads((folder / "pruning.json").read_text())["config"]
        task = load_task(circuit.task.name)
        pairs = checkpoint.encode(task.up_to("select", config["n_select"], config["seed"]))
        model = checkpoint.load_model()
        return cls(
            circuit=circuit, model=model, means=Means.load(folder, model.arch.widths),
            pairs=pairs[pairs.by_length()],
        )  # fmt: skip

    @property
    def nodes(self) -> NodeSet:
        """Of the circuit, with the widths of its model."""
        return NodeSet(self.circuit.nodes.channels, self.model.arch.widths)

    def could_go(self) -> list[Node]:
        """The nodes without which the target is still met."""
        return [node for node in self.nodes if self.meets(self.nodes - NodeSet.of([node]))]

    def meets(self, nodes: NodeSet) -> bool:
        """The upper 95 % bound over templates at most the target, and the drift small."""
        losses = self._losses(self.pairs, nodes, self.means.values)
        if losses.mean() > self.circuit.target_loss_nats:
            return False
        names = np.array(self.pairs.templates)
        off = [(losses[names == name] - losses.mean()).sum() for name in set(names)]
        variance = np.square(off).sum() / len(losses) ** 2 * len(off) / (len(off) - 1)
        if losses.mean() + Z95 * np.sqrt(variance) > self.circuit.target_loss_nats:
            return False
        few = self.pairs[:: max(1, len(self.pairs) // DRIFT_PAIRS)]
        ends = [self._losses(few, nodes, self.means.pushed(x)).mean() for x in (PUSH, -PUSH)]
        return abs(ends[0] - ends[1]) <= DRIFT_NATS

    def _losses(self, pairs: EncodedPairs, nodes: NodeSet, values: Mapping[Site, Tensor]):
        return pair_losses(masked_differences(self.model, pairs, nodes, values)).double().numpy()


def main() -> None:
    """A row a circuit."""
    given = [Path(name) for name in sys.argv[1:]]
    folders = given or [path.parent for path in sorted(GALLERY.glob("*/*/circuit.json"))]
    sys.stdout.write("| circuit | outcome | nodes | meets the target | could go |\n|" + "---|" * 5)
    for folder in folders:
        shown = Shown.load(folder)
        went = ", ".join(map(str, shown.could_go())) or "none"
        name, outcome = "/".join(folder.parts[-2:]), shown.circuit.outcome
        met = "yes" if shown.meets(shown.nodes) else "no"
        sys.stdout.write(f"\n| {name} | {outcome} | {len(shown.nodes)} | {met} | {went} |")
        sys.stdout.flush()
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
