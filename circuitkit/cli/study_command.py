"""``circuitkit study``: many circuits, one question."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from circuitkit.cli.completion import folders, study_names
from circuitkit.cli.console import as_json, device, goes_on, print_json, progress_bar, quiet

if TYPE_CHECKING:
    from circuitkit.studies import StudyResults
    from circuitkit.studies.time_guess import Guess


@click.command()
@click.argument("study", shell_complete=study_names)
@click.option("--out", type=click.Path(path_type=Path), shell_complete=folders,
              help="Folder to write; needed unless --dry-run.")  # fmt: skip
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Processes of this machine, or tasks of Ray (needs the extra ray).")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=None,
              help="How many cells run at once; as many as cores unless given.")  # fmt: skip
@click.option("--address", default=None, metavar="HOST:PORT",
              help="The Ray cluster to join; one is started here unless given.")  # fmt: skip
@device
@click.option("--resume", is_flag=True, help="Run what --out lacks, and what failed in it.")
@click.option("--dry-run", is_flag=True, help="List the cells with a guess of the time.")
@click.option("--yes", is_flag=True, help="Run more than 10,000 cells.")
@as_json
@quiet
@click.pass_context
def study(
    ctx: click.Context, study: str, out: Path | None, *, dry_run: bool, as_json: bool, quiet: bool,
    yes: bool, device: str, workers: int | None, **options: Any,
) -> None:  # fmt: skip
    """Ask one question of many circuits, all in one table.

    STUDY is a shipped name (families, frontier, methods, sparse-against-dense, targets, trust)
    or a .toml. Exit code 1 if a cell failed; the others are in the table all the same.

    \b
    Example:
      circuitkit study trust --out out/trust
      circuitkit study trust --dry-run
    """
    if dry_run:
        if options["resume"]:
            raise click.UsageError(
                "--dry-run lists every cell, whatever --out has of them; leave --resume out.", ctx
            )
        from circuitkit.studies.time_guess import guess_study

        _print_guess(guess_study(study, device, workers, yes=yes), as_json=as_json)
        return
    if out is None:
        raise click.UsageError("Missing option '--out'. Name a folder, or add --dry-run.", ctx)
    from circuitkit.studies.run_study import run_study

    with goes_on("--resume"), progress_bar(quiet=quiet) as progress:
        results = run_study(
            study, out, device=device, workers=workers, yes=yes, progress=progress, **options
        )
    _print(results, as_json=as_json)
    ctx.exit(1 if results.n_errors else 0)


def _print(results: StudyResults, *, as_json: bool) -> None:
    counts = {str(k): int(n) for k, n in results.frame["outcome"].value_counts().items()}
    if as_json:
        print_json({"path": str(results.path), "n_rows": len(results.frame), "outcomes": counts})
        return
    said = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
    click.echo(f"{results.path}: {len(results.frame)} rows ({said or 'no cell'})")
    for message, n in _errors(results):
        click.echo(f"failed ({n}): {message}")
    click.echo(f"next: open {results.path / 'index.html'}")


def _errors(results: StudyResults) -> list[tuple[str, int]]:
    """Each message of a failed cell once, with how often it came."""
    rows = zip(results.frame["outcome"], results.frame["error"], strict=True)
    return Counter(str(error) for outcome, error in rows if outcome == "error").most_common(5)


def _print_guess(guess: Guess, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(guess))
        return
    for cell in guess.cells:
        click.echo(f"{cell.sha256[:8]}  {_in_words(cell.seconds):>8}  {cell.label}")
    click.echo(
        f"{len(guess.cells):,} cells; a guess: {_in_words(guess.core_seconds)} on one core, "
        f"{_in_words(guess.seconds)} with {guess.workers} workers"
    )


def _in_words(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
