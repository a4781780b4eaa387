"""The stripped diagram: from the tokens that matter, in the order of the prompt, to the answers.

In: a circuit and its explanation. Out: DOT source and an SVG, ``paths.dot`` and ``paths.svg``.
Links are coloured by the answer that they push for and as wide as they add; what adds little is
left out, and the caption says how much; constant nodes are one grey box. The id of a box is that
of its node; tokens, answers and the grey box are ``token 0``, ``answer a`` and ``constant``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import graphviz

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Example, Explanation
from circuitkit.files import write_whole
from circuitkit.views import dot, token_row
from circuitkit.views.answer_colours import LINES, push, size
from circuitkit.views.flows import ANSWER
from circuitkit.views.node_sketch import node_sketch
from circuitkit.views.palette import FAINT, FILLS
from circuitkit.views.part_sketch import part_sketch
from circuitkit.views.safe_text import number, token_text
from circuitkit.views.sketch import ANSWERS, Link, Sketch, to_answers
from circuitkit.views.svg import render, sized

MAX_BOXES, MAX_LINKS = 50, 75
"""A sketch of more is not shown node by node."""

MAX_SIZE = (970.0, 800.0)
"""A picture of at most these points has letters of 5 points where it is set on half a page."""

_TRIES = (
    *((node_sketch, 0.05), (node_sketch, 0.1), (node_sketch, 0.15)),
    *((part_sketch, 0.02), (part_sketch, 0.05), (part_sketch, 0.1), (part_sketch, 0.25)),
)


class Drawing(NamedTuple):
    """The lines of a picture, its SVG, its size in points and what to say under it."""

    body: tuple[str, ...]
    svg: str
    width: float
    height: float
    caption: str


def paths_diagram(circuit: Circuit, explanation: Explanation) -> Drawing:
    """Draw the first sketch that can be read on half a page, from the fullest on."""
    drawing = None
    for sketch_of, share in _TRIES:
        sketch = sketch_of(circuit, explanation, share)
        if sketch_of is node_sketch and _is_crowded(sketch):
            continue
        drawing = _drawn(sketch, explanation)
        if drawing.width <= MAX_SIZE[0] and drawing.height <= MAX_SIZE[1]:
            break
    assert drawing, "a sketch of parts is always drawn"
    return drawing


def _is_crowded(sketch: Sketch) -> bool:
    return sketch.n_boxes > MAX_BOXES or len(sketch.links) > MAX_LINKS


def write_paths(circuit: Circuit, explanation: Explanation, folder: str | Path) -> None:
    """Write ``paths.dot`` and ``paths.svg`` into a folder, with the caption in the picture."""
    drawing = paths_diagram(circuit, explanation)
    picture = _picture(drawing.body, drawing.caption)
    write_whole(Path(folder) / "paths.dot", picture.source)
    write_whole(Path(folder) / "paths.svg", render(picture))


def _drawn(sketch: Sketch, explanation: Explanation) -> Drawing:
    links = [real for link in (*sketch.links, *_constant(explanation)) for real in to_answers(link)]
    body = tuple(_parts(sketch, explanation, links))
    caption = f"{_legend(explanation.examples[0], sketch, links)} {sketch.caption}"
    return Drawing(body=body, caption=caption, **sized(render(_picture(body))))


def _picture(body: tuple[str, ...], caption: str = "") -> graphviz.Digraph:
    picture = dot.canvas("paths", caption, width=90)
    picture.attr("graph", nodesep="0.16", ranksep="0.3")
    picture.attr("graph", fontsize="8")
    picture.attr("edge", fontsize="10")
    picture.body.extend(body)
    return picture


def _legend(example: Example, sketch: Sketch, links: Sequence[Link]) -> str:
    """Say what the lines and boxes mean, as far as there are any."""
    a, b = token_text(example.a.answer), token_text(example.b.answer)
    pushes = {push(link.adds) for link in links if link.adds}
    kinds = {box.kind for boxes in sketch.frames.values() for box in boxes}
    also = [
        *(["a double line for the right answer of each prompt"] if "right" in pushes else []),
        *(["a dotted one against it"] if "wrong" in pushes else []),
    ]
    said = [
        ", ".join([f"A solid blue line pushes for {a}, a dashed orange one for {b}", *also]),
        "wide lines add more, and a number says how much, in the prompt where it is more",
    ]
    looks = "A thin grey line decides where a head looks"
    compares = "a dashed black one joins a query and the key it is compared with"
    if any(link.adds is None for link in links):
        said.append(f"{looks}; {compares}" if sketch.pairings else looks)
    boxes = ", ".join(text for kind, text in _BOXES.items() if kind in kinds)
    said += [f"Boxes: {boxes}"] if boxes else []
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in said)


_BOXES = {
    "read": "grey ch is a channel that is read",
    "write": "white ch one that is written",
    "neuron": "n a neuron",
    "q": "q, k and v channels of a head",
}
"""What the label of a box means, by its kind."""


def _parts(sketch: Sketch, explanation: Explanation, links: Sequence[Link]) -> Iterator[str]:
    example = explanation.examples[0]
    yield from token_row.draw(sketch.tokens)
    for i, (label, boxes) in enumerate(sketch.frames.items()):
        yield from (dot.box(b.name, b.label, FILLS[b.kind], b.tip or b.label) for b in boxes)
        if label:
            yield dot.frame(f"frame {i}", label, [box.name for box in boxes])
    yield from _answers(example)
    top = max((size(link.adds) for link in links if link.adds), default=1.0) or 1.0
    for link in links:
        yield _flow(link, top)
    yield from (dot.pairing(query, key) for query, key in sketch.pairings)
    yield from _constant_box(explanation)


def _flow(link: Link, top: float) -> str:
    if link.adds is None:
        return dot.link(link.tail, link.head, color=FAINT, penwidth="0.9", tooltip="where to look")
    look = {"color": FAINT} if link.tail == "constant" else LINES[push(link.adds)]
    width = 0.5 + 3.5 * size(link.adds) / top
    width = width / 2 if ":" in look["color"] else width
    tip = f"in a {number(link.adds.a, 2)}, in b {number(link.adds.b, 2)} nats"
    shown = {"label": link.label, "penwidth": f"{width:.2f}", "tooltip": tip, **look}
    return dot.link(link.tail, link.head, **shown)


def _answers(example: Example) -> Iterator[str]:
    for prompt, name in ANSWERS.items():
        run = example.a if prompt == "a" else example.b
        look = LINES[prompt]
        style = f"filled,{look.get('style', 'solid')}"
        label = f"{token_text(run.answer)}\nright in {prompt}"
        yield dot.box(name, label, "#FFFFFF", color=look["color"], style=style, penwidth="1.5")
    yield dot.same_row(list(ANSWERS.values()))
    yield dot.unseen(ANSWERS["a"], ANSWERS["b"])


def _constant(explanation: Explanation) -> Iterator[Link]:
    adds = explanation.examples[0].constant
    if size(adds):
        yield Link(tail="constant", head=ANSWER, adds=adds)


def _constant_box(explanation: Explanation) -> Iterator[str]:
    n = sum(note.role == "constant" for note in explanation.nodes.values())
    if n or size(explanation.examples[0].constant):
        label = "constant" + (f"\n{n} node{'s' * (n != 1)}" if n else "")
        yield dot.box("constant", label, "#DDDDDD", color=FAINT, style="filled,rounded")
