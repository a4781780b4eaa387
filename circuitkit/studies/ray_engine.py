"""The Ray engine: the same work as Ray tasks, on a cluster or on this machine.

In: a function, and items for it. Out: ``done(item, result)`` for each, here, one at a time.
Ray places, queues and retries tasks: one whose machine is lost runs again, three times at most.
What items share is put into the object store once, and given to the function beside the item.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from circuitkit.errors import UsageError
from circuitkit.studies.local_engine import Done, LostError, available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_RETRIES = 3
LOST = f"its process or machine was lost {MAX_RETRIES + 1} times; if memory ran out, ask for more"
_CONNECT_SECONDS = 10
_WAITING_A_CORE = 2
"""Tasks that are given to Ray ahead of time, for each core: no result waits here for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What every task asks the cluster for."""

    cpus: int = 1
    memory_bytes: int = 0
    gpus: float = 0.0

    def fit(self, resources: dict[str, float]) -> bool:
        """Whether one machine with these resources has it all."""
        return (
            resources.get("CPU", 0) >= self.cpus
            and resources.get("memory", 0) >= self.memory_bytes
            and resources.get("GPU", 0) >= self.gpus
        )


def run_ray(
    function: Callable[[Item, Any], Result], items: Sequence[Item], done: Done[Item, Result], *,
    shared: Callable[[Item], tuple[str, Callable[[], Any]]], workers: int | None = None,
    address: str | None = None, needs: Needs | None = None,
) -> None:  # fmt: skip
    """Run ``function(item, value)`` on every item as a Ray task.

    Args:
        function: importable by name, on every machine.
        items: what travels with each task; small.
        done: called here with each result, or with what was lost.
        shared: the name of an item's value, and how to make it: made and stored once a name.
        workers: how many tasks run at once; None for as many as there is room for.
        address: the cluster to join; None starts one on this machine.
        needs: what each task asks for.

    Raises:
        UsageError: if Ray is not installed, no cluster answers, or no machine of it has what a
            task needs.
    """
    ray, needs = _imported(), needs or Needs()
    with _joined(ray, address, workers):
        _check(ray, needs)
        remote = ray.remote(function).options(
            num_cpus=needs.cpus, num_gpus=needs.gpus, memory=needs.memory_bytes or None,
            max_retries=MAX_RETRIES,
        )  # fmt: skip
        most = workers or _WAITING_A_CORE * max(1, int(ray.cluster_resources()["CPU"]))
        stored: dict[str, Any] = {}

        def submit(item: Item) -> Any:
            name, make = shared(item)
            if name not in stored:
                stored[name] = ray.put(make())
            return remote.remote(item, stored[name])

        _run_all(ray, submit, items, done, most)


def _run_all(
    ray: Any, submit: Callable[[Item], Any], items: Sequence[Item], done: Done[Item, Any], most: int
) -> None:
    waiting, left = {}, list(reversed(items))
    while waiting or left:
        while left and len(waiting) < most:
            item = left.pop()
            waiting[submit(item)] = item
        (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
        done(waiting.pop(ready), _result(ray, ready))


def _result(ray: Any, ready: Any) -> Any:
    """What a task gave; a fault of the function is raised, a lost machine is not."""
    try:
        return ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError:
        return LostError(LOST)


def _imported() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UsageError(
            "the engine 'ray' needs Ray, which is not installed: "
            "pip install 'sparse-circuitkit[ray]', or use the engine 'local'."
        ) from None
    return ray


@contextmanager
def _joined(ray: Any, address: str | None, workers: int | None) -> Iterator[None]:
    """A cluster to use: the one that is joined already, that at the address, or one of our own.

    One that is started here stays off the network, and leaves no files.
    """
    if ray.is_initialized():
        if address is not None:
            raise UsageError(
                f"address {address!r}: this process has joined a Ray cluster already. Leave the "
                "address out to use that one, or call ray.shutdown() first."
            )
        yield
        return
    _answers(address)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        options = {"address": address}
        if address is None:
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
            n_cpus = workers or available_cores()
            options = {"address": "local", "num_cpus": n_cpus, "_temp_dir": folder}
        try:
            ray.init(log_to_driver=False, include_dashboard=None if address else False,
                     logging_level="ERROR", **options)  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(_unreachable(address, error)) from None
        try:
            yield
        finally:
            ray.shutdown()


def _answers(address: str | None) -> None:
    """Something listens at the address: Ray itself would try for many minutes."""
    host, colon, port = (address or "").rpartition(":")
    if not (colon and port.isdecimal() and "/" not in host):
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(_unreachable(address, error)) from None


def _unreachable(address: str | None, error: Exception) -> str:
    why = (str(error) or type(error).__name__).splitlines()[0].removesuffix(".")
    if address is None:
        return f"Ray could not be started on this machine: {why}. Use the engine 'local'."
    return (
        f"no Ray cluster answers at {address}: {why}. Start one with 'ray start --head' and give "
        "its address, or leave the address out to start one on this machine."
    )


def _check(ray: Any, needs: Needs) -> None:
    """A task that no machine has room for would wait for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(needs.fit(resources) for resources in machines):
        raise UsageError(
            f"no machine of the Ray cluster has what a cell asks for: {needs.cpus} core, "
            f"{needs.gpus:g} GPU, {needs.memory_bytes / 2**30:.1f} GiB of memory. Join machines "
            "that do, or use --device cpu."
        )
