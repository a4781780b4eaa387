"""Extract by family: the circuit of the whole task, one of each family, and how they transfer.

In: a checkpoint, a task, the settings of an extraction. Out: ``ByFamily``, and if asked a folder
with the whole circuit, the parts (``families/NAME``, circuit folders themselves) ``transfer.json``
and ``families.svg``. The searches share the model's means, and in a large model the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.circuit import CircuitFolder
from circuitkit.circuit.folder import FAMILIES_SVG
from circuitkit.circuit.transfer import Transfer
from circuitkit.errors import UsageError
from circuitkit.extraction import ExtractConfig, Extraction, run_extraction
from circuitkit.extraction.extract_config import DEFAULT
from circuitkit.extraction.extraction_inputs import Sample
from circuitkit.families.family_search import FamilySearch
from circuitkit.families.find_families import find_families
from circuitkit.progress import Progress, shown
from circuitkit.task import Task, load_task
from circuitkit.views.overlay_diagram import write_overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class ByFamily:
    """The whole circuit, that of each family by name, and what each does on every family."""

    whole: Extraction
    parts: dict[str, Extraction]
    transfer: Transfer


@checked_call
def extract_by_family(
    checkpoint: Checkpoint | str | Path,
    task: Task | str | Path,
    config: ExtractConfig = DEFAULT,
    *,
    by: str | None = None,
    reference: Sample | str | Path | None = None,
    reference_tokens: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> ByFamily:
    """Find the circuit of a task, then one of each of its families, and compare them.

    Pairs are sorted into families ``by`` forms, effects or a column, as ``find_families`` takes
    it; every other argument is that of ``run_extraction``. The circuits of families are of the
    smallest rung, unless the config asks for ``trusted``; one restart each, and as many as the
    config allows where that is not enough.

    Raises:
        TaskError: if the task cannot be asked, or its pairs not sorted so.
        UsageError: if ``out`` holds something else, or single edges are to be dropped.
        SavedInterrupt: at Ctrl-C, once ``out`` holds finished parts to go on with.

    Examples:
        >>> import circuitkit as ck
        >>> quick = ck.ExtractConfig(
        ...     method="attribution", rung="smallest", n_train=32, n_select=16, n_test=16,
        ... )
        >>> # circuitkit plant two_mechanisms --out out/forms
        >>> found = ck.extract_by_family("out/forms", "out/forms/task.jsonl", quick, by="forms")
        >>> sorted(found.parts), found.whole.circuit.outcome
        (['far', 'near'], 'target_met')
    """
    if config.granularity == "edge":
        raise UsageError(
            "granularity 'edge' and families: what is compared is nodes. Use granularity 'node'."
        )
    checkpoint, task = load_checkpoint(checkpoint), load_task(task)
    where = {"reference": reference, "reference_tokens": reference_tokens, "device": device}
    with shown(progress) as report:
        found = find_families(
            checkpoint, task, by=by, seed=config.seed, device=device, progress=report
        )
        whole = run_extraction(
            checkpoint, task, config, out=out, resume=resume, progress=report, **where
        )
        search = FamilySearch(
            checkpoint=checkpoint, task=task, found=found, config=config, means=whole.means,
            where=where, out=None if out is None else Path(out), resume=resume, progress=report,
        )  # fmt: skip
        if out is not None:
            CircuitFolder(Path(out)).forget_parts(keep=[f.folder for f in found.families.families])
        parts = search.run()
        circuits = {name: part.circuit for name, part in parts.items()}
        transfer = search.transfer(circuits, whole.circuit)
    if out is not None:
        transfer.save(out)
        if circuits:  # none of one family alone
            write_overlay(circuits, Path(out) / FAMILIES_SVG)
    return ByFamily(whole=whole, parts=parts, transfer=transfer)
