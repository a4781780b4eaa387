"""A folder of the gallery, read: a circuit with its model and its ablation values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circuitkit import (
    Checkpoint,
    Circuit,
    CircuitFolder,
    Means,
    NodeSet,
    Transformer,
    load_checkpoint,
    load_task,
)
from circuitkit.model import EncodedPairs
from circuitkit.task import Split

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A circuit folder of a bundled checkpoint: its smallest circuit, which has only the target."""

    folder: Path
    circuit: Circuit
    checkpoint: Checkpoint
    model: Transformer
    means: Means

    @classmethod
    def load(cls, folder: Path) -> Shown:
        """Read a folder."""
        circuit = CircuitFolder.open(folder).at("smallest")
        checkpoint = load_checkpoint(circuit.checkpoint.name)
        model = checkpoint.load_model()
        means = Means.load(folder, model.arch.widths)
        return cls(folder=folder, circuit=circuit, checkpoint=checkpoint, model=model, means=means)

    @property
    def name(self) -> str:
        """Checkpoint and task."""
        return f"{self.checkpoint.name} {self.circuit.task.name}"

    @property
    def nodes(self) -> NodeSet:
        """Of the circuit, with the widths of its model."""
        return NodeSet(self.circuit.nodes.channels, self.model.arch.widths)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the search."""
        return json.loads((self.folder / "pruning.json").read_text())["config"]

    def pairs(self, split: Split, n: int, seed: int = 0) -> EncodedPairs:
        """Up to so many pairs of the task."""
        return self.checkpoint.encode(load_task(self.circuit.task.name).up_to(split, n, seed))


def shown_folders() -> list[Path]:
    """Every folder of the gallery that holds its circuit, in order."""
    return [path.parent for path in sorted(GALLERY.glob("*/*/circuit.json"))]
