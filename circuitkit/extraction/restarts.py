"""Restarts: the same search from several seeds, in parallel where there are cores.

In: the inputs of a search, and where finished parts are kept. Out: the restarts in order, up to
the one that finds the smallest circuit a second time, or one for each try when settings are
tuned. Each restart computes on one thread. That is faster than giving torch several threads for
each operation, and the bytes do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event

import torch

from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.resume import SavedSearch
from circuitkit.extraction.search import Restart, follow, in_force, rank
from circuitkit.extraction.tuning import AT_ONCE, Tuning
from circuitkit.model import EncodedPairs
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress


def run_restarts(
    train: EncodedPairs, criterion: Criterion, config: ExtractConfig, within: NodeSet | None,
    saved: SavedSearch, progress: Progress, n_workers: int, begun: Sequence[Restart] = (),
) -> list[Restart]:  # fmt: skip
    """As many as the config allows, ``n_workers`` at a time; the first are those ``begun``."""
    runs = _Runs(
        train=train, criterion=criterion, within=within, saved=saved, progress=progress,
        begun=begun,
    )  # fmt: skip
    with ThreadPoolExecutor(n_workers) as pool:
        try:
            return (_tuned if config.tune else _until_twice)(runs, config, pool, n_workers)
        except BaseException:
            runs.stopped.set()
            raise


def _until_twice(
    runs: _Runs, config: ExtractConfig, pool: ThreadPoolExecutor, n_workers: int
) -> list[Restart]:
    """Several seeds, at a high and a low pressure in turn, until the smallest is found twice."""
    restarts: list[Restart] = []
    for start in range(0, config.restarts, n_workers):
        some = range(start, min(start + n_workers, config.restarts))
        configs = [replace(config, pruning=config.learning.of_restart(n)) for n in some]
        restarts += pool.map(runs.one, some, configs)
        for n in range(start + 1, len(restarts) + 1):
            if _came_twice(restarts[:n]):
                return restarts[:n]
    return restarts


def _tuned(
    runs: _Runs, config: ExtractConfig, pool: ThreadPoolExecutor, n_workers: int
) -> list[Restart]:
    """Other settings each time, a round at a time."""
    restarts: list[Restart] = []
    model = runs.criterion.model
    n_edges_model = len(edges_between(model, NodeSet.full(model.arch.widths)))
    tuning = Tuning.around(config.learning, config.seed)
    while len(restarts) < config.tune:
        asked = tuning.ask(min(AT_ONCE, config.tune - len(restarts)))
        configs = [replace(config, pruning=learning) for _, learning in asked]
        found = list(pool.map(runs.one, range(len(restarts), config.tune), configs))
        sizes = [r.n_edges if r.outcome == "target_met" else n_edges_model for r in found]
        tuning.tell([trial for trial, _ in asked], sizes)
        restarts += found
    return restarts


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """What all restarts share."""

    train: EncodedPairs
    criterion: Criterion
    within: NodeSet | None
    saved: SavedSearch
    progress: Progress
    begun: Sequence[Restart] = ()
    stopped: Event = field(default_factory=Event)

    def one(self, index: int, config: ExtractConfig) -> Restart:
        """A restart, or its known result; each has its own count of the sets it tried."""
        if index < len(self.begun):
            return self.begun[index]
        criterion, progress = replace(self.criterion, n_asked=0), self._numbered(index)
        scores = self.saved.scores(index, criterion.model.arch.widths)
        if scores is None:
            seed = 1000 * config.seed + index
            scores = rank(
                self.train, criterion, config, seed, within=self.within, progress=progress
            )
            self.saved.keep_scores(index, scores)
        restart = self.saved.restart(index, scores, in_force(scores, config))
        if restart is None:
            criterion.answers = self.saved.answers(index)
            restart = follow(scores, criterion, config, progress)
            self.saved.keep_restart(index, restart)
        return restart

    def _numbered(self, index: int) -> Progress:
        """Progress under the restart's number; it stops the restart when another has failed."""

        def progress(stage: str, done: int, total: int) -> None:
            if self.stopped.is_set():
                raise InterruptedError("another restart ended the search")
            self.progress(f"{stage} {index + 1}", done, total)

        return progress


def _came_twice(restarts: list[Restart]) -> bool:
    best = min(restarts, key=lambda restart: restart.size)
    same = [restart for restart in restarts if restart.nodes == best.nodes]
    return best.outcome == "target_met" and len(same) > 1


@contextmanager
def single_threaded(device: torch.device) -> Iterator[int]:
    """Let torch compute on one thread; yields how many restarts are worth running at once.

    The search is many small operations: on a busy machine a second thread waits for the first
    more than it helps. On a CPU it is the number of threads that torch had; a GPU takes the
    operations of all restarts one after the other, so that one is enough.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield n_threads if device.type == "cpu" else 1
    finally:
        torch.set_num_threads(n_threads)
