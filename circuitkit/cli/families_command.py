"""``circuitkit families``: how the prompts of a task fall into families."""

from __future__ import annotations

import shlex

import click

from circuitkit.cli.completion import checkpoint_names, task_names
from circuitkit.cli.console import as_json, device, print_json, print_notes, progress_bar, quiet
from circuitkit.provenance import MAX_SEED


@click.command()
@click.argument("task", shell_complete=task_names)
@click.option("--checkpoint", required=True, shell_complete=checkpoint_names,
              help="A bundled name or a folder.")  # fmt: skip
@click.option("--by", default=None, metavar="forms|effects|COLUMN",
              help="Forms where the task has several, else effects.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True)
@device
@as_json
@quiet
def families(
    task: str, checkpoint: str, by: str | None, seed: int, device: str, *, as_json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Sort the prompts of a task into families.

    By its forms; by a column of a .csv or .jsonl that is named family or family_…; or by
    effects: clusters of pairs on which the same nodes of the model do the work. One family is an
    answer too. What the families go with is printed. Families that the model does not do, or with
    too few templates, are left out.

    \b
    Example:
      circuitkit families single_double_quote --checkpoint tinypython-nano
      circuitkit families single_double_quote --checkpoint tinypython-nano --by effects
    """
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.cli.families_text import families_lines
    from circuitkit.families import find_families
    from circuitkit.task import load_task

    loaded, asked = load_checkpoint(checkpoint), load_task(task)
    print_notes((*loaded.warnings, *asked.notes))
    with progress_bar(quiet=quiet) as progress:
        found = find_families(loaded, asked, by=by, seed=seed, device=device, progress=progress)
    print_notes(found.families.notes)
    if as_json:
        print_json({"task": asked.name, "checkpoint": loaded.name, **found.to_dict()})
    else:
        title = f"{asked.name} on {loaded.name}"
        click.echo("\n".join(families_lines(found, title)))
        if len(found.families) > 1:
            command = ["circuitkit", "extract", checkpoint, "--task", task, "--by-family"]
            how = ["--families", by] if by else []
            click.echo("next: " + shlex.join([*command, *how, "--out", f"out/{asked.name}"]))
