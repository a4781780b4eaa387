"""``circuitkit inspect``: what a checkpoint is made of."""

from __future__ import annotations

import click

from circuitkit.cli.console import as_json, print_json


@click.command()
@click.argument("checkpoint")
@as_json
def inspect(checkpoint: str, *, as_json: bool) -> None:
    """Show a checkpoint's format, architecture, L0 a matrix, dead neurons and activations.

    Activations are counted over the first 16,384 tokens of its reference sample.

    \b
    Example:
      circuitkit inspect tinypython-nano
    """
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.checkpoints.inspection import inspect_checkpoint
    from circuitkit.cli.checkpoint_text import inspected_lines

    loaded = load_checkpoint(checkpoint)
    result = inspect_checkpoint(loaded)
    if as_json:
        print_json(result)
    else:
        click.echo("\n".join(inspected_lines(result, loaded.sha256)))
