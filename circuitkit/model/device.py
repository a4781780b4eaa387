"""Where a model computes: the one place that makes a torch device of a name.

In: ``cpu``, ``cuda`` or ``cuda:1``. Out: a device that is there, and the settings under which it
gives the same bytes again. Parameters, ablation values and the tokens of a batch are on the
device. Random choices are drawn on the CPU from the run's seed, and what a run gives back, one
number a prompt or a node, is on the CPU: so that every device is asked the same and all decisions
are made by the same code. Other kinds of device are refused: means and norms are summed in
float64, which Apple's ``mps`` does not have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from circuitkit.errors import UsageError

KINDS = ("cpu", "cuda")

_Key = TypeVar("_Key")


def device_named(name: str | torch.device, asked_by: str = "device") -> torch.device:
    """The device of this name, if it can be used; ``asked_by`` is the option, for the message.

    Raises:
        UsageError: if there is no such device, or it is not there.
    """
    why = _why_not(name)
    if why:
        raise UsageError(
            f"{asked_by} = {str(name)!r} cannot be used ({why}); expected cpu, or cuda or cuda:N "
            "where torch sees an NVIDIA GPU. Try cpu."
        )
    return torch.device(name)


def _why_not(name: str | torch.device) -> str:
    """Why a device cannot be used; empty if it can."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        small = str(name).lower()
        is_known = small.partition(":")[0] in KINDS and small != name
        return f"it is written in small letters: {small}" if is_known else "there is no such device"
    if device.type not in KINDS:
        return f"circuitkit does not run on {device.type}"
    if device.type == "cpu":
        return "the CPU has no number, all its cores are cpu" if device.index else ""
    return _why_no_gpu(device) if device.type == "cuda" else ""


def _why_no_gpu(device: torch.device) -> str:
    if torch.version.cuda is None:
        return f"this torch, {torch.__version__}, is built without CUDA: install one with it"
    if not torch.cuda.is_available():
        return "torch sees no GPU: look at nvidia-smi and at CUDA_VISIBLE_DEVICES"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0]
    return ""


def placed(values: Mapping[_Key, Tensor], device: torch.device) -> dict[_Key, Tensor]:
    """The same values on a device; those that are there already are not copied."""
    return {key: value.to(device) for key, value in values.items()}


@contextmanager
def repeatable(device: torch.device, *, tf32: bool = False) -> Iterator[None]:
    """While this lasts a GPU gives the same bytes again, and multiplies float32 as float32.

    Only algorithms with a fixed order of sums are used. ``tf32`` lets products round their
    operands to ten bits, for training. On a CPU nothing changes. The settings are torch's own, so
    they hold for the whole process, and are put back at the end.

    Raises:
        UsageError: if the GPU has too little memory for what is done meanwhile.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product
    products, checks = torch.backends.cuda.matmul, cast(Any, torch.utils.deterministic)
    before = products.fp32_precision
    mode, fills = torch.get_deterministic_debug_mode(), checks.fill_uninitialized_memory
    try:
        # by this call alone torch's older and newer settings agree; if not, reading one raises
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.set_deterministic_debug_mode("error")
        checks.fill_uninitialized_memory = False
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise UsageError(
            f"{device} has too little memory ({str(error).partition('. ')[0]}); free what others "
            "hold there, or use cpu."
        ) from None
    finally:
        torch.set_float32_matmul_precision("high" if before == "tf32" else "highest")
        products.fp32_precision = before
        torch.set_deterministic_debug_mode(mode)
        checks.fill_uninitialized_memory = fills
