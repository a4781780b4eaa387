"""A large checkpoint, end to end: load it, measure means, extract a planted circuit.

Usage: python tests/benchmarks/large_model.py [--scale full|small] [--no-extract]

Writes a checkpoint of the public shape (8 layers, d_model 2048: 419M parameters,
1.7 GB) with sparse random weights and one circuit planted in them to a temporary
folder, with a token-level task, and prints a table: seconds, peak memory, and how
much faster the compiled circuit is than the masked model. ``--scale small`` does the
same in a minute at a small shape.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from goal import tell

from circuitkit import ExtractConfig, load_checkpoint, load_task, measure_means, run_extraction
from circuitkit.checkpoints import Checkpoint, save_checkpoint
from circuitkit.compiled import CompiledCircuit, FoldedModel
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.model import Architecture, Transformer
from circuitkit.nodes import SITE_KINDS, Node, NodeSet
from circuitkit.task import Task

SHAPES: dict[str, dict[str, int]] = {
    "full": {"vocab_size": 2048, "n_layer": 8, "d_model": 2048, "n_head": 128, "d_head": 16,
             "d_mlp": 8192, "d_position": 32},
    "small": {"vocab_size": 128, "n_layer": 3, "d_model": 128, "n_head": 8, "d_head": 16,
              "d_mlp": 512, "d_position": 8},
}  # fmt: skip

MARKERS, DECOYS, QUERY, ANSWERS, FIRST_FILLER = (1, 2), (3, 4), 5, (6, 7), 8
"""A marker says which answer is right; a decoy says the opposite, but is not marked."""

MARK, SIGN, ASK, FOUND, ANSWER = range(5)
"""Channels of the stream: the first three are embedded, the others written by the circuit."""

N_FILLERS, PROMPT_TOKENS, REFERENCE_ROWS = 48, 12, 256
N_PAIRS, LIMIT_BYTES = 16, 2 * 2**30


def architecture(scale: str) -> Architecture:
    """The public shape, or a small one with the same options."""
    return Architecture(
        **SHAPES[scale], n_ctx=PROMPT_TOKENS, positions="concatenated", attention_sink=True,
        bigram_table=True, activation_topk=dict.fromkeys(SITE_KINDS, 0.25),
    )  # fmt: skip


def planted_nodes(arch: Architecture) -> NodeSet:
    """A head of layer 0 finds the marker's sign, two neurons of the last layer answer."""
    last = arch.n_layer - 1
    names = [f"0.attn.act_in:{c}" for c in (MARK, SIGN, ASK)]
    names += [f"0.attn.{place}:0" for place in "qkv"]
    names += [f"0.attn.resid_delta:{FOUND}", f"{last}.mlp.act_in:{FOUND}"]
    names += [f"{last}.mlp.post_act:{neuron}" for neuron in (0, 1)]
    names += [f"{last}.mlp.resid_delta:{ANSWER}", f"final_resid:{ANSWER}"]
    return NodeSet.of(map(Node.parse, names), arch.widths)


def build(folder: Path, scale: str) -> None:
    """Write the checkpoint and its task."""
    arch = architecture(scale)
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model = Transformer(arch)
    model.to_empty(device="cpu").requires_grad_(requires_grad=False)
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if ".ln_" in name else 0.0)
        if parameter.dim() == 2:
            _scatter(parameter, 1.0 if "wte" in name or "wpe" in name else 0.05, generator)
    plant(model)
    reference = torch.tensor([_prompt(random.Random(i), i % 2) for i in range(REFERENCE_ROWS)])
    save_checkpoint(folder, model, name=f"large-{scale}", reference=reference)
    (folder / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs()))


def _scatter(weight: torch.Tensor, std: float, generator: torch.Generator) -> None:
    """One weight in 32 is random, the others stay 0."""
    flat = weight.view(-1)
    n = flat.numel() // 32
    at = torch.randint(flat.numel(), (n,), generator=generator)
    flat[at] = std * torch.randn(n, generator=generator)


def plant(model: Transformer) -> None:
    """Wire the circuit; nothing else writes to its channels, or reads them into an answer."""
    table, head = model.transformer.wte.weight, model.lm_head.weight
    for layer in model.layers:
        layer.attn.c_proj.weight[: ANSWER + 1] = 0
        layer.mlp.c_proj.weight[: ANSWER + 1] = 0
    table[:, : ANSWER + 1] = 0
    for sign, marker, decoy in zip((6.0, -6.0), MARKERS, DECOYS, strict=True):
        table[marker, MARK], table[marker, SIGN], table[decoy, SIGN] = 6.0, sign, sign
    table[QUERY, ASK] = 6.0
    attn, mlp = model.layers[0].attn, model.layers[-1].mlp
    for part, channel in enumerate((ASK, MARK, SIGN)):
        row = attn.c_attn.weight[part * model.arch.d_attn]
        row.zero_()[channel] = 0.5
    attn.c_proj.weight[FOUND, 0] = 1.0
    for neuron, sign in enumerate((1.0, -1.0)):
        mlp.c_fc.weight[neuron] = 0
        mlp.c_fc.weight[neuron, FOUND] = mlp.c_proj.weight[ANSWER, neuron] = sign
    head[list(ANSWERS)] = 0
    head[ANSWERS[0], ANSWER], head[ANSWERS[1], ANSWER] = 1.0, -1.0
    model.bigram_table[QUERY] = 0


def _prompt(drawn: random.Random, right: int) -> list[int]:
    """Fillers with a marker and the decoy of the other sign among them, then the query."""
    tokens = [FIRST_FILLER + drawn.randrange(N_FILLERS) for _ in range(PROMPT_TOKENS - 3)]
    for token in (MARKERS[right], DECOYS[1 - right]):
        tokens.insert(drawn.randrange(len(tokens) + 1), token)
    return [*tokens, QUERY]


def pairs() -> list[dict[str, Any]]:
    """Pairs that differ in marker and decoy alone; templates tell splits apart."""
    rows = []
    for split, n in (("train", 256), ("select", 64), ("test", 64)):
        for i in range(n):
            sides = [_prompt(random.Random(f"{split}{i}"), right) for right in (0, 1)]
            told = [
                {"prompt": tokens, "answer": answer}
                for tokens, answer in zip(sides, ANSWERS, strict=True)
            ]
            rows.append(
                {"a": told[0], "b": told[1], "template": f"{split}-{i % 32}", "split": split}
            )
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One line of the table."""

    what: str
    value: str

    def __str__(self) -> str:
        return f"| {self.what} | {self.value} |\n"


def seconds(run: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """CPU seconds of each of several runs, and what the last one gave."""
    took, found = [], None
    for _ in range(repeats):
        began = time.process_time()
        found = run()
        took.append(time.process_time() - began)
    return took, found


def peak_bytes() -> int:
    """The most memory this process has held, mapped weights included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compare(checkpoint: Checkpoint, task: Task) -> list[Measured]:
    """Load, means, and the planted circuit compiled against masked."""
    took, model = seconds(checkpoint.load_model, 1)
    rows = [Measured(what="load the model (CPU s)", value=f"{took[0]:.1f}")]
    reference = checkpoint.load_reference()
    took, means = seconds(lambda: measure_means(model, reference), 1)
    what = f"means over {reference.numel()} tokens (CPU s)"
    rows.append(Measured(what=what, value=f"{took[0]:.1f}"))
    nodes = planted_nodes(model.arch)
    some = checkpoint.encode(task.up_to("select", N_PAIRS, 0))
    slow, masked = seconds(lambda: masked_differences(model, some, nodes, means.values), 3)
    folded = FoldedModel(model, means.values)
    prompts, circuit = folded.prepare(some), CompiledCircuit(folded, nodes)

    def anew():
        prompts.written.made.clear()
        return circuit.differences(prompts)

    fast, compiled = seconds(anew, 8)
    fast = fast[-7:]  # the first fills the tables that circuits share
    ratio = statistics.median(slow) / statistics.median(fast)
    spread = f"{min(slow) / max(fast):.0f} to {max(slow) / min(fast):.0f}"
    worst = float((masked - compiled).abs().max())
    return [
        *rows,
        Measured(what=f"masked, {len(nodes)} nodes, {N_PAIRS} pairs (CPU ms)",
                 value=f"{statistics.median(slow) * 1e3:.0f}"),
        Measured(what="compiled (CPU ms)", value=f"{statistics.median(fast) * 1e3:.2f}"),
        Measured(what="ratio (spread)", value=f"{ratio:.0f} ({spread})"),
        Measured(what="largest difference in logits", value=f"{worst:.1g}"),
    ]  # fmt: skip


def search(checkpoint: Checkpoint, task: Task, device: str = "cpu") -> list[Measured]:
    """The whole extraction, by stages as progress tells them."""
    stages: dict[str, float] = {}
    heard = [time.monotonic()]

    def progress(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        stages[stage] = stages.get(stage, 0.0) + now - heard[0]
        heard[0] = now
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{stage} {done}/{total}   ")

    config = ExtractConfig(n_train=256, n_select=64, n_test=64, rung="smallest")
    began = time.monotonic()
    circuit = run_extraction(checkpoint, task, config, device=device, progress=progress).circuit
    parts = ", ".join(f"{name} {took:.0f}" for name, took in stages.items())
    planted = planted_nodes(checkpoint.architecture)
    return [
        Measured(what=f"extraction (wall s): {parts}", value=f"{time.monotonic() - began:.0f}"),
        Measured(what="outcome", value=circuit.outcome),
        Measured(what="nodes, of them planted", value=f"{len(circuit.nodes)}, "
                 f"{len(circuit.nodes & planted)} of {len(planted)}"),
        Measured(what="edges", value=str(circuit.n_edges)),
        Measured(what="circuit's test loss (nats)", value=f"{circuit.loss_nats.circuit:.3f}"),
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=tuple(SHAPES), default="full")
    parser.add_argument("--no-extract", action="store_true", help="stop after the comparison")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.build:  # in a process of its own, whose memory does not count
        build(asked.build, asked.scale)
        return
    with TemporaryDirectory() as folder:
        here = [sys.executable, __file__, "--scale", asked.scale, "--build", folder]
        subprocess.run(here, check=True)
        sys.stdout.write("| what | measured |\n|---|---|\n")
        took, checkpoint = seconds(lambda: load_checkpoint(folder), 1)
        sys.stdout.write(
            str(Measured(what="read and hash the folder (CPU s)", value=f"{took[0]:.1f}"))
        )
        task = load_task(Path(folder) / "task.jsonl")
        found: dict[str, str] = {}
        for part in (compare, *(() if asked.no_extract else (search,))):
            began = time.monotonic()
            for row in part(checkpoint, task):
                found[row.what] = row.value
                sys.stdout.write(str(row))
            took = time.monotonic() - began
            size = (Path(folder) / "model.safetensors").stat().st_size
            bound = 1.5 * size + LIMIT_BYTES
            held = f"{peak_bytes() / 1e9:.2f} GB of {bound / 1e9:.2f}; weights {size / 1e9:.2f}"
            sys.stdout.write(str(Measured(what=f"peak memory after {part.__name__}", value=held)))
            sys.stdout.flush()
        ratio = found["ratio (spread)"]
        tell(f"compiled against masked, {asked.scale} shape", "≥ 100 ×", ratio)
        if not asked.no_extract:
            met = f"{found['outcome']}, {held}, {took:.0f} s"
            tell(f"extracting, {asked.scale} shape", "within 16 GiB and 60 minutes", met)


if __name__ == "__main__":
    main()
