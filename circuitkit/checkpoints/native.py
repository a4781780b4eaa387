"""The native checkpoint folder, read strictly and written whole (docs/checkpoints.md).

Tensor names and shapes are those of the model's own ``state_dict``, which are those of the
public release of Gao et al. 2025.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int
from pydantic import BaseModel, NonNegativeInt, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.checkpoints.foreign_config import peek
from circuitkit.checkpoints.strict_tensors import (
    EMBEDDING,
    HEAD,
    as_float32,
    check_tensors,
    expected_shapes,
)
from circuitkit.errors import CheckpointError
from circuitkit.files import read_text, regular_file, remove, write_whole
from circuitkit.model import Architecture, Transformer
from circuitkit.provenance import STRICT, first_problem

FORMAT = "circuitkit.checkpoint/1"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER, REFERENCE = "tokenizer.json", "reference.safetensors"
TRAINING = "training.json"
RUN = "run.json"
"""In the folder of a training run: its configuration."""

BRIDGES = "bridges.safetensors"

_TENSORS = "a safetensors file"


class CheckpointConfig(BaseModel):
    """``config.json``: the name, the token put before every prompt, the architecture."""

    model_config = STRICT
    format: Literal["circuitkit.checkpoint/1"]
    name: str
    start_token: NonNegativeInt | None = None
    architecture: Architecture

    @model_validator(mode="after")
    def _start_token_exists(self) -> CheckpointConfig:
        if self.start_token is not None and self.start_token >= self.architecture.vocab_size:
            raise ValueError(f"start_token {self.start_token} lies outside the vocabulary")
        return self


def is_native(folder: Path) -> bool:
    """Whether a folder says that it is of circuitkit's own format."""
    return str(peek(folder / CONFIG).get("format", "")).startswith("circuitkit.")


def read_config(path: Path) -> CheckpointConfig:
    """Read ``config.json``.

    Raises:
        CheckpointError: if it is missing, no JSON, or holds an unknown key or a wrong value.
    """
    data = read_text(path, CheckpointError, f"a checkpoint folder ({CONFIG})", limit=2**20)
    try:
        return CheckpointConfig.model_validate_json(data)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_problem(error)}. Expected {FORMAT}.") from None


def read_weights(path: Path, arch: Architecture) -> dict[str, Tensor]:
    """Read every tensor the architecture calls for, in float32, and no other.

    Raises:
        CheckpointError: if the file is corrupt, a tensor is missing, unexpected,
            misshapen or no floating point of 16 bits or more, or a value is not finite.
    """
    expected = expected_shapes(arch)
    found = open_tensors(path, expected)
    if arch.tied_unembedding:
        found.setdefault(HEAD, found.get(EMBEDDING, torch.empty(expected[HEAD], device="meta")))
    check_tensors(path, arch, expected, found)
    found = {name: as_float32(path, name, tensor) for name, tensor in found.items()}
    if arch.tied_unembedding and not torch.equal(found[HEAD], found[EMBEDDING]):
        raise CheckpointError(f"{path}: {HEAD} differs from {EMBEDDING}, to which it is tied.")
    return found


def open_tensors(path: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Load the tensors whose name and shape are right; the others are on the meta device."""
    found = {}
    try:
        with safe_open(regular_file(path, CheckpointError, _TENSORS), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                shape = tuple(file.get_slice(name).get_shape())
                right = expected.get(name) == shape
                found[name] = file.get_tensor(name) if right else torch.empty(shape, device="meta")
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}; the checkpoint is incomplete.") from None
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {error}. Was the save or copy interrupted?"
        ) from None
    return found


def stored_types(path: Path) -> dict[str, int]:
    """How many tensors of a weights file are of each type, by safetensors' names (F32, BF16)."""
    with safe_open(regular_file(path, CheckpointError, _TENSORS), framework="pt") as file:
        return dict(Counter(file.get_slice(name).get_dtype() for name in file.keys()))  # noqa: SIM118


def read_reference(path: Path, arch: Architecture) -> Int[Tensor, "n length"]:
    """Read ``reference.safetensors``: whole numbers ``[n, length]``, length at most n_ctx.

    Raises:
        CheckpointError: if it is missing, corrupt or does not fit the model.
    """
    if not path.exists():
        raise CheckpointError(
            f"{path} is missing: the checkpoint has no reference sample of text, over which means "
            "are measured. Give one with --reference (in Python reference=): a text file, a folder "
            "of text, or token ids in a .safetensors."
        )
    try:
        with safe_open(regular_file(path, CheckpointError, _TENSORS), framework="pt") as file:
            names = list(file.keys())
            tokens = file.get_tensor("tokens") if names == ["tokens"] else torch.empty(0)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}.") from None
    if names != ["tokens"]:
        raise CheckpointError(
            f"{path}: expected one tensor 'tokens', got {', '.join(names) or 'none'}."
        )
    return checked_sample(tokens, arch, str(path))


def checked_sample(
    tokens: Tensor, arch: Architecture, where: str = "reference"
) -> Int[Tensor, "n length"]:
    """Token ids as a sample for this model, int32; ``where`` begins the message of an error.

    Raises:
        CheckpointError: if they are no whole numbers ``[n, length]``, none, too long, or outside
            the vocabulary.
    """
    whole = (
        not tokens.is_floating_point() and not tokens.is_complex() and tokens.dtype != torch.bool
    )
    if tokens.ndim != 2 or not whole or 0 in tokens.shape or tokens.shape[1] > arch.n_ctx:
        raise CheckpointError(
            f"{where}: expected token ids, integers (n, length ≤ {arch.n_ctx}), got "
            f"{str(tokens.dtype).removeprefix('torch.')} {tuple(tokens.shape)}."
        )
    tokens = tokens.to(torch.int64)
    if int(tokens.min()) < 0 or int(tokens.max()) >= arch.vocab_size:
        raise CheckpointError(
            f"{where} holds token ids from {int(tokens.min())} to {int(tokens.max())}, expected 0 "
            f"to {arch.vocab_size - 1}. Is it another model's sample?"
        )
    return tokens.to(torch.int32)


def weights_bytes(model: Transformer) -> bytes:
    """The content of ``model.safetensors``."""
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if model.arch.tied_unembedding:
        del weights[HEAD]
    return save(weights)


@checked_call
def save_checkpoint(
    folder: str | Path,
    model: Transformer,
    *,
    name: str,
    tokenizer: Tokenizer | None = None,
    start_token: int | None = None,
    reference: Int[Tensor, "n length"] | None = None,
    training: Mapping[str, Any] | None = None,
    bridges: bytes | None = None,
) -> None:
    """Write a native checkpoint folder, ``config.json`` last: without it there is no checkpoint.

    Files of an earlier checkpoint in the folder are removed. ``bridges`` is the content of
    ``bridges.safetensors``, which is made by training.

    Raises:
        CheckpointError: if the start token or the reference is not of this model.
        UsageError: if the folder cannot be written to.

    Examples:
        >>> import circuitkit as ck
        >>> checkpoint = ck.load_checkpoint("tinypython-nano")
        >>> ck.save_checkpoint("out/copy", checkpoint.load_model(), name="copy")
        >>> ck.load_checkpoint("out/copy").name
        'copy'
    """
    folder = Path(folder)
    try:
        config = CheckpointConfig(
            format=FORMAT, name=name, start_token=start_token, architecture=model.arch
        )
    except ValidationError as error:
        raise CheckpointError(f"not saved: {first_problem(error)}.") from None
    files: dict[str, bytes | str] = {WEIGHTS: weights_bytes(model)}
    if tokenizer is not None:
        files[TOKENIZER] = tokenizer.to_str(pretty=True)
    if reference is not None:
        small = torch.uint16 if model.arch.vocab_size <= 2**16 else torch.int32
        sample = checked_sample(reference, model.arch)
        files[REFERENCE] = save({"tokens": sample.cpu().to(small).contiguous()})
    if training is not None:
        files[TRAINING] = json.dumps(training, indent=1) + "\n"
    if bridges is not None:
        files[BRIDGES] = bridges
    for old in (CONFIG, TOKENIZER, REFERENCE, TRAINING, BRIDGES):
        if old not in files:
            remove(folder / old)
    files[CONFIG] = config.model_dump_json(indent=1) + "\n"
    for file, data in files.items():
        write_whole(folder / file, data)
