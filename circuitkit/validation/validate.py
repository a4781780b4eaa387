"""Validate: a circuit, its checkpoint, task and means in; a verdict out.

Files that do not belong together are refused before anything runs. Integrity
and competence come first: where either fails, the rest is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Int
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.reference import sample_sha256
from circuitkit.circuit import Circuit
from circuitkit.errors import CircuitError, MismatchError
from circuitkit.evidence import DEFAULT_CLAIMS, Claim, Finding, Validation
from circuitkit.extraction.means import Means, Progress, measure_means, silent, zero_means
from circuitkit.model import Transformer
from circuitkit.nodes import NodeSet
from circuitkit.task import Task
from circuitkit.validation.beats_controls import check_beats_controls
from circuitkit.validation.competent import check_competent
from circuitkit.validation.cost import timed
from circuitkit.validation.faithful import check_faithful
from circuitkit.validation.follows_ood import check_follows_ood
from circuitkit.validation.forms import loss_by_form
from circuitkit.validation.generalises import check_generalises
from circuitkit.validation.integrity import check_integrity
from circuitkit.validation.minimal import check_minimal
from circuitkit.validation.necessary import check_necessary
from circuitkit.validation.no_norm_leak import check_no_norm_leak
from circuitkit.validation.rivals import rivals_among
from circuitkit.validation.robust_to_ablation import check_robust_to_ablation
from circuitkit.validation.same_question import Question
from circuitkit.validation.stochastic_restore import check_stochastic_restore
from circuitkit.validation.sufficient import check_sufficient
from circuitkit.validation.thorough.suite import Thorough, run_thorough
from circuitkit.validation.trial import Trial, losses_of
from circuitkit.validation.verdict import grade_of, weakest_of

CHECKS: dict[Claim, Callable[[Trial], Finding]] = {
    Claim.INTEGRITY: check_integrity,
    Claim.COMPETENT: check_competent,
    Claim.SUFFICIENT: check_sufficient,
    Claim.FAITHFUL: check_faithful,
    Claim.NECESSARY: check_necessary,
    Claim.BEATS_CONTROLS: check_beats_controls,
    Claim.ROBUST_TO_ABLATION: check_robust_to_ablation,
    Claim.STOCHASTIC_RESTORE: check_stochastic_restore,
    Claim.NO_NORM_LEAK: check_no_norm_leak,
    Claim.MINIMAL: check_minimal,
    Claim.GENERALISES: check_generalises,
    Claim.FOLLOWS_OOD: check_follows_ood,
}
"""The claims that this version tests; the others are reported as not run."""

_STOPS = (Claim.INTEGRITY, Claim.COMPETENT)


def validate(
    checkpoint: Checkpoint,
    task: Task,
    circuit: Circuit,
    *,
    means: Means | None = None,
    reference: Int[Tensor, "n length"] | None = None,
    n_pairs: int | None = None,
    others: Sequence[Circuit] = (),
    other_tasks: Sequence[Task] = (),
    thorough: Thorough | None = None,
    progress: Progress = silent,
) -> Validation:
    """Put every claim about a circuit to the test, on prompts the search never saw.

    ``means`` are the ablation values of the extraction; without them they are
    measured again over the checkpoint's reference. ``others`` are circuits of other tasks
    on the same checkpoint, which this one is compared with; ``other_tasks`` are their tasks
    (built-in ones need not be given), by which one that asks the same is recognised and left
    out. ``thorough`` asks for the long suite too, minutes instead of seconds.

    Raises:
        MismatchError: if checkpoint, task, reference or means are not those of the circuit.
        CircuitError: if the circuit names nodes that the model does not have.
    """
    _check_belongs(checkpoint, task, circuit)
    model = checkpoint.load_model()
    _check_nodes(circuit, model)
    sample = checkpoint.load_reference() if reference is None else reference
    if means is not None:
        _check_means(circuit, means)
    _check_reference(circuit, sample, means)
    means = means or _measure(checkpoint, model, circuit, sample, progress)
    _check_means(circuit, means)
    _check_comparable(others, circuit, model)
    rivals = rivals_among(others, circuit, Question(checkpoint, task), other_tasks)
    trial = Trial(
        checkpoint=checkpoint, model=model, task=task, circuit=circuit, means=means,
        reference=sample, others=rivals.circuits, rival_notes=rivals.notes,
        pairs=checkpoint.ask(task, "test", n_pairs or circuit.n_pairs, circuit.seed),
        seed=circuit.seed, progress=progress,
    )  # fmt: skip
    trial.read_splits()
    findings = _run(trial)
    if thorough is not None:
        findings += run_thorough(trial, thorough, findings)
    return Validation(
        grade=grade_of(findings), weakest=weakest_of(findings), circuit_sha256=circuit.sha256,
        findings=findings,
        forms=loss_by_form(losses_of(trial.scored.circuit), trial.clusters, trial.seed),
    )  # fmt: skip


def _run(trial: Trial) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    stopped = ""
    for i, claim in enumerate(DEFAULT_CLAIMS):
        trial.progress("claims", i, len(DEFAULT_CLAIMS))
        if stopped or claim not in CHECKS:
            note = stopped or "this version of circuitkit does not test it"
            findings.append(Finding(claim=claim, outcome="not_run", note=note))
            continue
        findings.append(timed(CHECKS[claim], trial))
        if claim in _STOPS and findings[-1].outcome == "fail":
            stopped = f"{claim} fails, so that nothing after it would mean anything"
    return tuple(findings)


def _check_belongs(checkpoint: Checkpoint, task: Task, circuit: Circuit) -> None:
    for kind, found, was in (
        ("checkpoint", checkpoint, circuit.checkpoint),
        ("task", task, circuit.task),
    ):
        if found.sha256 != was.sha256:
            raise MismatchError(
                f"the circuit was extracted with {kind} {was.name} ({was.sha256[:12]}…), but the "
                f"one given is {found.name} ({found.sha256[:12]}…). Give the {kind} it was "
                "extracted with, or extract again."
            )


def _check_nodes(circuit: Circuit, model: Transformer) -> None:
    try:
        NodeSet(circuit.nodes.channels, model.arch.widths)
    except ValueError as error:
        raise CircuitError(f"the circuit does not fit the checkpoint: {error}.") from None


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
        _check_nodes(other, model)


def _check_reference(circuit: Circuit, sample: Tensor, means: Means | None) -> None:
    """By its hash; of a circuit of an earlier version, that has none, by its number of tokens."""
    was, measured = circuit.reference, means if means and means.ablation == "mean" else None
    if was is not None:
        expected, is_same = was.n_tokens, sample_sha256(sample) == was.sha256
    else:
        expected = measured.n_tokens if measured else sample.numel()
        is_same = expected == sample.numel()
    if not is_same:
        told = f" ({was.sha256[:12]}…)" if was else ""
        raise MismatchError(
            f"the circuit was extracted over a reference of {expected:,} tokens{told}, but the one "
            f"given has {sample.numel():,} ({sample_sha256(sample)[:12]}…). Give the text or "
            "tokens it was extracted over (--reference), or extract again."
        )


def _check_means(circuit: Circuit, means: Means) -> None:
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
    return measure_means(model, sample, checkpoint_sha256=checkpoint.sha256, progress=progress)
