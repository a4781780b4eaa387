"""Which files of a circuit the gallery keeps, and the numbers of circuits that it keeps no more of.

In: folders as ``extract``, ``validate`` and ``report`` leave them. Out: the same folders, small
enough to live in a repository. A dense circuit lists thousands of edges, so all but a few dense
circuits are kept as ``numbers.json``: circuit.json without its edges and the example pair. The
nodes and the checkpoint give the edges back, and a verdict names the circuit by its hash. Of the
record of a search only what is read again is kept, and of large circuits no diagram.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from circuitkit.circuit import FILE as CIRCUIT
from circuitkit.circuit.circuit_json import SMALLEST
from circuitkit.circuit.explanation import FILE as EXPLANATION
from circuitkit.circuit.folder import LADDER, PRUNING, REPORT, REPORT_HTML, SMALLEST_VALIDATION
from circuitkit.files import sha256, write_whole
from circuitkit.findings import FILE as VALIDATION

GALLERY = Path(__file__).resolve().parent / "gallery"
SPARSE, DENSE = "tinypython-sparse", "tinypython-dense"

NUMBERS = "numbers.json"
COMPLETE = "for_while"
"""The task whose folders hold the PDF, the explanation and the tables too."""

DENSE_EXAMPLES = ("for_while", "if_equals")
"""Dense circuits that are kept; they are so large that a diagram shows nothing."""

VALIDATED = (CIRCUIT, "means.safetensors", PRUNING, "sources.json", VALIDATION)
"""What ``circuitkit validate`` and ``circuitkit report`` need; neither can be made from others."""

CLIMBED = (LADDER, SMALLEST, SMALLEST_VALIDATION)
"""A row a rung; the smallest circuit and its verdict, where a trusted one was reached."""

UNREAD = ("scores", "history")
"""Nine tenths of ``pruning.json``: every node's rank and every step's loss. Nothing reads them."""

DIAGRAM, PATHS = "circuit.svg", "paths.svg"
MOST_DRAWN = 80
"""Edges of a circuit whose full diagram is kept: larger ones show little and take 100 KB and more."""

REDRAWN = ("circuit.dot", "paths.dot", "nodes.csv", "edges.csv", "findings.csv", REPORT)
"""What ``circuitkit report`` makes again in a moment, besides the diagrams."""

EXPLAINED = (EXPLANATION,)
"""Kept of one task: 37 explanations take 15 MB, and a page shows all that is in them."""

LEFT_OUT = ("edges", "surroundings")


def kept(folder: Path) -> tuple[str, ...]:
    """The names of the files that the gallery keeps of a circuit."""
    climbed = tuple(name for name in CLIMBED if (folder / name).exists())
    if folder.parent.name == DENSE:
        whole = folder.name in DENSE_EXAMPLES
        return (*(VALIDATED if whole else (NUMBERS, VALIDATION)), *climbed)
    if folder.name == COMPLETE:
        return (*VALIDATED, *climbed, DIAGRAM, PATHS, REPORT_HTML, *REDRAWN, *EXPLAINED)
    drawn = (PATHS, REPORT_HTML, *((DIAGRAM,) if numbers(folder)["n_edges"] <= MOST_DRAWN else ()))
    return (*VALIDATED, *climbed, *drawn)


def keep_less(folder: Path) -> None:
    """Remove what the gallery does not keep of a validated circuit, its numbers written first."""
    names = kept(folder)
    if NUMBERS in names and (folder / CIRCUIT).exists():
        write_whole(folder / NUMBERS, numbers_of(folder))
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    if (folder / PRUNING).exists():
        read = {k: v for k, v in json_of(folder / PRUNING).items() if k not in UNREAD}
        write_whole(folder / PRUNING, json.dumps(read) + "\n")


def numbers_of(folder: Path) -> str:
    """The text of ``numbers.json``, a key a line: all of circuit.json but its longest parts."""
    data = (folder / CIRCUIT).read_bytes()
    found = {"circuit_sha256": sha256(data)} | {
        key: value for key, value in json.loads(data).items() if key not in LEFT_OUT
    }
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def is_found(folder: Path) -> bool:
    """Whether a folder holds a circuit, or the numbers of one."""
    return any((folder / name).exists() for name in (CIRCUIT, NUMBERS))


def numbers(folder: Path) -> dict[str, Any]:
    """The numbers of a circuit, from its file or from what is kept of it."""
    whole = folder / CIRCUIT
    return json_of(whole if whole.exists() else folder / NUMBERS)


def json_of(path: Path) -> dict[str, Any]:
    """What a JSON file holds."""
    return json.loads(path.read_bytes())
