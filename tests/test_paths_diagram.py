"""The stripped diagram: only what matters, in the order of the prompt, coloured by its answer."""

from __future__ import annotations

import doctest
import re
from xml.etree import ElementTree as ET

import pytest
from example_circuit import example_circuit, random_circuit
from example_explanation import (
    CONSTANT,
    LINKS,
    LOOK,
    THROUGH_NEURONS,
    THROUGH_THE_HEAD,
    adds,
    example_explanation,
    note,
    run,
    source,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Explanation, Hop, TokenPath
from circuitkit.nodes import Node
from circuitkit.views import answer_colours
from circuitkit.views import paths_diagram as module
from circuitkit.views.answer_colours import LINES, push
from circuitkit.views.flows import flows
from circuitkit.views.node_sketch import node_sketch
from circuitkit.views.page_data import _link
from circuitkit.views.page_svg import DrawnEdge
from circuitkit.views.paths_diagram import paths_diagram, write_paths

ODD = st.text(max_size=40) | st.sampled_from(
    [
        *('"', "'", "\\", "\n", "</script>", "<b>", "#import", "=cmd()", "\u202eabc", "\u200f"),
        *("🙂", "\x00", "\\N", "a>b", "&lt;", "]]", "|{}", "x" * 500),
    ]
)


def drawn(**changes) -> str:
    """The SVG of the example, with fields of its shown pair changed."""
    circuit = example_circuit()
    return paths_diagram(circuit, example_explanation(circuit, **changes)).svg


def groups(svg: str, kind: str) -> dict[str, ET.Element]:
    """The nodes, or edges, of an SVG by their title."""
    space = "{http://www.w3.org/2000/svg}"
    found = ET.fromstring(svg).iter(f"{space}g")
    return {g.findtext(f"{space}title") or "": g for g in found if g.get("class") == kind}


def words(group: ET.Element) -> list[str]:
    """The lines of text in a group."""
    return ["".join(text.itertext()) for text in group.iter("{http://www.w3.org/2000/svg}text")]


def strokes(group: ET.Element) -> set[str]:
    """The colours of the lines of an edge."""
    return {
        path.get("stroke", "").lower() for path in group.iter("{http://www.w3.org/2000/svg}path")
    }


def x_of(group: ET.Element) -> float:
    """Where the first text of a box stands."""
    return float(next(group.iter("{http://www.w3.org/2000/svg}text")).get("x", 0))


def test_every_box_is_a_node_under_its_own_id():
    """Other boxes are tokens, answers, the constant box, labels of frames and ellipses."""
    known = set(map(str, example_circuit().nodes))
    others = r"(token|gap|frame) \d+( label)?|answer [ab]|constant"
    names = set(groups(drawn(), "node"))
    assert {name for name in names - known if not re.fullmatch(others, name)} == set()
    assert {"0.attn.v:33", "1.attn.v:82", "0.mlp.post_act:212"} <= names


def test_every_edge_has_its_two_ends_as_title():
    """As Graphviz emits them, so that a page can find what flows through it."""
    edges = set(groups(drawn(), "edge"))
    assert {"token 0->0.attn.act_in:17", "0.attn.act_in:17->0.attn.v:33"} <= edges
    assert {"1.attn.resid_delta:12->answer a", "final_resid:40->answer b"} <= edges


def test_tokens_stand_in_the_order_of_the_prompt():
    """From left to right, what is left out as an ellipsis, the last token always."""
    paths = (THROUGH_THE_HEAD, TokenPath(source=source("rows", "rows", (0,), (0,)), hops=(),
             channels=("final_resid:9",), adds=adds(2, 2)))  # fmt: skip
    links = {**LINKS, "token:rows>final_resid:9": adds(2, 2)}
    boxes = groups(drawn(paths=paths, links=links), "node")
    row = sorted((x_of(g), words(g)[0]) for name, g in boxes.items() if name[:3] in ("tok", "gap"))
    shown = [text for _, text in row]
    assert shown == ["'rows'", "…", "'␣[['", "'␣['", "…", "'␣2'"]


def test_the_cue_is_marked_in_both_prompts():
    """A place where the prompts differ has a box for each, in the colour of its answer."""
    boxes = groups(drawn(), "node")
    labels = [words(group) for name, group in boxes.items() if name.startswith("token")]
    assert ["'␣[['", "cue in a"] in labels
    assert ["'␣['", "cue in b"] in labels
    assert ["'␣2'", "last"] in labels


def test_a_link_has_the_colour_of_the_answer_that_it_pushes_for():
    """In a prompt where it moves more; double where it is right in both."""
    edges = groups(drawn(), "edge")
    a, b = (LINES[prompt]["color"].lower() for prompt in ("a", "b"))
    assert strokes(edges["1.attn.v:82->1.attn.resid_delta:12"]) == {a}
    assert strokes(edges["0.mlp.act_in:61->0.mlp.post_act:212"]) == {b}
    assert strokes(edges["0.attn.act_in:17->0.attn.v:33"]) == {a, b}


def test_pushes_are_told_apart_without_colour():
    """Each kind of line has a style, or a number of lines, of its own."""
    looks = [(look.get("style", "solid"), look["color"].count(":")) for look in LINES.values()]
    assert len(set(looks)) == len(LINES)


@given(st.floats(-9, 9), st.floats(-9, 9))
def test_swapping_the_prompts_swaps_the_push(a, b):
    """What pushes for a's answer pushes for b's when the prompts change names."""
    swapped = {"a": "b", "b": "a", "right": "right", "wrong": "wrong"}
    if abs(a) != abs(b):
        assert push(adds(b, a)) == swapped[push(adds(a, b))]


def test_the_example_of_push_runs():
    """What its docstring shows is what happens."""
    assert doctest.testmod(answer_colours).failed == 0


def test_constant_nodes_are_one_grey_box():
    """With their number, and what they add; none of them has a box."""
    boxes = groups(drawn(), "node")
    assert words(boxes["constant"]) == ["constant", f"{len(CONSTANT)} nodes"]
    assert not set(CONSTANT) & set(boxes)
    assert "constant->answer b" in groups(drawn(), "edge")


def test_without_constants_there_is_no_grey_box():
    """Neither nodes nor a contribution: nothing to show."""
    circuit = example_circuit()
    explained = example_explanation(circuit, constant=adds(0, 0))
    notes = {name: note("cue") for name in explained.nodes}
    explained = explained.model_copy(update={"nodes": notes})
    assert "constant" not in groups(paths_diagram(circuit, explained).svg, "node")


def test_what_adds_little_is_left_out_and_counted():
    """Links below a share of the logit difference; the caption says how many, and below what."""
    circuit = example_circuit()
    drawing = paths_diagram(circuit, example_explanation(circuit))
    assert "final_resid:9->answer a" not in groups(drawing.svg, "edge")
    assert "2 lines" in drawing.caption
    assert "less than 0.11 nats" in drawing.caption


def test_the_caption_explains_what_is_drawn_and_nothing_else():
    """A dotted line, neurons and q, k and v only where there are any."""
    circuit = example_circuit()
    plain = paths_diagram(circuit, example_explanation(circuit)).caption
    assert "a neuron" in plain
    assert "dotted" not in plain
    against = {**LINKS, "0.attn.v:33>0.attn.resid_delta:61": adds(-1.7, -1.3)}
    assert "dotted" in paths_diagram(circuit, example_explanation(circuit, links=against)).caption
    only = {"token: 2>final_resid:40": adds(0.5, 0.4), "final_resid:40>answer": adds(0.5, 0.4)}
    few = paths_diagram(circuit, example_explanation(circuit, links=only)).caption
    assert "a neuron" not in few
    assert "q, k and v" not in few


def test_no_node_floats():
    """Every node that is drawn is reached from a token, and reaches an answer, a query or a key."""
    links = {**LINKS, "token: 2>0.attn.act_in:90": adds(0.001, 0), "0.attn.act_in:90>0.attn.v:37":
             adds(0.01, 0), "0.attn.v:37>0.attn.resid_delta:88": adds(1.0, 0)}  # fmt: skip
    edges = [title.split("->") for title in groups(drawn(links=links), "edge")]
    known = set(map(str, example_circuit().nodes))
    boxes = known & set(groups(drawn(links=links), "node"))
    heads = {head for _, head in edges}
    assert "0.attn.v:37" in boxes
    assert {
        b for b in boxes if b not in heads and Node.parse(b).site.place not in ("q", "k")
    } == set()


def test_wider_lines_add_more():
    """The width of a line grows with what it adds."""
    edges = groups(drawn(), "edge")

    def width(title: str) -> float:
        return float(
            next(edges[title].iter("{http://www.w3.org/2000/svg}path")).get("stroke-width", 1)
        )

    assert width("token 0->0.attn.act_in:17") > width("1.attn.v:82->1.attn.resid_delta:12")
    assert width("1.attn.v:82->1.attn.resid_delta:12") > width("final_resid:40->answer a")


def test_a_frame_says_where_its_head_looks():
    """From which token, at which, with how much of its attention."""
    boxes = groups(drawn(), "node")
    labels = [words(g) for name, g in boxes.items() if name.endswith(" label")]
    assert ["head 1.5", "'␣2' looks", "at '␣[['", f"{LOOK.attention} in a"] in labels
    assert ["neurons 0"] in labels


def test_queries_and_keys_that_matter_are_drawn_with_what_they_read():
    """They add nothing themselves: thin grey links, a dashed line between the two."""
    circuit = example_circuit()
    nodes = {"1.attn.q:83": adds(1, 0), "1.attn.k:83": adds(1, 0), "1.attn.act_in:17": adds(1, 0)}
    hop = Hop(part="head 1.5", nodes=(), looks=(LOOK,))
    path = THROUGH_THE_HEAD.model_copy(update={"hops": (hop,)})
    svg = drawn(nodes=nodes, by_ablation=tuple(nodes), paths=(path,))
    edges = groups(svg, "edge")
    assert str(Node.parse("1.attn.k:83")) in map(str, circuit.nodes)
    assert "1.attn.act_in:17->1.attn.k:83" in edges
    assert "1.attn.q:83->1.attn.k:83" in edges


def test_what_leads_to_a_query_or_a_key_pushes_for_no_answer():
    """An explanation has for it a share of what is lost; a picture has no coloured line of it."""
    circuit = example_circuit()
    example = example_explanation(circuit).examples[0]
    key, lost = "1.attn.k:83", adds(3, 0)
    strange = {f"token: 2>{key}": lost, f"1.attn.act_in:17>{key}": lost}
    found = example.model_copy(update={"links": {**LINKS, **strange}})
    assert flows(circuit, found) == flows(circuit, example)
    drawn_edges = [
        DrawnEdge(source=source, target=target, kind="drawn", key=f"{source}>{target}")
        for source, target in (("token: 2", key), ("final_resid:12", "answer"))
    ]
    assert [_link(found, edge) for edge in drawn_edges] == [None, (1.5, 0.1)]


def test_a_write_and_its_only_read_are_one_box():
    """Under the id of the write; one that is read in two places keeps its reads."""
    boxes = groups(drawn(), "node")
    assert "1.attn.resid_delta:12" in boxes
    assert "final_resid:12" not in boxes
    assert {"1.attn.act_in:61", "0.mlp.act_in:61"} <= set(boxes)


def large() -> tuple[Circuit, Explanation]:
    """A circuit of 150 nodes with more links than can be read."""
    circuit = random_circuit(150)
    names = [str(node) for node in circuit.nodes]
    links = {f"{e.source}>{e.target}": adds(1, 0.2) for e in circuit.edges}
    links |= {f"token: [[>{name}": adds(1, 0) for name in names if "act_in" in name}
    return circuit, example_explanation(circuit, links=links)


def test_a_large_circuit_is_drawn_by_head_and_by_layer():
    """Past what can be read the boxes are parts, the links sums of paths; the caption says so."""
    drawing = paths_diagram(*large())
    boxes = groups(drawing.svg, "node")
    assert words(boxes["part 0"])[0] == "head 1.5"
    assert "150 nodes are shown by head and by layer, 2 boxes" in drawing.caption
    edges = groups(drawing.svg, "edge")
    assert {"token 0->part 0", "part 0->answer a", "part 1->answer b"} <= set(edges)
    assert drawing.width <= module.MAX_SIZE[0]


def test_a_picture_too_large_for_half_a_page_is_drawn_by_parts(monkeypatch):
    """Letters are never smaller than five points: fewer boxes are drawn instead."""
    monkeypatch.setattr(module, "MAX_SIZE", (300.0, 300.0))
    assert "part 0" in groups(drawn(), "node")


def test_names_that_the_circuit_does_not_know_are_not_drawn():
    """A file that names other nodes in its links cannot put them in the picture."""
    evil = 'x" [label=evil]; "y'
    links = {**LINKS, f"{evil}>answer": adds(9, 9), f"token: 2>{evil}": adds(9, 9)}
    svg = drawn(links=links)
    assert "evil" not in svg
    assert groups(svg, "edge").keys() == groups(drawn(), "edge").keys()


@given(ODD, ODD, ODD)
@settings(max_examples=60, deadline=None)
def test_no_token_breaks_the_stripped_diagram(cue, answer, part):
    """Whatever tokens, answers and parts hold, the SVG is well-formed and all links are there."""
    circuit = example_circuit()
    around = circuit.surroundings
    assert around
    tokens = (*around.a.tokens[:2], cue, *around.a.tokens[3:])
    a = run(around.a.model_copy(update={"tokens": tokens, "answer": answer}))
    path = THROUGH_NEURONS.model_copy(
        update={"source": source(cue, " ["), "hops": (Hop(part=part, nodes=()),)}
    )
    links = {**LINKS, f"token:{cue}>0.mlp.act_in:61": adds(1.0, 0.0)}
    changes = {"a": a, "links": links, "paths": (THROUGH_THE_HEAD, path)}
    explained = example_explanation(circuit, **changes)
    for sketch in (module.node_sketch, module.part_sketch):
        drawing = module._drawn(sketch(circuit, explained, 0.05), explained)
        assert groups(drawing.svg, "edge")
        picture = module._picture(drawing.body, drawing.caption)
        ET.fromstring(module.render(picture))


def test_the_same_explanation_gives_the_same_bytes(tmp_path):
    """Drawing twice gives the same DOT and the same SVG, with a caption."""
    circuit = example_circuit()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_paths(circuit, example_explanation(circuit), tmp_path / folder)
    for name in ("paths.dot", "paths.svg"):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert first == second
        assert b"pushes for" in first


@pytest.mark.parametrize("share", [0.05, 0.5, 10.0])
def test_a_share_draws_no_link_below_it_but_those_that_connect(share):
    """The larger the share, the fewer the links."""
    circuit = example_circuit()
    explained = example_explanation(circuit)
    fuller = node_sketch(circuit, explained, share / 2)
    assert len(node_sketch(circuit, explained, share).links) <= len(fuller.links)
