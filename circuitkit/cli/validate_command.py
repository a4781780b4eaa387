"""``circuitkit validate``: how far to trust a circuit."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path

import click

from circuitkit.circuit import Rung
from circuitkit.cli.completion import checkpoint_names, folders
from circuitkit.cli.console import (
    as_json,
    coloured,
    device,
    goes_on,
    print_notes,
    progress_bar,
    quiet,
)

MAX_NOTE = 500
"""Characters of a finding's note that are printed; ``--json`` and the file have all of it."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), shell_complete=folders)
@click.option(
    "--checkpoint",
    default=None,
    shell_complete=checkpoint_names,
    help="If it is no longer where it was.",
)
@click.option("--reference", type=click.Path(path_type=Path), default=None,
              help="What means were measured over, if it is no longer where it was.")  # fmt: skip
@click.option("--pairs", "n_pairs", type=click.IntRange(2), default=None,
              help="Test pairs; as many as the extraction scored unless given.")  # fmt: skip
@click.option("--rung", type=click.Choice(["smallest", "trusted"]), default=None,
              help="Which circuit, if DIR holds two; the trusted one unless given.")  # fmt: skip
@click.option(
    "--thorough",
    is_flag=True,
    help="The long suite as well: up to an hour and more, resumed where it was stopped.",
)
@device
@as_json
@quiet
@click.pass_context
def validate(
    ctx: click.Context, folder: Path, checkpoint: str | None, reference: Path | None,
    n_pairs: int | None, rung: Rung | None, device: str, *, thorough: bool, as_json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Test every claim about a circuit, and grade it.

    Exit code 1 if the verdict fails.

    Circuits of other tasks on the same checkpoint, in the folders beside DIR, are compared
    with.

    \b
    Example:
      circuitkit validate out/brackets
      circuitkit validate out/brackets --thorough
    """
    from circuitkit.checkpoints.of_circuit import checkpoint_of
    from circuitkit.circuit import CircuitFolder
    from circuitkit.validation.validate_folder import validate_folder

    opened = CircuitFolder.open(folder)
    model = checkpoint_of(opened, opened.at(rung), checkpoint)
    print_notes(model.warnings)
    saves = goes_on() if thorough else nullcontext()
    with saves, progress_bar(quiet=quiet) as progress:
        validation = validate_folder(
            opened, checkpoint=model, reference=reference, n_pairs=n_pairs, rung=rung,
            thorough=thorough, device=device, progress=progress,
        )  # fmt: skip
    if n_pairs is not None and 0 < (had := validation["competent"].n_pairs) < n_pairs:
        print_notes([f"--pairs {n_pairs}: the test split holds {had} distinct pairs"])
    if as_json:
        click.echo(validation.model_dump_json(indent=1))
    else:
        _print(validation, folder)
    ctx.exit(0 if validation.passes else 1)


def _print(validation, folder: Path) -> None:
    from circuitkit.views.safe_text import shorten

    for f in validation.findings:
        if f.outcome == "not_run" and not f.threshold:
            continue
        interval = "" if None in (f.low, f.high) else f" [{f.low:.3f}, {f.high:.3f}]"
        effect = "" if f.effect is None else f"{f.effect:.3f}{interval} {f.unit}"
        click.echo(f"{f.claim:<20} {coloured(f.outcome, f'{f.outcome:<13}')} {effect}")
        if f.note:
            note = shorten(f.note, MAX_NOTE)
            cut = "" if note == f.note else " (whole with --json)"
            click.echo(f"{'':<34} {note}{cut}")
    waiting = [f.claim for f in validation.findings if f.outcome == "not_run" and not f.threshold]
    if waiting:
        click.echo(coloured("not_run", f"not run: {', '.join(waiting)}"))
    why = "" if validation.short_of != validation.weakest else "weakest finding: "
    click.echo(f"grade {coloured(validation.grade)}; {why}{validation.short_of}")
    click.echo(f"next: circuitkit report {shlex.quote(str(folder))}")
