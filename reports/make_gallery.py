"""Make reports/gallery again: every task that a bundled checkpoint does, by the CLI.

Two tasks at a time, each on one thread. What is there already is kept: delete a folder to have
it made anew. Reports and diagrams are kept for some tasks; ``circuitkit report DIR`` draws the
others.

Usage: python reports/make_gallery.py [--jobs N] [--table] [CHECKPOINT | CHECKPOINT/TASK ...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from circuitkit import Circuit, Validation
from circuitkit.checkpoints.bundled import bundled_checkpoints
from circuitkit.checkpoints.competence_json import Competence
from circuitkit.findings import DEFAULT_CLAIMS, FILE

GALLERY = Path(__file__).parent / "gallery"
SHOWN = (
    *("bracket_counting", "for_while", "fstring_brace", "if_equals", "set_or_string"),
    *("single_double_quote", "with_open"),
)
"""Tasks whose reports and diagrams are kept."""

DRAWN = ("circuit.dot", "circuit.svg", "report.pdf")
TABLES = ("nodes.csv", "edges.csv")
"""Of a dense circuit with its tens of thousands of edges, as good as circuit.json over again."""
SPARSE, DENSE = "tinypython-sparse", "tinypython-dense"
"""Dense circuits are so large that a diagram shows nothing."""
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
    if not (folder / "circuit.json").exists():
        options = ["--no-refine"] if f"{checkpoint}/{task}" in UNREFINED else []
        run("extract", checkpoint, "--task", task, "--out", folder, "--resume", "-q", *options)


def criterion(folder: Path) -> None:
    """Validate and report one task, once all are extracted: circuits are compared."""
    if not (folder / FILE).exists():
        run("validate", folder, "-q")
        run("report", folder, "-q")
    dense = folder.parent.name == DENSE
    left_out = DRAWN + TABLES if dense else () if folder.name in SHOWN else DRAWN
    for name in left_out:
        (folder / name).unlink(missing_ok=True)


def folders(asked: Iterable[str]) -> Iterator[Path]:
    """The folders to make: every task that a checkpoint does, or those named."""
    for name in asked:
        checkpoint, _, task = name.partition("/")
        known = Competence.load(bundled_checkpoints()[checkpoint])
        if known is None:
            raise SystemExit(f"{checkpoint}: no competence.json")
        tasks = [task] if task else sorted(known.done)
        yield from (GALLERY / checkpoint / task for task in tasks)


def row(folder: Path) -> str:
    """A row of the table."""
    circuit, validation = Circuit.load(folder), Validation.load(folder)
    loss, accuracy = circuit.loss_nats, circuit.accuracy
    failed = [f.claim for f in validation.findings if f.outcome in ("fail", "inconclusive")]
    nothing = "nothing" if validation.grade == "A" else "the long suite was not run"
    return (
        f"| {folder.name} | {loss.model:.3f} | {circuit.n_nodes} | {circuit.n_edges} | "
        f"{loss.circuit:.3f} | {accuracy.complement:.3f} | {validation.grade} | "
        f"{', '.join(failed) or nothing} |"
    )


def long_suite(paths: Iterable[Path]) -> Iterator[str]:
    """What the thorough claims said, where they were asked."""
    asked = {path: Validation.load(path).findings[len(DEFAULT_CLAIMS) :] for path in paths}
    if any(asked.values()):
        yield "\n| thorough | pass | fail | inconclusive | edges of a null, median | minutes |\n"
        yield "|---" * 6 + "|\n"
    for path, findings in asked.items():
        if findings:
            told = (
                ", ".join(f.claim for f in findings if f.outcome == outcome) or "none"
                for outcome in ("pass", "fail", "inconclusive")
            )
            ratio = next(f.effect for f in findings if f.claim == "search_null") or 0.0
            minutes = sum(f.seconds for f in findings) / 60
            yield f"| {path.name} | {' | '.join(told)} | {ratio:.0f} × | {minutes:.0f} |\n"


def twins() -> Iterator[str]:
    """How much smaller the sparse checkpoint's circuits are than its dense twin's, by edges."""
    yield f"\n| task | {SPARSE} | {DENSE} | ratio of edges |\n|---|---|---|---|\n"
    for dense in sorted((GALLERY / DENSE).glob("*/circuit.json")):
        few, many = (Circuit.load(GALLERY / of / dense.parent.name) for of in (SPARSE, DENSE))
        yield (
            f"| {dense.parent.name} | {few.n_nodes} / {few.n_edges} | "
            f"{many.n_nodes:,} / {many.n_edges:,} | {many.n_edges / few.n_edges:.0f} |\n"
        )


def each(jobs: int, do: Callable[[Path], None], paths: list[Path]) -> None:
    """Do something for all folders, some at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(do, paths))


def main() -> None:
    """Make what is missing, then print a table for every checkpoint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("asked", nargs="*", default=sorted(bundled_checkpoints()))
    parser.add_argument("--jobs", type=int, default=2, help="tasks at a time (default 2)")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    given = parser.parse_args()
    paths = list(folders(given.asked))
    if not given.table:
        each(given.jobs, extract, paths)
        each(given.jobs, criterion, paths)
    for checkpoint in dict.fromkeys(path.parent.name for path in paths):
        sys.stdout.write(
            f"\n{checkpoint}\n\n| task | model loss (nats) | nodes | edges | circuit loss (nats) | "
            "complement accuracy | grade | what keeps it from a better one |\n" + "|---" * 8 + "|\n"
        )
        made = [p for p in paths if p.parent.name == checkpoint if (p / FILE).exists()]
        sys.stdout.write("".join(row(path) + "\n" for path in made))
        sys.stdout.write("".join(long_suite(made)))
    if {path.parent.name for path in paths} >= {SPARSE, DENSE}:
        sys.stdout.write("".join(twins()))


if __name__ == "__main__":
    main()
