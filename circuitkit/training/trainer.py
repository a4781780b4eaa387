"""The sparse trainer: a configuration in, a checkpoint folder out.

Source: Gao et al. 2025, sections 2.1 and A.2. Where we differ: the learning rate
and ε are found for this scale (the paper's belong to models a thousand times
larger), and the order is AdamW with its decay first, then the projection.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from circuitkit.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from circuitkit.checkpoints.native import CONFIG
from circuitkit.corpora.tokenizer import START
from circuitkit.errors import ConfigError, TrainingError, UsageError
from circuitkit.files import claim_folder, sha256, write_whole
from circuitkit.model import Transformer
from circuitkit.provenance import circuitkit_version
from circuitkit.training.config import TrainingConfig
from circuitkit.training.initial import adamw, initial_model
from circuitkit.training.interrupt import deferred_interrupt
from circuitkit.training.objective import limit_rms, next_token_loss, validation_loss
from circuitkit.training.schedule import l0_fraction_at, lr_at
from circuitkit.training.shards import batch_windows, build_shard, learn_tokenizer
from circuitkit.training.sparsity import l0_fraction, project
from circuitkit.training.state import (
    METRICS,
    append_metrics,
    last_save,
    load_state,
    rewind_metrics,
    save_state,
)

RUN = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a training run tells about itself after a step."""

    stage: str
    done: int
    total: int
    loss_nats: float = math.nan
    validation_loss_nats: float = math.nan
    l0_fraction: float = 1.0


Report = Callable[[Progress], None]


@dataclass(slots=True, kw_only=True)
class _Run:
    config: TrainingConfig
    folder: Path
    config_sha256: str
    tokenizer: Tokenizer
    train: np.ndarray
    validation: np.ndarray
    model: Transformer
    optimizer: torch.optim.Optimizer
    report: Report
    validation_loss_nats: float = math.nan


def train(
    config: TrainingConfig,
    folder: str | Path,
    *,
    resume: bool = False,
    report: Report = lambda progress: None,
) -> Checkpoint:
    """Train a checkpoint into ``folder``.

    An interrupted run goes on with ``resume=True`` and ends with the same bytes; a
    finished one gives its checkpoint again. Ctrl-C finishes the step under way and
    saves before it raises ``KeyboardInterrupt``.

    Raises:
        UsageError: if the folder holds something else, a run of another configuration,
            or a run and ``resume`` is off.
        ConfigError: if the device is not there.
        CorpusError: if the corpus cannot be read.
        TrainingError: if the loss is no longer finite or the disk is full; the
            message names the last good state.
    """
    folder = Path(folder)
    _check_device(config.run.device)
    digest = _claim(config, folder, resume)
    if (folder / CONFIG).exists():  # written last, so the run is finished
        return load_checkpoint(folder)
    run = _prepare(config, folder, digest, report)
    began = time.monotonic()
    first = load_state(folder, run.model, run.optimizer, digest)
    run.validation_loss_nats = rewind_metrics(folder, first)
    _run_steps(run, first)
    return _finish(run, time.monotonic() - began, resumed_at=first)


def _run_steps(run: _Run, first: int) -> None:
    with deferred_interrupt() as interrupted:
        for step in range(first, run.config.n_steps):
            _step(run, step)
            if interrupted.is_set():
                save_state(run.folder, run.model, run.optimizer, step + 1, run.config_sha256)
                raise KeyboardInterrupt


def _prepare(config: TrainingConfig, folder: Path, digest: str, report: Report) -> _Run:
    tokenizer = _tokenizer(config, folder)
    shards = folder / "shards"

    def counted(done: int, total: int) -> None:
        report(Progress(stage="tokens", done=done, total=total))

    tokens = build_shard(
        shards / "train.bin", config, tokenizer, validation=False, progress=counted
    )
    held = build_shard(shards / "validation.bin", config, tokenizer, validation=True)
    model = initial_model(config).to(config.run.device)
    return _Run(
        config=config, folder=folder, config_sha256=digest, tokenizer=tokenizer,
        train=tokens, validation=held, model=model, optimizer=adamw(model, config),
        report=report,
    )  # fmt: skip


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        why = str(error).partition("\n")[0]
        raise ConfigError(
            f"run.device = {name!r} cannot be used ({why}); expected cpu, or cuda with a GPU."
        ) from None


def _claim(config: TrainingConfig, folder: Path, resume: bool) -> str:
    text = config.model_dump_json(indent=1) + "\n"
    claim_folder(folder, RUN, "a training run")
    if (folder / RUN).exists():
        if not resume:
            raise UsageError(
                f"{folder} holds a training run already; add --resume to go on with it, or choose "
                "another --out."
            )
        if (folder / RUN).read_text(encoding="utf-8") != text:
            raise UsageError(
                f"{folder / RUN} is another configuration than the one given; resume with the one "
                "it began with, or choose another --out."
            )
    else:
        write_whole(folder / RUN, text)
    return sha256(text.encode())


def _tokenizer(config: TrainingConfig, folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.exists():
        write_whole(path, learn_tokenizer(config).to_str(pretty=True))
    return Tokenizer.from_file(str(path))


def _step(run: _Run, step: int) -> None:
    config, sparsity = run.config, run.config.sparsity
    fraction = l0_fraction_at(step + 1, config.n_steps, sparsity)
    lr = lr_at(step, config.n_steps, config.optimizer, fraction)
    for group in run.optimizer.param_groups:
        group["lr"] = lr
    loss = next_token_loss(run.model, _batch(run, run.train, step, config.seed))
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if not math.isfinite(loss.item()):
        raise TrainingError(
            f"the loss is {loss.item()} at step {step}; the last good save is "
            f"{last_save(run.folder)}. Lower optimizer.lr or raise optimizer.eps."
        )
    limit_rms(run.model, config.optimizer.max_grad_rms)
    run.optimizer.step()
    project(run.model, fraction, sparsity.min_nonzeros)
    _look(run, step + 1, loss.item(), fraction, lr)


def _look(run: _Run, done: int, loss: float, fraction: float, lr: float) -> None:
    """Validate, write metrics, save and report, as often as the config says."""
    config, last = run.config, done == run.config.n_steps
    if done % config.run.validate_every == 0 or last:
        run.validation_loss_nats = validation_loss(run.model, run.validation)
        numbers = {
            "step": done,
            "n_tokens": done * config.tokens_per_step,
            "loss_nats": loss,
            "validation_loss_nats": run.validation_loss_nats,
            "l0_fraction": fraction,
            "lr": lr,
        }
        append_metrics(run.folder, numbers)
    if done % config.run.save_every == 0 or last:
        save_state(run.folder, run.model, run.optimizer, done, run.config_sha256)
    run.report(
        Progress(
            stage="steps", done=done, total=config.n_steps, loss_nats=loss, l0_fraction=fraction,
            validation_loss_nats=run.validation_loss_nats,
        )
    )  # fmt: skip


def _batch(run: _Run, tokens: np.ndarray, step: int, seed: int) -> Int[Tensor, "batch seq"]:
    n_ctx, batch = run.config.architecture.n_ctx, run.config.run.batch_sequences
    starts = batch_windows(len(tokens), n_ctx, batch, step, seed)
    rows = np.stack([tokens[start : start + n_ctx + 1] for start in starts]).astype(np.int64)
    return torch.from_numpy(rows).to(run.config.run.device)


def _finish(run: _Run, seconds: float, resumed_at: int) -> Checkpoint:
    """Write the checkpoint; the training state stays, so that a run can be looked into."""
    rows = run.config.corpus.n_reference_tokens // run.config.architecture.n_ctx
    n_ctx = run.config.architecture.n_ctx
    sample = np.array(run.train[: min(rows, len(run.train) // n_ctx) * n_ctx])
    save_checkpoint(
        run.folder,
        run.model.cpu(),
        name=run.config.name,
        tokenizer=run.tokenizer,
        start_token=run.tokenizer.token_to_id(START),
        reference=torch.from_numpy(sample.astype(np.int32)).view(-1, n_ctx),
        training=_record(run, seconds, resumed_at),
    )
    return load_checkpoint(run.folder)


def _record(run: _Run, seconds: float, resumed_at: int) -> dict:
    named = dict(run.model.named_parameters())
    return {
        "config": json.loads(run.config.model_dump_json()),
        "n_tokens": run.config.n_steps * run.config.tokens_per_step,
        "validation_loss_nats": run.validation_loss_nats,
        "l0_fraction": l0_fraction(run.model),
        "l0": {name: int(p.count_nonzero()) for name, p in named.items()},
        "seconds": round(seconds, 1),
        "resumed_at_step": resumed_at,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "circuitkit_version": circuitkit_version(),
        "torch_version": torch.__version__,
        "metrics": METRICS,
    }
