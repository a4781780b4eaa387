"""``circuitkit bridge``: what nodes of a circuit do in the dense model."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from circuitkit.circuit.perturbation import PICTURE, Perturbation
from circuitkit.circuit.transfer import Bounded
from circuitkit.cli.completion import checkpoint_names, folders
from circuitkit.cli.console import as_json, device, print_notes, progress_bar, quiet


@click.command()
@click.argument("folder", metavar="CIRCUIT", type=click.Path(path_type=Path),
                shell_complete=folders)  # fmt: skip
@click.option("--node", "nodes", multiple=True, metavar="NODE",
              help="Such as 1.attn.act_in:40; several are moved together, 'all' moves "
              "every one. The circuit's cue nodes unless given.")  # fmt: skip
@click.option("--strength", "strengths", multiple=True, type=click.FloatRange(0, 1),
              help="How far to move; 0, 0.1, … 1 unless given.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path), shell_complete=folders,
              help="Folder to write; CIRCUIT itself to have it in the report.")  # fmt: skip
@click.option("--dense", default=None, metavar="CHECKPOINT", shell_complete=checkpoint_names,
              help="The dense checkpoint, if it is no longer where it was.")  # fmt: skip
@click.option("--checkpoint", default=None, shell_complete=checkpoint_names,
              help="The bridged one, if it is no longer where it was.")  # fmt: skip
@click.option("--pairs", "n_pairs", type=click.IntRange(2), default=None,
              help="Test pairs; 128 unless given.")  # fmt: skip
@device
@as_json
@quiet
def bridge(
    folder: Path, nodes: tuple[str, ...], strengths: tuple[float, ...], out: Path,
    dense: str | None, checkpoint: str | None, n_pairs: int | None, device: str, *,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Move a node of a circuit, and carry that into the dense model.

    CIRCUIT is a folder made by 'circuitkit extract' from a checkpoint with bridges. The node goes
    from its value on a prompt to that on the pair's other prompt; how the sparse model's residual
    stream changes goes through the bridge into the dense model's. Random directions and the dense
    model's difference of means, of the same size, are compared with.

    \b
    Example:
      circuitkit bridge out/quotes --node 1.attn.act_in:40 --out out/quotes
    """
    from circuitkit.bridges.perturb import N_PAIRS, STRENGTHS, perturb
    from circuitkit.checkpoints.of_circuit import checkpoint_of
    from circuitkit.circuit import CircuitFolder

    opened = CircuitFolder.open(folder)
    model = checkpoint_of(opened, opened.circuit, checkpoint)
    print_notes(model.warnings)
    with progress_bar(quiet=quiet) as progress:
        made = perturb(
            model, opened.task, opened.circuit, nodes or None, dense=dense,
            strengths=strengths or STRENGTHS, n_pairs=n_pairs or N_PAIRS, out=out, device=device,
            progress=progress,
        )  # fmt: skip
    if as_json:
        click.echo(made.model_dump_json(indent=1))
        return
    click.echo("\n".join(_lines(made)))
    click.echo(f"picture: {out / PICTURE}")
    if out.resolve() == folder.resolve():
        click.echo(f"next: circuitkit report {shlex.quote(str(folder))}")


def _lines(made: Perturbation) -> Iterator[str]:
    yield (
        f"{', '.join(made.nodes)} of {made.checkpoint.name}, carried into {made.dense.name} at "
        f"{', '.join(made.crossings)}; {made.n_pairs} pairs of {made.n_templates} templates"
    )
    yield "strength  dense: d, other answer, follows       sparse: d"
    for point in made.curve:
        yield (
            f"    {point.strength:>4.2f}  {point.dense_d.effect:>8.2f}  "
            f"{point.dense_other_answer.effect:>8.3f}  {point.dense_follows.effect:>8.3f}   "
            f"{point.sparse_d.effect:>16.2f}"
        )
    end, random = made.end, made.random
    yield (
        f"the dense answer follows on {_text(end.dense_follows)} of the {made.n_right} prompts "
        "that it answers rightly"
    )
    yield f"d moved per unit of norm: {_text(made.d_per_norm)}"
    yield (
        f"  difference of means, same size: {_text(made.by_means_d_per_norm)}; follows on "
        f"{_text(made.by_means_follows)}"
    )
    yield (
        f"  {random.n_draws} random directions, same size: {random.d_per_norm:.3f}, highest "
        f"{random.highest_d_per_norm:.3f}; follows on {random.follows:.3f}; "
        f"p = {random.p_value:.4f}"
    )


def _text(value: Bounded) -> str:
    if value.low is None or value.high is None:
        return f"{value.effect:.3f} [no interval]"
    return f"{value.effect:.3f} [{value.low:.3f}, {value.high:.3f}]"
