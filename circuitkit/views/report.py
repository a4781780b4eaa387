"""The report: one circuit, or several, typeset as a PDF.

In: circuits, their validations and explanations. Out: a PDF, or a circuit folder that holds
one. The Typst template gets all its data as JSON and can read no file but
itself. The same nouns give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from circuitkit.arguments import checked_call
from circuitkit.circuit import Circuit, CircuitFolder, Origin
from circuitkit.circuit.explanation import Explanation
from circuitkit.circuit.folder import REPORT, as_output
from circuitkit.errors import CircuitError, ReportError, UsageError
from circuitkit.files import as_path, shipped_folder, write_whole
from circuitkit.findings import Validation
from circuitkit.views.diagram import write_diagram
from circuitkit.views.paths_diagram import write_paths
from circuitkit.views.report_data import page, summary_row
from circuitkit.views.reported import Reported
from circuitkit.views.tables import write_findings, write_tables
from circuitkit.views.terms_section import terms

Pair = tuple[Circuit, Validation | None]


@checked_call
def write_report(
    out: str | Path | CircuitFolder,
    circuit: Circuit | None = None,
    validation: Validation | None = None,
    origin: Origin | None = None,
    explanation: Explanation | None = None,
) -> Path:
    """Write the report of a circuit, and return the path of its PDF.

    Args:
        out: the folder of a circuit, which also gets its diagram and tables; with ``circuit``
            given, a folder to write it to, or a path that ends in ``.pdf``.
        circuit: what to report on; None for the circuit and the validation of the folder.
        validation: its validation; without it the report says "not validated".
        origin: where its checkpoint, task and reference are, for the command that it prints.
        explanation: how it comes to its answer. Without one page one has the full diagram.

    Where ``out`` holds this very circuit, what is not given is what the folder says, but for the
    validation.

    Raises:
        CircuitError: if ``circuit`` is None and the folder holds none.
        MismatchError: if the validation or the explanation is of another circuit.
        ReportError: if a picture or the page cannot be drawn.
        UsageError: if ``out`` cannot be written to, or is a folder that holds something else,
            such as another circuit, or a verdict with more findings than the one given.

    Examples:
        >>> import circuitkit as ck
        >>> print(ck.write_report("out/for_while"))
        out/for_while/report.pdf
    """
    if circuit is None:
        folder = CircuitFolder.open(out)
        out, reported = folder.path, Reported.of(folder)
    else:
        reported = _given(out, circuit, validation, origin, explanation)
    path = out.path if isinstance(out, CircuitFolder) else as_path(out)
    if path.suffix.lower() == ".pdf":
        write_whole(path, typeset([reported]))
        return path
    folder = CircuitFolder(path)
    folder.refuse_other(reported.circuit)
    _refuse_fewer(folder, reported.validation)
    pdf = typeset([reported])
    CircuitFolder.claim(path, "a report")
    _write_nouns(path, reported)
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
        UsageError: if ``path`` cannot be written to, or is a file of a circuit folder.

    Examples:
        >>> import circuitkit as ck
        >>> print(ck.write_reports("out/all.pdf", ["out/for_while"]))
        out/all.pdf
    """
    reported = [
        Reported(circuit=given[0], validation=given[1])
        if isinstance(given, tuple)
        else Reported.of(CircuitFolder.open(given))
        for given in circuits
    ]
    path = as_output(path, replaces=[REPORT])
    write_whole(path, typeset(reported))
    return path


def typeset(reported: Sequence[Reported]) -> bytes:
    """Set the PDF of one or several circuits.

    Raises:
        MismatchError: if a validation or an explanation is of another circuit.
        ReportError: if there is nothing to report, or Typst cannot set it.
    """
    import typst

    if not reported:
        raise ReportError("nothing to report: got no circuit, expected at least one.")
    for each in reported:
        each.check_match()
    template = shipped_folder("templates") / "report.typ"
    data = json.dumps(report_data(reported))
    options = {"root": template.parent, "ignore_system_fonts": True, "timestamp": 0}
    try:
        return typst.compile(template, format="pdf", sys_inputs={"report": data}, **options)
    except typst.TypstError as error:
        raise ReportError(f"the report could not be typeset: {error.message}") from error


def report_data(reported: Sequence[Reported]) -> dict[str, Any]:
    """All that the template sets, as plain data."""
    several = reported if len(reported) > 1 else ()
    return {
        "pages": [page(each) for each in reported],
        "summary": [summary_row(each.circuit, each.validation) for each in several],
        "terms": terms(),
    }


def _given(
    out: str | Path | CircuitFolder, circuit: Circuit, validation: Validation | None,
    origin: Origin | None, explanation: Explanation | None,
) -> Reported:  # fmt: skip
    """A circuit with what is given, and else what a folder says of it."""
    folder = out if isinstance(out, CircuitFolder) else CircuitFolder(as_path(out))
    if not folder.holds(circuit):
        return Reported(
            circuit=circuit, validation=validation, origin=origin, explanation=explanation
        )
    known = Reported.of(folder, validation)
    return replace(
        known, validation=validation, origin=origin or known.origin,
        explanation=explanation or known.explanation,
    )  # fmt: skip


def _refuse_fewer(folder: CircuitFolder, validation: Validation | None) -> None:
    """Refuse to put a verdict in the place of one that says more of the same circuit.

    Raises:
        UsageError: if claims of the folder's verdict would be lost.
    """
    try:
        held = folder.validation
    except CircuitError:  # a damaged one, which is replaced
        return
    if held is None or validation is None or held.circuit_sha256 != validation.circuit_sha256:
        return
    lost = {f.claim for f in held.tested} - {f.claim for f in validation.findings}
    if lost:
        raise UsageError(
            f"the verdict in {folder.path} holds findings that the one given does not "
            f"({', '.join(sorted(lost))}), and they would be lost. Leave circuit and validation "
            "out to report those of the folder, or choose another folder."
        )


def _write_nouns(folder: Path, reported: Reported) -> None:
    circuit, validation, explanation = reported.circuit, reported.validation, reported.explanation
    circuit.save(folder)
    write_diagram(circuit, folder)
    write_tables(circuit, folder, validation)
    if validation:
        CircuitFolder(folder).save_validation(validation)
        write_findings(validation, folder)
    if explanation:
        explanation.save(folder)
        if circuit.nodes and explanation.examples:
            write_paths(circuit, explanation, folder)
