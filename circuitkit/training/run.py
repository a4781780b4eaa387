"""A run in memory, and the checkpoint that it writes when it ends.

In: a configuration, its corpus, model and optimizer. Out: the folder of a checkpoint, with a record
of how it was trained.
"""

from __future__ import annotations

import json
import math
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor, nn

from circuitkit.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from circuitkit.corpora.tokenizer import START
from circuitkit.distribution import installed_version
from circuitkit.model import Transformer
from circuitkit.training.coupling import Coupling
from circuitkit.training.devices import Devices
from circuitkit.training.run_state import METRICS
from circuitkit.training.train_config import TrainingConfig
from circuitkit.training.training_progress import Report
from circuitkit.training.weight_sparsity import l0_fraction


@dataclass(slots=True, kw_only=True)
class Run:
    """What a run holds in memory, and how far it is."""

    config: TrainingConfig
    folder: Path
    devices: Devices
    tokenizer: Tokenizer
    train: np.ndarray
    validation: np.ndarray
    model: Transformer
    optimizer: torch.optim.Optimizer
    report: Report
    coupling: Coupling | None = None
    done: int = 0
    validation_loss_nats: float = math.nan
    l0_fraction: float = math.nan

    @property
    def learner(self) -> nn.Module:
        """All that learns: the model, with its bridges if it has any."""
        return self.coupling.learner(self.model) if self.coupling else self.model

    @property
    def complete(self) -> bool:
        """Whether this process knows that no step is left; only the first knows of the loss."""
        wanted = self.config.run.stop_at_loss_nats
        low = wanted is not None and self.validation_loss_nats <= wanted
        return low or self.done == self.config.n_steps


def write_checkpoint(run: Run, seconds: float, resumed_at: int) -> Checkpoint:
    """Write the checkpoint; the training state stays, so that a run can be looked into."""
    if run.devices.first:
        coupling = run.coupling
        bridges = None if coupling is None else coupling.to_bytes(run.model, run.validation)
        save_checkpoint(
            run.folder,
            run.model.cpu(),
            name=run.config.name,
            tokenizer=run.tokenizer,
            start_token=run.tokenizer.token_to_id(START),
            reference=_reference(run),
            training=_record(run, seconds, resumed_at),
            bridges=bridges,
        )
    run.devices.agree(False)
    return load_checkpoint(run.folder)


def _reference(run: Run) -> Int[Tensor, "n length"]:
    n_ctx = run.config.architecture.n_ctx
    rows = min(run.config.corpus.n_reference_tokens, len(run.train)) // n_ctx
    sample = np.array(run.train[: rows * n_ctx])
    return torch.from_numpy(sample.astype(np.int32)).view(-1, n_ctx)


def _machine(device: torch.device) -> str:
    """What computed."""
    if device.type == "cuda":
        return f"{platform.machine()}, {torch.cuda.get_device_name(device)}"
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def _record(run: Run, seconds: float, resumed_at: int) -> dict:
    named = dict(run.model.named_parameters())
    return {
        "config": json.loads(run.config.model_dump_json()),
        "n_tokens": run.done * run.config.tokens_per_step,
        "n_corpus_tokens": len(run.train),
        "n_validation_tokens": len(run.validation),
        "validation_loss_nats": run.validation_loss_nats,
        "l0_fraction": l0_fraction(run.model),
        "l0": {name: int(p.count_nonzero()) for name, p in named.items()},
        "seconds": round(seconds, 1),
        "resumed_at_step": resumed_at,
        "machine": _machine(run.devices.device),
        "circuitkit_version": installed_version(),
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "metrics": METRICS,
        **({"bridge_to": run.coupling.where} if run.coupling else {}),
    }
