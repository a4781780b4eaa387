"""Laws of exports: graphs that come back whole, masks that are the circuit, one clear error."""

import ast
import io
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import networkx as nx
import pytest
import torch
from example_circuit import example_circuit
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_cli import cli

import circuitkit as ck
from circuitkit.circuit import head_pairs, residual_links
from circuitkit.errors import CircuitError, MismatchError, UsageError
from circuitkit.exports import FORMATS
from circuitkit.provenance import Named
from circuitkit.validation.validate_folder import explain_folder
from circuitkit.views.graph_export import LINK_KINDS, graph_of, graphml, node_link

GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / "tinypython-nano" / "for_while"
HOSTILE = ('"', "'", "\n", "\0", "\x1b[31m", "</script>", "&lt;", "#import", "=cmd()", "]]>",
           "\u202eabc", "🙂", "", "\r\n", "<!--")  # fmt: skip


def read_graphml(circuit):
    return nx.read_graphml(io.BytesIO(graphml(circuit).encode()))


def read_node_link(circuit):
    return nx.node_link_graph(json.loads(node_link(circuit)), edges="edges")


READERS = {"graphml": read_graphml, "node-link": read_node_link}


def content(graph):
    return dict(graph.nodes(data=True)), {(a, b): data for a, b, data in graph.edges(data=True)}


@pytest.mark.parametrize("reader", READERS)
def test_a_graph_comes_back_whole(reader):
    """Every node, link and attribute, of its type."""
    for circuit in (
        example_circuit(),
        ck.Circuit.load(GALLERY),
        example_circuit(surroundings=None),
    ):
        assert content(READERS[reader](circuit)) == content(graph_of(circuit))


def test_a_graph_has_every_kind_of_link():
    """Weights, residual links, queries with their keys, tokens, answers; nothing twice."""
    circuit = example_circuit()
    links = content(graph_of(circuit))[1]
    of_kind = {kind: [k for k, d in links.items() if d["kind"] == kind] for kind in LINK_KINDS}
    assert sum(map(len, of_kind.values())) == len(links)
    assert len(of_kind["weight"]) == circuit.n_edges
    assert len(of_kind["residual"]) == len(residual_links(circuit.nodes))
    assert [tuple(map(str, pair)) for pair in head_pairs(circuit.nodes)] == of_kind["product"]
    around = circuit.surroundings
    assert len(of_kind["embedding"]) == len(around.embedding)
    assert len(of_kind["unembedding"]) == len(around.unembedding)
    assert all(of_kind.values())
    weights = {(str(e.source), str(e.target)): e.weight for e in circuit.edges}
    assert {k: links[k]["weight"] for k in of_kind["weight"]} == weights


def test_tokens_and_answers_are_nodes():
    """With their text, and in which prompt they stand."""
    circuit = example_circuit()
    nodes = content(graph_of(circuit))[0]
    texts = {ast.literal_eval(d["text"]) for d in nodes.values() if d["kind"] == "token"}
    assert texts == {*circuit.surroundings.a.tokens, *circuit.surroundings.b.tokens}
    answers = [ast.literal_eval(d["text"]) for d in nodes.values() if d["kind"] == "answer"]
    assert answers == [circuit.surroundings.a.answer, circuit.surroundings.b.answer]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(HOSTILE) | st.text(), min_size=3, max_size=3))
def test_no_text_breaks_a_graph(texts):
    """Whatever tokens and names hold, the file is plain ASCII and gives the tokens back."""
    tokens = tuple(f"{text}{i}" for i, text in enumerate(texts))
    name = texts[0].encode(errors="replace").decode()
    circuit = example_circuit(
        around={"tokens_a": ("x", *tokens), "tokens_b": ("y", *tokens)},
        task=Named(name=name, sha256="1f" * 32),
    )
    for text in (graphml(circuit), node_link(circuit)):
        assert text.isascii()
        assert set(filter(lambda c: not c.isprintable(), text)) <= {"\n"}
    ElementTree.fromstring(graphml(circuit))
    for reader in READERS.values():
        found = content(reader(circuit))[0]
        read = {ast.literal_eval(d["text"]) for d in found.values() if d["kind"] == "token"}
        assert read == {"x", "y", *tokens}


def test_a_mask_is_the_circuit(tmp_path):
    """The same nodes, under the widths of the model; the same bytes each time."""
    circuit = ck.Circuit.load(GALLERY)
    path = ck.export(GALLERY, tmp_path / "a.safetensors", format="mask")
    nodes = ck.read_mask(path)
    assert nodes == circuit.nodes
    widths = ck.load_checkpoint("tinypython-nano").architecture.widths
    assert dict(nodes.widths) == widths
    assert len(~nodes) == sum(widths.values()) - circuit.n_nodes
    again = ck.export(GALLERY, tmp_path / "b.safetensors", format="mask")
    assert path.read_bytes() == again.read_bytes()


def test_a_mask_is_of_the_circuits_own_checkpoint(tmp_path):
    """One that was put in its place gives no mask, and no explanation either."""
    folder = tmp_path / "circuit"
    shutil.copytree(GALLERY, folder)
    sources = json.loads((folder / "sources.json").read_text())
    (folder / "sources.json").write_text(json.dumps(sources | {"checkpoint": "tinypython-sparse"}))
    with pytest.raises(MismatchError, match=r"tinypython-nano .*given is tinypython-sparse"):
        ck.export(folder, tmp_path / "mask.safetensors", format="mask")
    with pytest.raises(MismatchError, match=r"tinypython-nano .*given is tinypython-sparse"):
        explain_folder(folder)


def test_what_is_no_mask_is_refused(tmp_path):
    """Nothing, text, numbers, and a site that no model has."""
    path = tmp_path / "a.safetensors"
    with pytest.raises(CircuitError, match="no such file"):
        ck.read_mask(path)
    path.write_text("text")
    with pytest.raises(CircuitError, match="holds no masks"):
        ck.read_mask(path)
    save_file({"0.attn.q": torch.zeros(4)}, path)
    with pytest.raises(CircuitError, match=r"0.attn.q is float32 \(4,\), expected booleans"):
        ck.read_mask(path)
    save_file({"0.attn.z": torch.zeros(4, dtype=torch.bool)}, path)
    with pytest.raises(CircuitError, match="no such site"):
        ck.read_mask(path)


def test_the_command_writes_what_the_verb_does(tmp_path):
    """Graphs need no checkpoint; --json names the file."""
    for name in ("graphml", "node-link", "mask"):
        out = tmp_path / f"cli.{name}"
        done = cli("export", GALLERY, "--format", name, "--out", out, "--json")
        assert json.loads(done.out) == {"path": str(out)}
        by_verb = ck.export(GALLERY, tmp_path / f"verb.{name}", format=name)
        assert out.read_bytes() == by_verb.read_bytes()


def test_the_command_knows_every_format():
    from circuitkit.cli.export_command import export

    option = next(p for p in export.params if p.name == "format_")
    assert tuple(option.type.choices) == FORMATS


DENSE = GALLERY.parents[1] / "tinypython-dense" / "for_while"
"""A circuit of the smallest rung alone."""


def test_a_mistake_is_one_clear_error(tmp_path):
    """And leaves no file."""
    with pytest.raises(UsageError, match="format: got 'dot'"):
        ck.export(GALLERY, tmp_path / "a", format="dot")
    with pytest.raises(UsageError, match="is a folder; expected the name of a file"):
        ck.export(GALLERY, tmp_path, format="graphml")
    with pytest.raises(CircuitError, match="no such file"):
        ck.export(tmp_path, tmp_path / "a", format="graphml")
    with pytest.raises(CircuitError, match="holds no circuit of the rung 'trusted'"):
        ck.export(DENSE, tmp_path / "a", format="graphml", rung="trusted")
    assert list(tmp_path.iterdir()) == []
