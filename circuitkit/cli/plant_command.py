"""``circuitkit plant``: a model whose circuit is known, with its task."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from circuitkit.cli.completion import folders
from circuitkit.cli.console import as_json, print_json, quiet
from circuitkit.errors import UsageError
from circuitkit.provenance import MAX_SEED

if TYPE_CHECKING:
    from circuitkit.planted import Planted, Truth, TruthFile


@click.command()
@click.argument("name", required=False)
@click.option("--out", type=click.Path(path_type=Path), shell_complete=folders,
              help="Folder to write.")  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="List what can be planted.")
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True,
              help="Draws places, prompts, reference and noise.")  # fmt: skip
@click.option("--format", type=click.Choice(["circuitkit", "gpt2"]), default="circuitkit",
              show_default=True, help="gpt2: a folder that transformers loads.")  # fmt: skip
@click.option("--width", type=int,
              help="Channels of the residual stream.  [default: 16; 64 for gpt2]")  # fmt: skip
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
    by brute force. With --format gpt2 it holds a GPT-2 for every tool that loads one, task.csv
    and a README.md, and truth.json names heads, MLPs and wrong circuits too.

    \b
    Example:
      circuitkit plant --list
      circuitkit plant induction --out out/induction
      circuitkit extract out/induction --task out/induction/task.jsonl --out out/found
      circuitkit plant cancelling_pair --format gpt2 --out out/cancelling_pair
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
    from circuitkit.planted import save_gpt2
    from circuitkit.planted.planted_model import TABLE, TASK, TRUTH

    is_gpt2 = variation["format"] == "gpt2"
    planted = wire(name, **variation)
    claim_folder(out, TRUTH, "a planted model")
    if (out / TRUTH).exists() and not (out / (TABLE if is_gpt2 else TASK)).exists():
        raise UsageError(f"{out} holds a planted model of another format. Choose another --out.")
    if not quiet:
        click.echo(f"searching all circuits of {name} by brute force", err=True)
    found = save_gpt2(planted, out) if is_gpt2 else planted.save(out)
    summary = _summary(planted, found, out)
    if as_json:
        print_json(summary)
    else:
        click.echo(_in_words(planted, summary, out))


def _list(*, as_json: bool) -> None:
    from circuitkit.planted import planted_names

    names = planted_names()
    if as_json:
        print_json([{"name": name, "about": about} for name, about in names.items()])
    else:
        widest = max(map(len, names))
        click.echo("\n".join(f"{name:<{widest}}  {about}" for name, about in names.items()))


def _summary(planted: Planted, truth: Truth | TruthFile, out: Path) -> dict[str, Any]:
    """``wrong`` counts the wrong circuits of a model in GPT-2's format, by kind."""
    from circuitkit.planted import TruthFile

    if isinstance(truth, TruthFile):
        n_nodes, n_edges = len(truth.smallest[0].nodes), [len(c.edges) for c in truth.smallest]
        more = {"wrong": dict(Counter(w.kind for w in truth.wrong))}
    else:
        n_nodes, n_edges = len(truth.circuits[0]), [len(edges) for edges in truth.edges]
        more = {}
    return {
        "path": str(out),
        "name": planted.name,
        "about": planted.about,
        "is_trap": planted.is_trap,
        "n_circuits": len(n_edges),
        "n_nodes": n_nodes,
        "n_edges": n_edges,
        "target_loss_nats": truth.target_loss_nats,
        "loss_nats": truth.loss_nats,
        "n_tried": truth.n_tried,
        **more,
    }


def _in_words(planted: Planted, found: dict[str, Any], out: Path) -> str:
    from circuitkit.planted.planted_model import TABLE, TASK

    task = out / (TABLE if "wrong" in found else TASK)
    n, size, edges = found["n_circuits"], found["n_nodes"], found["n_edges"][0]
    circuits = "1 smallest circuit" if n == 1 else f"{n} smallest circuits"
    trap = "\n  a trap: the smallest is not how the model does it" if planted.is_trap else ""
    wrong = ", ".join(found.get("wrong", ()))
    wrong = f"\n  wrong circuits, with why, in truth.json: {wrong}" if wrong else ""
    return (
        f"{planted.name}: {circuits}, {size} nodes, {edges} edges, {found['loss_nats']:.3f} nats "
        f"(target {found['target_loss_nats']})\n"
        f"  {planted.about}{trap}{wrong}\n"
        f"{out}\n"
        f"next: circuitkit extract {quote(str(out))} --task {quote(str(task))} "
        f"--out {quote(f'{out}-circuit')}"
    )
