"""The numbers of the gallery as tables, and what sums each table up.

In: the folders of the gallery. Out: Markdown, the same for the same folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import geometric_mean, median

from gallery_folders import DENSE, SPARSE, VALIDATION, is_found
from gallery_rungs import NONE, Ladder, RungRead, cells, climbed, columns, failed, grades, summary

import numpy as np

from circuitkit import Validation
from circuitkit.findings import DEFAULT_CLAIMS
from circuitkit.studies.study_sizes import in_brackets
from circuitkit.validation.claims.interchange import F_LOW, FOLLOWS


def tables(folders: list[Path]) -> Iterator[str]:
    """A table for every checkpoint, and one that compares twins if both are there."""
    checkpoints = dict.fromkeys(folder.parent for folder in folders)
    for checkpoint in checkpoints:
        made = [f for f in folders if f.parent == checkpoint and (f / VALIDATION).exists()]
        yield f"\n{checkpoint.name}\n\n"
        yield from _circuits([Ladder.read(folder) for folder in made])
        yield from _long_suite(made)
    yield from rungs([folder for folder in folders if (folder / VALIDATION).exists()])
    by_name = {checkpoint.name: checkpoint for checkpoint in checkpoints}
    if by_name.keys() >= {SPARSE, DENSE}:
        yield from _twins(by_name[SPARSE], by_name[DENSE])


def _circuits(ladders: list[Ladder]) -> Iterator[str]:
    """A row a task; the losses are of the trusted circuit where it was reached."""
    kept = columns(ladders, "what keeps it from a better one")
    titles = ("task", "model loss (nats)", "circuit loss (nats)", *kept)
    yield f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n"
    for ladder in ladders:
        loss = (ladder.trusted or ladder.smallest).numbers["loss_nats"]
        losses = (f"{loss['model']:.3f}", f"{loss['circuit']:.3f}")
        rest = cells(ladder, failed, two=climbed(ladders))
        yield f"| {' | '.join((ladder.folder.name, *losses, *rest))} |\n"
    yield f"\n{summary(ladders)}\n"


def rungs(folders: Iterable[Path]) -> Iterator[str]:
    """What the circuits of each rung do, the smallest ones as far as a climb began from them."""
    found: dict[str, list[RungRead]] = {}
    for ladder in map(Ladder.read, folders):
        if climbed([ladder]):
            name = ladder.folder.parent.name
            found.setdefault(f"{name}, smallest", []).append(ladder.smallest)
            found.setdefault(f"{name}, trusted", []).extend(filter(None, [ladder.trusted]))
    if found:
        titles = ("rung", "circuits", "edges", "F", "F_x", "follows", "decide", "grades")
        yield f"\n| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n"
    for name, circuits in found.items():
        steps = [rung.step for rung in circuits if rung.step]
        if not steps:
            continue
        decide = [s for s in steps if s.f_interchange >= F_LOW and s.follows >= FOLLOWS]
        row = (
            name, str(len(circuits)), f"{median(step.n_edges for step in steps):.0f}",
            f"{median(step.f_mean for step in steps):.2f}",
            _median_of([step.f_interchange for step in steps]),
            _median_of([step.follows for step in steps]),
            f"{len(decide)} of {len(steps)}", grades(circuits),
        )  # fmt: skip
        yield f"| {' | '.join(row)} |\n"


def _median_of(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _long_suite(folders: Iterable[Path]) -> Iterator[str]:
    """What came of the claims of ``--thorough``, where they were tested."""
    tested = {
        path: [f for f in Validation.load(path).findings if f.claim not in DEFAULT_CLAIMS]
        for path in folders
    }
    if any(tested.values()):
        yield "\n| thorough | pass | fail | inconclusive | edges of a null, median | minutes |\n"
        yield "|---" * 6 + "|\n"
    for path, findings in tested.items():
        if findings:
            claims = (
                ", ".join(f.claim for f in findings if f.outcome == outcome) or "none"
                for outcome in ("pass", "fail", "inconclusive")
            )
            ratio = next(f.effect for f in findings if f.claim == "search_null") or 0.0
            minutes = sum(f.seconds for f in findings) / 60
            yield f"| {path.name} | {' | '.join(claims)} | {ratio:.0f} × | {minutes:.0f} |\n"


def _twins(sparse: Path, dense: Path) -> Iterator[str]:
    """How much smaller the sparse checkpoint's circuits are than its dense twin's, by edges."""
    titles = (
        "task", f"{DENSE}, smallest", f"{SPARSE}, smallest", f"{SPARSE}, trusted",
        "ratio of edges, smallest", "ratio of edges, trusted, at least",
    )  # fmt: skip
    yield f"\n| {' | '.join(titles)} |\n{'|---' * len(titles)}|\n"
    smallest, trusted, nodes = [], [], []
    for folder in sorted(path.parent for path in dense.glob(f"*/{VALIDATION}")):
        if not is_found(sparse / folder.name):
            continue
        few, many = Ladder.read(sparse / folder.name), Ladder.read(folder).smallest
        smallest.append(many.n_edges / max(1, few.smallest.n_edges))
        nodes.append(many.n_nodes / max(1, few.smallest.n_nodes))
        row = (folder.name, many.size, few.smallest.size)
        if few.trusted:
            trusted.append(many.n_edges / max(1, few.trusted.n_edges))
            row += (few.trusted.size, f"{smallest[-1]:.0f} ×", f"{trusted[-1]:.0f} ×")
        else:
            row += (NONE, f"{smallest[-1]:.0f} ×", NONE)
        yield f"| {' | '.join(row)} |\n"
    yield f"\nGeometric mean of the ratio: {_mean(smallest)} at the smallest rung"
    if trusted:
        yield (
            f"; at least {_mean(trusted)} at the trusted one. There the dense circuit is the "
            "smallest: a trusted one was not searched for, and would have to do more"
        )
    yield f". Of the nodes, at the smallest rung: {_mean(nodes)}.\n"


def _mean(ratios: list[float]) -> str:
    """A geometric mean with its 90 % bootstrap interval over tasks, unless they are too few."""
    mean = f"{geometric_mean(ratios):.1f} ×" if ratios else NONE
    found = f"{mean}{in_brackets(np.asarray(ratios))}"
    return f"{found} ({len(ratios)} task{'s' * (len(ratios) != 1)})"
