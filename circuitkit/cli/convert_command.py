"""``circuitkit convert``: a checkpoint or a released circuit of another format, in our own."""

from __future__ import annotations

from pathlib import Path

import click

from circuitkit.cli.completion import checkpoint_names, folders, task_names
from circuitkit.cli.console import as_json, print_json, print_notes, quiet
from circuitkit.cli.released_circuit import convert_released_circuit, is_released_circuit
from circuitkit.errors import UsageError


@click.command()
@click.argument("source", metavar="CHECKPOINT", shell_complete=checkpoint_names)
@click.option("--out", type=click.Path(path_type=Path), required=True, shell_complete=folders,
              help="Folder to write.")  # fmt: skip
@click.option("--reference", type=click.Path(path_type=Path), default=None,
              help="Text, a folder of text or token ids (.safetensors), over which means will be "
              "measured.")  # fmt: skip
@click.option(
    "--start-token",
    type=int,
    default=None,
    help="Id of a token that comes before every prompt and every text of --reference.",
)
@click.option("--checkpoint", default=None, shell_complete=checkpoint_names,
              help="Of a released circuit: its model.")  # fmt: skip
@click.option("--task", default=None, shell_complete=task_names,
              help="Of a released circuit: what to measure it on.")  # fmt: skip
@as_json
@quiet
def convert(
    source: str, out: Path, reference: Path | None, start_token: int | None,
    checkpoint: str | None, task: str | None, *, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write a checkpoint of another format in circuitkit's own.

    Every command also reads the other formats as they are (docs/formats.md). A converted folder
    holds the weights in float32, the tokenizer and the sample of text. In place of CHECKPOINT, the
    viz_data.pt of a released circuit becomes a circuit folder (docs/released-circuits.md).

    \b
    Example:
      circuitkit convert path/to/gpt2 --out out/gpt2 --reference path/to/text
      circuitkit convert path/to/viz_data.pt --checkpoint out/model --task quotes.csv --out out/it
    """
    renamed = checkpoint and task and Path(source).suffix == ".pt" and Path(source).is_file()
    if renamed or is_released_circuit(source):
        if start_token is not None:
            raise UsageError(
                f"--start-token is for a checkpoint, and {source} is a released circuit. Leave it "
                "out: the checkpoint says what its start token is."
            )
        convert_released_circuit(
            source, checkpoint=checkpoint, task=task, out=out, reference=reference,
            as_json=as_json, quiet=quiet,
        )  # fmt: skip
        return
    if checkpoint or task:
        given = "--checkpoint" if checkpoint else "--task"
        raise UsageError(
            f"{given} is for a released circuit, a viz_data.pt, and {source} is none. Leave it out."
        )
    from circuitkit.checkpoints import convert_checkpoint
    from circuitkit.checkpoints.reference import reference_notes

    written = convert_checkpoint(source, out, reference=reference, start_token=start_token)
    if reference is not None:
        print_notes(reference_notes(written, reference, written.load_reference()))
    if as_json:
        print_json({"path": str(out), "name": written.name, "sha256": written.sha256})
    else:
        click.echo(str(out))
