"""Which nodes recur: many circuits side by side.

In: circuits, or their folders. Out: how much every two share, and which nodes
several have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitkit.arguments import checked_call
from circuitkit.circuit.circuit_json import Circuit, Rung
from circuitkit.circuit.comparison import jaccard
from circuitkit.circuit.folder import CircuitFolder
from circuitkit.errors import UsageError
from circuitkit.nodes import Node

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 3
"""Circuits; two have more to say to each other (``compare``)."""


@dataclass(frozen=True, slots=False, kw_only=True)
class Recurrence:
    """Circuits side by side: what every two share, and the nodes that several have."""

    names: tuple[str, ...]
    circuits: tuple[Circuit, ...]

    def __repr__(self) -> str:
        return f"Recurrence({len(self.circuits)} circuits, {len(self.owners)} nodes)"

    @property
    def same_checkpoint(self) -> bool:
        """Whether all are circuits of one model."""
        return len({circuit.checkpoint.sha256 for circuit in self.circuits}) == 1

    @cached_property
    def owners(self) -> dict[Node, tuple[int, ...]]:
        """Every node with the positions of the circuits that have it; those of most first."""
        nodes = {node for circuit in self.circuits for node in circuit.nodes}
        owners = {n: tuple(i for i, c in enumerate(self.circuits) if n in c.nodes) for n in nodes}
        return dict(sorted(owners.items(), key=lambda item: (-len(item[1]), item[0])))

    @property
    def matrix(self) -> list[list[float]]:
        """The Jaccard index of the nodes of every two circuits; 1 on the diagonal."""
        return [[jaccard(a.nodes, b.nodes) for b in self.circuits] for a in self.circuits]

    def matrix_frame(self) -> pd.DataFrame:
        """The matrix with the names of the circuits."""
        import pandas as pd

        return pd.DataFrame(self.matrix, index=list(self.names), columns=list(self.names))

    def nodes_frame(self) -> pd.DataFrame:
        """A row a node: ``node``, ``n_circuits``, and a column a circuit that says if it has it.

        A circuit with the name of one of these two columns gets ``circuit`` in front of it.
        """
        import pandas as pd

        first = ["node", "n_circuits"]
        names = [f"circuit {name}" if name in first else name for name in self.names]
        rows = [
            [str(node), len(owners), *(i in owners for i in range(len(names)))]
            for node, owners in self.owners.items()
        ]
        return pd.DataFrame(rows, columns=[*first, *names])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``compare --json`` prints them."""
        return {
            "circuits": list(self.names),
            "same_checkpoint": self.same_checkpoint,
            "jaccard_nodes": self.matrix,
            "nodes": {
                str(node): [self.names[i] for i in owners] for node, owners in self.owners.items()
            },
        }


@checked_call
def compare_many(
    circuits: Sequence[Circuit | CircuitFolder | str | Path], *, rung: Rung | None = None
) -> Recurrence:
    """Put three circuits or more side by side: which nodes recur, over tasks, seeds or rungs.

    Args:
        circuits: circuits, or folders that hold one.
        rung: of folders, which of its circuits; None for the highest that was reached.

    Raises:
        UsageError: if they are fewer than three.
        CircuitError: if a folder holds no circuit, or none of that rung.

    Examples:
        >>> import circuitkit as ck
        >>> folder = ck.CircuitFolder.open("out/for_while")
        >>> ck.compare_many([folder.circuit, folder.smallest, "out/for_while"]).same_checkpoint
        True
    """
    if len(circuits) < FEWEST:
        raise UsageError(
            f"got {len(circuits)} circuits, expected at least {FEWEST}; compare() takes two."
        )
    read = [c if isinstance(c, Circuit) else CircuitFolder.open(c).at(rung) for c in circuits]
    return Recurrence(names=names_of(read), circuits=tuple(read))


def names_of(circuits: Sequence[Circuit]) -> tuple[str, ...]:
    """The task of each; where that does not tell them apart, its position too, from 1."""
    tasks = [circuit.task.name for circuit in circuits]
    if len(set(tasks)) == len(tasks):
        return tuple(tasks)
    return tuple(f"{task} ({i})" for i, task in enumerate(tasks, 1))
