"""The page: circuits as one HTML file that a browser opens without a server and without a request.

In: circuit folders. Out: ``report.html``. Every text is set by Jinja2, which escapes it, or by the
page's script as text; the policy in the page's head allows its own style and script and nothing
else. The same nouns give the same bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from circuitkit.arguments import checked_call
from circuitkit.circuit import Circuit, CircuitFolder, Origin
from circuitkit.circuit.comparison import compare
from circuitkit.circuit.explanation import FILE as EXPLANATION
from circuitkit.circuit.explanation import Explanation
from circuitkit.circuit.folder import REPORT_HTML
from circuitkit.errors import MismatchError, ReportError
from circuitkit.files import as_path, read_text, shipped_folder, write_whole
from circuitkit.findings import Validation
from circuitkit.views.diagram import diagram
from circuitkit.views.page_data import circuit_data, script_json
from circuitkit.views.page_svg import Picture, picture
from circuitkit.views.page_text import circuit_text
from circuitkit.views.svg import render

SCRIPTS = ("page_flow.js", "page_panel.js", "page.js")


@dataclass(frozen=True, kw_only=True, slots=True)
class PageCircuit:
    """A circuit and all that a page says of it."""

    circuit: Circuit
    validation: Validation | None = None
    explanation: Explanation | None = None
    smallest: Circuit | None = None
    origin: Origin | None = None

    @classmethod
    def of(cls, folder: CircuitFolder) -> PageCircuit:
        """All that a folder holds of its circuit.

        Raises:
            CircuitError: if a file in it cannot be read.
            MismatchError: if the validation or the explanation is of another circuit.
        """
        circuit, validation = folder.circuit, folder.validation
        has_explanation = (folder.path / EXPLANATION).exists()
        explanation = Explanation.load(folder.path) if has_explanation else None
        for name, noun in (("validation", validation), ("explanation", explanation)):
            if noun and noun.circuit_sha256 != circuit.sha256:
                raise MismatchError(
                    f"the {name} in {folder.path} is of circuit {noun.circuit_sha256[:16]}…, but "
                    f"the circuit there is {circuit.sha256[:16]}…. "
                    f"Run 'circuitkit validate {folder.path}' again."
                )
        return cls(
            circuit=circuit, validation=validation, explanation=explanation,
            smallest=folder.smallest, origin=folder.origin,
        )  # fmt: skip


@checked_call
def write_page(folder: str | Path | CircuitFolder) -> Path:
    """Write ``report.html`` into the folder of a circuit, and return its path.

    Raises:
        CircuitError: if the folder holds no circuit, or one that cannot be read.
        MismatchError: if its validation or its explanation is of another circuit.
        ReportError: if the diagram cannot be drawn.
    """
    opened = CircuitFolder.open(folder)
    return write_pages(opened.path / REPORT_HTML, [opened])


@checked_call
def write_pages(path: str | Path, folders: Sequence[str | Path | CircuitFolder]) -> Path:
    """Write one page about several circuits, side by side, with what they share.

    Raises:
        CircuitError: if a folder holds no circuit, or one that cannot be read.
        MismatchError: if a validation or an explanation is of another circuit.
        ReportError: if there is nothing to report, or a diagram cannot be drawn.
        UsageError: if ``path`` cannot be written to.
    """
    html = page_html([PageCircuit.of(CircuitFolder.open(folder)) for folder in folders])
    write_whole(as_path(path), html)
    return Path(path)


def page_html(circuits: Sequence[PageCircuit]) -> str:
    """The whole page as text.

    Raises:
        ReportError: if there is nothing to report, or a diagram cannot be drawn.
    """
    if not circuits:
        raise ReportError("nothing to report: got no circuit, expected at least one.")
    drawn = [_drawn(each.circuit, f"c{i}") for i, each in enumerate(circuits)]
    data = [
        circuit_data(each.circuit, each.explanation, picture)
        for each, picture in zip(circuits, drawn, strict=True)
    ]
    style, script = _shipped("page.css"), "\n".join(map(_shipped, SCRIPTS))
    return _template().render(
        circuits=[_text(*each) for each in zip(circuits, drawn, strict=True)],
        shared=[_shared(i, j, circuits) for i, j in combinations(range(len(circuits)), 2)],
        data=Markup(script_json(data)),
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _drawn(circuit: Circuit, prefix: str) -> Picture:
    return picture(render(diagram(circuit)), circuit, prefix)


def _text(each: PageCircuit, drawn: Picture) -> dict[str, Any]:
    said = circuit_text(each.circuit, each.validation, each.explanation, each.smallest, each.origin)
    return {**said, "svg": Markup(drawn.markup), "width": drawn.width}


def _shared(i: int, j: int, circuits: Sequence[PageCircuit]) -> dict[str, Any]:
    """What two circuits share, in numbers."""
    found = compare(circuits[i].circuit, circuits[j].circuit)
    return {
        "first": i,
        "second": j,
        "same_task": found.same_task,
        "same_checkpoint": found.same_checkpoint,
        "nodes": [len(part.nodes) for part in found.parts().values()],
        "edges": [len(part.edges) for part in found.parts().values()],
        "jaccard": f"{found.jaccard_nodes:.2f}",
    }


@cache
def _template() -> Any:
    loader = FileSystemLoader(shipped_folder("templates"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("page.html")


def _shipped(name: str) -> str:
    """The text of a file that the page carries; browsers hash it as it stands there."""
    return read_text(shipped_folder("templates") / name, ReportError, "a part of the page")


def _hash(text: str) -> str:
    """The hash by which the page's policy allows a style or a script."""
    return b64encode(sha256(text.encode()).digest()).decode()
