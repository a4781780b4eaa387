"""``circuitkit train``: make a checkpoint."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from circuitkit.cli.completion import checkpoint_names, config_names, folders
from circuitkit.cli.console import as_json, goes_on, print_json, progress_bar, quiet
from circuitkit.errors import SavedInterrupt, TrainingError

if TYPE_CHECKING:
    from circuitkit.training import TrainingConfig


@click.command()
@click.argument("config", shell_complete=config_names)
@click.option("--out", required=True, type=click.Path(path_type=Path), shell_complete=folders,
              help="Folder to write.")  # fmt: skip
@click.option("--bridge-to", default=None, metavar="CHECKPOINT", shell_complete=checkpoint_names,
              help="Also train bridges to this dense checkpoint.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the run that --out holds.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override any key.")
@click.option("--device", default=None, metavar="cpu|cuda|cuda:N",
              help="Where the model computes; the same as --set run.device=.")  # fmt: skip
@as_json
@quiet
@click.pass_context
def train(
    ctx: click.Context, config: str, out: Path, overrides: tuple[str, ...], device: str | None,
    *, bridge_to: str | None, resume: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Train a weight-sparse checkpoint from a configuration.

    CONFIG is a .toml or the name of a shipped configuration. Exit code 1 if the model ends
    worse than a uniform guess; the checkpoint is saved all the same.

    \b
    Example:
      circuitkit train tinypython-nano --out out/nano --set run.n_tokens=1_000_000
      circuitkit train tinypython-bridged --bridge-to out/nano-dense --out out/bridged
    """
    from circuitkit.training import first_process, load_config, shown_by
    from circuitkit.training import train as run

    if device is not None:
        overrides = (*overrides, f"run.device={device}")
    loaded = load_config(config, overrides)
    if not first_process():
        _help(loaded, out, bridge_to)
        return
    with goes_on("--resume", at=SavedInterrupt), progress_bar(quiet=quiet) as bar:
        checkpoint = run(
            loaded, out, bridge_to=bridge_to, resume=resume, report=shown_by(bar, loaded)
        )
    record = checkpoint.training or {}
    if as_json:
        kept = ("n_tokens", "validation_loss_nats", "l0_fraction", "seconds")
        print_json({"path": str(out), "sha256": checkpoint.sha256, **{k: record[k] for k in kept}})
    else:
        click.echo(
            f"{out}: {record['n_tokens']:,} tokens, validation loss "
            f"{record['validation_loss_nats']:.4f} nats, L0 {record['l0_fraction']:.4f}"
        )
    vocab = checkpoint.architecture.vocab_size
    if record["validation_loss_nats"] > math.log(vocab):
        click.echo(_worse_than_uniform(record["validation_loss_nats"], vocab), err=True)
        ctx.exit(1)


def _worse_than_uniform(loss: float, vocab: int) -> str:
    return (
        f"circuitkit: the model is worse than a uniform guess: validation loss {loss:.2f} nats, "
        f"a uniform guess over {vocab} tokens {math.log(vocab):.2f} (ln {vocab}). The checkpoint "
        "is saved, but no circuit of it means anything. Train on more tokens (run.n_tokens), "
        "keep more weights (sparsity.l0_fraction), or lower optimizer.lr."
    )


def _help(config: TrainingConfig, out: Path, bridge_to: str | None) -> None:
    """One of the other processes of a run: only the first one prints."""
    from circuitkit.training import train

    with suppress(KeyboardInterrupt, TrainingError):
        train(config, out, bridge_to=bridge_to)
