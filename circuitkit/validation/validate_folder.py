"""Validate the circuit of a folder, and write the verdict into the folder.

Checkpoint, task and reference are found where ``extract`` recorded them. The circuit is
compared with those in the folders beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.of_circuit import check_belongs, checkpoint_of
from circuitkit.checkpoints.reference import load_reference
from circuitkit.circuit import Circuit, CircuitFolder, Rung
from circuitkit.circuit.folder import PRUNING, Neighbour
from circuitkit.errors import CircuitError, CircuitkitError
from circuitkit.explaining import explain
from circuitkit.extraction.asks import DEFAULT_ASKS
from circuitkit.extraction.edge_pruning import cut_model
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.mask_learning import PruningConfig
from circuitkit.extraction.means import Means
from circuitkit.files import check_writable, remove
from circuitkit.findings import Validation
from circuitkit.progress import Progress
from circuitkit.validation.kept_findings import kept_findings, with_kept
from circuitkit.validation.search_trial import Sibling
from circuitkit.validation.suites import Thorough
from circuitkit.validation.validate import check_means, validate
from circuitkit.views.tables import write_findings, write_tables


@checked_call
def validate_folder(
    folder: str | Path | CircuitFolder,
    *,
    checkpoint: Checkpoint | str | Path | None = None,
    reference: str | Path | None = None,
    n_pairs: int | None = None,
    rung: Rung | None = None,
    thorough: bool = False,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Validation:
    """Test every claim about the circuit of a folder, and write the verdict there.

    Claims of the thorough suite that the folder's verdict holds already stay in it.

    Args:
        folder: as ``extract`` leaves it. The circuit is compared with those of other tasks on
            the same checkpoint, in the folders beside it.
        checkpoint: where the model is, if it is no longer where it was.
        reference: where the sample of the means is, if it is no longer where it was.
        n_pairs: test pairs; None for as many as the extraction scored.
        rung: which circuit, if the folder holds two; None for the highest.
        thorough: run the thorough suite as well; one that was stopped is resumed.
        device: where the model computes: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called after each step; None shows a bar in a terminal or a notebook.

    Raises:
        CircuitError: if the folder holds no circuit, or what it was made from is not there.
        MismatchError: if checkpoint, task, reference or means are not those of the circuit.
        UsageError: if the device is not there, the folder cannot be written to, or other pairs
            are asked for than a thorough run had whose findings stay.

    Examples:
        >>> import circuitkit as ck
        >>> ck.validate_folder("out/found", n_pairs=32)["integrity"].outcome
        'pass'
    """
    opened = CircuitFolder.open(folder)
    check_writable(opened.path, "The verdict is written there; copy the folder, and validate that.")
    circuit = opened.at(rung)
    model = checkpoint_of(opened, circuit, checkpoint)
    means = Means.load(opened.path, model.architecture.widths)
    sample = _reference(opened, model, circuit, means, reference)
    kept = () if thorough else kept_findings(opened, model, circuit, n_pairs)
    others = list(opened.beside())
    siblings = with_tasks(others)
    validation = validate(
        model, opened.task, circuit,
        means=means,
        reference=sample,
        n_pairs=n_pairs,
        others=[other.circuit for other in others],
        other_tasks=[sibling.task for sibling in siblings],
        thorough=thorough_inputs(opened, circuit, siblings) if thorough else None,
        device=device,
        progress=progress,
    )  # fmt: skip
    if opened.explanation is None and circuit.sha256 == opened.circuit.sha256:
        _explain(opened, model, circuit, means, sample)
    validation = with_kept(validation, kept)
    opened.save_validation(validation)
    if circuit.sha256 == opened.circuit.sha256:
        write_findings(validation, opened.path)
        write_tables(circuit, opened.path, validation)
    if thorough:
        remove(opened.thorough_file(circuit.sha256))  # the validation holds them all
    return validation


def explain_folder(folder: str | Path) -> None:
    """Write how the circuit of a folder comes to its answer, as ``extract`` left it or anew.

    Raises:
        CircuitError: if the folder holds no circuit, or what it was made from is not there.
        MismatchError: if checkpoint, task, reference or means are not those of the circuit.
    """
    opened = CircuitFolder.open(folder)
    circuit, model = opened.circuit, checkpoint_of(opened, opened.circuit)
    check_belongs(model, opened.task, circuit)
    means = Means.load(opened.path, model.architecture.widths)
    check_means(circuit, means)
    _explain(opened, model, circuit, means, _reference(opened, model, circuit, means, None))


def _explain(
    folder: CircuitFolder, checkpoint: Checkpoint, circuit: Circuit, means: Means, sample: Tensor
) -> None:
    """Write how the circuit comes to its answer, where an earlier version did not."""
    model = checkpoint.load_model()
    cut = cut_model(model, circuit.nodes, circuit.edges, means.values)
    explanation = explain(checkpoint, model, folder.task, circuit, means.values, sample, cut)
    if explanation is not None:
        explanation.save(folder.path)


def _reference(
    folder: CircuitFolder, checkpoint: Checkpoint, circuit: Circuit, means: Means,
    given: str | Path | None,
) -> Tensor:  # fmt: skip
    """As many tokens as the circuit was extracted over, of its reference or the one given.

    Raises:
        CircuitError: if the folder names a file that is no longer there.
    """
    path = given or folder.sources.get("reference")
    if given is None and path is not None and not Path(path).exists():
        raise CircuitError(
            f"{folder.path} was extracted over the reference {path}, which is not there; name it "
            "with --reference."
        )
    n_tokens = circuit.reference.n_tokens if circuit.reference else means.n_tokens
    return load_reference(checkpoint, path, n_tokens or None)


def with_tasks(others: Iterable[Neighbour]) -> list[Sibling]:
    """The circuits beside with their tasks, as far as these can be read."""
    siblings = []
    for folder, circuit in others:
        with suppress(CircuitkitError):  # a broken task is no fault of this circuit
            siblings.append(Sibling(task=folder.task, circuit=circuit))
    return siblings


def thorough_inputs(
    folder: CircuitFolder, circuit: Circuit, siblings: Iterable[Sibling] = ()
) -> Thorough:
    """What the thorough suite needs: the extraction's settings, siblings of the same means, parts.

    Parts are the circuits of the task's families, as far as they are kept.
    """
    transfer = folder.transfer
    return Thorough(
        search=_search_settings(folder),
        siblings=tuple(s for s in siblings if s.circuit.means_sha256 == circuit.means_sha256),
        file=folder.thorough_file(circuit.sha256),
        parts={name: part.circuit for name, part in folder.parts.items() if part.holds_one},
        parts_by=transfer.by if transfer else None,
    )


def _search_settings(folder: CircuitFolder) -> ExtractConfig | None:
    """The settings in ``pruning.json``, the chosen ones if tuned; None if it is missing."""
    record = folder.pruning
    if record is None:
        return None
    try:
        chosen = record["restarts"][record["chosen_restart"]]["pruning"]
        config = {**record["config"], "pruning": PruningConfig(**chosen)}
        if config["method"] == "pruning":
            config["n_gradient_points"] = 1  # a record of before others were refused
        else:
            config["pruning"] = None
        if config["tune"]:
            del config["restarts"]  # as above
        asks = config.pop("asks", DEFAULT_ASKS)
        if config.get("rung") == "trusted":  # in a record of before others were refused
            config["asks"] = tuple(asks)
        return ExtractConfig(**config)
    except (LookupError, TypeError) as error:
        raise CircuitError(
            f"{folder.path / PRUNING} does not hold the settings of an extraction: {error!r}. "
            "Extract again."
        ) from None
