"""What a GPU gains: training, extraction and validation, as a table for docs/devices.md.

Usage: python tests/device/table.py [--device cuda] [--scale full|small]

The CPU's side of training and of validation is measured here, on two threads; that of extraction
at full scale is the 78 s of docs/results.md. ``--device cpu --scale small`` tries the script.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/benchmarks"))

from large_model import search  # noqa: E402

from circuitkit import load_checkpoint, load_task, validate_folder  # noqa: E402
from circuitkit.model.device import device_named, repeatable  # noqa: E402
from circuitkit.training import load_config  # noqa: E402
from circuitkit.training.initialisation import adamw, initial_model  # noqa: E402
from circuitkit.training.matmul import bfloat16_matmuls, faster_in_bfloat16  # noqa: E402
from circuitkit.training.objective import limit_rms, next_token_loss  # noqa: E402
from circuitkit.training.weight_sparsity import project  # noqa: E402

CPU = torch.device("cpu")
LARGE_ON_CPU_SECONDS = 78.0
CIRCUITS = ("lambda_func", "with_as")
"""Of tinypython-sparse, of 94 and 107 nodes."""

WARM, STEPS = 3, {"cpu": 3, "cuda": 50}


def tokens_a_second(device: torch.device, matmul: str, *, small: bool) -> float:
    """The whole training step of tinypython-sparse, four layers of 192 channels, at its last L0."""
    config = load_config("tinypython-sparse", ["run.batch_sequences=2"] if small else [])
    model = initial_model(config).to(device)
    optimizer = adamw(model, config)
    shape = (config.run.batch_sequences, config.architecture.n_ctx + 1)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(config.architecture.vocab_size, shape, generator=generator)
    sparsity = config.sparsity

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with repeatable(device, tf32=matmul == "tf32"):
            if matmul == "bfloat16":
                with bfloat16_matmuls():
                    loss = next_token_loss(model, rows.to(device))
            else:
                loss = next_token_loss(model, rows.to(device))
            loss.backward()
        limit_rms(model, config.optimizer.max_grad_rms)
        optimizer.step()
        project(model, sparsity.l0_fraction, sparsity.min_nonzeros)
        loss.item()

    with repeatable(device):
        took = [seconds_of(step) for _ in range(WARM + STEPS.get(device.type, 3))][WARM:]
    return config.tokens_per_step / statistics.median(took)


def seconds_of(run: Callable[[], object]) -> float:
    """How long it takes; what it gives has been read, so a GPU is done."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def tell(what: str, cpu: str, gpu: str, times: float | None, goal: str) -> None:
    """One row, at once: a run that is cut short still has those before."""
    shown = f"{times:.1f} ×" if times else "–"
    sys.stdout.write(f"| {what} | {cpu} | {gpu} | {shown} | {goal} |\n")
    sys.stdout.flush()


def training(device: torch.device, *, small: bool) -> None:
    """A row for each kind of product."""
    usual = "bfloat16" if faster_in_bfloat16("cpu") else "float32"
    here = tokens_a_second(CPU, usual, small=small)
    for matmul in ("float32", *(("tf32",) if device.type == "cuda" else ()), "bfloat16"):
        there = tokens_a_second(device, matmul, small=small)
        what = f"training, 4 layers × 192, {matmul} (tokens/s; CPU {usual})"
        tell(what, f"{here:,.0f}", f"{there:,.0f}", there / here, "≥ 50 ×")


def validation(device: torch.device) -> None:
    """A row for each circuit: the default suite, means and reference read from the folder."""
    for name in CIRCUITS:
        took = []
        for where in (CPU, device):
            with TemporaryDirectory() as folder:
                circuit = copytree(ROOT / "reports/gallery/tinypython-sparse" / name,
                                   Path(folder) / name)  # fmt: skip
                took.append(seconds_of(lambda c=circuit, w=where: validate_folder(c, device=w)))
        what = f"default validation, {name} of tinypython-sparse (s)"
        tell(what, f"{took[0]:.1f}", f"{took[1]:.1f}", took[0] / took[1], "≥ 3 ×")


def extraction(device: torch.device, *, scale: str) -> None:
    """One row: the whole search in the model of 419M parameters, and whether it found the plant."""
    with TemporaryDirectory() as folder:
        script = ROOT / "tests/benchmarks/large_model.py"
        subprocess.run(
            [sys.executable, str(script), "--scale", scale, "--build", folder], check=True
        )
        checkpoint, task = load_checkpoint(folder), load_task(Path(folder) / "task.jsonl")
        began = time.perf_counter()
        rows = search(checkpoint, task, str(device))
        took = time.perf_counter() - began
    found = "; ".join(f"{row.what}: {row.value}" for row in rows)
    cpu = f"{LARGE_ON_CPU_SECONDS:.0f}" if scale == "full" else "not known"
    times = LARGE_ON_CPU_SECONDS / took if scale == "full" else None
    tell(f"extraction, {scale} shape (s): {found}", cpu, f"{took:.1f}", times, "≥ 5 ×")


def main() -> None:
    """Print the table, the shortest part first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scale", choices=("full", "small"), default="full")
    asked = parser.parse_args()
    device, small = device_named(asked.device), asked.scale == "small"
    torch.set_num_threads(2)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU again"
    sys.stdout.write(f"torch {torch.__version__}, {name}\n\n")
    sys.stdout.write(f"| what | two threads | {device} | times | goal |\n|---|---|---|---|---|\n")
    training(device, small=small)
    extraction(device, scale=asked.scale)
    if not small:
        validation(device)


if __name__ == "__main__":
    main()
