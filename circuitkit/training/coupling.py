"""A run with bridges: the frozen dense model, the bridges, and the loss that couples them.

In: a configuration and a dense checkpoint of the same depth, context and vocabulary. Out: the loss
of a step, what is measured on held-out text, and the content of ``bridges.safetensors``. Only the
sparse model and the bridges learn. Each step's hybrid passes cross at one place, drawn from the
seed and the step: an unbiased estimate of the mean over all, at a fraction of the cost.

Source: Gao et al. 2025, sections 2.3 and A.3; choices of ours: docs/bridges.md#choices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from circuitkit.bridges.bridge_file import bridges_bytes
from circuitkit.bridges.bridge_losses import bridge_losses
from circuitkit.bridges.bridge_maps import Bridges, initial_bridges
from circuitkit.bridges.bridge_quality import measure_bridges
from circuitkit.bridges.bridge_record import BridgeRecord
from circuitkit.bridges.crossings import streams
from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.native import weights_bytes
from circuitkit.corpora.tokenizer import START
from circuitkit.errors import MismatchError, UsageError
from circuitkit.files import sha256
from circuitkit.model import Transformer
from circuitkit.provenance import Named
from circuitkit.training.objective import windows_of
from circuitkit.training.train_config import BridgeConfig, TrainingConfig

_EQUAL = ("n_layer", "n_ctx", "vocab_size")
"""What both models must have alike: bridges join sublayer to sublayer, token by token."""

_SPARSE_SIZE = 0.2
"""About the root mean square of a sparse model's stream; only learning rates depend on it."""

_LOOK_WINDOWS = 64
"""Windows of held-out text that are measured while training; all of it at the end."""


def coupled(
    config: TrainingConfig, dense: Checkpoint | None
) -> tuple[TrainingConfig, Checkpoint | None]:
    """The configuration bound to the dense checkpoint given, if any.

    Raises:
        MismatchError: if the dense checkpoint does not fit.
        UsageError: if the configuration has bridges and no checkpoint is given.
    """
    if dense is None and config.bridge is not None:
        raise UsageError(
            f"configuration {config.name} has a [bridge] section, but no dense checkpoint is "
            "given. Add --bridge-to CHECKPOINT (in Python bridge_to=), or remove the section."
        )
    if dense is None:
        return config, None
    _check_fits(config, dense)
    named = Named(name=dense.name, sha256=dense.sha256)
    chosen = config.bridge or BridgeConfig()
    if chosen.dense not in (None, named):
        raise MismatchError(
            f"bridge.dense is {chosen.dense.name} ({chosen.dense.sha256[:12]}…), but the "
            f"checkpoint given is {named.name} ({named.sha256[:12]}…). Give that one, or leave "
            "bridge.dense out."
        )
    return config.model_copy(update={"bridge": chosen.model_copy(update={"dense": named})}), dense


def _check_fits(config: TrainingConfig, dense: Checkpoint) -> None:
    ours, theirs = config.architecture, dense.architecture
    odd = [name for name in _EQUAL if getattr(ours, name) != getattr(theirs, name)]
    if odd:
        told = "; ".join(f"{n} is {getattr(theirs, n)}, not {getattr(ours, n)}" for n in odd)
        raise MismatchError(
            f"no bridges can lead to dense checkpoint {dense.name}: its {told}. Depth, context and "
            "vocabulary must be those of the configuration; widths may differ. Change the "
            "configuration's [architecture], or give another checkpoint."
        )
    if dense.tokenizer is None or dense.tokenizer.token_to_id(START) is None:
        lacks = "tokenizer" if dense.tokenizer is None else f"token {START}"
        raise MismatchError(
            f"no bridges can lead to dense checkpoint {dense.name}: it has no {lacks}, which the "
            "text to train on is read with. Give a checkpoint that has one."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupling:
    """What a bridged run has beyond the sparse model.

    ``sizes`` are the root mean squares of the dense stream at every crossing.
    """

    config: BridgeConfig
    seed: int
    where: str
    dense: Transformer
    bridges: Bridges
    sizes: tuple[float, ...]

    @classmethod
    def begun(
        cls, config: TrainingConfig, dense: Checkpoint, held: NDArray[np.uint16],
        device: torch.device,
    ) -> Coupling:  # fmt: skip
        """The dense model and the bridges before the first step."""
        assert config.bridge is not None, "bound to the dense checkpoint before"
        arch, chosen = config.architecture, config.bridge
        d_dense, model = dense.architecture.d_model, dense.load_model(device)
        bridges = initial_bridges(arch.n_layer, d_dense, arch.d_model, chosen.topk)
        rows = windows_of(held, arch.n_ctx)[:_LOOK_WINDOWS, :-1].to(device)
        with torch.no_grad():
            sizes = tuple(float(x.square().mean().sqrt()) for x in streams(model, rows))
        return cls(
            config=chosen, seed=config.seed, where=dense.where, dense=model,
            bridges=bridges.to(device), sizes=sizes,
        )  # fmt: skip

    @property
    def rates(self) -> Iterator[tuple[Tensor, float]]:
        """Every parameter of the bridges, with what its learning rate is multiplied by.

        An optimiser step is of one size whatever the gradient: it should be in proportion to what
        the map gives, and to one over what it takes, since streams differ in size by far.
        """
        for bridge, size in zip(self.bridges, self.sizes, strict=True):
            yield bridge.encoder.weight, _SPARSE_SIZE / size
            yield bridge.encoder.bias, _SPARSE_SIZE
            yield bridge.decoder.weight, size / _SPARSE_SIZE
            yield bridge.decoder.bias, size

    def learner(self, sparse: Transformer) -> nn.Module:
        """The two that learn, as one module."""
        return nn.ModuleDict({"sparse": sparse, "bridges": self.bridges})

    def loss(
        self, sparse: Transformer, rows: Int[Tensor, "batch seq"], step: int
    ) -> Float[Tensor, ""]:
        """The weighted sum of the four losses, hybrid passes through this step's crossing."""
        crossing = int(np.random.default_rng([self.seed, step]).integers(len(self.bridges)))
        terms = bridge_losses(sparse, self.dense, self.bridges, rows, crossing)
        return (
            terms.own_nats
            + self.config.nmse * (terms.nmse_to_sparse + terms.nmse_to_dense)
            + self.config.kl_to_sparse * terms.kl_to_sparse_nats
            + self.config.kl_to_dense * terms.kl_to_dense_nats
        )

    def look(self, sparse: Transformer, tokens: NDArray[np.uint16]) -> list[dict[str, Any]]:
        """Every crossing on a part of the held-out text, for the metrics."""
        rows = windows_of(tokens, sparse.arch.n_ctx)[:_LOOK_WINDOWS]
        measured = measure_bridges(sparse, self.dense, self.bridges, rows)
        return [each.model_dump() for each in measured.crossings]

    def to_bytes(self, sparse: Transformer, tokens: NDArray[np.uint16]) -> bytes:
        """The content of ``bridges.safetensors``, measured on all of the held-out text."""
        assert self.config.dense is not None, "bound to the dense checkpoint before"
        rows = windows_of(tokens, sparse.arch.n_ctx)
        record = BridgeRecord(
            dense=self.config.dense,
            sparse_weights_sha256=sha256(weights_bytes(sparse)),
            d_dense=self.bridges.d_dense,
            topk=self.config.topk,
            quality=measure_bridges(sparse, self.dense, self.bridges, rows),
        )
        return bridges_bytes(self.bridges, record)
