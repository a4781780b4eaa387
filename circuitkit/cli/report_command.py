"""``circuitkit report``: a PDF a person wants to read."""

from __future__ import annotations

from pathlib import Path

import click

from circuitkit.cli.completion import folders
from circuitkit.cli.console import as_json, print_json, progress_bar, quiet


@click.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True,
                type=click.Path(path_type=Path), shell_complete=folders)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=None,
              help="One PDF over all of them; else report.pdf in each.")  # fmt: skip
@as_json
@quiet
def report(folders: tuple[Path, ...], out: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Write a PDF about circuits and what was found out about them.

    Diagrams and tables in their folders are made again.

    \b
    Example:
      circuitkit report out/brackets
      circuitkit report out/* --out all.pdf
    """
    from circuitkit.circuit import CircuitFolder
    from circuitkit.errors import UsageError
    from circuitkit.views.report import write_report, write_reports

    if out is not None and out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected the name of a PDF file.")
    opened = [CircuitFolder.open(folder) for folder in folders]
    for folder in opened:  # what cannot be read is refused before anything is written
        _ = folder.circuit, folder.validation
    with progress_bar(quiet=quiet) as progress:
        if out is None:
            paths = []
            for i, folder in enumerate(opened):
                progress("reports", i, len(folders))
                paths.append(write_report(folder))
        else:
            progress("reports", 0, 1)
            paths = [write_reports(out, opened)]
    if as_json:
        print_json({"paths": [str(path) for path in paths]})
    else:
        for path in paths:
            click.echo(str(path))
