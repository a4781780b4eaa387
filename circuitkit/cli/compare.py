"""``circuitkit compare``: what two circuits share."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from circuitkit.cli.console import as_json, print_json

if TYPE_CHECKING:
    from circuitkit.circuit import Circuit


@click.command()
@click.argument("folders", metavar="DIR DIR", nargs=2, type=click.Path(path_type=Path))
@as_json
def compare(folders: tuple[Path, Path], *, as_json: bool) -> None:
    """Nodes and edges two circuits share, and those only one of them has.

    \b
    Example:
      circuitkit compare out/brackets out/quotes
    """
    from circuitkit.circuit import Circuit

    a, b = (Circuit.load(folder) for folder in folders)
    found = _parts(a, b)
    if as_json:
        print_json(found)
        return
    for name, folder, circuit in (("a", folders[0], a), ("b", folders[1], b)):
        click.echo(_in_words(name, folder, circuit))
    if a.checkpoint.sha256 != b.checkpoint.sha256:
        click.echo("They are of different checkpoints: the same node may mean different things.")
    for name in ("shared", "only_a", "only_b"):
        nodes, edges = found[name]["nodes"], found[name]["edges"]
        click.echo(f"{name.replace('_', ' '):<7} {len(nodes)} nodes, {len(edges)} edges")
        for line in (*nodes, *(f"{source} -> {target}" for source, target in edges)):
            click.echo(f"  {line}")
    click.echo(f"Jaccard index of nodes {found['jaccard_nodes']:.3f}")
    click.echo(f"Jaccard index of edges {found['jaccard_edges']:.3f}")


def _parts(a: Circuit, b: Circuit) -> dict[str, Any]:
    """What is shared and what only one has, as plain values."""
    edges = [{(str(e.source), str(e.target)) for e in circuit.edges} for circuit in (a, b)]
    parts = {
        "shared": (a.nodes & b.nodes, edges[0] & edges[1]),
        "only_a": (a.nodes - b.nodes, edges[0] - edges[1]),
        "only_b": (b.nodes - a.nodes, edges[1] - edges[0]),
    }
    return {
        "jaccard_nodes": jaccard(a.nodes, b.nodes),
        "jaccard_edges": jaccard(*edges),
        "same_checkpoint": a.checkpoint.sha256 == b.checkpoint.sha256,
        "same_task": a.task.sha256 == b.task.sha256,
    } | {
        name: {"nodes": [str(n) for n in nodes], "edges": sorted(map(list, found))}
        for name, (nodes, found) in parts.items()
    }


def jaccard(a: Set[Any], b: Set[Any]) -> float:
    """The share of what either has that both have; 1 for two empty ones."""
    return len(a & b) / len(a | b) if a | b else 1.0


def _in_words(name: str, folder: Path, circuit: Circuit) -> str:
    how = f", by {circuit.method}" if circuit.method else ""
    return (
        f"{name}: {folder}: {circuit.task.name} on {circuit.checkpoint.name}{how}, "
        f"{circuit.n_nodes} nodes, {circuit.n_edges} edges, {circuit.loss_nats.circuit:.3f} nats"
    )
