"""``circuitkit compare``: what two circuits share."""

from __future__ import annotations

from pathlib import Path

import click

from circuitkit.cli.console import as_json, print_json


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
    edges = [{(str(e.source), str(e.target)) for e in circuit.edges} for circuit in (a, b)]
    parts = {
        "shared": (a.nodes & b.nodes, edges[0] & edges[1]),
        "only_a": (a.nodes - b.nodes, edges[0] - edges[1]),
        "only_b": (b.nodes - a.nodes, edges[1] - edges[0]),
    }
    union = len(a.nodes | b.nodes)
    jaccard = len(a.nodes & b.nodes) / union if union else 1.0
    if as_json:
        print_json(
            {"jaccard_nodes": jaccard}
            | {
                name: {"nodes": [str(n) for n in nodes], "edges": sorted(map(list, found))}
                for name, (nodes, found) in parts.items()
            }
        )
        return
    for name, (nodes, found) in parts.items():
        click.echo(f"{name.replace('_', ' '):<7} {len(nodes)} nodes, {len(found)} edges")
        for node in nodes:
            click.echo(f"  {node}")
    click.echo(f"Jaccard index of nodes {jaccard:.3f}")
