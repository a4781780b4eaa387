"""The circuit and its validation as tables: one row a node, an edge, a finding.

In: the nouns. Out: pandas frames whose columns are declared below as data, and
the same frames as CSV, the same bytes for the same noun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from circuitkit.circuit import Circuit
from circuitkit.files import write_whole
from circuitkit.findings import Validation
from circuitkit.nodes import Node
from circuitkit.views.palette import kind_of


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRow:
    """A node with what its circuit knows of it."""

    node: Node
    d_head: int | None
    mean: float | None
    bias: float | None
    n_in: int
    n_out: int

    @property
    def head(self) -> int | None:
        """The head of an attention channel."""
        inside = self.node.site.place in ("q", "k", "v") and self.d_head
        return self.node.channel // inside if inside else None


Columns = tuple[tuple[str, Callable[[Any], Any]], ...]

NODE_COLUMNS: Columns = (
    ("node", lambda row: str(row.node)),
    ("label", lambda row: row.node.label(row.d_head)),
    ("site", lambda row: str(row.node.site)),
    ("layer", lambda row: row.node.site.layer if row.node.site.block else None),
    ("kind", lambda row: kind_of(row.node.site)),
    ("channel", lambda row: row.node.channel),
    ("head", lambda row: row.head),
    ("mean", lambda row: row.mean),
    ("bias", lambda row: row.bias),
    ("n_in", lambda row: row.n_in),
    ("n_out", lambda row: row.n_out),
)
"""``layer`` is empty for ``final_resid``, ``head`` for all but attention channels."""

EDGE_COLUMNS: Columns = (
    ("source", lambda edge: str(edge.source)),
    ("target", lambda edge: str(edge.target)),
    ("weight", lambda edge: edge.weight),
    ("kind", lambda edge: f"{kind_of(edge.source.site)} to {kind_of(edge.target.site)}"),
    ("layer", lambda edge: edge.source.site.layer),
)

WHOLE = ("layer", "channel", "head", "n_in", "n_out")
"""Columns of whole numbers, some of which may be missing."""


def nodes_frame(circuit: Circuit, validation: Validation | None = None) -> pd.DataFrame:
    """One row a node, in the order of the forward pass.

    Given a validation that tells the forms of the task apart, the last column, ``matters_on``,
    holds the forms on which leaving the node out raises a loss, with spaces between: ``none``
    if there is none, nothing if the node was not tried.
    """
    frame = _frame(NODE_COLUMNS, _node_rows(circuit))
    uses = validation.uses if validation else ()
    forms = {use.node: " ".join(use.forms) or "none" for use in uses}
    return frame.assign(matters_on=[forms.get(node) for node in frame["node"]]) if uses else frame


def edges_frame(circuit: Circuit) -> pd.DataFrame:
    """One row an edge, in the order of the forward pass."""
    return _frame(EDGE_COLUMNS, sorted(circuit.edges, key=lambda edge: (edge.source, edge.target)))


def findings_frame(validation: Validation) -> pd.DataFrame:
    """One row a finding, in the order of the suite."""
    return validation.to_frame()


def write_tables(
    circuit: Circuit, folder: str | Path, validation: Validation | None = None
) -> None:
    """Write ``nodes.csv`` and ``edges.csv`` into a folder."""
    write_whole(Path(folder) / "nodes.csv", _csv(nodes_frame(circuit, validation)))
    write_whole(Path(folder) / "edges.csv", _csv(edges_frame(circuit)))


def write_findings(validation: Validation, folder: str | Path) -> None:
    """Write ``findings.csv`` into a folder."""
    write_whole(Path(folder) / "findings.csv", _csv(findings_frame(validation)))


def _node_rows(circuit: Circuit) -> Iterable[NodeRow]:
    around = circuit.surroundings
    targets = _count(edge.target for edge in circuit.edges)
    sources = _count(edge.source for edge in circuit.edges)
    for node in circuit.nodes:
        yield NodeRow(
            node=node,
            d_head=around.d_head if around else None,
            mean=around.means.get(str(node)) if around else None,
            bias=around.biases.get(str(node)) if around else None,
            n_in=targets.get(node, 0),
            n_out=sources.get(node, 0),
        )


def _count(nodes: Iterable[Node]) -> dict[Node, int]:
    counts: dict[Node, int] = {}
    for node in nodes:
        counts[node] = counts.get(node, 0) + 1
    return counts


def _frame(columns: Columns, rows: Iterable[Any]) -> pd.DataFrame:
    data = [[value(row) for _, value in columns] for row in rows]
    frame = pd.DataFrame(data, columns=pd.Index([name for name, _ in columns]))
    return frame.astype({name: "Int64" for name in frame.columns if name in WHOLE})


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")
