"""``circuitkit checkpoints``: what is bundled."""

from __future__ import annotations

import click

from circuitkit.cli.console import as_json, print_json


@click.command()
@as_json
def checkpoints(*, as_json: bool) -> None:
    """List the bundled checkpoints: size, nonzeros, validation loss.

    \b
    Example:
      circuitkit checkpoints
    """
    from circuitkit.checkpoints import bundled_checkpoints, load_checkpoint

    rows = []
    for name, folder in bundled_checkpoints().items():
        checkpoint = load_checkpoint(folder)
        training = checkpoint.training or {}
        weights = checkpoint.load_model().parameters()
        counts = [(p.numel(), int(p.count_nonzero())) for p in weights]
        rows.append(
            {
                "name": name,
                "n_layer": checkpoint.architecture.n_layer,
                "d_model": checkpoint.architecture.d_model,
                "n_parameters": sum(n for n, _ in counts),
                "n_nonzero": sum(nonzero for _, nonzero in counts),
                "l0_fraction": training.get("l0_fraction"),
                "n_tokens": training.get("n_tokens"),
                "validation_loss_nats": training.get("validation_loss_nats"),
                "sha256": checkpoint.sha256,
            }
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(
            f"{row['name']:<20} {row['n_layer']} layers × {row['d_model']}  "
            f"{row['n_nonzero']:,} of {row['n_parameters']:,} weights nonzero  "
            f"L0 {row['l0_fraction'] or 1:.4f}  "
            f"validation loss {row['validation_loss_nats'] or float('nan'):.3f} nats"
        )
