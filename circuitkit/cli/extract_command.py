"""``circuitkit extract``: a small circuit that does a task."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from circuitkit.cli.completion import checkpoint_names, folders, task_names
from circuitkit.cli.console import (
    as_json,
    device,
    goes_on,
    print_json,
    print_notes,
    progress_bar,
    quiet,
)
from circuitkit.errors import SavedInterrupt
from circuitkit.provenance import MAX_SEED


@click.command()
@click.argument("checkpoint", shell_complete=checkpoint_names)
@click.option(
    "--task",
    "task",
    required=True,
    shell_complete=task_names,
    help="A built-in name, a .toml, or a .csv or .jsonl of pairs.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), shell_complete=folders,
              help="Folder to write.")  # fmt: skip
@click.option("--target-loss", type=float, default=None,
              help="Nats; 0.15 unless given, raised where the model has over 0.13.")  # fmt: skip
@click.option("--on-average", is_flag=True,
              help="The target on the mean, as in the paper; not on every form.")  # fmt: skip
@click.option("--ablation", type=click.Choice(["mean", "zero"]), default="mean", show_default=True)
@click.option("--method", type=click.Choice(["pruning", "attribution", "random"]),
              default="pruning", show_default=True,
              help="Where the ranking of nodes comes from.")  # fmt: skip
@click.option("--schedule", type=click.Choice(["dual", "paper"]), default="dual",
              show_default=True,
              help="How masks are learned; paper: a fixed pressure, 2,000 steps.")  # fmt: skip
@click.option("--refine/--no-refine", default=True, show_default=True,
              help="Eliminate to 1-minimal; the paper does not.")  # fmt: skip
@click.option("--gradient-points", type=click.IntRange(1), default=1, show_default=True,
              help="Attribution: integrate the gradient over so many points.")  # fmt: skip
@click.option("--rung", type=click.Choice(["smallest", "trusted"]), default=None,
              help="How far to climb; trusted, or smallest for a method that cannot.")  # fmt: skip
@click.option("--asks", metavar="ASK,...", default=None,
              help="Of a trusted one; mean,interchange,norms,background unless given.")  # fmt: skip
@click.option("--granularity", type=click.Choice(["node", "edge"]), default="node",
              show_default=True, help="edge: after nodes, drop edges too.")  # fmt: skip
@click.option("--calibrate", is_flag=True, help="Fit a scale and a shift of the logit difference.")
@click.option("--reference", type=click.Path(path_type=Path), default=None,
              help="Text file, folder of text or .safetensors to measure means over.")  # fmt: skip
@click.option("--reference-tokens", type=click.IntRange(1), default=None,
              help="Use only so many tokens of the reference.")  # fmt: skip
@click.option("--restarts", type=click.IntRange(1), default=4, show_default=True,
              help="Searches to choose from; fewer if the smallest comes twice.")  # fmt: skip
@click.option("--tune", type=click.IntRange(0), default=0, metavar="N",
              help="Try N settings of mask learning, not restarts (needs optuna).")  # fmt: skip
@click.option("--by-family", is_flag=True,
              help="Also a circuit of each family of prompts, each tried on all.")  # fmt: skip
@click.option("--families", "by", default=None, metavar="forms|effects|COLUMN",
              help="How --by-family sorts them: forms if there are several.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True)
@device
@click.option("--resume", is_flag=True,
              help="Go on with a killed run; do nothing if --out holds this very one.")  # fmt: skip
@as_json
@quiet
@click.pass_context
def extract(
    ctx: click.Context, checkpoint: str, task: str, out: Path, *, reference: Path | None,
    reference_tokens: int | None, device: str, resume: bool, target_loss: float | None,
    asks: str | None, gradient_points: int, by_family: bool, by: str | None, as_json: bool,
    quiet: bool, **settings: Any,
) -> None:  # fmt: skip
    """Find a small circuit of CHECKPOINT that does a task.

    CHECKPOINT is a bundled name or a folder. Exit code 1 if the target is missed; the
    best circuit found is saved all the same.

    \b
    Example:
      circuitkit extract tinypython-nano --task bracket_counting --out out/brackets
      circuitkit extract tinypython-nano --task with_open --by-family --out out/with_open
    """
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.cli.circuit_text import in_words, summary
    from circuitkit.cli.families_text import transfer_lines
    from circuitkit.errors import UsageError
    from circuitkit.extraction import ExtractConfig, run_extraction
    from circuitkit.extraction.asks import check_asks
    from circuitkit.extraction.ladder import price_in_words
    from circuitkit.families import extract_by_family
    from circuitkit.task import load_task

    if by is not None and not by_family:
        raise UsageError(f"--families {by} says how --by-family sorts prompts. Add --by-family.")
    if asks is not None:
        settings["asks"] = check_asks([name.strip() for name in asks.split(",")])
    config = ExtractConfig(
        target_loss_nats=target_loss, n_gradient_points=gradient_points, **settings
    )
    if asks is not None and not config.climbs:  # the usual ones, said in so many words
        raise UsageError(
            f"--asks {asks} says what a trusted circuit has to do, and this search ends at the "
            "smallest. Use --rung trusted, or leave --asks out."
        )
    opened, asked = load_checkpoint(checkpoint), load_task(task)
    print_notes((*opened.warnings, *asked.notes, *(() if resume else _replaced(out))))
    given = {
        "reference": reference, "reference_tokens": reference_tokens, "out": out,
        "resume": resume, "device": device,
    }  # fmt: skip
    transfer = None
    with goes_on("--resume", at=SavedInterrupt), progress_bar(quiet=quiet) as progress:
        if by_family:
            found = extract_by_family(opened, asked, config, by=by, progress=progress, **given)
            extraction, transfer = found.whole, found.transfer
        else:
            extraction = run_extraction(opened, asked, config, progress=progress, **given)
    print_notes((*extraction.remarks, *(transfer.notes if transfer else ())))
    circuit = extraction.circuit
    if as_json:
        steps = [asdict(step) for step in extraction.ladder]
        more = {"transfer": transfer.model_dump(mode="json")} if transfer else {}
        print_json({"path": str(out), **summary(circuit), "ladder": steps, **more})
    else:
        if transfer:
            click.echo("\n".join(transfer_lines(transfer)))
        click.echo(in_words(circuit, out, price_in_words(extraction.ladder)))
    ctx.exit(0 if circuit.outcome == "target_met" else 1)


def _replaced(out: Path) -> tuple[str, ...]:
    """What the folder holds, and will not hold any longer."""
    from circuitkit.circuit import CircuitFolder
    from circuitkit.circuit.folder import SEARCH
    from circuitkit.errors import CircuitError

    folder = CircuitFolder(out)
    if (out / SEARCH).exists():
        return (f"{out} holds parts of a search, which this one drops without --resume",)
    try:
        held = folder.circuit if folder.holds_one else None
    except CircuitError:
        return (f"{out} holds a circuit that cannot be read; the search replaces it",)
    if held is None:
        return ()
    was = f"{held.task.name} in {held.checkpoint.name}"
    return (f"{out} holds a circuit of {was}; the search replaces it, its verdict and report",)
