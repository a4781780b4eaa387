"""What circuitkit's own algorithms gain, each a ratio from one run on this machine.

Usage: python tests/benchmarks/speed.py (or: make bench)
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from circuitkit import Circuit, NodeSet, load_checkpoint, load_task
from circuitkit.compiled import compile_circuit
from circuitkit.extraction import zero_means
from circuitkit.extraction.masked import masked_differences
from circuitkit.model.topk import keep_largest

GALLERY = Path(__file__).parents[2] / "reports" / "gallery"
N_PAIRS = 128


def seconds(run: Callable[[], object], repeats: int = 7) -> list[float]:
    """Seconds of each of several runs after one that does not count."""
    run()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return took


def row(name: str, slow: list[float], fast: list[float]) -> str:
    """A row: both medians, their ratio and the spread of the pairwise ratios."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    a, b = statistics.median(slow), statistics.median(fast)
    spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
    return f"| {name} | {a * 1e3:.1f} | {b * 1e3:.1f} | {a / b:.1f} | {spread} |"


def topk_row(width: int) -> str:
    """Activation top-k of a quarter, against ``torch.topk`` and scatter."""
    x = torch.randn(16_384, width, generator=torch.Generator().manual_seed(0))

    def plain() -> torch.Tensor:
        chosen = x.abs().topk(width // 4, dim=-1, sorted=False).indices
        return x * torch.zeros_like(x).scatter_(-1, chosen, 1.0)

    fast = seconds(lambda: keep_largest(x, width // 4))
    return row(f"top-k of {width} channels", seconds(plain), fast)


def compiled_row(folder: Path) -> str:
    """A gallery circuit on its test pairs: the masked model against the compiled circuit."""
    circuit = Circuit.load(folder)
    checkpoint = load_checkpoint(circuit.checkpoint.name)
    model = checkpoint.load_model()
    nodes = NodeSet(circuit.nodes.channels, model.arch.widths)
    values = zero_means(model.arch.widths).values
    pairs = checkpoint.encode(load_task(circuit.task.name).pairs("test", N_PAIRS))
    compiled = compile_circuit(model, nodes, values)
    slow = seconds(lambda: masked_differences(model, pairs, nodes, values))
    fast = seconds(lambda: compiled.differences(pairs))
    return row(f"compiled {circuit.task.name}, {len(nodes)} nodes", slow, fast)


def main() -> None:
    """Print the table."""
    rows = [topk_row(128), topk_row(512)]
    rows += [compiled_row(path.parent) for path in sorted(GALLERY.glob("*/circuit.json"))]
    sys.stdout.write(
        "| what | plain (ms) | circuitkit (ms) | ratio | spread |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


if __name__ == "__main__":
    main()
