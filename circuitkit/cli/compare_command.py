"""``circuitkit compare``: what two circuits share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from circuitkit.cli.completion import folders
from circuitkit.cli.console import as_json, print_json, without_progress

if TYPE_CHECKING:
    from circuitkit.circuit import Circuit


@click.command()
@click.argument("folders", metavar="DIR DIR", nargs=2, type=click.Path(path_type=Path),
                shell_complete=folders)  # fmt: skip
@as_json
@without_progress
def compare(folders: tuple[Path, Path], *, as_json: bool) -> None:
    """Show the nodes and edges that two circuits share.

    And those that only one of them has.

    \b
    Example:
      circuitkit compare out/brackets out/quotes
    """
    from circuitkit.circuit import CircuitFolder
    from circuitkit.circuit.comparison import compare as compare_circuits

    a, b = (CircuitFolder.open(folder).circuit for folder in folders)
    found = compare_circuits(a, b)
    if as_json:
        print_json(found.to_dict())
        return
    for name, folder, circuit in (("a", folders[0], a), ("b", folders[1], b)):
        click.echo(_in_words(name, folder, circuit))
    if not found.same_checkpoint:
        click.echo("They are of different checkpoints: the same node may mean different things.")
    for name, part in found.parts().items():
        click.echo(f"{name.replace('_', ' '):<7} {len(part.nodes)} nodes, {len(part.edges)} edges")
        for line in (*map(str, part.nodes), *(f"{s} -> {t}" for s, t in sorted(part.edges))):
            click.echo(f"  {line}")
    click.echo(f"Jaccard index of nodes {found.jaccard_nodes:.3f}")
    click.echo(f"Jaccard index of edges {found.jaccard_edges:.3f}")


def _in_words(name: str, folder: Path, circuit: Circuit) -> str:
    how = f", by {circuit.method}" if circuit.method else ""
    return (
        f"{name}: {folder}: {circuit.task.name} on {circuit.checkpoint.name}{how}, "
        f"{circuit.n_nodes} nodes, {circuit.n_edges} edges, {circuit.loss_nats.circuit:.3f} nats"
    )
