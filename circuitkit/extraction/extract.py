"""Extract: from a checkpoint and a task to the smallest circuit that does the task.

In: a checkpoint, a task, a target loss. Out: an ``Extraction``: the circuit, the
ablation values it was found under, and the record of the search. Source: Gao et
al. 2025, sections 2.2 and A.5, and EXTRACTION section 5 for what is ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.asking import remarks
from circuitkit.checkpoints.native import REFERENCE
from circuitkit.checkpoints.reference import describe_reference
from circuitkit.circuit import Circuit
from circuitkit.circuit_files import forget_other
from circuitkit.extraction.candidates import find_candidates
from circuitkit.extraction.config import DEFAULT, ExtractConfig
from circuitkit.extraction.cut import Kept, drop_edges
from circuitkit.extraction.discretise import ranked_nodes
from circuitkit.extraction.edges import edges_between
from circuitkit.extraction.judge import PUSH, Judge
from circuitkit.extraction.means import (
    Means,
    Progress,
    halves_differ,
    measure_means,
    silent,
    zero_means,
)
from circuitkit.extraction.neighbours import explore
from circuitkit.extraction.partial import Partial, search_key
from circuitkit.extraction.restarts import run_restarts, single_threaded
from circuitkit.extraction.results import Found, describe, settings_of, tell
from circuitkit.extraction.search import Restart
from circuitkit.extraction.target import Target, choose_target
from circuitkit.files import write_whole
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import NodeSet
from circuitkit.task import Split, Task

FILE = "pruning.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """A circuit with everything that its folder holds beside it.

    ``remarks`` say in words what is odd about the pairs; ``pruning`` holds them too.
    """

    circuit: Circuit
    means: Means
    pruning: Mapping[str, Any]
    remarks: tuple[str, ...] = ()

    def save(self, folder: str | Path) -> None:
        """Write ``means.safetensors``, ``pruning.json`` and last ``circuit.json``.

        Of another circuit that the folder held nothing is left.
        """
        forget_other(Path(folder), self.circuit)
        self.means.save(folder)
        write_whole(Path(folder) / FILE, json.dumps(self.pruning) + "\n")
        self.circuit.save(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Splits:
    train: EncodedPairs
    select: EncodedPairs
    test: EncodedPairs
    remarks: tuple[str, ...]


def run_extraction(
    checkpoint: Checkpoint,
    task: Task,
    config: ExtractConfig = DEFAULT,
    *,
    reference: Int[Tensor, "n length"] | None = None,
    within: NodeSet | None = None,
    partial: Partial | None = None,
    progress: Progress = silent,
) -> Extraction:
    """Find the smallest circuit that does a task.

    Args:
        checkpoint: the model.
        task: what the circuit has to do.
        config: a method, a target, how hard to try.
        reference: the sample to measure means over; None for the checkpoint's own.
        within: the nodes a circuit may have, the others being ablated; None for all.
        partial: where finished parts are kept, and taken up from; None for nowhere.
        progress: told how far each stage is.

    Raises:
        TaskError: if the task cannot be asked of this checkpoint, or the checkpoint does not
            do it and no target was asked for.
        CheckpointError: if weights or reference are wrong.
    """
    splits = _encode(checkpoint, task, config)
    model = checkpoint.load_model()
    about = f"{task.name} on {checkpoint.name}"
    target = choose_target(model, splits.select, config.target_loss_nats, about)
    partial = partial or Partial()
    partial.begin(search_key(checkpoint, task, config, reference, within))
    sample = _sample(checkpoint, config, reference)
    means = partial.means(model.arch.widths)
    if means is None:
        means = _means(checkpoint, model, config, sample, progress)
        partial.keep_means(means)
    is_pushed = config.ablation == "mean" and sample is not None and halves_differ(sample)
    judge = _judge(model, means, splits, target, config, is_pushed=is_pushed)
    train, n_within = splits.train, None if within is None else len(within)
    if within is None:
        within = find_candidates(train, judge, progress=progress)
    with single_threaded() as n_workers:
        restarts = run_restarts(train, judge, config, within, partial, progress, n_workers)
        found = _settle(restarts, judge, train, config, within, progress)
    circuit = describe(checkpoint, task, config, judge, means, splits.test, found, target)
    circuit = circuit.model_copy(
        update={
            "search": settings_of(config, n_within),
            "reference": None if sample is None else describe_reference(checkpoint, sample),
        }
    )
    pruning = tell(config, restarts, found, splits.remarks)
    return Extraction(circuit=circuit, means=means, pruning=pruning, remarks=splits.remarks)


def extract(
    checkpoint: Checkpoint,
    task: Task,
    *,
    target_loss_nats: float | None = None,
    seed: int = 0,
    partial: Partial | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Circuit:
    """``run_extraction`` for those who want the circuit alone; ``options`` as ``ExtractConfig``."""
    config = ExtractConfig(target_loss_nats=target_loss_nats, seed=seed, **options)
    return run_extraction(checkpoint, task, config, partial=partial, progress=progress).circuit


def _encode(checkpoint: Checkpoint, task: Task, config: ExtractConfig) -> _Splits:
    """Draw every split; the test split is scored once, at the very end.

    The ood split is for validation alone: what cannot be asked there is refused before the
    search and not after it.
    """
    train = checkpoint.ask(task, "train", config.n_train, config.seed, copies=True)
    rest: dict[Split, int] = {"select": config.n_select, "test": config.n_test}
    rest |= {"ood": config.n_test} if task.templates("ood") else {}
    asked: dict[Split, EncodedPairs] = {
        split: checkpoint.ask(task, split, n, config.seed) for split, n in rest.items()
    }
    return _Splits(
        train=train, select=asked["select"], test=asked["test"],
        remarks=remarks({"train": train, **asked}),
    )  # fmt: skip


def _sample(
    checkpoint: Checkpoint, config: ExtractConfig, reference: Tensor | None
) -> Tensor | None:
    """The sample to measure over; zeros need none, but the checkpoint's own is kept account of."""
    if reference is not None:
        return reference
    if config.ablation == "zero" and not (checkpoint.path / REFERENCE).exists():
        return None
    return checkpoint.load_reference()


def _means(
    checkpoint: Checkpoint, model: Transformer, config: ExtractConfig,
    sample: Tensor | None, progress: Progress,
) -> Means:  # fmt: skip
    if config.ablation == "zero" or sample is None:
        return zero_means(model.arch.widths, checkpoint.sha256)
    return measure_means(model, sample, checkpoint_sha256=checkpoint.sha256, progress=progress)


def _judge(
    model: Transformer, means: Means, splits: _Splits, target: Target, config: ExtractConfig,
    *, is_pushed: bool,
) -> Judge:  # fmt: skip
    """Who decides: by the upper bound and the drift, or by the mean loss as the paper does."""
    is_strict = config.schedule != "paper"
    return Judge(
        model=model,
        values=means.values,
        pushed=(means.pushed(PUSH), means.pushed(-PUSH)) if is_strict and is_pushed else (),
        pairs=splits.select,
        target_loss_nats=target.loss_nats,
        is_strict=is_strict,
    )


def _settle(
    restarts: list[Restart], judge: Judge, train: EncodedPairs, config: ExtractConfig,
    within: NodeSet | None, progress: Progress,
) -> Found:  # fmt: skip
    """The best restart, moved to what is smaller near it; edge by edge if asked."""
    best = min(restarts, key=lambda restart: restart.size)
    if best.outcome != "target_met" or not config.refine:
        edges = edges_between(judge.model, best.nodes)
        return Found(restart=best, kept=Kept(nodes=best.nodes, edges=edges))
    met = [restart.nodes for restart in restarts if restart.outcome == "target_met"]
    nodes, *others = explore(met, judge, train, within=within, progress=progress)
    kept = Kept(nodes=nodes, edges=edges_between(judge.model, nodes))
    if config.granularity == "edge":
        kept = drop_edges(nodes, judge, ranked_nodes(best.scores), progress)
    alternatives = tuple(other for other in others if len(other) <= len(nodes))
    return Found(restart=best, kept=kept, alternatives=alternatives)
