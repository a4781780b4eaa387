"""Where a run computes: on one device, or in several processes that act as one.

In: ``run.device`` and ``run.devices``. Out: this process's rows of a batch, and
means over all processes. Each holds the same weights, reads its own rows of the
same batch, averages its gradients with the others' and takes the same step; the
first one alone writes, validates and reports.

Several processes, on one machine, go through lightning-fabric: it starts the
others by running the command again, unless torchrun has started them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from circuitkit.errors import ConfigError, TrainingError, UsageError
from circuitkit.model.device import device_named
from circuitkit.training.train_config import RunConfig

_FIRST = "CIRCUITKIT_FIRST_PROCESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The processes of a run, seen from one of them."""

    device: torch.device
    n: int = 1
    rank: int = 0
    fabric: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """Which rows of a batch of so many are for this process."""
        share = batch // self.n
        return slice(self.rank * share, (self.rank + 1) * share)

    def average(self, model: nn.Module, loss: Tensor) -> float:
        """The mean loss over all processes; gradients become their mean, in place.

        Raises:
            TrainingError: if another process has ended.
        """
        if self.fabric is None:
            return loss.item()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([loss.detach().view(1), *(g.flatten() for g in gradients)])
        mean, *parts = self._mean(flat).split([1, *(g.numel() for g in gradients)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return mean.item()

    def agree(self, asked: bool) -> bool:
        """Whether any process asks; each waits here for all."""
        if self.fabric is None:
            return asked
        return self._mean(torch.tensor(float(asked), device=self.device)).item() > 0

    @contextmanager
    def started(self) -> Iterator[None]:
        """While all processes run; those that this one started end with its errors."""
        if self.fabric is None:
            yield
            return
        try:
            _tie_to_the_first()
            self.fabric.launch()
            yield
            # left to the interpreter's exit, a thread of the group may still be there: an abort
            torch.distributed.destroy_process_group()
        except BaseException:
            _end(self.fabric.strategy.launcher)
            raise

    def _mean(self, x: Tensor) -> Tensor:
        try:
            return self.fabric.all_reduce(x, reduce_op="mean")
        except RuntimeError as error:
            raise TrainingError(
                f"process {self.rank} of {self.n} has lost another ({error}). "
                "Go on from the last save with --resume."
            ) from None


def devices_of(run: RunConfig) -> Devices:
    """The devices that a configuration asks for; no process is started yet.

    Raises:
        ConfigError: if a device is not there, lightning-fabric is missing, or torchrun
            has started another number of processes.
    """
    _check_started(run.devices)
    device = _device(run.device)
    if run.devices == 1:
        return Devices(device=device)
    fabric = _fabric(run)
    return Devices(device=fabric.device, n=run.devices, rank=_rank(), fabric=fabric)


def first_process() -> bool:
    """Whether no other process started this one as its helper."""
    return _rank() == 0


def _rank() -> int:
    if _n_started() == 1:
        return 0
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))


def _n_started() -> int:
    """Processes that run this command already, as torchrun and lightning-fabric set them."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def _check_started(wanted: int) -> None:
    started = _n_started()
    if started not in (1, wanted):
        raise ConfigError(
            f"run.devices = {wanted}, but {started} processes were started (WORLD_SIZE); expected "
            f"as many as devices. Add --set run.devices={started}, or start one process."
        )


def _device(name: str) -> torch.device:
    try:
        return device_named(name, "run.device")
    except UsageError as error:
        raise ConfigError(str(error)) from None


def _fabric(run: RunConfig) -> Any:
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
        from lightning_fabric.utilities.exceptions import MisconfigurationException
    except ImportError:
        raise ConfigError(
            f"run.devices = {run.devices} needs lightning-fabric, which is not installed: "
            "pip install 'sparse-circuitkit[train]', or set run.devices=1."
        ) from None
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    torchrun = TorchElasticEnvironment.detect()
    environment = TorchElasticEnvironment() if torchrun else LightningEnvironment()
    options = {"accelerator": run.device, "devices": run.devices, "strategy": "ddp"}
    try:
        return Fabric(**options, plugins=[environment])
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"run.devices = {run.devices} of run.device = {run.device!r} cannot be used: {error} "
            "Expected cpu, or cuda with as many GPUs."
        ) from None


def _tie_to_the_first() -> None:
    """A process that another starts ends with it, even when that one is killed."""
    first = int(os.environ.setdefault(_FIRST, str(os.getpid())))

    def watch() -> None:
        while os.getppid() == first:
            time.sleep(1)
        os._exit(1)

    if first != os.getpid() and not torch.distributed.is_torchelastic_launched():
        threading.Thread(target=watch, daemon=True).start()


def _end(launcher: Any) -> None:
    """End the processes that were started; none of them may outlive the run."""
    children = list(getattr(launcher, "procs", ()))
    if children:
        launcher.procs.clear()  # else the launcher's watch takes this process down with them
    for child in children:
        child.terminate()
        child.wait()
