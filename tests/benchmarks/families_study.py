"""One task, one mechanism? The families of every task of a checkpoint, and how circuits transfer.

For every task that the checkpoint does: its forms, a circuit of each, what each does on every
other, the outcome. A task that is done is not done again: its result lies in a JSON file. With
``--singles`` the same circuits are searched once more, each by itself as a plain extraction would
(means measured each time), to say what sharing saves.

Usage: python tests/benchmarks/families_study.py CHECKPOINT [TASK ...] [--rung R] [--by BY]
       [--out out/families] [--singles]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from circuitkit import ExtractConfig, builtin_tasks, load_checkpoint, load_task, run_extraction
from circuitkit.checkpoints import Checkpoint
from circuitkit.circuit.transfer import Transfer
from circuitkit.errors import TaskError
from circuitkit.extraction import means as measured_means
from circuitkit.families import find_families
from circuitkit.families.family_search import FamilySearch
from circuitkit.files import write_whole
from circuitkit.progress import silent


def studied(checkpoint: Checkpoint, name: str, by: str | None, config: ExtractConfig,
            *, singles: bool) -> dict[str, Any]:  # fmt: skip
    """One task: its transfer and the CPU seconds that it took."""
    began, task = time.process_time(), load_task(name)
    try:
        found = find_families(checkpoint, task, by=by, progress=silent)
    except TaskError as error:
        return {"task": name, "refused": str(error)}
    sample = checkpoint.load_reference()
    measured_means._last.clear()
    means = measured_means.means_of(checkpoint, checkpoint.load_model(), sample, silent)
    search = FamilySearch(
        checkpoint=checkpoint, task=task, found=found, config=config, means=means, where={},
        progress=silent,
    )  # fmt: skip
    parts = search.run()
    transfer = search.transfer({k: part.circuit for k, part in parts.items()}, None)
    result = {
        "task": name,
        "transfer": transfer.model_dump(mode="json"),
        "seconds": round(time.process_time() - began, 1),
    }
    if singles:
        result["seconds_single"] = [_alone(search, f) for f in found.families.families]
    return result


def _alone(search: FamilySearch, family: Any) -> float:
    """The CPU seconds of one family's search that shares nothing."""
    measured_means._last.clear()
    began = time.process_time()
    config = search.settings(search.config.restarts)
    run_extraction(search.checkpoint, family.task_of(search.task), config, progress=silent)
    return round(time.process_time() - began, 1)


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What a person reads of one task."""
    if "refused" in result:
        yield f"{result['task']}: refused: {result['refused']}"
        return
    transfer = Transfer.model_validate_json(json.dumps(result["transfer"]))
    yield f"{result['task']}: {transfer.outcome}: {transfer.reason}"
    for row in transfer.names:
        cells = "  ".join(f"{transfer.cell(row, name).f.effect:6.2f}" for name in transfer.names)
        crossed = "  ".join(
            f"{transfer.cell(row, name).f_x.effect:6.2f}" for name in transfer.names
        )
        size = next(f.n_nodes for f in transfer.families if f.name == row)
        yield f"  {row:<10} {size:>4} nodes  F {cells}   F_x {crossed}"
    alike = [overlap.jaccard for overlap in transfer.overlaps]
    if alike:
        yield f"  overlap (Jaccard) {min(alike):.2f} to {max(alike):.2f}"
    yield from (f"  note: {note}" for note in transfer.notes)
    alone = result.get("seconds_single")
    ratio = (
        f"; {len(alone)} single searches {sum(alone):.1f} s: {result['seconds'] / sum(alone):.2f} x"
        if alone
        else ""
    )
    yield f"  {result['seconds']} CPU seconds{ratio}"


def summary(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """How many tasks have which outcome."""
    found = [r["transfer"]["outcome"] for r in results if "transfer" in r]
    yield ", ".join(f"{found.count(each)} {each}" for each in sorted(set(found)))


def main() -> None:
    """Study every task asked for, as far as it is not done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="a bundled name or a folder")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="all built-in ones by default")
    parser.add_argument("--rung", choices=("smallest", "trusted"), default="smallest")
    parser.add_argument("--by", default=None, help="forms, effects or a column")
    parser.add_argument("--out", type=Path, default=Path("out/families"))
    parser.add_argument("--singles", action="store_true", help="also search each by itself")
    given = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(given.checkpoint)
    config = ExtractConfig(rung=given.rung)
    results = []
    for name in given.tasks or builtin_tasks():
        by = f".{given.by}" if given.by else ""
        path = given.out / checkpoint.name / f"{Path(name).stem}.{given.rung}{by}.json"
        if not path.exists():
            result = studied(checkpoint, name, given.by, config, singles=given.singles)
            write_whole(path, json.dumps(result, indent=1) + "\n")
        results.append(json.loads(path.read_text()))
        sys.stdout.write("\n".join(lines(results[-1])) + "\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join(summary(results)) + "\n")


if __name__ == "__main__":
    main()
