"""``circuitkit inspect``: what a checkpoint is made of."""

from __future__ import annotations

import click

from circuitkit.cli.completion import checkpoint_names
from circuitkit.cli.console import as_json, print_json, without_progress


@click.command()
@click.argument("checkpoint", shell_complete=checkpoint_names)
@as_json
@without_progress
def inspect(checkpoint: str, *, as_json: bool) -> None:
    """Show what a checkpoint is made of, and anything odd.

    Its format, architecture, L0 per matrix, dead neurons and activations, which are counted
    over the first 16,384 tokens of its reference sample. Of a folder in another format
    (docs/formats.md) also what was renamed, dropped and cast. Of one with bridges also how well
    they do at every crossing, on the held-out text of the training.

    \b
    Example:
      circuitkit inspect tinypython-nano
    """
    from circuitkit.bridges.bridge_file import has_bridges, read_bridges, read_record
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.checkpoints.inspection import inspect_checkpoint
    from circuitkit.cli.checkpoint_text import inspected_lines

    loaded = load_checkpoint(checkpoint)
    result = inspect_checkpoint(loaded)
    if has_bridges(loaded):
        read_bridges(loaded)
        result["bridges"] = read_record(loaded).model_dump(mode="json")
    if as_json:
        print_json(result)
    else:
        click.echo("\n".join(inspected_lines(result, loaded.sha256)))
