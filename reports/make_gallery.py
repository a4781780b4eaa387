"""Make reports/gallery again: every task that a bundled checkpoint does, by the CLI.

Two tasks at a time, each on one thread. What is there already is kept: delete a folder to have
it made anew. The gallery keeps some of the files (``gallery_folders.py`` says which); another
folder named with ``--out`` keeps all. Dense circuits are validated beside each other: make them
elsewhere, or delete ``reports/gallery/tinypython-dense`` first.

Usage: python reports/make_gallery.py [--jobs N] [--out DIR] [--table | --index] [NAME ...]
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
    DENSE, GALLERY, NUMBERS, VALIDATION, is_found, keep_less, kept,
)  # fmt: skip
from gallery_tables import index, tables

from circuitkit.checkpoints.bundled import bundled_checkpoints
from circuitkit.checkpoints.competence_json import Competence
from circuitkit.files import write_whole

UNREFINED = (f"{DENSE}/var_swap",)
"""Too large to be made 1-minimal: a quarter of an hour is not enough for one restart of four."""


def run(*arguments: str | Path) -> None:
    """Run circuitkit on one thread; an honest negative (exit code 1) is a result like any other."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["circuitkit", *map(str, arguments)], check=False, env=environment)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)


def extract(folder: Path) -> None:
    """Find the circuit of one task, if it is not there."""
    checkpoint, task = folder.parts[-2:]
    if not is_found(folder):
        options = ["--no-refine"] if f"{checkpoint}/{task}" in UNREFINED else []
        run("extract", checkpoint, "--task", task, "--out", folder, "--resume", "-q", *options)


def validate(folder: Path) -> None:
    """Validate one task, once all are extracted: circuits are compared."""
    if not (folder / VALIDATION).exists():
        run("validate", folder, "-q")


def report(folder: Path, *, whole: bool) -> None:
    """Draw what is missing; remove what the gallery does not keep, unless the whole is wanted."""
    wanted = ("report.pdf",) if whole else set(kept(folder)) - {NUMBERS}
    if any(not (folder / name).exists() for name in wanted):
        run("report", folder, "-q")
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


def make(paths: list[Path], jobs: int, *, whole: bool) -> None:
    """Make what is missing, some folders at a time."""
    steps: tuple[Callable[[Path], None], ...] = (extract, validate, partial(report, whole=whole))
    check_beside(paths)
    with ThreadPoolExecutor(jobs) as pool:
        for step in steps:
            list(pool.map(step, paths))


def main() -> None:
    """Make what is missing, then print a table for every checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("asked", nargs="*", default=sorted(bundled_checkpoints()))
    parser.add_argument("--jobs", type=int, default=2, help="tasks at a time (default 2)")
    parser.add_argument("--out", type=Path, default=GALLERY, help="another folder, kept whole")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--table", action="store_true", help="only print the tables of what is there")
    only.add_argument("--index", action="store_true", help="only write the gallery's README.md")
    given = parser.parse_args()
    paths, in_gallery = list(folders(given.out, given.asked)), given.out.resolve() == GALLERY
    if given.index and not in_gallery:
        parser.error(f"--index is for {GALLERY}, not for {given.out}; leave out --out.")
    if not (given.table or given.index):
        make(paths, given.jobs, whole=not in_gallery)
    if in_gallery and not given.table:
        write_whole(GALLERY / "README.md", index(GALLERY))
    if not given.index:
        sys.stdout.writelines(tables(paths))


if __name__ == "__main__":
    main()
