"""Extract: from a checkpoint and a task to the smallest circuit that does the task.

In: a checkpoint, a task, a target loss. Out: an ``Extraction``: the circuit, the
ablation values it was found under, and the record of the search. Source: Gao et
al. 2025, sections 2.2 and A.5, and EXTRACTION section 5 for what is ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.circuit import Ablation, Circuit, Minimality, Outcome
from circuitkit.errors import UsageError
from circuitkit.extraction.discretise import discretise, ranked_nodes
from circuitkit.extraction.edges import edges_between
from circuitkit.extraction.eliminate import eliminate
from circuitkit.extraction.judge import PUSH, Judge
from circuitkit.extraction.learn import PruningConfig, Scores, learn_masks
from circuitkit.extraction.masked import tapped_differences
from circuitkit.extraction.means import Means, Progress, measure_means, silent, zero_means
from circuitkit.extraction.score import four_differences
from circuitkit.extraction.surroundings import describe_surroundings
from circuitkit.files import write_whole
from circuitkit.model import EncodedPairs, Transformer, pair_losses
from circuitkit.nodes import NodeSet
from circuitkit.provenance import Named, record
from circuitkit.task import Task

FORMAT = "circuitkit.pruning/1"
FILE = "pruning.json"

DEFAULT_TARGET_NATS = 0.15
RAISED_BY_NATS = 0.05
_ROOM_NATS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig:
    """What an extraction is asked for.

    ``target_loss_nats`` None asks for 0.15, raised when the model itself misses it.
    """

    target_loss_nats: float | None = None
    ablation: Ablation = "mean"
    restarts: int = 1
    seed: int = 0
    n_train: int = 1024
    n_select: int = 192
    n_test: int = 512
    pruning: PruningConfig = field(default_factory=PruningConfig)

    def __post_init__(self) -> None:
        target = self.target_loss_nats
        if target is not None and not 0 < target < float("inf"):
            raise UsageError(f"target loss {target}: expected a positive number of nats.")
        if self.restarts < 1:
            raise UsageError(f"restarts {self.restarts}: expected at least 1.")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed}: expected 0 or more.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Restart:
    """One mask learning followed to its 1-minimal end."""

    scores: Scores
    outcome: Outcome
    nodes: NodeSet
    n_edges: int
    n_judged: int

    @property
    def size(self) -> tuple[bool, int, int]:
        """What restarts are compared by: target met first, then edges, then nodes."""
        return (self.outcome != "target_met", self.n_edges, len(self.nodes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """A circuit with everything that its folder holds beside it."""

    circuit: Circuit
    means: Means
    pruning: Mapping[str, Any]

    def save(self, folder: str | Path) -> None:
        """Write ``means.safetensors``, ``pruning.json`` and last ``circuit.json``."""
        self.means.save(folder)
        write_whole(Path(folder) / FILE, json.dumps(self.pruning) + "\n")
        self.circuit.save(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Splits:
    train: EncodedPairs
    select: EncodedPairs
    test: EncodedPairs


def run_extraction(
    checkpoint: Checkpoint,
    task: Task,
    config: ExtractConfig = ExtractConfig(),
    *,
    reference: Int[Tensor, "n length"] | None = None,
    progress: Progress = silent,
) -> Extraction:
    """Find the smallest circuit that does a task.

    Raises:
        TaskError: if the task cannot be asked of this checkpoint.
        CheckpointError: if weights or reference are wrong.
    """
    splits = _encode(checkpoint, task, config)
    model = checkpoint.load_model()
    means = _means(checkpoint, model, config, reference, progress)
    target, requested = _target(model, splits.select, config)
    judge = Judge(
        model=model,
        values=means.values,
        pushed=(means.pushed(PUSH), means.pushed(-PUSH)),
        pairs=splits.select,
        target_loss_nats=target,
    )
    restarts = [
        search_once(splits.train, judge, config, i, progress) for i in range(config.restarts)
    ]
    best = min(restarts, key=lambda restart: restart.size)
    circuit = _describe(checkpoint, task, config, model, means, splits, judge, best, requested)
    return Extraction(circuit=circuit, means=means, pruning=_record(config, restarts, best))


def extract(
    checkpoint: Checkpoint,
    task: Task,
    *,
    target_loss_nats: float | None = None,
    seed: int = 0,
    progress: Progress = silent,
    **options: Any,
) -> Circuit:
    """``run_extraction`` for those who want the circuit alone; ``options`` as ``ExtractConfig``."""
    config = ExtractConfig(target_loss_nats=target_loss_nats, seed=seed, **options)
    return run_extraction(checkpoint, task, config, progress=progress).circuit


def _encode(checkpoint: Checkpoint, task: Task, config: ExtractConfig) -> _Splits:
    """Draw the three splits; the test split is scored once, at the very end."""
    return _Splits(
        train=checkpoint.encode(task.up_to("train", config.n_train, config.seed)),
        select=checkpoint.encode(task.up_to("select", config.n_select, config.seed)),
        test=checkpoint.encode(task.up_to("test", config.n_test, config.seed)),
    )


def _means(
    checkpoint: Checkpoint, model: Transformer, config: ExtractConfig,
    reference: Tensor | None, progress: Progress,
) -> Means:  # fmt: skip
    if config.ablation == "zero":
        return zero_means(model.arch.widths, checkpoint.sha256)
    sample = checkpoint.load_reference() if reference is None else reference
    return measure_means(model, sample, checkpoint_sha256=checkpoint.sha256, progress=progress)


def _target(
    model: Transformer, select: EncodedPairs, config: ExtractConfig
) -> tuple[float, float | None]:
    """The target, and the one asked for if the model's own loss forced it up."""
    if config.target_loss_nats is not None:
        return config.target_loss_nats, None
    own = float(pair_losses(tapped_differences(model, select, None)).mean())
    if own <= DEFAULT_TARGET_NATS - _ROOM_NATS:
        return DEFAULT_TARGET_NATS, None
    return own + RAISED_BY_NATS, DEFAULT_TARGET_NATS


def search_once(
    train: EncodedPairs, judge: Judge, config: ExtractConfig, index: int, progress: Progress
) -> Restart:
    """Learn masks, discretise, eliminate: one candidate circuit."""
    asked = judge.n_asked
    scores = learn_masks(
        judge.model, train, judge.values, target_loss_nats=judge.target_loss_nats,
        config=config.pruning, seed=1000 * config.seed + index, progress=progress,
    )  # fmt: skip
    outcome: Outcome = "target_met"
    nodes = discretise(scores, judge)
    if nodes is None:
        outcome = "target_missed" if len(scores.learned) else "collapsed"
        nodes = scores.learned
    else:
        nodes = eliminate(nodes, judge, ranked_nodes(scores), progress)
    return Restart(
        scores=scores, outcome=outcome, nodes=nodes,
        n_edges=len(edges_between(judge.model, nodes)), n_judged=judge.n_asked - asked,
    )  # fmt: skip


def _describe(
    checkpoint: Checkpoint, task: Task, config: ExtractConfig, model: Transformer, means: Means,
    splits: _Splits, judge: Judge, best: Restart, requested: float | None,
) -> Circuit:  # fmt: skip
    scored = four_differences(model, splits.test, best.nodes, judge.values)
    edges = edges_between(model, best.nodes)
    minimality = Minimality(
        nodes_1_minimal=best.outcome == "target_met", edges_1_minimal=False, split="select",
        n_pairs=len(splits.select),
    )  # fmt: skip
    return Circuit(
        task=Named(name=task.name, sha256=task.sha256),
        checkpoint=Named(name=checkpoint.name, sha256=checkpoint.sha256),
        means_sha256=means.sha256,
        ablation=config.ablation,
        target_loss_nats=judge.target_loss_nats,
        requested_target_loss_nats=requested,
        granularity="node",
        seed=config.seed,
        outcome=best.outcome,
        nodes=best.nodes,
        edges=edges,
        n_nodes=len(best.nodes),
        n_edges=len(edges),
        n_edges_induced=len(edges),
        loss_nats=scored.losses(),
        accuracy=scored.accuracies(),
        n_pairs=len(splits.test),
        minimality=minimality,
        surroundings=describe_surroundings(checkpoint, model, task, best.nodes, judge.values),
        provenance=record("circuitkit extract", asdict(config), config.seed),
    )


def _record(config: ExtractConfig, restarts: list[Restart], best: Restart) -> dict[str, Any]:
    """``pruning.json``: the settings, every restart's way and size, the scores of the best."""
    return {
        "format": FORMAT,
        "config": asdict(config),
        "outcome": best.outcome,
        "chosen_restart": restarts.index(best),
        "restarts": [
            {
                "outcome": restart.outcome,
                "n_nodes_learned": len(restart.scores.learned),
                "n_nodes": len(restart.nodes),
                "n_edges": restart.n_edges,
                "n_judged": restart.n_judged,
            }
            for restart in restarts
        ],
        "history": [list(row) for row in best.scores.history],
        "scores": {str(s): [round(x, 4) for x in r.tolist()] for s, r in best.scores.ranks.items()},
    }
