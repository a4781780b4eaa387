"""``circuitkit convert``: a checkpoint of any format, written in our own."""

from __future__ import annotations

from pathlib import Path

import click

from circuitkit.cli.completion import checkpoint_names, folders
from circuitkit.cli.console import as_json, print_json, without_progress


@click.command()
@click.argument("checkpoint", shell_complete=checkpoint_names)
@click.option("--out", type=click.Path(path_type=Path), required=True, shell_complete=folders,
              help="Folder to write.")  # fmt: skip
@click.option("--reference", type=click.Path(path_type=Path), default=None,
              help="Text, a folder of text or token ids (.safetensors), over which means will be "
              "measured.")  # fmt: skip
@as_json
@without_progress
def convert(checkpoint: str, out: Path, reference: Path | None, *, as_json: bool) -> None:
    """Write a checkpoint of another format in circuitkit's own.

    Every command also reads the other formats as they are (docs/formats.md). A converted folder
    holds the weights in float32, the tokenizer and the sample of text.

    \b
    Example:
      circuitkit convert path/to/gpt2 --out out/gpt2 --reference path/to/text
      circuitkit inspect out/gpt2
    """
    from circuitkit.checkpoints.convert import convert_checkpoint

    written = convert_checkpoint(checkpoint, out, reference=reference)
    if as_json:
        print_json({"path": str(out), "name": written.name, "sha256": written.sha256})
    else:
        click.echo(str(out))
