"""``circuitkit compare``: what two circuits share, and which nodes recur in more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from circuitkit.cli.completion import folders
from circuitkit.cli.console import as_json, print_json, without_progress

if TYPE_CHECKING:
    from circuitkit.circuit import Circuit
    from circuitkit.circuit.comparison import Comparison
    from circuitkit.circuit.recurrence import Recurrence

OTHERS = "They are of different checkpoints: the same node may mean different things."


@click.command()
@click.argument("folders", metavar="DIR DIR [DIR ...]", nargs=-1, required=True,
                type=click.Path(path_type=Path), shell_complete=folders)  # fmt: skip
@click.option("--rung", type=click.Choice(["smallest", "trusted"]), default=None,
              help="Which circuit of each folder. Default: the highest reached.")  # fmt: skip
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), default=None,
              help="Draw them all in one picture: colours say which nodes are whose.")  # fmt: skip
@as_json
@without_progress
def compare(
    folders: tuple[Path, ...], *, rung: Literal["smallest", "trusted"] | None, svg: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Show the nodes and edges that circuits share.

    Of two: what both have, and what only one has. Of more: how much every two share, and which
    nodes recur.

    \b
    Example:
      circuitkit compare out/brackets out/quotes
      circuitkit compare out/*/ --rung smallest
      circuitkit compare out/brackets out/quotes --svg out/both.svg
    """
    from circuitkit.circuit import CircuitFolder
    from circuitkit.circuit.comparison import compare as compare_two
    from circuitkit.circuit.folder import as_output
    from circuitkit.circuit.recurrence import compare_many, names_of
    from circuitkit.views.overlay_diagram import write_overlay

    if len(folders) == 1:
        raise click.UsageError(f"got one folder, {folders[0]}; expected two or more to compare.")
    circuits = [CircuitFolder.open(folder).at(rung) for folder in folders]
    if svg:
        write_overlay(dict(zip(names_of(circuits), circuits, strict=True)), as_output(svg))
    found = compare_two(*circuits) if len(circuits) == 2 else compare_many(circuits)
    if as_json:
        print_json(found.to_dict())
        return
    for number, (folder, circuit) in enumerate(zip(folders, circuits, strict=True), 1):
        name = "ab"[number - 1] if len(circuits) == 2 else str(number)
        click.echo(_in_words(name, folder, circuit))
    if not found.same_checkpoint:
        click.echo(OTHERS)
    tell = _tell_two if len(circuits) == 2 else _tell_many
    tell(found)  # pyright: ignore[reportArgumentType]


def _in_words(name: str, folder: Path, circuit: Circuit) -> str:
    how = f", by {circuit.method}" if circuit.method else ""
    return (
        f"{name}: {folder}: {circuit.task.name} on {circuit.checkpoint.name}{how}, "
        f"{circuit.n_nodes} nodes, {circuit.n_edges} edges, {circuit.loss_nats.circuit:.3f} nats"
    )


def _tell_two(found: Comparison) -> None:
    for name, part in found.parts().items():
        click.echo(f"{name.replace('_', ' '):<7} {len(part.nodes)} nodes, {len(part.edges)} edges")
        for line in (*map(str, part.nodes), *(f"{s} -> {t}" for s, t in sorted(part.edges))):
            click.echo(f"  {line}")
    click.echo(f"Jaccard index of nodes {found.jaccard_nodes:.3f}")
    click.echo(f"Jaccard index of edges {found.jaccard_edges:.3f}")


def _tell_many(found: Recurrence) -> None:
    """The matrix in hundredths, and the nodes that two circuits or more have."""
    numbers = range(1, len(found.circuits) + 1)
    click.echo("Jaccard index of nodes, in hundredths")
    click.echo("    " + "".join(f"{n:>4}" for n in numbers))
    for number, row in zip(numbers, found.matrix, strict=True):
        click.echo(f"{number:>4}" + "".join(f"{100 * index:>4.0f}" for index in row))
    recurring = {node: owners for node, owners in found.owners.items() if len(owners) > 1}
    click.echo(f"{len(recurring)} of {len(found.owners)} nodes are in two circuits or more")
    for node, owners in recurring.items():
        click.echo(f"  {node}: {', '.join(str(i + 1) for i in owners)}")
