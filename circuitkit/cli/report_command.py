"""``circuitkit report``: a PDF or a page that a person wants to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from circuitkit.cli.completion import folders
from circuitkit.cli.console import as_json, print_json, progress_bar, quiet

if TYPE_CHECKING:
    from circuitkit.circuit import CircuitFolder


class Writers(NamedTuple):
    """What writes a report of one folder, and one report of several."""

    one: Callable[[CircuitFolder], Path]
    several: Callable[[Path, Sequence[CircuitFolder]], Path]


@click.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True,
                type=click.Path(path_type=Path), shell_complete=folders)  # fmt: skip
@click.option("--format", "kind", type=click.Choice(("pdf", "html")), default="pdf",
              show_default=True, help="A PDF, or a page for a browser.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=None,
              help="One file over all; else report.pdf or report.html in each.")  # fmt: skip
@as_json
@quiet
def report(
    folders: tuple[Path, ...], kind: str, out: Path | None, *, as_json: bool, quiet: bool
) -> None:
    """Write a PDF or a page about circuits and their findings.

    With a PDF, diagrams and tables in their folders are made again. A page of several circuits
    shows them side by side, with what they share.

    \b
    Example:
      circuitkit report out/brackets
      circuitkit report out/* --out all.pdf
      circuitkit report out/brackets --format html
      circuitkit report nano/brackets sparse/brackets --format html --out both.html
    """
    from circuitkit.circuit import CircuitFolder

    _check_out(out, kind)
    opened = [CircuitFolder.open(folder) for folder in folders]
    for folder in opened:  # what cannot be read is refused before anything is written
        _ = folder.circuit, folder.validation, folder.explanation, folder.transfer
    writers = _writers(kind)
    with progress_bar(quiet=quiet) as progress:
        if out is None:
            paths = []
            for i, folder in enumerate(opened):
                progress("reports", i, len(folders))
                paths.append(writers.one(folder))
        else:
            progress("reports", 0, 1)
            paths = [writers.several(out, opened)]
    if as_json:
        print_json({"paths": [str(path) for path in paths]})
    else:
        for path in paths:
            click.echo(str(path))


def _writers(kind: str) -> Writers:
    from circuitkit.views.page import write_page, write_pages
    from circuitkit.views.report import write_report, write_reports

    pdf, html = Writers(write_report, write_reports), Writers(write_page, write_pages)
    return html if kind == "html" else pdf


def _check_out(out: Path | None, kind: str) -> None:
    """Refuse a folder, and a name that says another format."""
    from circuitkit.errors import UsageError

    if out is None:
        return
    file = "an HTML file" if kind == "html" else "a PDF file"
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected the name of {file}.")
    other = "pdf" if kind == "html" else "html"
    if out.suffix.lower() == f".{other}":
        raise UsageError(
            f"--out {out} is to be {file}, by --format {kind}. "
            f"Add --format {other}, or choose a name that ends in .{kind}."
        )
