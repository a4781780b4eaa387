"""The page: circuits as one HTML file that a browser opens without a server and without a request.

In: circuit folders. Out: ``report.html``. Every text is set by Jinja2, which escapes it, or by the
page's script as text; the policy in the page's head allows its own style and script and nothing
else. The same nouns give the same bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from circuitkit.arguments import checked_call
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.circuit.comparison import compare
from circuitkit.circuit.folder import REPORT_HTML, as_output
from circuitkit.errors import ReportError
from circuitkit.files import read_text, shipped_folder, write_whole
from circuitkit.views.diagram import diagram
from circuitkit.views.page_data import circuit_data, script_json
from circuitkit.views.page_svg import Picture, picture
from circuitkit.views.page_text import circuit_text
from circuitkit.views.paths_diagram import paths_diagram
from circuitkit.views.reported import Reported
from circuitkit.views.svg import as_image, render

SCRIPTS = ("page_flow.js", "page_panel.js", "page.js")


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
        UsageError: if ``path`` cannot be written to, or is a file of a circuit folder.
    """
    html = page_html([Reported.of(CircuitFolder.open(folder)) for folder in folders])
    path = as_output(path, replaces=[REPORT_HTML])
    write_whole(path, html)
    return path


def page_html(circuits: Sequence[Reported]) -> str:
    """The whole page as text.

    Raises:
        MismatchError: if a validation or an explanation is of another circuit.
        ReportError: if there is nothing to report, or a diagram cannot be drawn.
    """
    if not circuits:
        raise ReportError("nothing to report: got no circuit, expected at least one.")
    for each in circuits:
        each.check_match()
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


def _text(each: Reported, drawn: Picture) -> dict[str, Any]:
    said, svg = circuit_text(each), Markup(drawn.markup)
    return {**said, "svg": svg, "width": drawn.width, "picture": _strongest_paths(each)}


def _strongest_paths(each: Reported) -> dict[str, Any] | None:
    """The picture of page one."""
    explanation = each.explanation
    if explanation is None or not each.circuit.nodes or not explanation.examples:
        return None
    drawing = paths_diagram(each.circuit, explanation)
    width = round(drawing.width * 4 / 3)
    return {"source": as_image(drawing.svg), "width": width, "caption": drawing.caption}


def _shared(i: int, j: int, circuits: Sequence[Reported]) -> dict[str, Any]:
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
    environment.filters["as_image"] = as_image
    return environment.get_template("page.html")


def _shipped(name: str) -> str:
    """The text of a file that the page carries; browsers hash it as it stands there."""
    return read_text(shipped_folder("templates") / name, ReportError, "a part of the page")


def _hash(text: str) -> str:
    """The hash by which the page's policy allows a style or a script."""
    return b64encode(sha256(text.encode()).digest()).decode()
