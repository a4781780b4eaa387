"""Tokens a second of circuitkit's training step against a plain one, in one run.

Usage: python tests/benchmarks/training_speed.py [--profile]

Steps of the two alternate, so that a busy machine slows both alike. A step is
forward, backward, gradient scaling, AdamW and projection, on the same weights.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from plain_trainer import loss as plain_loss
from torch.profiler import ProfilerActivity, profile

from circuitkit.model import Transformer
from circuitkit.training import load_config
from circuitkit.training.initialisation import adamw, initial_model
from circuitkit.training.matmul import bfloat16_matmuls, faster_in_bfloat16
from circuitkit.training.objective import limit_rms, next_token_loss
from circuitkit.training.weight_sparsity import project

SHAPES = ((2, 64, 32, 128), (2, 128, 32, 128), (4, 256, 8, 256))
"""Layers, d_model, sequences a batch, tokens a sequence."""

REPEATS = 5
L0 = 1 / 32


def stepper(shape: tuple[int, int, int, int], kind: str) -> Callable[[], float]:
    """A function that takes one training step of a kind and gives its loss."""
    n_layer, d_model, batch, n_ctx = shape
    config = load_config(
        "tinypython-nano",
        [
            *(f"architecture.{key}={value}" for key, value in (
                ("n_layer", n_layer), ("d_model", d_model), ("n_head", d_model // 16),
                ("d_mlp", 4 * d_model), ("n_ctx", n_ctx),
            )),
            f"run.batch_sequences={batch}",
        ],
    )  # fmt: skip
    model = initial_model(config)
    optimizer = adamw(model, config)
    generator = torch.Generator().manual_seed(0)
    vocab = config.architecture.vocab_size
    rows = torch.randint(vocab, (batch, n_ctx + 1), generator=generator)

    def step() -> float:
        value = forward(kind, model, rows)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        limit_rms(model, config.optimizer.max_grad_rms)
        optimizer.step()
        project(model, L0, config.sparsity.min_nonzeros)
        return value.item()

    return step


def forward(kind: str, model: Transformer, rows: torch.Tensor) -> torch.Tensor:
    """The loss of a batch by one of the three."""
    if kind == "plain":
        return plain_loss(dict(model.named_parameters()), rows, model.arch)
    if kind == "float32":
        return next_token_loss(model, rows)
    with bfloat16_matmuls():
        return next_token_loss(model, rows)


def measure(shape: tuple[int, int, int, int]) -> dict[str, list[float]]:
    """Tokens a second of every repeat, the kinds in turn."""
    kinds = ["plain", "float32"] + ["bfloat16"] * faster_in_bfloat16("cpu")
    steppers = {kind: stepper(shape, kind) for kind in kinds}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for step in steppers.values():
        step()
    for _ in range(REPEATS):
        for kind, step in steppers.items():
            began = time.perf_counter()
            step()
            step()
            rates[kind].append(2 * shape[2] * shape[3] / (time.perf_counter() - began))
    return rates


def rows_of(shape: tuple[int, int, int, int]) -> list[str]:
    """Table rows: medians, their ratio and the spread of the pairwise ratios."""
    rates = measure(shape)
    plain = rates.pop("plain")
    found = []
    for kind, ours in rates.items():
        ratios = [b / a for a, b in zip(plain, ours, strict=True)]
        a, b = statistics.median(plain), statistics.median(ours)
        name = f"{shape[0]} layers × {shape[1]}, {kind} products"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        found.append(f"| {name} | {a:,.0f} | {b:,.0f} | {b / a:.2f} | {spread} |")
    return found


def main() -> None:
    """Print the table, or the profile of our step at the largest shape."""
    if "--profile" in sys.argv:
        step = stepper(SHAPES[-1], "bfloat16" if faster_in_bfloat16("cpu") else "float32")
        step()
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            step()
        table = profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=20)
        sys.stdout.write(table + "\n")
        return
    heads = "| training step | plain (tokens/s) | circuitkit (tokens/s) | ratio | spread |"
    sys.stdout.write(f"{heads}\n|---|---|---|---|---|\n")
    for shape in SHAPES:
        sys.stdout.write("\n".join(rows_of(shape)) + "\n")


if __name__ == "__main__":
    main()
