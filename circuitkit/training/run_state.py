"""A training run on disk: the state to go on from, and the metrics so far.

``state.safetensors`` holds weights and optimiser moments; the step and the
config's hash ride in its metadata, under one key, for the format writes several in
no fixed order. The data position and both schedules are
functions of the step, so this is all there is to save.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from circuitkit.errors import CircuitkitError, TrainingError, UsageError
from circuitkit.files import read_text, regular_file, write_whole

STATE = "state.safetensors"
METRICS = "metrics.jsonl"
_RUN = "run"
_EXPECTED = "a training state"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_state(
    folder: Path,
    model: nn.Module,
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
        tensors[f"model/{name}"] = parameter.detach().cpu()
        moments = optimizer.state.get(parameter, {})
        for key in _MOMENTS:
            if key in moments:
                tensors[f"{key}/{name}"] = moments[key].cpu()
    about = json.dumps({"step": step, "config_sha256": config_sha256})
    try:
        write_whole(folder / STATE, save(tensors, {_RUN: about}))
    except UsageError as error:
        raise _not_saved(folder, step, error) from None


def last_save(folder: Path) -> str:
    """Where the last good save is and which step it was after, in words; ``none`` without one."""
    path = folder / STATE
    try:
        with safe_open(regular_file(path, TrainingError, _EXPECTED), framework="pt") as file:
            return f"{path}, after step {_about(file)['step']}"
    except (CircuitkitError, OSError, SafetensorError, KeyError, ValueError):
        return "none"


def _about(file: Any) -> dict[str, Any]:
    """The step and the hash of a state; empty for any other file."""
    found = json.loads((file.metadata() or {}).get(_RUN, "{}"))
    return found if isinstance(found, dict) else {}


def _not_saved(folder: Path, step: int, error: Exception) -> TrainingError:
    return TrainingError(
        f"could not save at step {step}: {error} The last good save is {last_save(folder)}."
    )


def load_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, config_sha256: str
) -> int:
    """Put a saved state back; the number of steps it has seen, 0 without one.

    Raises:
        TrainingError: if it is corrupt or belongs to another configuration.
    """
    path = folder / STATE
    if not path.exists():
        return 0
    try:
        with safe_open(regular_file(path, TrainingError, _EXPECTED), framework="pt") as file:
            about = _about(file)
            if about.get("config_sha256") != config_sha256:
                raise TrainingError(
                    f"{path} was saved under another configuration; resume with the one it "
                    "began with, or choose another --out."
                )
            step = int(about["step"])
            _check_tensors(path, {name: file.get_tensor(name) for name in file.keys()}, model)  # noqa: SIM118
            for name, parameter in model.named_parameters():
                with torch.no_grad():
                    parameter.copy_(file.get_tensor(f"model/{name}"))
                if parameter.requires_grad:
                    saved = {key: file.get_tensor(f"{key}/{name}").clone() for key in _MOMENTS}
                    saved["step"] = torch.tensor(float(step))
                    device = parameter.device
                    optimizer.state[parameter] = {k: v.to(device) for k, v in saved.items()}
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path} is not a training state: {error}. Choose another --out."
        ) from None
    return step


def _check_tensors(path: Path, found: Mapping[str, Tensor], model: nn.Module) -> None:
    """Every weight and every moment is there, as it was saved: copying would cast and repeat."""
    expected = {f"model/{name}": p for name, p in model.named_parameters()}
    expected |= {
        f"{key}/{name}": p
        for name, p in model.named_parameters()
        for key in _MOMENTS
        if p.requires_grad
    }
    if odd := sorted(expected.keys() ^ found.keys()):
        raise TrainingError(
            f"{path} is not a training state of this model: it "
            f"{'lacks' if odd[0] in expected else 'holds'} {odd[0]}. Choose another --out."
        )
    for name, tensor in found.items():
        p = expected[name]
        if (tensor.dtype, tensor.shape) != (p.dtype, p.shape) or not tensor.isfinite().all():
            raise TrainingError(
                f"{path} is damaged: {name} is not {tuple(p.shape)} finite numbers of float32, "
                f"got {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}. Choose "
                "another --out."
            )


def append_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Add one line to ``metrics.jsonl``; it holds its ``step``.

    Raises:
        TrainingError: if it cannot be written; the message names the last good state.
    """
    try:
        with (folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise _not_saved(folder, int(row["step"]), error) from None


def rewind_metrics(folder: Path, step: int) -> float:
    """Drop the lines a killed run wrote after its last saved state.

    Returns the validation loss of the last line kept, NaN without one.

    Raises:
        TrainingError: if the file cannot be read.
    """
    path = folder / METRICS
    if not path.exists():
        return math.nan
    kept, last = [], math.nan
    for line in read_text(path, TrainingError, "the metrics of this run").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["step"] <= step:
            kept.append(json.dumps(row) + "\n")
            last = row["validation_loss_nats"]
    write_whole(path, "".join(kept))
    return last
