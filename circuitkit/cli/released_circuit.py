"""A released circuit from the command line: what ``convert`` does with a ``viz_data.pt``."""

from __future__ import annotations

from pathlib import Path

import click

from circuitkit.cli.console import print_json, print_notes, progress_bar
from circuitkit.errors import UsageError

FILE = "viz_data.pt"


def is_released_circuit(path: str | Path) -> bool:
    """Whether a path is that of a released circuit, by its name or by what its folder holds."""
    path = Path(path)
    return path.name == FILE or (path / FILE).is_file()


def convert_released_circuit(
    path: str | Path, *, checkpoint: str | None, task: str | None, out: Path,
    reference: Path | None = None, as_json: bool = False, quiet: bool = False,
) -> None:  # fmt: skip
    """Write a released circuit as a circuit folder, and print what was measured.

    Raises:
        UsageError: without a checkpoint or a task, which the file does not hold.
        CircuitkitError: as ``import_circuit`` does.
    """
    if checkpoint is None or task is None:
        raise UsageError(
            f"{path} is a released circuit: it holds neither its model nor the answers of its "
            "task. Give the model as --checkpoint, and as --task a task to measure it on."
        )
    from circuitkit.checkpoints import load_checkpoint
    from circuitkit.circuit.published_losses import PublishedLosses
    from circuitkit.cli.circuit_text import in_words, summary
    from circuitkit.extraction import import_circuit
    from circuitkit.task import load_task

    opened, asked = load_checkpoint(checkpoint), load_task(task)
    print_notes((*opened.warnings, *asked.notes))
    with progress_bar(quiet=quiet) as progress:
        circuit = import_circuit(
            path, opened, asked, reference=reference, out=out, progress=progress
        )
    published = PublishedLosses.load(out)
    if as_json:
        losses = {"loss_nats": published.loss_nats, "about": published.about}
        print_json({"path": str(out), **summary(circuit), "published": losses})
        return
    said = "none" if published.loss_nats is None else f"{published.loss_nats:.3f} nats"
    click.echo(in_words(circuit, out, f"published  {said}, {published.about}"))
