"""Tiny bridged pairs: random models, random or identity bridges, folders that hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tiny import random_tokens, tiny_model, tiny_tokenizer

from circuitkit.bridges.bridge_file import BridgedPair, bridges_bytes
from circuitkit.bridges.bridge_maps import Bridges, identity_bridges
from circuitkit.bridges.bridge_quality import measure_bridges
from circuitkit.bridges.bridge_record import BridgeRecord
from circuitkit.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from circuitkit.files import sha256_file
from circuitkit.model import Transformer
from circuitkit.provenance import Named


def equal_pair(option: str = "plain", seed: int = 0, **changes: Any) -> BridgedPair:
    """A model twice, with bridges that change nothing."""
    model = tiny_model(option, seed, **changes)
    return BridgedPair(model, model, identity_bridges(model.arch.n_layer, model.arch.d_model))


def random_bridges(d_sparse: int, d_dense: int, seed: int) -> Bridges:
    """Bridges of two layers that keep half of the sparse channels, biases and all random."""
    bridges = Bridges(2, d_dense, d_sparse, topk=0.5)
    generator = torch.Generator().manual_seed(seed)
    for parameter in bridges.requires_grad_(requires_grad=False).parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return bridges


def unlike_pair(seed: int = 0) -> BridgedPair:
    """Two models of different widths, with random bridges."""
    sparse, dense = tiny_model(seed=seed), tiny_model(seed=seed + 1, d_model=6)
    bridges = random_bridges(sparse.arch.d_model, 6, seed)
    return BridgedPair(sparse, dense, bridges)


def save_pair(pair: BridgedPair, folder: Path) -> Path:
    """``dense`` and ``sparse`` in a folder, the latter with its bridges; returns the latter."""
    _save(pair.dense, folder / "dense")
    _save(pair.sparse, folder / "sparse")
    dense = load_checkpoint(folder / "dense")
    write_bridges(folder / "sparse", pair.sparse, dense, pair.dense, pair.bridges)
    return folder / "sparse"


def write_bridges(
    folder: Path, sparse: Transformer, dense: Checkpoint, model: Transformer, bridges: Bridges
) -> None:
    """Make a checkpoint's folder a bridged one; ``model`` is that of the dense checkpoint."""
    rows = random_tokens(sparse.arch, 2, sparse.arch.n_ctx)
    record = BridgeRecord(
        dense=Named(name=dense.name, sha256=dense.sha256),
        sparse_weights_sha256=sha256_file(folder / "model.safetensors"),
        d_dense=bridges.d_dense,
        topk=bridges.topk,
        quality=measure_bridges(sparse, model, bridges, rows),
    )
    (folder / "bridges.safetensors").write_bytes(bridges_bytes(bridges, record))
    training = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps(training | {"bridge_to": dense.where}))


def _save(model: Transformer, folder: Path) -> None:
    reference = random_tokens(model.arch, 20, model.arch.n_ctx)
    save_checkpoint(
        folder, model, name=folder.name, tokenizer=tiny_tokenizer(), start_token=0,
        reference=reference, training={},
    )  # fmt: skip


def same(a: Bridges, b: Bridges) -> bool:
    """Whether two sets of bridges hold the same numbers."""
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(n == m and torch.equal(x, y) for (n, x), (m, y) in pairs)
