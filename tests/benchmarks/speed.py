"""What circuitkit's own algorithms gain, each a ratio from one run on this machine.

Usage: python tests/benchmarks/speed.py (or: make bench)
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from goal import tell
from shown import Shown, shown_folders

from circuitkit import NodeSet
from circuitkit.compiled import CompiledCircuit, FoldedModel
from circuitkit.extraction.gated_model import GatedModel
from circuitkit.extraction.masked_model import gate_gradients, masked_differences
from circuitkit.model.activation_topk import keep_largest

TASKS = ("bracket_counting", "for_while", "if_equals", "single_double_quote")
N_PAIRS = 128
MAIN = "tinypython-sparse"


def seconds(run: Callable[[], object], repeats: int = 7) -> list[float]:
    """Seconds of each of several runs after one that does not count."""
    run()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return took


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing done plainly and by circuitkit, several times each, in seconds."""

    name: str
    slow: list[float]
    fast: list[float]

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return statistics.median(self.slow) / statistics.median(self.fast)

    def __str__(self) -> str:
        """Both medians, their ratio and the spread of the pairwise ratios."""
        ratios = [a / b for a, b in zip(self.slow, self.fast, strict=True)]
        ms = [f"{statistics.median(took) * 1e3:.1f}" for took in (self.slow, self.fast)]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        return f"| {self.name} | {' | '.join(ms)} | {self.ratio:.1f} | {spread} |"


def topk_row(width: int) -> Row:
    """Activation top-k of a quarter, against ``torch.topk`` and scatter."""
    x = torch.randn(16_384, width, generator=torch.Generator().manual_seed(0))

    def plain() -> torch.Tensor:
        chosen = x.abs().topk(width // 4, dim=-1, sorted=False).indices
        return x * torch.zeros_like(x).scatter_(-1, chosen, 1.0)

    fast = seconds(lambda: keep_largest(x, width // 4))
    return Row(name=f"top-k of {width} channels", slow=seconds(plain), fast=fast)


def compiled_row(shown: Shown) -> Row:
    """A gallery circuit on its test pairs: the masked model against the compiled circuit."""
    model, nodes, values = shown.model, shown.nodes, shown.means.values
    folded, pairs = FoldedModel(model, values), shown.pairs("test", N_PAIRS)
    prompts, compiled = folded.prepare(pairs), CompiledCircuit(folded, nodes)
    slow = seconds(lambda: masked_differences(model, pairs, nodes, values))

    def anew():
        prompts.written.made.clear()
        return compiled.differences(prompts)

    fast = seconds(anew)
    return Row(name=f"compiled {shown.name}, {len(nodes)} nodes", slow=slow, fast=fast)


def learning_row(shown: Shown, share: float) -> Row:
    """The gradients of one mask learning step: the whole model against its candidates."""
    model, values, drawn = shown.model, shown.means.values, random.Random(0)
    everything = NodeSet.full(model.arch.widths)
    some = shown.nodes | NodeSet.of(n for n in everything if drawn.random() < share)
    gated, batch = GatedModel(model, values, some), shown.pairs("test", N_PAIRS)[:32]
    slow = seconds(lambda: gate_gradients(model, batch, some, values))
    fast = seconds(lambda: gated.gradients(batch))
    name = f"learning {shown.name}, {len(some)} of {len(everything)} nodes"
    return Row(name=name, slow=slow, fast=fast)


def main() -> None:
    """Print the table."""
    rows = [topk_row(128), topk_row(512)]
    gallery = [Shown.load(folder) for folder in shown_folders() if folder.name in TASKS]
    compiled = [compiled_row(shown) for shown in gallery]
    first = next(shown for shown in gallery if shown.checkpoint.name == MAIN)
    rows += compiled + [learning_row(first, share) for share in (1.0, 0.1, 0.0)]
    sys.stdout.write(
        "| what | plain (ms) | circuitkit (ms) | ratio | spread |\n|---|---|---|---|---|\n"
        + "".join(f"{row}\n" for row in rows)
    )
    main_ones = [row.ratio for row in compiled if MAIN in row.name]
    found = f"{min(main_ones):.0f} to {max(main_ones):.0f} × ({len(main_ones)} circuits)"
    tell(f"compiled against masked, {MAIN}", "≥ 10 ×", found)


if __name__ == "__main__":
    main()
