"""``circuitkit plant``: a model whose circuit is known, with its task."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from circuitkit.cli.completion import folders
from circuitkit.cli.console import as_json, print_json, quiet
from circuitkit.errors import UsageError
from circuitkit.provenance import MAX_SEED

if TYPE_CHECKING:
    from circuitkit.planted import Planted, Truth


@click.command()
@click.argument("name", required=False)
@click.option("--out", type=click.Path(path_type=Path), shell_complete=folders,
              help="Folder to write.")  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="List what can be planted.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True,
              help="Draws places, prompts, reference and noise.")  # fmt: skip
@click.option("--width", default=16, show_default=True, help="Channels of the residual stream.")
@click.option("--topk", type=float, help="Fraction kept by activation top-k at every site.")
@click.option("--sink", is_flag=True, help="Let heads attend to nothing.")
@click.option("--noise", default=0.0, show_default=True, help="Density of inert weights.")
@as_json
@quiet
def plant(
    name: str | None, out: Path | None, *, listing: bool, as_json: bool, quiet: bool,
    **variation: Any,
) -> None:  # fmt: skip
    """Write a checkpoint and a task whose circuit is known.

    The folder holds the checkpoint, task.jsonl, and truth.json: the smallest circuits, found
    by brute force.

    \b
    Example:
      circuitkit plant --list
      circuitkit plant induction --out out/induction
      circuitkit extract out/induction --task out/induction/task.jsonl --out out/found
    """
    if listing:
        _list(as_json=as_json)
        return
    if name is None or out is None:
        raise UsageError(
            f"{'the name' if name is None else '--out'} is missing; expected NAME --out DIR, "
            "or --list to see the names."
        )
    from circuitkit.files import claim_folder
    from circuitkit.planted import plant as wire
    from circuitkit.planted.planted_model import TASK, TRUTH

    planted = wire(name, **variation)
    claim_folder(out, (TRUTH, TASK), "a planted model")
    if not quiet:
        click.echo(f"searching all circuits of {name} by brute force", err=True)
    truth = planted.save(out)
    if as_json:
        print_json(_summary(planted, truth, out))
    else:
        click.echo(_in_words(planted, truth, out))


def _list(*, as_json: bool) -> None:
    from circuitkit.planted import planted_names

    names = planted_names()
    if as_json:
        print_json([{"name": name, "about": about} for name, about in names.items()])
    else:
        widest = max(map(len, names))
        click.echo("\n".join(f"{name:<{widest}}  {about}" for name, about in names.items()))


def _summary(planted: Planted, truth: Truth, out: Path) -> dict[str, Any]:
    return {
        "path": str(out),
        "name": planted.name,
        "about": planted.about,
        "is_trap": planted.is_trap,
        "n_circuits": len(truth.circuits),
        "n_nodes": len(truth.circuits[0]),
        "n_edges": [len(edges) for edges in truth.edges],
        "target_loss_nats": truth.target_loss_nats,
        "loss_nats": truth.loss_nats,
        "n_tried": truth.n_tried,
    }


def _in_words(planted: Planted, truth: Truth, out: Path) -> str:
    from circuitkit.planted.planted_model import TASK

    n, size, edges = len(truth.circuits), len(truth.circuits[0]), len(truth.edges[0])
    circuits = "1 smallest circuit" if n == 1 else f"{n} smallest circuits"
    trap = "\n  a trap: the smallest is not how the model does it" if planted.is_trap else ""
    return (
        f"{planted.name}: {circuits}, {size} nodes, {edges} edges, {truth.loss_nats:.3f} nats "
        f"(target {truth.target_loss_nats})\n"
        f"  {planted.about}{trap}\n"
        f"{out}\n"
        f"next: circuitkit extract {quote(str(out))} --task {quote(str(out / TASK))} "
        f"--out {quote(f'{out}-circuit')}"
    )
