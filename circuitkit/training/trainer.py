"""The sparse trainer: a configuration in, a checkpoint folder out.

Source: Gao et al. 2025, sections 2.1 and A.2. Where we differ: the learning rate
and ε are found for this scale (the paper's belong to models a thousand times
larger), and the order is AdamW with its decay first, then the projection. The forward pass may
multiply in bfloat16; weights, and the validation loss, are float32.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.native import CONFIG
from circuitkit.errors import SavedInterrupt, TrainingError, UsageError
from circuitkit.model.device import repeatable
from circuitkit.progress import shown, silent
from circuitkit.training.coupling import Coupling, coupled
from circuitkit.training.devices import Devices, devices_of
from circuitkit.training.initialisation import adamw, initial_model
from circuitkit.training.interrupt import deferred_interrupt
from circuitkit.training.matmul import bfloat16_matmuls
from circuitkit.training.objective import limit_rms, next_token_loss, validation_loss
from circuitkit.training.run import Run, write_checkpoint
from circuitkit.training.run_folder import claim, config_sha256, settled
from circuitkit.training.run_state import (
    append_metrics,
    last_save,
    load_state,
    rewind_metrics,
    save_state,
)
from circuitkit.training.schedule import l0_fraction_at, lr_at
from circuitkit.training.shards import batch_windows, build_shard, build_tokenizer
from circuitkit.training.train_config import TrainingConfig, load_config
from circuitkit.training.training_progress import Report, TrainingStep, shown_by
from circuitkit.training.weight_sparsity import l0_fraction, project


@checked_call
def train(
    config: TrainingConfig | str | Path,
    folder: str | Path,
    *,
    bridge_to: Checkpoint | str | Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Checkpoint:
    """Train a checkpoint into ``folder``.

    ``config`` may be the name of a shipped configuration or a TOML file. ``report`` is called
    after each step; None shows a bar in a terminal or a notebook. With ``bridge_to``, a dense
    checkpoint, bridges to it are trained with the model (docs/bridges.md); it stays as it is.

    An interrupted run goes on with ``resume=True`` and ends with the same bytes; a
    finished one gives its checkpoint again. Ctrl-C finishes the step under way and
    saves before it raises ``SavedInterrupt``, a ``KeyboardInterrupt``.

    With ``run.devices`` above 1 the script that calls this is run once more for each
    further device, and every process returns the same checkpoint.

    Raises:
        UsageError: if the folder holds something else, a run of another configuration,
            or a run and ``resume`` is off.
        ConfigError: if the device is not there, or is one of several that cannot be had.
        CorpusError: if the corpus cannot be read.
        MismatchError: if the dense checkpoint does not fit the configuration.
        TrainingError: if the loss is no longer finite or the disk is full; the
            message names the last good state.

    Examples:
        >>> import circuitkit as ck
        >>> checkpoint = ck.train("out/tiny.toml", "out/tiny")
        >>> checkpoint.name
        'tiny'
    """
    if not isinstance(config, TrainingConfig):
        config = load_config(config)
    config, dense = coupled(config, None if bridge_to is None else load_checkpoint(bridge_to))
    folder, devices = Path(folder), devices_of(config.run)
    with shown(None if report is None and devices.first else silent) as progress:
        shows = report or shown_by(progress, config)
        return _train(config, folder, dense, devices, shows, resume=resume)


def _train(
    config: TrainingConfig, folder: Path, dense: Checkpoint | None, devices: Devices,
    report: Report, *, resume: bool,
) -> Checkpoint:  # fmt: skip
    if devices.first:
        config = settled(config, folder)
        claim(config, folder, resume=resume)
    if (folder / CONFIG).exists():  # written last, so the run is finished
        return _finished(settled(config, folder), folder)
    if devices.first:
        _read_corpus(config, folder, dense, report)
    with devices.started(), repeatable(devices.device):
        run = _prepare(settled(config, folder), folder, dense, devices, report)
        began = time.monotonic()
        first = load_state(folder, run.learner, run.optimizer, config_sha256(run.config))
        _run_steps(run, first)
        return write_checkpoint(run, time.monotonic() - began, resumed_at=first)


def _finished(config: TrainingConfig, folder: Path) -> Checkpoint:
    """The checkpoint in a folder, if it is what this configuration gave."""
    checkpoint = load_checkpoint(folder)
    if (checkpoint.training or {}).get("config") != json.loads(config.model_dump_json()):
        raise UsageError(
            f"the checkpoint in {folder} is not the result of the run there: something else was "
            "written over it. Choose another --out, and train again."
        )
    return checkpoint


def _run_steps(run: Run, first: int) -> None:
    run.done = first
    if run.devices.first:
        run.validation_loss_nats = rewind_metrics(run.folder, first)
    with deferred_interrupt() as interrupted:
        while not run.devices.agree(run.complete):
            _step(run, run.done)
            if run.devices.agree(interrupted.is_set()):
                _save(run)
                raise SavedInterrupt


def _prepare(
    config: TrainingConfig, folder: Path, dense: Checkpoint | None, devices: Devices,
    report: Report,
) -> Run:  # fmt: skip
    tokenizer, tokens, held = _read_corpus(config, folder, dense, report)
    model = initial_model(config).to(devices.device)
    coupling = None if dense is None else Coupling.begun(config, dense, held, devices.device)
    optimizer = adamw(model, config, coupling.rates if coupling else ())
    return Run(
        config=config, folder=folder, devices=devices, tokenizer=tokenizer, train=tokens,
        validation=held, model=model, optimizer=optimizer, report=report, coupling=coupling,
    )  # fmt: skip


class _Corpus(NamedTuple):
    tokenizer: Tokenizer
    train: np.ndarray
    validation: np.ndarray


def _read_corpus(
    config: TrainingConfig, folder: Path, dense: Checkpoint | None, report: Report
) -> _Corpus:
    """The tokenizer and the two shards; made by the first process, then read by all.

    A bridged model reads the dense one's tokens.
    """
    shards = folder / "shards"

    def counted(done: int, total: int) -> None:
        report(TrainingStep(stage="tokens", done=done, total=total))

    tokenizer = build_tokenizer(folder / "tokenizer.json", config, dense and dense.tokenizer)
    tokens = build_shard(
        shards / "train.bin", config, tokenizer, validation=False, progress=counted
    )
    held = build_shard(shards / "validation.bin", config, tokenizer, validation=True)
    return _Corpus(tokenizer, tokens, held)


def _step(run: Run, step: int) -> None:
    config, sparsity = run.config, run.config.sparsity
    fraction = l0_fraction_at(step + 1, config.n_steps, sparsity)
    lr = lr_at(step, config.n_steps, config.optimizer, fraction)
    for group in run.optimizer.param_groups:
        rate = lr_at(step, config.n_steps, group["schedule"], fraction)
        group["lr"] = rate * group["times"]
    loss = _gradients(run, step)
    run.optimizer.step()
    project(run.model, fraction, sparsity.min_nonzeros)
    run.done = step + 1
    if run.devices.first:
        _look(run, loss, fraction, lr)


def _gradients(run: Run, step: int) -> float:
    """The loss of a step's batch, and its gradients, of limited size, on the model."""
    rows = _batch(run, run.train, step, run.config.seed)
    matmul = run.config.run.matmul
    run.optimizer.zero_grad(set_to_none=True)
    with repeatable(run.devices.device, tf32=matmul == "tf32"):
        with bfloat16_matmuls() if matmul == "bfloat16" else nullcontext():
            loss = _loss(run, rows, step)
        loss.backward()
    mean = run.devices.average(run.learner, loss)
    _finite(run, "loss", mean, step)
    for part in (run.model, *([run.coupling.bridges] if run.coupling else [])):
        rms = limit_rms(part, run.config.optimizer.max_grad_rms)
        _finite(run, "gradient's RMS", rms, step)
    return mean


def _loss(run: Run, rows: Int[Tensor, "batch seq"], step: int) -> Float[Tensor, ""]:
    """What a step lowers, in nats; of a bridged pair the weighted sum of all its losses."""
    if run.coupling is None:
        return next_token_loss(run.model, rows)
    return run.coupling.loss(run.model, rows, step)


def _finite(run: Run, what: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise TrainingError(
            f"the {what} is {value} at step {step}; the last good save is "
            f"{last_save(run.folder)}. Lower optimizer.lr or raise optimizer.eps."
        )


def _save(run: Run) -> None:
    """Written by the first process, awaited by all."""
    if run.devices.first:
        save_state(run.folder, run.learner, run.optimizer, run.done, config_sha256(run.config))
    run.devices.agree(False)


def _look(run: Run, loss: float, fraction: float, lr: float) -> None:
    """Validate, write metrics, save and report, as often as the config says.

    ``fraction`` is the L0 fraction asked for; ``min_nonzeros`` may keep more.
    """
    config, done = run.config, run.done
    if done % config.run.validate_every == 0 or run.complete:
        run.validation_loss_nats = validation_loss(run.model, run.validation)
        _finite(run, "validation loss", run.validation_loss_nats, done)
        run.l0_fraction = l0_fraction(run.model)
        numbers = {
            "step": done,
            "n_tokens": done * config.tokens_per_step,
            "loss_nats": loss,
            "validation_loss_nats": run.validation_loss_nats,
            "l0_fraction": run.l0_fraction,
            "l0_fraction_asked": fraction,
            "lr": lr,
        }
        if run.coupling:
            numbers["bridges"] = run.coupling.look(run.model, run.validation)
        append_metrics(run.folder, numbers)
    if done % config.run.save_every == 0 or run.complete:
        save_state(run.folder, run.learner, run.optimizer, done, config_sha256(config))
    run.report(
        TrainingStep(
            stage="steps", done=done, total=config.n_steps, loss_nats=loss,
            validation_loss_nats=run.validation_loss_nats, l0_fraction=run.l0_fraction,
        )
    )  # fmt: skip


def _batch(run: Run, tokens: np.ndarray, step: int, seed: int) -> Int[Tensor, "batch seq"]:
    n_ctx, batch = run.config.architecture.n_ctx, run.config.run.batch_sequences
    starts = batch_windows(len(tokens), n_ctx, batch, step, seed)[run.devices.rows(batch)]
    rows = np.stack([tokens[start : start + n_ctx + 1] for start in starts]).astype(np.int64)
    return torch.from_numpy(rows).to(run.devices.device)
