"""``circuitkit checkpoints``: what is bundled, and which tasks a checkpoint does."""

from __future__ import annotations

from contextlib import suppress

import click

from circuitkit.cli.completion import checkpoint_names
from circuitkit.cli.console import as_json, print_json, print_notes, progress_bar, quiet
from circuitkit.errors import CheckpointError, UsageError

_PAIRS = 512


@click.command()
@click.argument("checkpoint", required=False, shell_complete=checkpoint_names)
@click.option(
    "--pairs", "n_pairs", type=click.IntRange(1), help="Test pairs a task.  [default: 512]"
)
@click.option("--save", is_flag=True, help="Write competence.json into the checkpoint's folder.")
@as_json
@quiet
def checkpoints(
    checkpoint: str | None, *, n_pairs: int | None, save: bool, as_json: bool, quiet: bool
) -> None:
    """List the bundled checkpoints, or measure what one does.

    Measured is which built-in tasks CHECKPOINT, a bundled name or a folder, does. It does a
    task if its accuracy on the test split is at least 0.90 at the lower bound of a 90 %
    interval, and its loss at most 0.35 nats.

    \b
    Example:
      circuitkit checkpoints
      circuitkit checkpoints tinypython-nano
    """
    if checkpoint is not None:
        _measure(checkpoint, n_pairs or _PAIRS, save=save, as_json=as_json, quiet=quiet)
    elif save or n_pairs:
        given = "--save" if save else "--pairs"
        raise UsageError(f"{given} is for measuring one checkpoint, but none is named; name it.")
    else:
        _list(as_json=as_json)


def _measure(name: str, n_pairs: int, *, save: bool, as_json: bool, quiet: bool) -> None:
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.checkpoints.competence_json import Competence
    from circuitkit.cli.checkpoint_text import competence_lines
    from circuitkit.competence.measure import measure_competence

    loaded = load_checkpoint(name)
    with progress_bar(quiet=quiet) as progress:
        competence = measure_competence(loaded, n_pairs, progress=progress)
    lines = [competence.to_json().rstrip()] if as_json else competence_lines(competence)
    click.echo("\n".join(lines))
    if save:
        with suppress(CheckpointError):  # a damaged one is replaced
            before = Competence.load(loaded.path)
            if before is not None and before.sha256 == loaded.sha256 and before.n_pairs > n_pairs:
                print_notes([f"replaced: a table of up to {before.n_pairs} test pairs a task"])
        competence.save(loaded.path)


def _list(*, as_json: bool) -> None:
    from circuitkit.checkpoints import bundled_checkpoints, load_checkpoint
    from circuitkit.checkpoints.inspection import summarise_checkpoint
    from circuitkit.cli.checkpoint_text import bundled_lines

    rows = [summarise_checkpoint(load_checkpoint(name)) for name in bundled_checkpoints()]
    if as_json:
        print_json(rows)
    else:
        click.echo("\n".join(bundled_lines(rows)))
