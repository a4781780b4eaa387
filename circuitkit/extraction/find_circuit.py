"""Find a circuit: the steps of the search in their order, from inputs to an ``Extraction``."""

from __future__ import annotations

from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.reference import describe_reference
from circuitkit.extraction.candidates import find_candidates
from circuitkit.extraction.circuit_record import (
    Extraction,
    Found,
    describe,
    search_record,
    settings_of,
)
from circuitkit.extraction.criterion import PUSH, Criterion
from circuitkit.extraction.discretise import ranked_nodes
from circuitkit.extraction.edge_pruning import Kept, drop_edges
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.extraction_inputs import ExtractionInputs, Splits
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.local_search import explore
from circuitkit.extraction.means import Means, halves_differ, means_of, zero_means
from circuitkit.extraction.restarts import run_restarts, single_threaded
from circuitkit.extraction.resume import SavedSearch
from circuitkit.extraction.search import Restart
from circuitkit.extraction.target_loss import Target, choose_target
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress


def find_circuit(inputs: ExtractionInputs, saved: SavedSearch, progress: Progress) -> Extraction:
    """The steps of the search, one call each.

    Raises:
        TaskError: if the checkpoint does not do the task and no target was asked for.
        CheckpointError: if its weights are wrong.
    """
    checkpoint, task, config = inputs.checkpoint, inputs.task, inputs.config
    sample, splits, within = inputs.sample, inputs.splits, inputs.within
    model = checkpoint.load_model()
    about = f"{task.name} on {checkpoint.name}"
    target = choose_target(model, splits.select, config.target_loss_nats, about)
    means = saved.means(model.arch.widths)
    if means is None:
        means = _means(checkpoint, model, config, sample, progress)
        saved.keep_means(means)
    is_pushed = config.ablation == "mean" and sample is not None and halves_differ(sample)
    criterion = _criterion(model, means, splits, target, config, is_pushed=is_pushed)
    train, n_within = splits.train, None if within is None else len(within)
    if within is None:
        within = find_candidates(train, criterion, progress=progress)
    with single_threaded() as n_workers:
        restarts = run_restarts(train, criterion, config, within, saved, progress, n_workers)
        found = _settle(restarts, criterion, train, config, within, progress)
    circuit = describe(checkpoint, task, config, criterion, means, splits.test, found, target)
    circuit = circuit.model_copy(
        update={
            "search": settings_of(config, n_within),
            "reference": None if sample is None else describe_reference(checkpoint, sample),
        }
    )
    pruning = search_record(config, restarts, found, splits.remarks)
    return Extraction(circuit=circuit, means=means, pruning=pruning, remarks=splits.remarks)


def _means(
    checkpoint: Checkpoint, model: Transformer, config: ExtractConfig,
    sample: Tensor | None, progress: Progress,
) -> Means:  # fmt: skip
    if config.ablation == "zero" or sample is None:
        return zero_means(model.arch.widths, checkpoint.sha256)
    return means_of(checkpoint, model, sample, progress)


def _criterion(
    model: Transformer, means: Means, splits: Splits, target: Target, config: ExtractConfig,
    *, is_pushed: bool,
) -> Criterion:  # fmt: skip
    """The criterion: by the upper bound and the drift, or by the mean loss as in the paper."""
    is_strict = config.schedule != "paper"
    return Criterion(
        model=model,
        values=means.values,
        pushed=(means.pushed(PUSH), means.pushed(-PUSH)) if is_strict and is_pushed else (),
        pairs=splits.select,
        target_loss_nats=target.loss_nats,
        is_strict=is_strict,
    )


def _settle(
    restarts: list[Restart], criterion: Criterion, train: EncodedPairs, config: ExtractConfig,
    within: NodeSet | None, progress: Progress,
) -> Found:  # fmt: skip
    """The best restart, improved by local search, then edge by edge if asked."""
    best = min(restarts, key=lambda restart: restart.size)
    if best.outcome != "target_met" or not config.refine:
        edges = edges_between(criterion.model, best.nodes)
        return Found(restart=best, kept=Kept(nodes=best.nodes, edges=edges))
    met = [restart.nodes for restart in restarts if restart.outcome == "target_met"]
    nodes, *others = explore(met, criterion, train, within=within, progress=progress)
    kept = Kept(nodes=nodes, edges=edges_between(criterion.model, nodes))
    if config.granularity == "edge":
        kept = drop_edges(nodes, criterion, ranked_nodes(best.scores), progress)
    alternatives = tuple(other for other in others if len(other) <= len(nodes))
    return Found(restart=best, kept=kept, alternatives=alternatives)
