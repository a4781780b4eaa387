"""How well the validator tells true circuits from wrong ones, where the truth is known.

Circuits of planted models, true ones and twelve ways of being wrong, go through the default
suite. The confusion table counts what it said: accepted (grade A or B), flagged (C or
C-redundant: the verdict names the weakness) or refused (F). Then, for every claim, the
wrong circuits that would have been accepted without it.

Usage: python tests/benchmarks/planted_validation.py [--few] [--jobs N] [--seeds N] [NAME ...]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import torch
from planted_cases import ALONE, CASES, IN_WORDS, INSIDE, TRUE, TWINS, Case, cases_of

from circuitkit import Claim, Node, NodeSet, Validation, validate
from circuitkit.planted import planted_names
from circuitkit.validation import grade_of

FEW = ("closing_quote", "twin_paths", "twin_heads", "cancellation_trap", "norm_trap")
_NODE = re.compile(r"(?:\d+\.\w+\.\w+|final_resid):\d+")
VERDICTS = ("accepted", "flagged", "refused")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the suite said of a case."""

    kind: str
    model: str
    seed: int
    what: str
    grade: str
    caught: tuple[str, ...]
    carried: tuple[str, ...]
    backup_found: bool | None
    seconds: float

    @property
    def verdict(self) -> str:
        """Accepted, flagged or refused."""
        if self.grade in ("A", "B"):
            return "accepted"
        return "refused" if self.grade == "F" else "flagged"


def judged(case: Case) -> Judged:
    """Run the default suite on a case."""
    began = time.perf_counter()
    found = validate(case.checkpoint, case.task, case.circuit, means=case.means)
    excused = [Claim.FOLLOWS_OOD] if found[Claim.FOLLOWS_OOD].outcome == "not_run" else []
    caught = [
        f.claim for f in found.findings
        if f.outcome in ("fail", "inconclusive") and f.claim not in excused
    ]  # fmt: skip
    return Judged(
        kind=case.kind, model=case.model, seed=case.seed, what=case.what, grade=found.grade,
        caught=tuple(caught), carried=tuple(carried_by(found)),
        backup_found=backup_found(found, case),
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def carried_by(found: Validation) -> Iterator[str]:
    """The claims without which the circuit would have been accepted."""
    if found.grade in ("A", "B"):
        return
    for left_out in found.findings:
        passed = {"outcome": "pass", "note": "", "p_value": None}
        others = [f.model_copy(update=passed) if f is left_out else f for f in found.findings]
        if grade_of(others) in ("A", "B"):
            yield left_out.claim


def backup_found(found: Validation, case: Case) -> bool | None:
    """Whether a backup is called what it is, by name; None where there is none to be called so."""
    return {TWINS: names_backup, INSIDE: names_twin}.get(case.kind, lambda *_: None)(found, case)


def names_backup(found: Validation, case: Case) -> bool:
    """Whether the finding says REDUNDANT and names nodes of the other path, and none besides."""
    note = found[Claim.NECESSARY].note
    return note.startswith("REDUNDANT") and _names_only(case.backup, note)


def names_twin(found: Validation, case: Case) -> bool:
    """Whether a finding says REDUNDANT INSIDE and names nodes of the other one, none besides."""
    notes = (f.note.partition("REDUNDANT INSIDE")[2].partition(";")[0] for f in found.findings)
    return any(_names_only(case.backup, note.partition(" nats): ")[2]) for note in notes)


def _names_only(nodes: NodeSet | None, note: str) -> bool:
    named = NodeSet.of(map(Node.parse, _NODE.findall(note)))
    assert nodes is not None
    return len(named) > 0 and named <= nodes


def run(name: str, seed: int) -> list[Judged]:
    """All cases of a model and a seed."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return [judged(case) for case in cases_of(name, seed, Path(folder))]


def confusion(judged: Sequence[Judged]) -> Iterator[str]:
    """A row a case: counts, the share that is right, and the claims that caught it."""
    yield "| case | n | accepted | flagged | refused | right | caught by |\n|" + "---|" * 7
    for kind in CASES:
        found = [j for j in judged if j.kind == kind]
        if found:
            yield _row(kind, found)


def _row(kind: str, found: Sequence[Judged]) -> str:
    counts = Counter(j.verdict for j in found)
    right = counts["accepted"] if kind == TRUE else len(found) - counts["accepted"]
    caught = Counter(claim for j in found for claim in j.caught)
    told = ", ".join(f"{claim} {n}" for claim, n in caught.most_common()) or "nothing"
    cells = [str(counts[verdict]) for verdict in VERDICTS]
    return f"| {kind} | {len(found)} | {' | '.join(cells)} | {right / len(found):.2f} | {told} |"


def contributions(judged: Sequence[Judged]) -> Iterator[str]:
    """For every claim, the wrong circuits that only it kept from being accepted."""
    wrong = [j for j in judged if j.kind not in (TRUE, ALONE)]
    yield "| claim | caught | alone | cases that would be accepted without it |\n|" + "---|" * 4
    for claim in Claim:
        caught = sum(claim in j.caught for j in wrong)
        alone = Counter(j.kind for j in wrong if claim in j.carried)
        told = ", ".join(f"{kind} ({n})" for kind, n in alone.items()) or "none"
        if caught:
            yield f"| {claim} | {caught} | {alone.total()} | {told} |"


def misses(judged: Sequence[Judged]) -> Iterator[str]:
    """Every verdict that is wrong, in a line."""
    for j in judged:
        if (j.kind == TRUE) != (j.verdict == "accepted"):
            told = ", ".join(j.caught) or "nothing"
            yield f"{j.kind}: {j.model} seed {j.seed} ({j.what}): {j.grade}, caught by {told}"
        if j.backup_found is False:
            yield f"{j.kind}: {j.model} seed {j.seed}: the other one is not named, or not alone"


def report(judged: Sequence[Judged]) -> Iterator[str]:
    """Both tables and the misses."""
    yield from confusion(judged)
    yield ""
    yield from contributions(judged)
    yield ""
    for name, why in IN_WORDS.items():
        yield f"{ALONE}, {name}: {why}"
    for kind, word in ((TWINS, "REDUNDANT"), (INSIDE, "REDUNDANT INSIDE")):
        named = [bool(j.backup_found) for j in judged if j.kind == kind]
        yield f"{word} said and the other one named, {kind}: {sum(named)} of {len(named)}"
    seconds = [j.seconds for j in judged]
    yield f"{len(judged)} verdicts, median {median(seconds):.1f} s, most {max(seconds):.1f} s"
    yield from misses(judged)


def main() -> None:
    """Validate all cases, then print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="planted models; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="of every model (default 3)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--few", action="store_true", help="five models, one seed")
    given = parser.parse_args()
    names = given.names or (FEW if given.few else planted_names())
    units = list(product(names, range(1 if given.few else given.seeds)))
    began = time.perf_counter()
    with ProcessPoolExecutor(given.jobs) as pool:
        judged = []
        for (name, seed), found in zip(
            units, pool.map(run, *zip(*units, strict=True)), strict=True
        ):
            sys.stderr.write(f"{name} seed {seed}: {len(found)} verdicts\n")
            judged += found
    sys.stdout.write("\n".join(report(judged)) + "\n")
    sys.stdout.write(f"{time.perf_counter() - began:.0f} s with {given.jobs} processes\n")


if __name__ == "__main__":
    main()
