"""``circuitkit tasks``: list, show and check tasks."""

from __future__ import annotations

import click

from circuitkit.cli.console import as_json, print_json

_SHOWN_PAIRS = 3


@click.group()
def tasks() -> None:
    """List the built-in tasks, show one, or check one against a checkpoint.

    \b
    Example:
      circuitkit tasks check bracket_counting --checkpoint tinypython-nano
    """


@tasks.command("list")
@as_json
def list_tasks(*, as_json: bool) -> None:
    """List the built-in tasks with their question and templates."""
    from circuitkit.task import SPLITS, builtin_tasks, load_task

    loaded = [load_task(name) for name in builtin_tasks()]
    rows = [
        {
            "name": task.name,
            "question": task.question,
            "n_templates": {split: len(task.templates(split)) for split in SPLITS},
        }
        for task in loaded
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        n = row["n_templates"]
        inside = sum(count for split, count in n.items() if split != "ood")
        click.echo(f"{row['name']:<22} {inside} templates + {n['ood']} ood  {row['question']}")


@tasks.command()
@click.argument("task")
@as_json
def show(task: str, *, as_json: bool) -> None:
    """Show a task's question, splits and a few pairs."""
    from circuitkit.task import SPLITS, Split, load_task

    loaded = load_task(task)
    filled: list[Split] = [split for split in SPLITS if loaded.templates(split)]
    pairs = {split: loaded.up_to(split, _SHOWN_PAIRS) for split in filled}
    if as_json:
        sides = {
            split: [
                {side: {"prompt": p.text or list(p.tokens or ()), "answer": p.answer}
                 for side, p in (("a", pair.a), ("b", pair.b))} | {"template": pair.template}
                for pair in found
            ]
            for split, found in pairs.items()
        }  # fmt: skip
        print_json({"name": loaded.name, "question": loaded.question, "source": loaded.source,
                    "sha256": loaded.sha256, "pairs": sides})  # fmt: skip
        return
    click.echo(f"{loaded.name}: {loaded.question}\nsource: {loaded.source}")
    for split in filled:
        click.echo(f"\n{split}: {len(loaded.templates(split))} templates, for example")
        for pair in pairs[split]:
            for prompt in (pair.a, pair.b):
                shown = repr(prompt.text) if prompt.text is not None else list(prompt.tokens or ())
                click.echo(f"  {shown} → {prompt.answer!r}")


@tasks.command()
@click.argument("task")
@click.option("--checkpoint", required=True, help="A bundled name or a folder.")
@click.option("--pairs", "n_pairs", default=512, show_default=True, type=click.IntRange(1))
@as_json
@click.pass_context
def check(ctx: click.Context, task: str, checkpoint: str, n_pairs: int, *, as_json: bool) -> None:
    """Check that a checkpoint can be asked a task, and how well the model does it.

    Answers are single tokens, prompts fit, splits share no template; loss and
    accuracy on the test split with 90 % intervals. Exit code 1 if there is a problem.
    """
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.task import load_task
    from circuitkit.validation.task_check import check_task

    result = check_task(load_checkpoint(checkpoint), load_task(task), n_pairs)
    if as_json:
        print_json(result)
    else:
        loss, accuracy = result["loss_nats"], result["accuracy"]
        click.echo(
            f"{result['task']} on {result['checkpoint']}: {result['n_pairs']} test pairs from "
            f"{result['n_templates']} templates\n"
            f"loss     {loss['mean']:.4f} nats [{loss['low']:.4f}, {loss['high']:.4f}]\n"
            f"accuracy {accuracy['mean']:.4f}      [{accuracy['low']:.4f}, {accuracy['high']:.4f}]"
        )
        for problem in result["problems"]:
            click.echo(f"problem: {problem}")
    ctx.exit(1 if result["problems"] else 0)
