"""The ladder: what trust costs, task by task, and what each rung does under every ask.

Both rungs of some tasks are extracted, timed apart. F and shares are on test pairs.

Usage: python tests/benchmarks/ladder.py [CHECKPOINT/TASK ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from statistics import geometric_mean

from circuitkit import ExtractConfig, run_extraction
from circuitkit.extraction.ladder import Step

SOME = (
    "tinypython-nano/for_while", "tinypython-nano/if_equals", "tinypython-nano/fstring_brace",
    "tinypython-sparse/with_open", "tinypython-sparse/if_equals", "tinypython-sparse/for_while",
)  # fmt: skip
HEAD = (
    "| task | rung | outcome | nodes | edges | F mean | F interchange | follows | F norms | gain "
    "| cue kept | seconds |\n|" + "---|" * 12
)


def rows(name: str) -> Iterator[tuple[Step, float]]:
    """The steps of a task with the seconds that each took, the second's without the first's."""
    checkpoint, _, task = name.partition("/")
    began, first = time.perf_counter(), 0.0

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        nonlocal first
        if stage.startswith("trusted") and not first:
            first = time.perf_counter() - began

    extraction = run_extraction(checkpoint, task, ExtractConfig(), progress=progress)
    whole = time.perf_counter() - began
    yield extraction.ladder[0], first or whole
    if len(extraction.ladder) > 1:
        yield extraction.ladder[1], whole - first


def row(name: str, step: Step, seconds: float) -> str:
    """One line of the table."""
    cue = "" if step.cue_kept is None else f"{step.cue_kept:.2f}"
    numbers = (step.f_mean, step.f_interchange, step.follows, step.f_norms, step.gain)
    shown = " | ".join(f"{x:.2f}" for x in numbers)
    outcome = step.failed or step.outcome
    return (
        f"| {name} | {step.rung} | {outcome} | {step.n_nodes} | {step.n_edges} | {shown} | {cue} "
        f"| {seconds:.0f} |"
    )


def main() -> None:
    """A row a rung; then the ratios."""
    sys.stdout.write(HEAD + "\n")
    edges, times = [], []
    for name in sys.argv[1:] or SOME:
        found = list(rows(name))
        for step, seconds in found:
            sys.stdout.write(row(name, step, seconds) + "\n")
            sys.stdout.flush()
        if len(found) > 1 and not found[1][0].failed:
            (smallest, first), (trusted, more) = found
            edges.append(trusted.n_edges / smallest.n_edges)
            times.append((first + more) / first)
    if edges:
        price, longer = geometric_mean(edges), geometric_mean(times)
        sys.stdout.write(
            f"goal: | trusted against smallest, edges, {len(edges)} tasks | ≤ 3 | {price:.1f} |\n"
            f"goal: | trusted against smallest, time | ≤ 3 | {longer:.1f} |\n"
        )


if __name__ == "__main__":
    main()
