"""``circuitkit tasks``: list, show and check tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from circuitkit.cli.command_group import CommandGroup
from circuitkit.cli.completion import checkpoint_names, task_names
from circuitkit.cli.console import as_json, print_json, print_notes, without_progress

if TYPE_CHECKING:
    from circuitkit.task import Pair, Split

_SHOWN_PAIRS = 3


@click.group(cls=CommandGroup)
def tasks() -> None:
    """List the built-in tasks, show one, or check one.

    \b
    Example:
      circuitkit tasks check bracket_counting --checkpoint tinypython-nano
    """


@tasks.command("list")
@as_json
@without_progress
def list_tasks(*, as_json: bool) -> None:
    """List the built-in tasks: question, templates of each split, leaks.

    \b
    Example:
      circuitkit tasks list
    """
    from circuitkit.cli.task_text import listed, task_lines
    from circuitkit.task import builtin_tasks, load_task

    loaded = [load_task(name) for name in builtin_tasks()]
    if as_json:
        print_json([listed(task) for task in loaded])
    else:
        click.echo("\n".join(task_lines(loaded)))


@tasks.command()
@click.argument("task", shell_complete=task_names)
@as_json
@without_progress
def show(task: str, *, as_json: bool) -> None:
    """Show a task: question, leaks, a few pairs of each split.

    And what its forms out of distribution break. TASK is a built-in name, a .toml, or a
    .csv or .jsonl of pairs.

    \b
    Example:
      circuitkit tasks show bracket_counting
    """
    from circuitkit.cli.task_text import shown, shown_lines
    from circuitkit.task import SPLITS, load_task

    loaded = load_task(task)
    print_notes(loaded.notes)
    filled: list[Split] = [split for split in SPLITS if loaded.templates(split)]
    pairs: dict[Split, Sequence[Pair]] = {s: loaded.up_to(s, _SHOWN_PAIRS) for s in filled}
    if as_json:
        print_json(shown(loaded, pairs))
    else:
        click.echo("\n".join(shown_lines(loaded, pairs)))


@tasks.command()
@click.argument("task", shell_complete=task_names)
@click.option("--checkpoint", required=True, shell_complete=checkpoint_names,
              help="A bundled name or a folder.")  # fmt: skip
@click.option("--pairs", "n_pairs", default=512, show_default=True, type=click.IntRange(1))
@as_json
@without_progress
@click.pass_context
def check(ctx: click.Context, task: str, checkpoint: str, n_pairs: int, *, as_json: bool) -> None:
    """Check that a checkpoint can be asked a task, and does it.

    TASK is a built-in name, a .toml, or a .csv or .jsonl of pairs. Answers are single tokens,
    prompts fit, no prompt comes in two splits; how often less than the prompt predicts the
    answer; loss and accuracy on the test split with 90 % intervals. Pairs of a file that cannot
    be used are listed with their lines, and left out. Exit code 1 if there is a problem.

    \b
    Example:
      circuitkit tasks check bracket_counting --checkpoint tinypython-nano
      circuitkit tasks check mine.csv --checkpoint tinypython-nano
    """
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.cli.task_text import checked_lines
    from circuitkit.competence.task_check import check_task
    from circuitkit.task import load_task

    loaded = load_checkpoint(checkpoint)
    print_notes(loaded.warnings)
    result = check_task(loaded, load_task(task), n_pairs)
    print_notes(note for note in result["notes"] if note not in result["problems"])
    if as_json:
        print_json(result)
    else:
        click.echo("\n".join(checked_lines(result)))
    ctx.exit(1 if result["problems"] else 0)
