"""The tables: columns declared as data, one row a noun, the same bytes every time."""

from __future__ import annotations

import io

import pandas as pd
from example_circuit import (
    empty_circuit,
    example_circuit,
    example_validation,
    random_circuit,
    tiny_circuit,
)

from circuitkit.findings import Finding, NodeUse
from circuitkit.views.tables import (
    edges_frame,
    findings_frame,
    nodes_frame,
    write_findings,
    write_tables,
)

NODES_CSV = """\
node,label,site,layer,kind,channel,head,mean,bias,n_in,n_out
0.mlp.act_in:1,0.mlp.act_in:1,0.mlp.act_in,0,read,1,,0.3,,0,1
0.mlp.post_act:5,0.mlp.post_act:5,0.mlp.post_act,0,neuron,5,,0.25,-1.25,1,1
0.mlp.resid_delta:2,0.mlp.resid_delta:2,0.mlp.resid_delta,0,write,2,,0.2,,1,0
final_resid:2,final_resid:2,final_resid,,read,2,,0.15,,0,0
"""

EDGES_CSV = """\
source,target,weight,kind,layer
0.mlp.act_in:1,0.mlp.post_act:5,0.5,read to neuron,0
0.mlp.post_act:5,0.mlp.resid_delta:2,-1.0,neuron to write,0
"""


def test_golden_csv_of_a_tiny_circuit(tmp_path):
    """The headers, the order and the numbers of the CSVs are a contract."""
    write_tables(tiny_circuit(), tmp_path)
    assert (tmp_path / "nodes.csv").read_text() == NODES_CSV
    assert (tmp_path / "edges.csv").read_text() == EDGES_CSV


def test_one_row_a_node_and_an_edge():
    """The frames have as many rows as the circuit counts, in the order of the forward pass."""
    circuit = random_circuit(60)
    assert nodes_frame(circuit)["node"].tolist() == [str(node) for node in circuit.nodes]
    assert len(edges_frame(circuit)) == circuit.n_edges
    assert nodes_frame(circuit)["n_in"].sum() == circuit.n_edges
    assert nodes_frame(circuit)["n_out"].sum() == circuit.n_edges


def test_attention_channels_are_labelled_by_head():
    """The label and the head of an attention channel follow from d_head; others have no head."""
    frame = nodes_frame(example_circuit()).set_index("node")
    assert frame.loc["1.attn.q:83", "label"] == "1.attn.q h5.c3"
    assert frame.loc["1.attn.q:83", "head"] == 5
    assert frame["head"].notna().sum() == 6


def test_a_node_that_matters_on_no_form_is_not_one_that_was_not_tried(tmp_path):
    """Both would be empty; of a validation without forms there is no column."""
    circuit = tiny_circuit()
    first, second, *others = map(str, circuit.nodes)
    uses = (NodeUse(node=first, forms=("form1", "form2")), NodeUse(node=second, forms=()))
    validation = example_validation(circuit)
    assert "matters_on" not in nodes_frame(circuit, validation)
    write_tables(circuit, tmp_path, validation.model_copy(update={"uses": uses}))
    _, *rows = (tmp_path / "nodes.csv").read_text().splitlines()
    said = [row.rpartition(",")[2] for row in rows]
    assert said == ["form1 form2", "none", *("" for _ in others)]


def test_without_surroundings_means_and_heads_are_missing():
    """What only the surroundings know is left empty, never guessed."""
    frame = nodes_frame(example_circuit(surroundings=None))
    assert frame[["mean", "bias", "head"]].isna().all(axis=None)


def test_empty_tables_have_their_headers(tmp_path):
    """A circuit of no nodes has tables of no rows, with the same columns."""
    write_tables(empty_circuit(), tmp_path)
    assert (tmp_path / "nodes.csv").read_text() == NODES_CSV.splitlines()[0] + "\n"
    assert (tmp_path / "edges.csv").read_text() == EDGES_CSV.splitlines()[0] + "\n"


def test_the_csv_reads_back_as_the_frame(tmp_path):
    """Weights survive the CSV to the last bit."""
    circuit = random_circuit(40)
    write_tables(circuit, tmp_path)
    text = (tmp_path / "edges.csv").read_text()
    read = pd.read_csv(io.StringIO(text), dtype={"weight": str})  # pandas below 3 rounds
    assert [float(weight) for weight in read["weight"]] == edges_frame(circuit)["weight"].tolist()


def test_findings_have_a_row_each_and_every_field(tmp_path):
    """findings.csv holds one row a finding, one column a field, in the order of the suite."""
    validation = example_validation(example_circuit())
    write_findings(validation, tmp_path)
    lines = (tmp_path / "findings.csv").read_text().splitlines()
    assert lines[0] == ",".join(Finding.model_fields)
    assert lines[1].startswith("integrity,pass,")
    assert findings_frame(validation)["claim"].tolist() == [f.claim for f in validation.findings]


def test_the_same_circuit_gives_the_same_bytes(tmp_path):
    """Writing twice gives the same CSVs."""
    for folder in ("one", "two"):
        write_tables(random_circuit(50), tmp_path / folder)
    for name in ("nodes.csv", "edges.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
