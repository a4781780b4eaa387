"""Extract: from a checkpoint and a task to a small, 1-minimal circuit that does the task.

In: a checkpoint, a task, a target loss. Out: an ``Extraction``: the circuit, the ablation
values it was found under, and the record of the search; and, if asked, its folder. Source: Gao
et al. 2025, sections 2.2 and A.5; what is ours: docs/extraction.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.native import REFERENCE
from circuitkit.checkpoints.pair_remarks import remarks
from circuitkit.checkpoints.reference import describe_reference, load_reference
from circuitkit.circuit import Ablation, Circuit, CircuitFolder, Granularity
from circuitkit.circuit.circuit_json import FILE as CIRCUIT
from circuitkit.circuit.folder import PRUNING
from circuitkit.extraction.candidates import find_candidates
from circuitkit.extraction.circuit_record import Found, describe, search_record, settings_of
from circuitkit.extraction.criterion import PUSH, Criterion
from circuitkit.extraction.discretise import ranked_nodes
from circuitkit.extraction.edge_pruning import Kept, drop_edges
from circuitkit.extraction.extract_config import DEFAULT, ExtractConfig, Method, Schedule
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.local_search import explore
from circuitkit.extraction.mask_learning import PruningConfig
from circuitkit.extraction.means import Means, halves_differ, measure_means, zero_means
from circuitkit.extraction.restarts import run_restarts, single_threaded
from circuitkit.extraction.resume import SavedSearch, search_key
from circuitkit.extraction.search import Restart
from circuitkit.extraction.target_loss import Target, choose_target
from circuitkit.files import write_whole
from circuitkit.model import EncodedPairs, Transformer
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress, shown
from circuitkit.task import Split, Task, load_task
from circuitkit.views.diagram import write_diagram
from circuitkit.views.tables import write_tables

Sample = Int[Tensor, "n length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """A circuit with everything else that its folder holds.

    ``remarks`` say in words what is unusual about the pairs; ``pruning`` holds them too.
    """

    circuit: Circuit
    means: Means
    pruning: Mapping[str, Any]
    remarks: tuple[str, ...] = ()

    def save(self, folder: str | Path) -> None:
        """Write ``means.safetensors``, ``pruning.json`` and last ``circuit.json``.

        Files of another circuit in the folder are removed.
        """
        CircuitFolder(Path(folder)).forget_other(self.circuit)
        self.means.save(folder)
        write_whole(Path(folder) / PRUNING, json.dumps(self.pruning) + "\n")
        self.circuit.save(folder)

    def __repr__(self) -> str:
        return f"Extraction({self.circuit!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Splits:
    train: EncodedPairs
    select: EncodedPairs
    test: EncodedPairs
    remarks: tuple[str, ...]


@checked_call
def extract(
    checkpoint: Checkpoint | str | Path,
    task: Task | str | Path,
    *,
    target_loss_nats: float | None = None,
    ablation: Ablation = "mean",
    method: Method = "pruning",
    schedule: Schedule = "dual",
    refine: bool = True,
    granularity: Granularity = "node",
    calibrate: bool = False,
    restarts: int = 4,
    tune: int = 0,
    n_gradient_points: int = 1,
    seed: int = 0,
    n_train: int = 1024,
    n_select: int = 192,
    n_test: int = 512,
    pruning: PruningConfig | None = None,
    reference: Sample | str | Path | None = None,
    reference_tokens: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Circuit:
    """Find a small circuit of a checkpoint that does a task.

    The settings are those of ``ExtractConfig``, the rest as in ``run_extraction``, which
    returns the ablation values and the record of the search too.

    Example:
        >>> import circuitkit as ck
        >>> circuit = ck.extract("tinypython-nano", "for_while", out="out/for_while")
        ... # doctest: +SKIP
    """
    config = ExtractConfig(
        target_loss_nats=target_loss_nats, ablation=ablation, method=method, schedule=schedule,
        refine=refine, granularity=granularity, calibrate=calibrate, restarts=restarts, tune=tune,
        n_gradient_points=n_gradient_points, seed=seed, n_train=n_train, n_select=n_select,
        n_test=n_test, pruning=pruning,
    )  # fmt: skip
    return run_extraction(
        checkpoint, task, config, reference=reference, reference_tokens=reference_tokens, out=out,
        resume=resume, progress=progress,
    ).circuit  # fmt: skip


@checked_call
def run_extraction(
    checkpoint: Checkpoint | str | Path,
    task: Task | str | Path,
    config: ExtractConfig = DEFAULT,
    *,
    reference: Sample | str | Path | None = None,
    reference_tokens: int | None = None,
    within: NodeSet | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Extraction:
    """Find a small circuit of a checkpoint that does a task, with everything its folder holds.

    Args:
        checkpoint: the model, a bundled name or a folder.
        task: what the circuit has to do: a task, a built-in name or a file.
        config: the method, the target and the effort of the search.
        reference: the sample to measure means over: tokens, a text file, a folder of text or a
            ``.safetensors``; None for the checkpoint's own.
        reference_tokens: use at most so many tokens of it; None for all.
        within: the nodes a circuit may have, the others being ablated; None for all.
        out: the folder to write, with diagram and tables; None for no folder.
        resume: go on with a search that was stopped in ``out``; where this very extraction is
            finished there, read it.
        progress: called after each step; None shows a bar in a terminal or a notebook.

    Raises:
        TaskError: if the task cannot be asked of this checkpoint, or the checkpoint does not
            do it and no target was asked for.
        CheckpointError: if weights or reference are wrong.
        UsageError: if ``out`` holds something else, or an argument is of the wrong kind.
    """
    checkpoint, task = load_checkpoint(checkpoint), load_task(task)
    where = str(Path(reference).resolve()) if isinstance(reference, str | Path) else None
    sample = _sample(checkpoint, config, reference, reference_tokens)
    splits = _encode(checkpoint, task, config)
    key = search_key(checkpoint, task, config, sample, within)
    folder = None if out is None else CircuitFolder.claim(out)
    with shown(progress) as report:
        if folder and resume and (done := _finished(folder, key, checkpoint, report)):
            return done
        saved = SavedSearch(folder)
        saved.begin(key, resume=resume)
        extraction = _search(checkpoint, task, config, sample, within, splits, saved, report)
        if folder:
            sources = {"checkpoint": checkpoint.where, "reference": where, "search": key}
            folder.save_sources(task, sources)
            extraction.save(folder.path)
            _draw(folder, extraction.circuit, report)
            saved.end()
    return extraction


def _search(
    checkpoint: Checkpoint, task: Task, config: ExtractConfig, sample: Tensor | None,
    within: NodeSet | None, splits: _Splits, saved: SavedSearch, progress: Progress,
) -> Extraction:  # fmt: skip
    """The steps of the search, one call each."""
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


def _finished(
    folder: CircuitFolder, key: str, checkpoint: Checkpoint, progress: Progress
) -> Extraction | None:
    """The extraction in a folder, if it is the one that these inputs give."""
    if not (folder.path / CIRCUIT).exists() or folder.sources.get("search") != key:
        return None
    circuit = folder.circuit
    if not folder.is_drawn:
        _draw(folder, circuit, progress)
    pruning = folder.pruning or {}
    return Extraction(
        circuit=circuit,
        means=Means.load(folder.path, checkpoint.architecture.widths),
        pruning=pruning,
        remarks=tuple(pruning.get("remarks", ())),
    )


def _draw(folder: CircuitFolder, circuit: Circuit, progress: Progress) -> None:
    """Write what is drawn from the circuit: its tables, its diagram."""
    write_tables(circuit, folder.path)
    progress("diagram", 0, 1)
    write_diagram(circuit, folder.path)
    progress("diagram", 1, 1)


def _encode(checkpoint: Checkpoint, task: Task, config: ExtractConfig) -> _Splits:
    """Draw every split; the test split is scored once, at the very end.

    The ood split is for validation only. Its pairs are checked here, so that an error comes
    before the search and not after it.
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
    checkpoint: Checkpoint, config: ExtractConfig, reference: Sample | str | Path | None,
    n_tokens: int | None,
) -> Sample | None:  # fmt: skip
    """The sample to measure over; zero ablation needs none, but records the checkpoint's own."""
    has_none = reference is None and not (checkpoint.path / REFERENCE).exists()
    if has_none and config.ablation == "zero":
        return None
    return load_reference(checkpoint, reference, n_tokens)


def _means(
    checkpoint: Checkpoint, model: Transformer, config: ExtractConfig,
    sample: Tensor | None, progress: Progress,
) -> Means:  # fmt: skip
    if config.ablation == "zero" or sample is None:
        return zero_means(model.arch.widths, checkpoint.sha256)
    return measure_means(model, sample, checkpoint_sha256=checkpoint.sha256, progress=progress)


def _criterion(
    model: Transformer, means: Means, splits: _Splits, target: Target, config: ExtractConfig,
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
