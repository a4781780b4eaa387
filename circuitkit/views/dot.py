"""DOT, one line at a time: small pure functions from a thing to draw to its source.

Ids are ours and need no quoting; labels come from files of others and are escaped.
Graphviz as WebAssembly knows the width of Courier, so it measures labels in Courier.
"""

from __future__ import annotations

from textwrap import wrap

import graphviz
from graphviz.quoting import attr_list

from circuitkit.views.palette import FAINT, INK, STREAM, sign_colour

FONT = "Courier"


def canvas(name: str, caption: str, width: int = 0) -> graphviz.Digraph:
    """An empty picture that reads from bottom to top, its caption underneath.

    With a ``width``, in characters, the caption is broken into lines.
    """
    lines = wrap(caption, width) if width else [caption]
    dot = graphviz.Digraph(name)
    dot.attr("graph", rankdir="BT", newrank="true", ranksep="0.26", nodesep="0.12", pad="0.1")
    dot.attr("graph", fontname=FONT, fontsize="10", fontcolor=INK, bgcolor="transparent")
    dot.attr("graph", label=r"\n".join(map(literal, lines)), labelloc="b", outputorder="edgesfirst")
    dot.attr("node", fontname=FONT, fontsize="10", fontcolor=INK, color="#6E6E6E", penwidth="0.6")
    dot.attr("node", shape="box", style="filled", margin="0.06,0.03", height="0.24", width="0.3")
    dot.attr("edge", fontname=FONT, fontsize="8", arrowsize="0.45", color=INK)
    return dot


def literal(text: str) -> str:
    """Text of a label that Graphviz shows literally: neither an entity nor markup.

    It decodes ``&lt;`` even when escaped, and takes what begins with ``<`` for HTML.
    """
    whole = graphviz.escape(text.replace("&", "&amp;"))
    return "&#60;" + whole[1:] if whole.startswith("<") else whole


def box(name: str, label: str, fill: str, tip: str = "", **more: str) -> str:
    """A node of the picture."""
    attributes = {"label": literal(label).replace("\n", r"\n"), "fillcolor": fill}
    return _named(name, {**attributes, **_tip(tip or label), **more})


def arrow(tail: str, head: str, weight: float, relative: float, **more: str) -> str:
    """An edge of the circuit: hue says the sign, width the size relative to its kind."""
    width = f"{0.5 + 2.1 * relative:.2f}"
    shown = {"color": sign_colour(weight), "penwidth": width, **_tip(f"{weight:+.4g}"), **more}
    return _link(tail, head, shown)


def stream(tail: str, head: str) -> str:
    """A stretch of one channel of the residual stream."""
    return _link(tail, head, {"color": STREAM, "arrowhead": "none", "penwidth": "1", "weight": "8"})


def pairing(query: str, key: str) -> str:
    """The product of a query and a key channel of one head."""
    return _link(query, key, {"style": "dashed", "dir": "none", "penwidth": "0.9"})


def unseen(tail: str, head: str, weight: int = 1) -> str:
    """An invisible link that keeps two things in place."""
    return _link(tail, head, {"style": "invis", "weight": str(weight)})


def same_row(names: list[str]) -> str:
    """Put everything named at one height."""
    return "\t{ rank=same; " + " ".join(f'"{name}";' for name in names) + " }\n"


def link(tail: str, head: str, *, label: str = "", tooltip: str = "", **look: str) -> str:
    """A link of any look, with a label that is shown literally."""
    named = {"label": literal(label)} if label else {}
    return _link(tail, head, {**named, **look, **_tip(tooltip)})


def frame(name: str, label: str, names: list[str]) -> str:
    """A frame around boxes of one row that are stated elsewhere; its label stands beside them.

    A label that is a box of its own has no line run through it.
    """
    inside = [f"{name} label", *names]
    look = 'style="rounded"; color="#B8B8B8"; margin=5; label="";'
    listed = " ".join(f'"{each}";' for each in inside)
    stated = plain(inside[0], label, margin="0.02", fontcolor=INK)
    return f'{stated}\tsubgraph "cluster_{name}" {{ {look} {listed} }}\n{same_row(inside)}'


def margin(name: str, title: str) -> str:
    """The name of a row, in the left margin."""
    look = {
        "label": literal(title) + r"\l",
        "shape": "plaintext",
        "fontcolor": FAINT,
        **_tip(title),
    }
    return _named(
        name, {**look, "width": "1.5", "fixedsize": "true", "fillcolor": "none", "fontsize": "9"}
    )


def plain(name: str, label: str, **more: str) -> str:
    """Text without a frame: a token, a word of the legend."""
    return box(name, label, "none", shape="plaintext", **more)


def head(name: str, pairs: list[tuple[str, str]], names: list[str]) -> str:
    """A frame around the channels of one head, with each q·k pair side by side."""
    look = f'style="rounded"; color="#CFCFCF"; margin=4; label=""; tooltip="{name}";'
    paired = "".join(_side_by_side(f"{name}.{i}", *pair) for i, pair in enumerate(pairs))
    inside = " ".join(f'"{each}";' for each in names)
    return f'\tsubgraph "cluster_{name}" {{ {look}\n{paired}\t\t{inside}\n\t}}\n'


def _side_by_side(name: str, left: str, right: str) -> str:
    look = 'peripheries=0; margin=0; label="";'
    return f'\t\tsubgraph "cluster_{name}" {{ {look} "{left}"; "{right}"; }}\n'


def _named(name: str, attributes: dict[str, str]) -> str:
    return f'\t"{name}"{attr_list(kwargs=attributes)}\n'


def _link(tail: str, head: str, attributes: dict[str, str]) -> str:
    return f'\t"{tail}" -> "{head}"{attr_list(kwargs=attributes)}\n'


def _tip(text: str) -> dict[str, str]:
    return {"tooltip": literal(text.replace("\n", " "))}
