"""Equals: what looking for them finds and costs on the smallest circuits of the gallery.

A row a circuit of at most 200 nodes: its nodes, the circuits in which one part gave place to its
equal, how many of them the gallery does not name, sets of nodes judged, CPU seconds.

Usage: python tests/benchmarks/equals.py [CHECKPOINT ...]
"""

from __future__ import annotations

import sys
import time

import torch
from seeds import judge_of
from shown import GALLERY, Shown

from circuitkit.extraction.equals import equals


def row(shown: Shown) -> str:
    """What is found near one circuit."""
    judge, began = judge_of(shown, seed=0), time.process_time()
    found = dict.fromkeys(equals(shown.nodes, judge))
    known = [set(other) for other in shown.circuit.alternatives]
    n_new = sum(set(other) not in known for other in found)
    seconds = time.process_time() - began
    cells = (shown.name, len(shown.nodes), len(found), n_new, judge.n_asked, f"{seconds:.1f}")
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """A row a circuit, as it comes."""
    torch.set_num_threads(1)
    sys.stdout.write("| circuit | nodes | equals | new | judged | CPU s |\n|" + "---|" * 6 + "\n")
    for name in sys.argv[1:] or ["tinypython-nano", "tinypython-sparse"]:
        for path in sorted((GALLERY / name).glob("*/circuit.json")):
            sys.stdout.write(row(Shown.load(path.parent)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
