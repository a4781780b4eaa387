"""The diagram: one box a node, one arrow an edge, the same bytes every time."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from example_circuit import (
    empty_circuit,
    example_circuit,
    parse_edges,
    random_circuit,
    surroundings,
    tiny_circuit,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.circuit import residual_links
from circuitkit.errors import ReportError
from circuitkit.nodes import Node, NodeSet
from circuitkit.views import diagram as module
from circuitkit.views import dot
from circuitkit.views.diagram import caption, diagram, render, write_diagram
from circuitkit.views.example_pair import cues, shown_tokens
from circuitkit.views.palette import NEGATIVE, POSITIVE, STREAM

TINY_DOT = r"""
"0.mlp.act_in:1" [fillcolor="#E6E6E6" label=1 tooltip="0.mlp.act_in:1"]
{ rank=same; "row 0.mlp.act_in"; "0.mlp.act_in:1"; }
"0.mlp.post_act:5" [fillcolor="#CDEBDD" label="5\nb -1.25" tooltip="0.mlp.post_act:5, bias -1.25"]
{ rank=same; "row 0.mlp.post_act"; "0.mlp.post_act:5"; }
"0.mlp.resid_delta:2" [fillcolor="#FFFFFF" label=2 tooltip="0.mlp.resid_delta:2"]
{ rank=same; "row 0.mlp.resid_delta"; "0.mlp.resid_delta:2"; }
"final_resid:2" [fillcolor="#E6E6E6" label=2 tooltip="final_resid:2"]
{ rank=same; "row final_resid"; "final_resid:2"; }
"0.mlp.resid_delta:2" -> "final_resid:2" [arrowhead=none color="#B4B4B4" penwidth=1 weight=8]
"0.mlp.post_act:5" -> "0.mlp.resid_delta:2" [color="#D55E00" penwidth=2.60 tooltip=-1]
"0.mlp.act_in:1" -> "0.mlp.post_act:5" [color="#0072B2" penwidth=2.60 tooltip="+0.5"]
"token 0" [fillcolor=none label="'('\nin a" shape=plaintext tooltip="'(' in a"]
"token 1" [fillcolor=none label="'['\nin b" shape=plaintext tooltip="'[' in b"]
"token 2" [fillcolor=none label="'y'\nlast" shape=plaintext tooltip="'y' last"]
{ rank=same; "row tokens"; "token 0"; "token 1"; "token 2"; }
"token 2" -> "0.mlp.act_in:1" [color="#0072B2" penwidth=2.60 tooltip="+0.8"]
"answer 0" [fillcolor=none label="')'\nto a" shape=plaintext tooltip="')' to a"]
"answer 1" [fillcolor=none label="']'\nto b" shape=plaintext tooltip="']' to b"]
{ rank=same; "row answers"; "answer 0"; "answer 1"; }
"answer 0" -> "answer 1" [style=invis weight=1]
"final_resid:2" -> "answer 0" [color="#0072B2" penwidth=2.60 tooltip="+1.5"]
"final_resid:2" -> "answer 1" [color="#D55E00" penwidth=2.04 tooltip=-1.1]
"""

ODD = st.text(max_size=60) | st.sampled_from(
    ['"', "\\", "\n", "<b>", "|", "{}", "}", "🙂", "\x00", "\\N", "<", "x" * 5000]
)


def boxes(source: str) -> list[str]:
    """The ids of the kept nodes among the statements of a DOT source."""
    return re.findall(r'^\t"([^"\n]*:\d+)" \[', source, flags=re.MULTILINE)


def arrows(source: str, colours: tuple[str, ...]) -> list[tuple[str, str]]:
    """The ends of the links drawn in one of the colours."""
    found = re.findall(r'^\t"(.*?)" -> "(.*?)" \[(.*)\]$', source, flags=re.MULTILINE)
    return [(tail, head) for tail, head, look in found if any(c in look for c in colours)]


@pytest.mark.parametrize(
    "circuit",
    [example_circuit(), tiny_circuit(), random_circuit(60), random_circuit(200)],
    ids=["example", "tiny", "sixty", "two hundred"],
)
def test_every_kept_node_is_stated_exactly_once(circuit):
    """Every kept node has exactly one box, named by its id in the file."""
    assert sorted(boxes(diagram(circuit).source)) == sorted(map(str, circuit.nodes))


def test_every_edge_is_drawn_in_the_hue_of_its_sign():
    """Every counted edge is one arrow: blue when positive, vermilion when negative."""
    circuit = example_circuit(surroundings=None)
    source = diagram(circuit).source
    for colour, sign in ((POSITIVE, 1), (NEGATIVE, -1)):
        expected = {(str(e.source), str(e.target)) for e in circuit.edges if sign * e.weight > 0}
        assert set(arrows(source, (colour,))) == expected


def test_every_residual_link_is_a_path_along_one_grey_line():
    """A write reaches each later read of its channel along the grey lines, and nothing else."""
    import networkx as nx

    circuit = random_circuit(60)
    stream = nx.DiGraph(arrows(diagram(circuit).source, (STREAM,)))
    for write, read in residual_links(circuit.nodes):
        assert nx.has_path(stream, str(write), str(read))
    assert all(a.rpartition(":")[2] == b.rpartition(":")[2] for a, b in stream.edges)


def test_a_query_and_key_that_meet_are_joined_by_a_dashed_line():
    """The q·k pairing of a head's channel is drawn dashed, without an arrow head."""
    lines = diagram(example_circuit()).source.splitlines()
    assert '\t"1.attn.q:83" -> "1.attn.k:83" [dir=none penwidth=0.9 style=dashed]' in lines


def test_channels_of_one_head_share_a_frame():
    """Attention channels are grouped by head: channel // d_head."""
    source = diagram(example_circuit()).source
    frame = re.search(r'subgraph "cluster_1.h5" \{(.*?)\n\t\}', source, re.DOTALL)
    assert frame
    assert set(re.findall(r'"(1\.attn[^"]*)"', frame[1])) == {
        *("1.attn.q:83", "1.attn.k:83", "1.attn.v:82", "1.attn.v:87"),
    }


def test_width_is_relative_to_the_largest_of_its_kind():
    """The heaviest edge of each kind has the full width, others a share of it."""
    names = ("0.mlp.act_in:1", "0.mlp.post_act:5", "0.mlp.post_act:6")
    edges = (("0.mlp.act_in:1", "0.mlp.post_act:5", 8.0), (names[0], "0.mlp.post_act:6", -4.0))
    source = diagram(example_circuit(names, edges, surroundings=None)).source
    assert re.findall(r"penwidth=([\d.]+) tooltip", source) == ["2.60", "1.55"]


def test_golden_source_of_a_tiny_circuit():
    """Three nodes and two edges, the tokens below and the answers above: the golden source."""
    lines = diagram(tiny_circuit()).source.splitlines()
    drawn = [line.strip() for line in lines if re.match(r'\t("(?!row|legend)|\{)', line)]
    assert [line for line in drawn if "legend" not in line] == TINY_DOT.strip().splitlines()


def test_the_caption_says_size_and_losses():
    """Under the picture stand n nodes, n edges, the loss in nats and the complement's accuracy."""
    assert caption(tiny_circuit()) == (
        "bracket_counting: 4 nodes, 2 edges, loss 0.143 nats, complement accuracy 0.512"
    )


def test_the_same_circuit_gives_the_same_bytes(tmp_path):
    """Drawing twice gives the same DOT and the same SVG."""
    for folder in ("one", "two"):
        write_diagram(example_circuit(), tmp_path / folder)
    for name in ("circuit.dot", "circuit.svg"):
        first, second = (tmp_path / folder / name for folder in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "circuit.dot",
        "circuit.svg",
    ]


def test_the_svg_asks_for_a_font_that_typst_carries():
    """Every text is set in DejaVu Sans Mono, as wide as the Courier it was laid out in."""
    svg = render(diagram(example_circuit()))
    assert set(re.findall(r'font-family="([^"]*)"', svg)) == {"DejaVu Sans Mono, monospace"}


def test_an_empty_circuit_has_a_picture_that_says_so():
    """A circuit of no nodes is drawn as a placeholder with its outcome."""
    svg = render(diagram(empty_circuit()))
    assert "no nodes are kept" in svg
    assert "outcome: collapsed" in svg


def test_a_huge_circuit_is_a_placeholder(monkeypatch):
    """Beyond ``MAX_NODES`` there is no layout to wait for."""
    monkeypatch.setattr(module, "MAX_NODES", 10)
    assert "too many nodes to draw" in diagram(random_circuit(11)).source


def test_edges_left_out_are_said_to_be(monkeypatch):
    """When only the largest edges are drawn, the caption says how many."""
    monkeypatch.setattr(module, "MAX_EDGES", 5)
    circuit = example_circuit(surroundings=None)
    source = diagram(circuit).source
    assert len(arrows(source, (POSITIVE, NEGATIVE))) == 5
    assert "20 edges (the 5 largest drawn)" in caption(circuit)


def test_a_large_circuit_is_drawn_without_names():
    """Past 150 nodes the boxes lose their names, never their tooltips."""
    circuit = random_circuit(160)
    source = diagram(circuit).source
    assert source.count('label=""') >= 160
    assert all(f'tooltip="{node.label(16)}' in source for node in circuit.nodes)
    assert render(diagram(circuit)).startswith("<?xml")


def test_without_surroundings_there_are_no_tokens():
    """A circuit without its example is drawn without tokens, answers and heads."""
    source = diagram(example_circuit(surroundings=None)).source
    assert '"token' not in source
    assert '"answer' not in source
    assert "cluster" not in source


def test_embedding_entries_of_a_channel_enter_its_lowest_read():
    """A token is joined to the first read of a channel; the grey line takes it further."""
    names = ("0.attn.act_in:7", "0.mlp.act_in:7", "1.mlp.act_in:7")
    nodes = NodeSet.of(map(Node.parse, names))
    entries = tuple((" [[", name, 0.5) for name in names)
    circuit = example_circuit(names, (), surroundings=surroundings(nodes, embedding=entries))
    drawn = [ends for ends in arrows(diagram(circuit).source, (POSITIVE,)) if "token" in ends[0]]
    assert [head for _, head in drawn] == ["0.attn.act_in:7"]


def test_entries_of_nodes_that_are_not_kept_are_not_drawn():
    """A file that names other nodes in its surroundings cannot put them in the picture."""
    evil = 'x" [label=evil]; "y'
    around = {"embedding": ((" [[", evil, 1.0),), "unembedding": ((evil, "]]", 1.0),)}
    assert "evil" not in diagram(example_circuit(around=around)).source


def test_cues_are_the_tokens_that_the_twins_do_not_share():
    """Prompts of one length are compared place by place, others by what they share in order."""
    around = example_circuit().surroundings
    assert around
    assert [around.a.tokens[i] for i in cues(around.a, around.b)] == [" [[", "],", " [", "7"]
    assert [around.b.tokens[i] for i in cues(around.b, around.a)] == [" [", ",", " 7"]
    same = tiny_circuit().surroundings
    assert same
    assert cues(same.a, same.b) == (1,)
    assert cues(same.a, same.a) == ()


def test_the_last_token_is_always_shown():
    """The tokens shown are the cue's, then the last of each side."""
    around = tiny_circuit().surroundings
    assert around
    assert [(token.text, token.where) for token in shown_tokens(around)] == [
        *(("(", "in a"), ("[", "in b"), ("y", "last")),
    ]


def test_a_layout_that_fails_is_a_report_error():
    """What Graphviz refuses comes back as an error that names the picture."""
    broken = dot.canvas("broken", "x")
    broken.body.append('\t"a" -> -> \n')
    with pytest.raises(ReportError, match="could not draw broken"):
        render(broken)


@given(ODD, ODD, ODD, ODD)
@settings(max_examples=60, deadline=None)
def test_no_token_breaks_the_picture(cue, last, answer, name):
    """Whatever tokens and names hold, the SVG is well-formed and all nodes are there."""
    names, edges = ("0.attn.act_in:1", "0.attn.v:3"), (("0.attn.act_in:1", "0.attn.v:3", 1.0),)
    around = surroundings(
        NodeSet.of(map(Node.parse, names)),
        tokens_a=("x", cue, last),
        tokens_b=("x", "y", last),
        answers=(answer, answer + "]"),
    )
    circuit = example_circuit(names, edges, surroundings=around)
    circuit = circuit.model_copy(
        update={"task": circuit.task.model_copy(update={"name": name}), "edges": parse_edges(edges)}
    )
    svg = render(diagram(circuit))
    ET.fromstring(svg)
    titles = re.findall(r"<title>(.*?)</title>", svg)
    assert {"0.attn.act_in:1", "0.attn.v:3"} <= set(titles)
