"""Validate: a circuit, its checkpoint, task and means in; a verdict out.

Files that do not belong together are an error before anything runs. Integrity
and competence come first: where either fails, the rest is not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.of_circuit import check_belongs, check_nodes
from circuitkit.checkpoints.reference import sample_sha256
from circuitkit.circuit import Circuit
from circuitkit.errors import MismatchError
from circuitkit.extraction.means import Means, means_of, zero_means
from circuitkit.findings import Claim, Finding, NodeUse, Validation
from circuitkit.model import Transformer
from circuitkit.model.device import device_named, repeatable
from circuitkit.model.per_pair import losses_of
from circuitkit.progress import Progress, shown
from circuitkit.statistics.intervals import FEWEST
from circuitkit.task import Task, load_task
from circuitkit.validation.controls.rivals import rivals_among
from circuitkit.validation.controls.same_question import Question
from circuitkit.validation.form_losses import loss_by_form
from circuitkit.validation.suites import Thorough, run_default, run_thorough
from circuitkit.validation.trial import Trial
from circuitkit.validation.verdict import grade_of, weakest_of


@checked_call
def validate(
    checkpoint: Checkpoint | str | Path,
    task: Task | str | Path,
    circuit: Circuit,
    *,
    means: Means | None = None,
    reference: Int[Tensor, "n length"] | None = None,
    n_pairs: int | None = None,
    others: Sequence[Circuit] = (),
    other_tasks: Sequence[Task] = (),
    thorough: Thorough | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Validation:
    """Test every claim about a circuit, on prompts that the search never saw.

    Args:
        checkpoint: the model that the circuit is of, a bundled name or a folder.
        task: the task of the circuit: a task, a built-in name or a file.
        circuit: the circuit to test; ``validate_folder`` tests that of a folder.
        means: the ablation values of the extraction; without them they are measured again
            over the reference.
        reference: the sample of the extraction; None for the checkpoint's own.
        n_pairs: test pairs; None for as many as the extraction scored.
        others: circuits of other tasks on the same checkpoint, to compare with.
        other_tasks: their tasks, so that one that asks the same is recognised and left out;
            built-in ones need not be given.
        thorough: run the thorough suite too: minutes instead of seconds.
        device: where the model computes: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called after each step; None shows a bar in a terminal or a notebook.

    Raises:
        MismatchError: if checkpoint, task, reference or means are not those of the circuit.
        CircuitError: if the circuit names nodes that the model does not have.
        TaskError: if a pair of the task cannot be asked.
        UsageError: if an argument is of the wrong kind, or the device is not there.

    Examples:
        >>> import circuitkit as ck
        >>> folder = ck.CircuitFolder.open("out/found")
        >>> ck.validate("out/planted", folder.task, folder.circuit, n_pairs=32)["competent"].outcome
        'pass'
    """
    place = device_named(device)
    checkpoint, task = load_checkpoint(checkpoint), load_task(task)
    check_belongs(checkpoint, task, circuit)
    with shown(progress) as report, repeatable(place):
        model = checkpoint.load_model(place)
        trial = _trial(
            checkpoint, model, task, circuit, means, reference, n_pairs, others, other_tasks,
            report,
        )  # fmt: skip
        findings = run_default(trial)
        if thorough is not None:
            findings += run_thorough(trial, thorough, findings)
    return Validation(
        grade=grade_of(findings), weakest=weakest_of(findings), circuit_sha256=circuit.sha256,
        findings=findings,
        forms=loss_by_form(losses_of(trial.scored.circuit), trial.clusters, trial.seed),
        uses=_uses(trial, findings),
    )  # fmt: skip


def _uses(trial: Trial, findings: Sequence[Finding]) -> tuple[NodeUse, ...]:
    """On which forms every node matters, from what ``minimal`` measured; none if it did not."""
    tried = next(finding for finding in findings if finding.claim is Claim.MINIMAL)
    is_measured = tried.outcome != "not_run" and tried.n_clusters >= FEWEST
    return trial.left_out.uses if is_measured else ()


def _trial(
    checkpoint: Checkpoint, model: Transformer, task: Task, circuit: Circuit, means: Means | None,
    reference: Tensor | None, n_pairs: int | None, others: Sequence[Circuit],
    other_tasks: Sequence[Task], progress: Progress,
) -> Trial:  # fmt: skip
    """Everything that claims are tested on, checked to belong together."""
    check_nodes(circuit, model.arch.widths)
    sample = checkpoint.load_reference() if reference is None else reference
    if means is not None:
        check_means(circuit, means)
    _check_reference(circuit, sample, means)
    means = means or _measure(checkpoint, model, circuit, sample, progress)
    check_means(circuit, means)
    _check_comparable(others, circuit, model)
    rivals = rivals_among(others, circuit, Question(checkpoint, task), other_tasks)
    trial = Trial(
        checkpoint=checkpoint, model=model, task=task, circuit=circuit, means=means,
        reference=sample, others=rivals.circuits, rival_notes=rivals.notes,
        pairs=checkpoint.ask(task, "test", n_pairs or circuit.n_pairs, circuit.seed),
        seed=circuit.seed, progress=progress,
    )  # fmt: skip
    trial.read_splits()
    return trial


def _check_comparable(others: Sequence[Circuit], circuit: Circuit, model: Transformer) -> None:
    """Circuits can be compared on one checkpoint only.

    Raises:
        MismatchError: if one is of another checkpoint.
    """
    for other in others:
        if other.checkpoint.sha256 != circuit.checkpoint.sha256:
            raise MismatchError(
                f"the circuit of {other.task.name} to compare with is of checkpoint "
                f"{other.checkpoint.name} ({other.checkpoint.sha256[:12]}…), the one to validate "
                f"of {circuit.checkpoint.name} ({circuit.checkpoint.sha256[:12]}…). Compare "
                "circuits of one checkpoint."
            )
        check_nodes(other, model.arch.widths)


def _check_reference(circuit: Circuit, sample: Tensor, means: Means | None) -> None:
    """Compare by hash, or by the number of tokens for a circuit of an earlier version."""
    was, measured = circuit.reference, means if means and means.ablation == "mean" else None
    if was is not None:
        expected, is_same = was.n_tokens, sample_sha256(sample) == was.sha256
    else:
        expected = measured.n_tokens if measured else sample.numel()
        is_same = expected == sample.numel()
    if not is_same:
        recorded = f" ({was.sha256[:12]}…)" if was else ""
        raise MismatchError(
            f"the circuit was extracted over a reference of {expected:,} tokens{recorded}, but the "
            f"one given has {sample.numel():,} ({sample_sha256(sample)[:12]}…). Give the text or "
            "tokens it was extracted over (--reference), or extract again."
        )


def check_means(circuit: Circuit, means: Means) -> None:
    """A circuit goes with the ablation values it was extracted under.

    Raises:
        MismatchError: if these are others.
    """
    if circuit.means_sha256 not in (None, means.sha256):
        raise MismatchError(
            f"the circuit was extracted under means {str(circuit.means_sha256)[:12]}…, but those "
            f"given are {means.sha256[:12]}…. Give the folder's own means, or extract again."
        )


def _measure(
    checkpoint: Checkpoint, model: Transformer, circuit: Circuit, sample: Tensor, progress: Progress
) -> Means:
    if circuit.ablation == "zero":
        return zero_means(model.arch.widths, checkpoint.sha256)
    return means_of(checkpoint, model, sample, progress)
