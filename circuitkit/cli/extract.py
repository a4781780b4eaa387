"""``circuitkit extract``: the smallest circuit that does a task."""

from __future__ import annotations

from pathlib import Path

import click

from circuitkit.cli.console import as_json, print_json, progress_bar, quiet
from circuitkit.errors import UsageError

_STALE = ("validation.json", "findings.csv", "report.pdf")


@click.command()
@click.argument("checkpoint")
@click.option("--task", "task", required=True, help="A built-in name, a .toml or a .jsonl.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--target-loss", type=float, default=None,
              help="Nats; 0.15 unless given, raised if the model itself misses that.")  # fmt: skip
@click.option("--ablation", type=click.Choice(["mean", "zero"]), default="mean", show_default=True)
@click.option("--method", type=click.Choice(["pruning", "attribution", "random"]),
              default="pruning", show_default=True)  # fmt: skip
@click.option("--granularity", type=click.Choice(["node", "edge"]), default="node",
              show_default=True)  # fmt: skip
@click.option("--reference", type=click.Path(path_type=Path), default=None,
              help="Text file, folder of text or .safetensors to measure means over.")  # fmt: skip
@click.option("--reference-tokens", type=click.IntRange(1), default=None,
              help="Use only so many tokens of the reference.")  # fmt: skip
@click.option(
    "--restarts",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Searches to choose from.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--resume", is_flag=True, help="Do nothing if --out already holds this extraction.")
@as_json
@quiet
@click.pass_context
def extract(
    ctx: click.Context, checkpoint: str, task: str, out: Path, *, target_loss: float | None,
    ablation: str, method: str, granularity: str, reference: Path | None,
    reference_tokens: int | None, restarts: int, seed: int, device: str, resume: bool,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Find the smallest circuit of CHECKPOINT that does a task.

    CHECKPOINT is a bundled name or a folder. Exit code 1 if the target is missed; the
    best circuit found is saved all the same.

    \b
    Example:
      circuitkit extract tinypython-nano --task bracket_counting --out out/brackets
    """
    _refuse_unbuilt(method, granularity)
    from circuitkit.cli import circuit_folder
    from circuitkit.extraction import ExtractConfig, run_extraction

    config = ExtractConfig(
        target_loss_nats=target_loss,
        ablation=ablation,  # pyright: ignore[reportArgumentType] - click checks the choice
        seed=seed,
        restarts=restarts,
    )
    opened = circuit_folder.open_inputs(checkpoint, task, reference, reference_tokens, device)
    circuit_folder.claim(out)
    circuit = circuit_folder.finished(out, opened, config) if resume else None
    if circuit is None:
        with progress_bar(quiet=quiet) as progress:
            extraction = run_extraction(
                opened.checkpoint, opened.task, config, reference=opened.reference,
                progress=progress,
            )  # fmt: skip
        for name in _STALE:
            (out / name).unlink(missing_ok=True)
        circuit_folder.write(out, extraction, opened)
        circuit = extraction.circuit
    if as_json:
        print_json({"path": str(out), **circuit_folder.summary(circuit)})
    else:
        click.echo(circuit_folder.in_words(circuit, out))
    ctx.exit(0 if circuit.outcome == "target_met" else 1)


def _refuse_unbuilt(method: str, granularity: str) -> None:
    """Say plainly what this version does not do."""
    if method != "pruning":
        raise UsageError(f"--method {method} is not built yet; use --method pruning.")
    if granularity != "node":
        raise UsageError("--granularity edge is not built yet; use --granularity node.")
