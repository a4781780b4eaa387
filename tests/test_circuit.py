"""Laws of circuit.json: what is saved is loaded, and anything else is refused, with where."""

import json

import pytest
from example_circuit import example_circuit, tiny_circuit
from hypothesis import given
from strategies import circuits
from tiny import nodes

from circuitkit.circuit import Circuit, head_pairs, residual_links
from circuitkit.errors import CircuitError
from circuitkit.nodes import Node

DROP = object()


def changed(tmp_path, *path, value):
    """A folder with the tiny circuit's file, one value of it replaced or dropped."""
    raw = json.loads(tiny_circuit().to_json())
    target = raw
    for key in path[:-1]:
        target = target[key]
    if value is DROP:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    (tmp_path / "circuit.json").write_text(json.dumps(raw))
    return tmp_path


@given(circuit=circuits())
def test_loading_undoes_saving(tmp_path_factory, circuit):
    """The circuit that comes back is equal, and saving it again gives the same bytes."""
    folder = tmp_path_factory.mktemp("circuit")
    circuit.save(folder)
    first = (folder / "circuit.json").read_bytes()
    loaded = Circuit.load(folder)
    assert loaded == circuit
    assert loaded.sha256 == circuit.sha256
    loaded.save(folder)
    assert (folder / "circuit.json").read_bytes() == first


def test_saving_makes_the_folder(tmp_path):
    """Parents too."""
    example_circuit().save(tmp_path / "a" / "b")
    assert Circuit.load(str(tmp_path / "a" / "b")) == example_circuit()


EDGE = ["0.mlp.act_in:1", "0.mlp.post_act:5", 0.5]
WRONG = {
    "unknown key": (("colour",), "red", r"colour: Extra inputs are not permitted; got 'red'"),
    "unknown inner key": (("task", "size"), 3, r"task\.size: Extra inputs"),
    "wrong format": (("format",), "circuitkit.circuit/2", r"format: .*'circuitkit\.circuit/1'"),
    "missing key": (("nodes",), DROP, r"nodes: Field required"),
    "missing inner key": (("loss_nats", "empty"), DROP, r"loss_nats\.empty: Field required"),
    "wrong node count": (("n_nodes",), 5, r"say 5 and 2, but the file lists 4 and 2"),
    "wrong edge count": (("n_edges",), 1, r"say 4 and 1, but the file lists 4 and 2"),
    "fewer induced": (("n_edges_induced",), 1, r"n_edges_induced is smaller than n_edges"),
    "count as text": (("n_nodes",), "4", r"n_nodes: Input should be a valid integer; got '4'"),
    "count as float": (("n_pairs",), 4.5, r"n_pairs: .*; got 4\.5"),
    "no pairs": (("n_pairs",), 0, r"n_pairs: .*greater than 0"),
    "negative seed": (("seed",), -1, r"seed: .*greater than or equal to 0"),
    "unknown outcome": (("outcome",), "won", r"outcome: .*'target_met'"),
    "NaN loss": (("loss_nats", "model"), float("nan"), r"loss_nats\.model: .*finite number"),
    "infinite target": (("target_loss_nats",), float("inf"), r"target_loss_nats: .*finite"),
    "NaN weight": (("edges", 0, 2), float("nan"), r"edges\.0: .*finite nonzero weight, got nan"),
    "zero weight": (("edges", 0, 2), 0.0, r"edges\.0: .*finite nonzero weight, got 0\.0"),
    "weight as text": (
        ("edges", 0, 2),
        "1",
        r'edges\.0: .*expected \["SOURCE", "TARGET", weight\]',
    ),
    "edge of two": (("edges", 0), EDGE[:2], r'expected \["SOURCE", "TARGET", weight\]'),
    "duplicate edge": (("edges", 1), EDGE, r"an edge is listed twice"),
    "loose edge": (("edges", 0, 0), "0.mlp.act_in:7", r"ends at 0\.mlp\.act_in:7, which is not"),
    "edge of no node": (("edges", 0, 0), "0.mlp.act_in", r"no such node: '0\.mlp\.act_in'"),
    "nodes as list": (("nodes",), ["final_resid:2"], r"nodes: .*channel"),
    "no such site": (("nodes", "0.mlp.q"), [1], r"nodes: .*no such site: '0\.mlp\.q'"),
    "empty site": (("nodes", "0.attn.q"), [], r"0\.attn\.q: expected a list of distinct channels"),
    "unsorted": (("nodes", "final_resid"), [2, 1], r"distinct channels in ascending order"),
    "twice": (("nodes", "final_resid"), [2, 2], r"distinct channels in ascending order"),
    "boolean channel": (("nodes", "final_resid"), [True], r"distinct channels"),
    "negative channel": (("nodes", "final_resid"), [-1], r"no node final_resid:-1"),
    "scale of 0": (("calibration",), {"scale": 0.0, "shift": 0.0}, r"calibration\.scale: .*than 0"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_file_is_refused_with_where(tmp_path, fault):
    """Each fault is named: the key, what was expected, what was got."""
    path, value, match = WRONG[fault]
    with pytest.raises(CircuitError, match=rf"(?s)circuit\.json is not a circuit: .*{match}"):
        Circuit.load(changed(tmp_path, *path, value=value))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    """At whatever byte it ends."""
    text = tiny_circuit().to_json().rstrip()
    (tmp_path / "circuit.json").write_text(text[: int(share * len(text))])
    with pytest.raises(CircuitError, match=r"is not a circuit: the file: Invalid JSON"):
        Circuit.load(tmp_path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[]", b"null", b'{"format": ' + b"[" * 10_000])
def test_what_is_no_json_object_is_refused(tmp_path, data):
    """Bytes that are no text, other JSON, nesting without end."""
    (tmp_path / "circuit.json").write_bytes(data)
    with pytest.raises(
        CircuitError,
        match=r"is not a circuit: the file: (Invalid JSON|Input should)|not UTF-8 at byte 0",
    ):
        Circuit.load(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    """The message names the file and the command that makes one."""
    with pytest.raises(
        CircuitError, match=r"no such file: .*circuit\.json; .*'circuitkit extract'"
    ):
        Circuit.load(tmp_path / "nowhere")


def test_a_circuit_cannot_be_changed():
    """It is frozen."""
    with pytest.raises(ValueError, match="frozen"):
        tiny_circuit().n_nodes = 3


def test_the_hash_follows_every_number():
    """Another loss is another circuit."""
    assert tiny_circuit().sha256 != tiny_circuit(n_pairs=511).sha256


def test_the_graph_holds_the_nodes_and_the_edges():
    """Every node once; weight edges are those of the file, residual links beside them."""
    circuit = example_circuit()
    graph = circuit.graph()
    assert set(graph) == {str(node) for node in circuit.nodes}
    weights = {
        (a, b): w for a, b, w in graph.edges(data="weight") if graph[a][b]["kind"] == "weight"
    }
    assert weights == {(str(e.source), str(e.target)): e.weight for e in circuit.edges}
    residual = {(a, b) for a, b, kind in graph.edges(data="kind") if kind == "residual"}
    assert residual == {(str(a), str(b)) for a, b in residual_links(circuit.nodes)}


def test_a_residual_link_is_a_write_and_a_later_read_of_its_channel():
    """Never an earlier read, another channel, or the same block."""
    kept = nodes(
        *("0.attn.act_in:3", "0.attn.resid_delta:3", "0.mlp.act_in:3", "0.mlp.act_in:4"),
        *("0.mlp.resid_delta:4", "1.attn.act_in:4", "final_resid:3"),
    )
    assert [(str(a), str(b)) for a, b in residual_links(kept)] == [
        ("0.attn.resid_delta:3", "0.mlp.act_in:3"),
        ("0.attn.resid_delta:3", "final_resid:3"),
        ("0.mlp.resid_delta:4", "1.attn.act_in:4"),
    ]


def test_a_head_pair_is_a_query_and_its_key():
    """The same channel of the same layer, both kept."""
    kept = nodes("0.attn.q:3", "0.attn.k:3", "0.attn.k:4", "1.attn.q:4", "0.attn.v:3")
    assert head_pairs(kept) == [(Node.parse("0.attn.q:3"), Node.parse("0.attn.k:3"))]
