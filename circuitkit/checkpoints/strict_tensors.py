"""Tensors of a file against those that a model has: every difference is named.

In: the shapes of the model, the tensors of the file. Out: an error that lists what is missing,
unexpected, misshapen or no weight; or float32 copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from circuitkit.errors import CheckpointError
from circuitkit.model import Architecture, Transformer

HEAD = "lm_head.weight"
EMBEDDING = "transformer.wte.weight"

_WEIGHT_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Types that weights are read from. An integer or a float8 needs a scale from elsewhere."""

_NO_WEIGHTS = "that cannot be weights; expected float32, float16, bfloat16 or float64. If they are \
quantised, convert them back first"


def expected_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a model; none is made."""
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in Transformer(arch).state_dict().items()}


def check_tensors(
    path: Path,
    arch: Architecture,
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, Tensor],
    config: str = "config.json",
    hint: str = "",
) -> None:
    """Compare names, shapes and types; no value is read, so that all may be on the meta device.

    Raises:
        CheckpointError: if a tensor is missing, unexpected, misshapen, or no floating point of
            16 bits or more; ``hint`` ends the message.
    """
    missing = [f"{n} {expected[n]}" for n in expected if n not in found]
    extra = [f"{n} {tuple(found[n].shape)}" for n in found if n not in expected]
    wrong = [
        f"{n} is {tuple(found[n].shape)}, expected {expected[n]}"
        for n in expected
        if n in found and tuple(found[n].shape) != expected[n]
    ]
    types = [
        f"{n} is {str(t.dtype).removeprefix('torch.')}"
        for n, t in found.items()
        if t.dtype not in _WEIGHT_TYPES
    ]
    problems = [
        _listed("lacks", missing, f"that {config} calls for"),
        _listed("holds", extra, f"that {config} does not know"),
        _listed("has", wrong, "of the wrong shape"),
        _listed("holds", types, _NO_WEIGHTS),
    ]
    found_wrong = [problem for problem in problems if problem]
    if found_wrong:
        says = f"The config says n_layer = {arch.n_layer}, d_model = {arch.d_model}.{hint}"
        raise CheckpointError(f"{path} " + f"\n{path.name} ".join(found_wrong) + f"\n  {says}")


def _listed(verb: str, names: list[str], why: str) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:6]) + (f", … ({len(names) - 6} more)" if len(names) > 6 else "")
    return f"{verb} {len(names)} tensor{'s' * (len(names) > 1)} {why}:\n  {shown}"


def as_float32(path: Path, name: str, tensor: Tensor) -> Tensor:
    """A copy, since a tensor that is read from a file is mapped to it and changes with it.

    Raises:
        CheckpointError: if a value is not finite, or too large.
    """
    if not torch.isfinite(tensor).all():
        raise CheckpointError(f"{path}: {name} holds NaN or infinite values; is it damaged?")
    copy = tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if not torch.isfinite(copy).all():
        raise CheckpointError(
            f"{path}: {name} holds {tensor.abs().max().item():.3g}, too large for float32, in "
            "which models run. Scale the weights down."
        )
    return copy
