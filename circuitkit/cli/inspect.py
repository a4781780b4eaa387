"""``circuitkit inspect``: what a checkpoint is made of."""

from __future__ import annotations

import click

from circuitkit.cli.console import as_json, print_json


@click.command()
@click.argument("checkpoint")
@as_json
def inspect(checkpoint: str, *, as_json: bool) -> None:
    """Show a checkpoint's format, architecture, parameters and nonzeros a matrix.

    \b
    Example:
      circuitkit inspect tinypython-nano
    """
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.checkpoints.native import FORMAT

    loaded = load_checkpoint(checkpoint)
    named = list(loaded.load_model().named_parameters())
    matrices = [
        {"name": name, "shape": list(p.shape), "nonzero": int(p.count_nonzero())}
        for name, p in named
    ]
    sites = {str(site): width for site, width in loaded.architecture.widths.items()}
    warnings = [] if loaded.tokenizer else ["no tokenizer.json: only token-level tasks work"]
    result = {
        "format": FORMAT,
        "name": loaded.name,
        "architecture": loaded.architecture.model_dump(mode="json"),
        "n_parameters": sum(p.numel() for _, p in named),
        "n_nonzero": sum(m["nonzero"] for m in matrices),
        "n_nodes": sum(sites.values()),
        "sites": sites,
        "matrices": matrices,
        "renamed": [],
        "dropped": [],
        "warnings": warnings,
    }
    if as_json:
        print_json(result)
        return
    click.echo(f"{loaded.name} ({FORMAT}), sha256 {loaded.sha256[:16]}…")
    for key, value in result["architecture"].items():
        click.echo(f"  {key:<18} {value}")
    click.echo(
        f"{result['n_parameters']:,} parameters, {result['n_nonzero']:,} nonzero; "
        f"{result['n_nodes']:,} nodes at {len(sites)} sites"
    )
    for m in matrices:
        size = 1
        for n in m["shape"]:
            size *= n
        shape = " × ".join(map(str, m["shape"]))
        click.echo(f"  {m['name']:<42} {shape:>12}  {m['nonzero']:>9,}  {m['nonzero'] / size:.4f}")
    for warning in warnings:
        click.echo(f"warning: {warning}")
