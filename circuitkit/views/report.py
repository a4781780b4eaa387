"""The report: one circuit, or several, typeset as a PDF.

In: circuits and their validations. Out: a PDF, or a circuit folder that holds
one. The Typst template gets all its data as JSON and can read no file but
itself. The same nouns give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from circuitkit.arguments import checked_call
from circuitkit.circuit import Circuit, CircuitFolder, Origin
from circuitkit.circuit.folder import REPORT
from circuitkit.errors import MismatchError, ReportError
from circuitkit.files import as_path, shipped_folder, write_whole
from circuitkit.findings import Validation
from circuitkit.views.diagram import write_diagram
from circuitkit.views.report_data import page, summary_row
from circuitkit.views.tables import write_findings, write_tables

Pair = tuple[Circuit, Validation | None]


@checked_call
def write_report(
    out: str | Path | CircuitFolder,
    circuit: Circuit | None = None,
    validation: Validation | None = None,
    origin: Origin | None = None,
) -> Path:
    """Write the report of a circuit, and return the path of its PDF.

    Args:
        out: the folder of a circuit, which also gets its diagram and tables; with ``circuit``
            given, a folder to write it to, or a path that ends in ``.pdf``.
        circuit: what to report on; None for the circuit and the validation of the folder.
        validation: its validation; without it the report says "not validated".
        origin: where its checkpoint, task and reference are, for the command that it prints.

    Raises:
        CircuitError: if ``circuit`` is None and the folder holds none.
        MismatchError: if the validation is of another circuit.
        ReportError: if a picture or the page cannot be drawn.
        UsageError: if ``out`` cannot be written to, or is a folder that holds something else.
    """
    if circuit is None:
        folder = CircuitFolder.open(out)
        circuit, validation, origin = folder.circuit, folder.validation, folder.origin
        out = folder.path
    path = out.path if isinstance(out, CircuitFolder) else as_path(out)
    pdf = typeset([(circuit, validation)], [origin])
    if path.suffix.lower() == ".pdf":
        write_whole(path, pdf)
        return path
    CircuitFolder.claim(path, "a report")
    _write_nouns(path, circuit, validation)
    write_whole(path / REPORT, pdf)
    return path / REPORT


@checked_call
def write_reports(path: str | Path, circuits: Sequence[str | Path | CircuitFolder | Pair]) -> Path:
    """Write one PDF about several circuits, a table of them all in front.

    Args:
        path: the PDF to write.
        circuits: folders, or circuits each with its validation (or None).

    Raises:
        CircuitError: if a folder holds no circuit.
        MismatchError: if a validation is of another circuit.
        ReportError: if there is nothing to report, or a page cannot be drawn.
        UsageError: if ``path`` cannot be written to.
    """
    pairs, origins = [], []
    for given in circuits:
        folder = None if isinstance(given, tuple) else CircuitFolder.open(given)
        pairs.append((folder.circuit, folder.validation) if folder else given)
        origins.append(folder.origin if folder else None)
    write_whole(as_path(path), typeset(pairs, origins))
    return Path(path)


def typeset(pairs: Sequence[Pair], origins: Sequence[Origin | None] = ()) -> bytes:
    """Set the PDF of one or several circuits.

    Raises:
        MismatchError: if a validation is of another circuit.
        ReportError: if there is nothing to report, or Typst cannot set it.
    """
    import typst

    if not pairs:
        raise ReportError("nothing to report: got no circuit, expected at least one.")
    for circuit, validation in pairs:
        _check_match(circuit, validation)
    template = shipped_folder("templates") / "report.typ"
    data = json.dumps(_report(pairs, origins))
    options = {"root": template.parent, "ignore_system_fonts": True, "timestamp": 0}
    try:
        return typst.compile(template, format="pdf", sys_inputs={"report": data}, **options)
    except typst.TypstError as error:
        raise ReportError(f"the report could not be typeset: {error.message}") from error


def _report(pairs: Sequence[Pair], origins: Sequence[Origin | None] = ()) -> dict[str, object]:
    rows = [summary_row(*pair) for pair in pairs] if len(pairs) > 1 else []
    each = zip(pairs, origins or [None] * len(pairs), strict=True)
    return {"pages": [page(*pair, origin) for pair, origin in each], "summary": rows}


def _write_nouns(folder: Path, circuit: Circuit, validation: Validation | None) -> None:
    CircuitFolder(folder).forget_other(circuit)
    circuit.save(folder)
    write_diagram(circuit, folder)
    write_tables(circuit, folder)
    if validation:
        validation.save(folder)
        write_findings(validation, folder)


def _check_match(circuit: Circuit, validation: Validation | None) -> None:
    if validation and validation.circuit_sha256 != circuit.sha256:
        raise MismatchError(
            f"the validation is of circuit {validation.circuit_sha256[:16]}…, but the circuit of "
            f"{circuit.task.name} is {circuit.sha256[:16]}…. Run 'circuitkit validate' again."
        )
