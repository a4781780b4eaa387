"""A training run on disk: the state to go on from, and the metrics so far.

``state.safetensors`` holds weights and optimiser moments; the step and the
config's hash ride in its metadata. The data position and both schedules are
functions of the step, so this is all there is to save.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from circuitkit.errors import TrainingError, UsageError
from circuitkit.files import write_whole
from circuitkit.model.transformer import Transformer

STATE = "state.safetensors"
METRICS = "metrics.jsonl"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_state(
    folder: Path,
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    step: int,
    config_sha256: str,
) -> None:
    """Write the state after ``step`` steps; the one before stays until this one is whole.

    Raises:
        TrainingError: if it cannot be written; the message names the last good state.
    """
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"model/{name}"] = parameter.detach()
        moments = optimizer.state.get(parameter, {})
        for key in _MOMENTS:
            if key in moments:
                tensors[f"{key}/{name}"] = moments[key]
    metadata = {"step": str(step), "config_sha256": config_sha256}
    try:
        write_whole(folder / STATE, save(tensors, metadata))
    except UsageError as error:
        kept = f"the last good state is {folder / STATE}" if (folder / STATE).exists() else "none"
        raise TrainingError(f"could not save at step {step}: {error} Last save: {kept}.") from None


def load_state(
    folder: Path, model: Transformer, optimizer: torch.optim.Optimizer, config_sha256: str
) -> int:
    """Put a saved state back; the number of steps it has seen, 0 without one.

    Raises:
        TrainingError: if it is corrupt or belongs to another configuration.
    """
    path = folder / STATE
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            metadata, names = file.metadata(), set(file.keys())
            if metadata.get("config_sha256") != config_sha256:
                raise TrainingError(
                    f"{path} was saved under another configuration; resume with the one it "
                    "began with, or choose another --out."
                )
            step = int(metadata["step"])
            for name, parameter in model.named_parameters():
                with torch.no_grad():
                    parameter.copy_(file.get_tensor(f"model/{name}"))
                if f"exp_avg/{name}" in names:
                    moments = {key: file.get_tensor(f"{key}/{name}").clone() for key in _MOMENTS}
                    count = torch.tensor(float(step))
                    optimizer.state[parameter] = {"step": count, **moments}
    except (SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{path} is not a training state: {error}. Choose another --out."
        ) from None
    return step


def append_metrics(folder: Path, **row: float) -> None:
    """Add one line to ``metrics.jsonl``."""
    with (folder / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def rewind_metrics(folder: Path, step: int) -> None:
    """Drop the lines a killed run wrote after its last saved state."""
    path = folder / METRICS
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["step"] <= step:
            kept.append(json.dumps(row) + "\n")
    write_whole(path, "".join(kept))
