"""Extract: from a checkpoint and a task to a small, 1-minimal circuit that does the task.

In: a checkpoint, a task, a target loss. Out: an ``Extraction``: the circuit, the ablation
values it was found under, and the record of the search; and, if asked, its folder. Source: Gao
et al. 2025, sections 2.2 and A.5; what is ours: docs/extraction.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.circuit import (
    Ablation,
    Circuit,
    CircuitFolder,
    Explanation,
    Granularity,
    Rung,
)
from circuitkit.errors import SavedInterrupt, UsageError
from circuitkit.extraction.asks import DEFAULT_ASKS, AskName
from circuitkit.extraction.circuit_record import Extraction
from circuitkit.extraction.extract_config import DEFAULT, ExtractConfig, Method, Schedule
from circuitkit.extraction.extraction_inputs import ExtractionInputs, Sample, read_inputs
from circuitkit.extraction.find_circuit import find_circuit
from circuitkit.extraction.ladder import read_ladder
from circuitkit.extraction.mask_learning import PruningConfig
from circuitkit.extraction.means import Means
from circuitkit.extraction.resume import SavedSearch
from circuitkit.extraction.search import Restart
from circuitkit.model.device import device_named, repeatable
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress, shown
from circuitkit.task import Task, load_task
from circuitkit.views.diagram import write_diagram
from circuitkit.views.paths_diagram import write_paths
from circuitkit.views.tables import write_tables


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
    on_average: bool = False,
    restarts: int = 4,
    tune: int = 0,
    n_gradient_points: int = 1,
    seed: int = 0,
    n_train: int = 1024,
    n_select: int = 192,
    n_test: int = 512,
    pruning: PruningConfig | None = None,
    rung: Rung | None = None,
    asks: Sequence[AskName] = DEFAULT_ASKS,
    reference: Sample | str | Path | None = None,
    reference_tokens: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Circuit:
    """Find a small circuit of a checkpoint that does a task.

    The settings are those of ``ExtractConfig``, the rest as in ``run_extraction``, which
    returns the ablation values and the record of the search too.

    Examples:
        >>> import circuitkit as ck
        >>> # circuitkit plant either_feature --out out/planted
        >>> circuit = ck.extract(
        ...     "out/planted", "out/planted/task.jsonl", rung="smallest", restarts=1, n_train=32,
        ...     out="out/found",
        ... )
        >>> circuit.outcome
        'target_met'
    """
    config = ExtractConfig(
        target_loss_nats=target_loss_nats, ablation=ablation, method=method, schedule=schedule,
        refine=refine, granularity=granularity, calibrate=calibrate, on_average=on_average,
        restarts=restarts, tune=tune, n_gradient_points=n_gradient_points, seed=seed,
        n_train=n_train, n_select=n_select, n_test=n_test, pruning=pruning, rung=rung,
        asks=tuple(asks),
    )  # fmt: skip
    return run_extraction(
        checkpoint, task, config, reference=reference, reference_tokens=reference_tokens, out=out,
        resume=resume, device=device, progress=progress,
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
    means: Means | None = None,
    out: str | Path | None = None,
    resume: bool | Literal["or_replace"] = False,
    brief: bool = False,
    begun: Sequence[Restart] = (),
    device: str | torch.device = "cpu",
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
        means: the ablation values, where they were measured over this reference already.
        out: the folder to write, with diagram and tables; None for no folder.
        resume: go on with a search that was stopped in ``out``; where this very extraction is
            finished there, read it. One of other settings is refused, or with ``or_replace``
            replaced.
        brief: leave out ladder, explanation and drawings, for many circuits of which the nodes
            are wanted.
        begun: the restarts of the same extraction with fewer of them, which are not run again.
        device: where the model computes: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called after each step; None shows a bar in a terminal or a notebook.

    Raises:
        TaskError: if the task cannot be asked of this checkpoint, or the checkpoint does not
            do it and no target was asked for.
        CheckpointError: if weights or reference are wrong.
        UsageError: if ``out`` holds something else, or with ``resume`` another extraction, an
            argument is of the wrong kind, or the device is not there.
        SavedInterrupt: at Ctrl-C, once ``out`` holds finished parts to go on with.

    Examples:
        >>> import circuitkit as ck
        >>> # circuitkit plant either_feature --out out/planted
        >>> quick = ck.ExtractConfig(rung="smallest", restarts=1, n_train=32, n_select=16)
        >>> extraction = ck.run_extraction("out/planted", "out/planted/task.jsonl", quick)
        >>> extraction.circuit.outcome, extraction.circuit.n_nodes
        ('target_met', 10)
    """
    place = device_named(device)
    checkpoint, task = load_checkpoint(checkpoint), load_task(task)
    inputs = read_inputs(checkpoint, task, config, reference, reference_tokens, within)
    inputs = replace(inputs, means=means, brief=brief, begun=begun)
    folder = None if out is None else CircuitFolder.claim(out)
    if folder and resume is True:
        _check_same(folder, inputs.key)
    with shown(progress) as report:
        if folder and resume and (done := _finished(folder, inputs, report)):
            return done
        saved = SavedSearch(folder)
        saved.begin(inputs.key, resume=bool(resume))
        try:
            with repeatable(place):
                extraction = find_circuit(inputs, saved, report, place)
        except KeyboardInterrupt:
            raise SavedInterrupt if saved.is_begun else KeyboardInterrupt from None
        if folder:
            folder.forget_other(extraction.circuit)
            folder.save_sources(task, inputs.sources)
            extraction.save(folder.path)
            if not brief:
                _draw(folder, extraction.circuit, extraction.explanation, report)
            saved.end()
    return extraction


def _check_same(folder: CircuitFolder, key: str) -> None:
    """Refuse to go on with another search: what it found would be lost."""
    begun = SavedSearch(folder).key_in_folder
    if (begun or folder.holds_one) and (begun or folder.sources.get("search")) != key:
        what = "the finished parts of a search" if begun else "a circuit that was found"
        raise UsageError(
            f"{folder.path} holds {what} with other settings, or by another version, and resume "
            "goes on with the same alone. Ask as before, or leave resume out to begin anew, in "
            "its place."
        )


def _finished(
    folder: CircuitFolder, inputs: ExtractionInputs, progress: Progress
) -> Extraction | None:
    """The extraction in a folder, if it is the one that these inputs give."""
    if not folder.holds_one or folder.sources.get("search") != inputs.key:
        return None
    ladder = read_ladder(folder.path)
    if not (ladder or inputs.brief):
        return None
    circuit = folder.circuit
    if not (folder.is_drawn or inputs.brief):
        _draw(folder, circuit, folder.explanation, progress)
    SavedSearch(folder).end()  # left by one that was killed behind its circuit
    pruning = folder.pruning or {}
    return Extraction(
        circuit=circuit,
        means=Means.load(folder.path, inputs.checkpoint.architecture.widths),
        pruning=pruning,
        remarks=tuple(pruning.get("remarks", ())),
        smallest=folder.smallest,
        ladder=ladder,
        explanation=folder.explanation,
    )


def _draw(
    folder: CircuitFolder, circuit: Circuit, explanation: Explanation | None, progress: Progress
) -> None:
    """Write what is drawn from the circuit: its tables, its diagrams."""
    write_tables(circuit, folder.path)
    progress("diagram", 0, 1)
    write_diagram(circuit, folder.path)
    if explanation is not None and circuit.nodes:
        write_paths(circuit, explanation, folder.path)
    progress("diagram", 1, 1)
