"""The local engine: work spread over processes of this machine.

In: a function, and items for it. Out: ``done(item, result)`` for each, here, one at a time, in
the order in which they end. Each process has an executor of its own, so that one that is killed
costs the item it was at, and no other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Generic, TypeVar

from circuitkit.errors import UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

LOST = "its process was killed; if memory ran out, use fewer --workers"


class LostError(Exception):
    """An item whose process or machine went away; the message says what to do."""


Done = Callable[[Item, "Result | LostError"], None]


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(
    function: Callable[[Item], Result], items: Sequence[Item], done: Done[Item, Result],
    workers: int | None = None,
) -> None:  # fmt: skip
    """Run ``function`` on every item in ``workers`` processes; None is as many as there are cores.

    ``function`` must be importable by name: processes are spawned.

    Raises:
        UsageError: if processes cannot be started.
    """
    n = min(workers or available_cores(), max(1, len(items)))
    pool = _Pool(function)
    with ThreadPoolExecutor(n) as threads:
        futures: dict[Future[Result], Item] = {}
        try:
            futures = {threads.submit(pool.run, item): item for item in items}
            _collect(futures, done)
        except BaseException:
            for future in futures:
                future.cancel()
            pool.stop(kill=True)
            raise
        pool.stop()


def _collect(futures: dict[Future[Result], Item], done: Done[Item, Result]) -> None:
    """Hand over each result as it comes, and keep none: memory does not grow with their number."""
    for future in as_completed(list(futures)):
        item = futures.pop(future)
        try:
            result = future.result()
        except LostError as lost:
            result = lost
        done(item, result)


class _Pool(Generic[Item, Result]):
    """An executor of one process for every thread that asks."""

    def __init__(self, function: Callable[[Item], Result]) -> None:
        self.function = function
        self.own = threading.local()
        self.started: dict[int, ProcessPoolExecutor] = {}
        self.is_stopped = False

    def run(self, item: Item) -> Result:
        executor = getattr(self.own, "executor", None) or self._start()
        try:
            return executor.submit(self.function, item).result()
        except BrokenProcessPool:
            self.own.executor = None
            raise LostError(LOST) from None

    def _start(self) -> ProcessPoolExecutor:
        """A process that runs, so that one that cannot start is no fault of an item."""
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(1, mp_context=context, initializer=_begin)
        try:
            pid = executor.submit(os.getpid).result()
        except BrokenProcessPool:
            raise UsageError(
                "no process could be started for the study. In a script, call run_study under "
                "'if __name__ == \"__main__\":', or use the command 'circuitkit study'."
            ) from None
        self.started[pid] = self.own.executor = executor
        if self.is_stopped:
            _kill(pid)
        return executor

    def stop(self, *, kill: bool = False) -> None:
        """End every process, at once if so asked."""
        self.is_stopped = True
        for pid, executor in list(self.started.items()):
            if kill:
                _kill(pid)
            executor.shutdown(wait=not kill, cancel_futures=True)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _begin() -> None:
    """Leave Ctrl-C to the first process, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
