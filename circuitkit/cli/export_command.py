"""``circuitkit export``: a circuit as a program, a graph or masks."""

from __future__ import annotations

from pathlib import Path

import click

from circuitkit.cli.completion import folders
from circuitkit.cli.console import as_json, print_json, without_progress


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=folders)
@click.option("--format", "format_", required=True,
              type=click.Choice(["program", "graphml", "node-link", "mask"]),
              help="A NumPy program, a graph, or a boolean tensor a site.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--checkpoint", default=None, help="Where the model is, if it was moved.")
@click.option("--rung", type=click.Choice(["smallest", "trusted"]), default=None,
              help="Which circuit, if the folder holds two.")  # fmt: skip
@as_json
@without_progress
def export(
    folder: Path, format_: str, out: Path, checkpoint: str | None, rung: str | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Write a circuit in a format that others read.

    A program is one Python file that needs NumPy alone and gives the logit
    differences of the circuit. GraphML and node-link JSON are for networkx.
    A mask is a boolean tensor a site (safetensors), true where a node is kept.

    \b
    Example:
      circuitkit export out/brackets --format program --out brackets.py
      python brackets.py
    """
    from circuitkit.exports import export as export_circuit

    path = export_circuit(folder, out, format=format_, checkpoint=checkpoint, rung=rung)  # pyright: ignore[reportArgumentType]
    if as_json:
        print_json({"path": str(path)})
    else:
        click.echo(str(path))
