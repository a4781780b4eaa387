"""``bridges.safetensors``: the maps of a bridged checkpoint, in its folder.

In: a folder. Out: bridges and their record, every tensor there once, of the right name, shape and
type; bound by hash to the weights beside the file and to the dense checkpoint. The record is the
metadata, under one key, for safetensors writes several in no fixed order.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from circuitkit.bridges.bridge_maps import Bridges
from circuitkit.bridges.bridge_record import FORMAT, BridgeRecord
from circuitkit.bridges.crossings import crossing_names
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.bundled import recorded_checkpoint
from circuitkit.checkpoints.native import BRIDGES, WEIGHTS, open_tensors
from circuitkit.checkpoints.strict_tensors import as_float32, check_tensors
from circuitkit.errors import CheckpointError, MismatchError
from circuitkit.files import regular_file, sha256_file
from circuitkit.model import Transformer
from circuitkit.provenance import first_problem

_KEY = "circuitkit"
_EXPECTED = "the bridges of a checkpoint"


def bridges_bytes(bridges: Bridges, record: BridgeRecord) -> bytes:
    """The content of ``bridges.safetensors``; the same bridges give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _named(bridges).items()}
    return save(tensors, {_KEY: record.model_dump_json()})


def _named(bridges: Bridges) -> dict[str, torch.Tensor]:
    """Every tensor by its crossing, such as ``0.mlp.encoder.weight``."""
    names = crossing_names(bridges.n_layer)
    return {
        f"{crossing}.{part}": tensor
        for crossing, bridge in zip(names, bridges, strict=True)
        for part, tensor in bridge.named_parameters()
    }


def has_bridges(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's folder holds bridges."""
    return (checkpoint.path / BRIDGES).exists()


def read_record(checkpoint: Checkpoint) -> BridgeRecord:
    """What the bridges of a checkpoint say of themselves; no tensor is read.

    Raises:
        CheckpointError: if there are none, or the file is damaged.
        MismatchError: if they were made for other weights than those beside them.
    """
    path = checkpoint.path / BRIDGES
    if not path.exists():
        raise CheckpointError(
            f"checkpoint {checkpoint.name} has no bridges: {path} is not there. Train one with "
            "'circuitkit train CONFIG --bridge-to CHECKPOINT', or give one that has them."
        )
    try:
        with safe_open(regular_file(path, CheckpointError, _EXPECTED), framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY, "{}")
        record = BridgeRecord.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_problem(error)}. Expected {FORMAT}.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {error}. Was the save or copy interrupted?"
        ) from None
    found = sha256_file(checkpoint.path / WEIGHTS)
    if found != record.sparse_weights_sha256:
        raise MismatchError(
            f"{path} was made for weights {record.sparse_weights_sha256[:12]}…, but the {WEIGHTS} "
            f"beside it is {found[:12]}…. Put back the weights it was trained with."
        )
    return record


def read_bridges(checkpoint: Checkpoint) -> Bridges:
    """The bridges of a checkpoint in float32, without gradients.

    Raises:
        CheckpointError: if there are none, or a tensor is missing, unexpected, misshapen or not
            finite.
        MismatchError: if they were made for other weights than those beside them.
    """
    record, arch = read_record(checkpoint), checkpoint.architecture
    path = checkpoint.path / BRIDGES
    bridges = Bridges(arch.n_layer, record.d_dense, arch.d_model, record.topk)
    named = _named(bridges)
    expected = {name: tuple(tensor.shape) for name, tensor in named.items()}
    found = open_tensors(path, expected)
    check_tensors(path, arch, expected, found, config=f"{arch.n_layer} layers with bridges")
    with torch.no_grad():
        for name, tensor in named.items():
            tensor.copy_(as_float32(path, name, found[name]))
    return bridges.requires_grad_(requires_grad=False)


def dense_checkpoint(
    checkpoint: Checkpoint, record: BridgeRecord, given: Checkpoint | str | Path | None = None
) -> Checkpoint:
    """The dense checkpoint that bridges lead to: the one given, else where it was in training.

    Raises:
        CheckpointError: if it is not there.
        MismatchError: if it is another than the bridges were made for.
    """
    recorded = (checkpoint.training or {}).get("bridge_to") or record.dense.name
    where = given or recorded_checkpoint(str(recorded))
    try:
        dense = load_checkpoint(where)
    except CheckpointError as error:
        raise CheckpointError(
            f"the bridges of {checkpoint.name} lead to checkpoint {record.dense.name} "
            f"({record.dense.sha256[:12]}…), which cannot be read: {error} Name its folder with "
            "--dense."
        ) from None
    if dense.sha256 != record.dense.sha256:
        raise MismatchError(
            f"the bridges of {checkpoint.name} were made for dense checkpoint {record.dense.name} "
            f"({record.dense.sha256[:12]}…), but the one given is {dense.name} "
            f"({dense.sha256[:12]}…). Give that one, or train bridges to this one."
        )
    return dense


class BridgedPair:
    """A sparse model, the dense one it is coupled with, and the bridges between them."""

    def __init__(self, sparse: Transformer, dense: Transformer, bridges: Bridges) -> None:
        self.sparse, self.dense, self.bridges = sparse, dense, bridges


def load_pair(
    checkpoint: Checkpoint, dense: Checkpoint, device: str | torch.device = "cpu"
) -> BridgedPair:
    """Both models and the bridges, ready to run.

    Raises:
        CheckpointError: if weights or bridges are wrong.
        MismatchError: if the bridges are of other weights.
    """
    bridges = read_bridges(checkpoint).to(torch.device(device))
    return BridgedPair(checkpoint.load_model(device), dense.load_model(device), bridges)
