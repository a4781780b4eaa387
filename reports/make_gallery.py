"""Make reports/gallery again: every task that a bundled checkpoint does, by the CLI.

Both rungs of each, of the dense checkpoint the smallest only. Two tasks at a time, each on one
thread. What is there already is kept: delete a folder to have it made anew. ``--thorough`` also
runs the long suite on the ten circuits that have it, which takes hours more. The gallery keeps some
of the files (``gallery_folders.py`` says which); another folder named with ``--out`` keeps all.
Dense circuits are validated beside each other: make them elsewhere, or delete
``reports/gallery/tinypython-dense`` first.

Usage: python reports/make_gallery.py [--jobs N] [--out DIR] [--thorough] [--table | --index]
[NAME ...]
NAME is CHECKPOINT or CHECKPOINT/TASK.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from gallery_folders import (
    DENSE, DIAGRAM, EXPLANATION, GALLERY, NUMBERS, PATHS, REDRAWN, REPORT, REPORT_HTML, SMALLEST,
    SMALLEST_VALIDATION, VALIDATION, is_found, keep_less, kept,
)  # fmt: skip
from gallery_page import index
from gallery_tables import tables

from circuitkit.checkpoints.bundled import bundled_checkpoints
from circuitkit.checkpoints.competence_json import Competence
from circuitkit.files import write_whole
from circuitkit.findings import DEFAULT_CLAIMS, Validation
from circuitkit.validation.validate_folder import explain_folder

CHECKPOINTS = (DENSE, "tinypython-nano", "tinypython-sparse")
"""Those whose circuits are shown; not the two that bridges join (docs/bridges.md)."""

UNREFINED = (f"{DENSE}/var_swap",)
"""Too large to be made 1-minimal: a quarter of an hour is not enough for one restart of four."""

THOROUGH = ("bracket_counting", "for_while", "if_equals", "single_double_quote", "with_open")
"""Tasks whose circuits have the long suite too, in the two sparse checkpoints."""


def run(*arguments: str | Path) -> None:
    """Run circuitkit on one thread; an honest negative (exit code 1) is a result like any other."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["circuitkit", *map(str, arguments)], check=False, env=environment)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)


def extract(folder: Path) -> None:
    """Find the circuit of one task, if it is not there: in dense models the smallest only.

    A dense circuit has thousands of edges; the climb from it would take hours.
    """
    checkpoint, task = folder.parts[-2:]
    if not is_found(folder):
        options = ["--rung", "smallest"] if checkpoint == DENSE else []
        options += ["--no-refine"] if f"{checkpoint}/{task}" in UNREFINED else []
        run("extract", checkpoint, "--task", task, "--out", folder, "--resume", "-q", *options)


def validate(folder: Path) -> None:
    """Validate both rungs of one task, once all are extracted: circuits are compared."""
    if not (folder / VALIDATION).exists():
        run("validate", folder, "-q")
    if (folder / SMALLEST).exists() and not (folder / SMALLEST_VALIDATION).exists():
        run("validate", folder, "--rung", "smallest", "-q")


def validate_thoroughly(folder: Path) -> None:
    """Run the long suite on the circuit of one task, if it is to have it and does not."""
    if folder.parent.name == DENSE or folder.name not in THOROUGH:
        return
    if {finding.claim for finding in Validation.load(folder).findings} <= set(DEFAULT_CLAIMS):
        run("validate", folder, "--thorough", "-q")


def report(folder: Path, *, whole: bool) -> None:
    """Draw what is missing; remove what the gallery does not keep, unless the whole is wanted."""
    names = {DIAGRAM, PATHS, REPORT, REPORT_HTML, *REDRAWN}
    wanted = {REPORT, REPORT_HTML} if whole else names & set(kept(folder))
    missing = {name for name in wanted if not (folder / name).exists()}
    if missing and folder.parent.name != DENSE and not (folder / EXPLANATION).exists():
        explain_folder(folder)
    if missing - {REPORT_HTML}:
        run("report", folder, "-q")
    if REPORT_HTML in missing:
        run("report", folder, "--format", "html", "-q")
    if not whole:
        keep_less(folder)


def check_beside(paths: Iterable[Path]) -> None:
    """Refuse to validate a dense circuit beside others of which only numbers are left."""
    missing = [p for p in paths if p.parent.name == DENSE and not (p / VALIDATION).exists()]
    slim = [p.parent for p in missing for _ in p.parent.glob(f"*/{NUMBERS}")]
    if slim:
        raise SystemExit(
            f"{missing[0]}: a verdict compares it with the circuits beside it, and of those only "
            f"the numbers are kept. Make all of them: delete {slim[0]}, or name another folder "
            "with --out."
        )


def folders(out: Path, asked: Iterable[str]) -> Iterator[Path]:
    """The folders to make: every task that a checkpoint does, or those named."""
    for name in asked:
        checkpoint, _, task = name.partition("/")
        known = Competence.load(bundled_checkpoints()[checkpoint])
        if known is None:
            raise SystemExit(f"{checkpoint}: no competence.json")
        tasks = [task] if task else sorted(known.done)
        yield from (out / checkpoint / task for task in tasks)


def make(paths: list[Path], jobs: int, *, whole: bool, thorough: bool = False) -> None:
    """Make what is missing, some folders at a time."""
    suites = (validate, validate_thoroughly) if thorough else (validate,)
    steps: tuple[Callable[[Path], None], ...] = (extract, *suites, partial(report, whole=whole))
    check_beside(paths)
    with ThreadPoolExecutor(jobs) as pool:
        for step in steps:
            list(pool.map(step, paths))


def main() -> None:
    """Make what is missing, then print a table for every checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("asked", nargs="*", default=CHECKPOINTS)
    parser.add_argument("--jobs", type=int, default=2, help="tasks at a time (default 2)")
    parser.add_argument("--out", type=Path, default=GALLERY, help="another folder, kept whole")
    parser.add_argument("--thorough", action="store_true", help="run the long suite on some too")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--table", action="store_true", help="only print the tables of what is there")
    only.add_argument("--index", action="store_true", help="only write the gallery's README.md")
    given = parser.parse_args()
    paths, in_gallery = list(folders(given.out, given.asked)), given.out.resolve() == GALLERY
    if given.index and not in_gallery:
        parser.error(f"--index is for {GALLERY}, not for {given.out}; leave out --out.")
    if not (given.table or given.index):
        make(paths, given.jobs, whole=not in_gallery, thorough=given.thorough)
    if in_gallery and not given.table:
        write_whole(GALLERY / "README.md", index(GALLERY))
    if not given.index:
        sys.stdout.writelines(tables(paths))


if __name__ == "__main__":
    main()
