"""Laws of circuits side by side: what every two share, and the nodes that several have."""

from pathlib import Path

import pytest
from test_cli import cli

import circuitkit as ck
from circuitkit.circuit.recurrence import Recurrence

GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / "tinypython-nano"
FOLDERS = [GALLERY / name for name in ("for_while", "if_equals", "with_open")]


def test_every_two_share_what_they_share_alone():
    """The matrix holds the Jaccard index that two have by themselves."""
    matrix = cli("compare", *FOLDERS, "--json").json["jaccard_nodes"]
    for row, a in zip(matrix, FOLDERS, strict=True):
        assert row == [ck.compare(a, b).jaccard_nodes for b in FOLDERS]


def test_the_owners_of_a_node_have_it():
    """All of them, and no others; those that most have come first."""
    found = ck.compare_many(FOLDERS)
    frame = found.nodes_frame()
    for name, folder in zip(found.names, FOLDERS, strict=True):
        its = set(map(str, ck.CircuitFolder.open(folder).circuit.nodes))
        assert set(frame["node"][frame[name]]) == its
    assert frame[list(found.names)].sum(axis=1).tolist() == frame["n_circuits"].tolist()
    assert frame["n_circuits"].is_monotonic_decreasing
    assert found.matrix_frame().loc["for_while", "for_while"] == 1


def test_a_circuit_called_as_another_column_has_its_own():
    """Neither replaces the other."""
    circuits = tuple(ck.CircuitFolder.open(folder).circuit for folder in FOLDERS)
    frame = Recurrence(names=("node", "n_circuits", "x"), circuits=circuits).nodes_frame()
    assert list(frame) == ["node", "n_circuits", "circuit node", "circuit n_circuits", "x"]
    assert frame["n_circuits"].max() <= 3


def test_the_rung_to_compare_is_chosen():
    """The smallest circuit of a folder, beside itself, shares all its nodes."""
    smallest = ck.CircuitFolder.open(FOLDERS[1]).at("smallest")
    said = cli("compare", *3 * [FOLDERS[1]], "--rung", "smallest").out
    assert f"{smallest.n_nodes} of {smallest.n_nodes} nodes are in two circuits or more" in said
    assert "if_equals (3)" in cli("compare", *3 * [FOLDERS[1]], "--json").out


def test_fewer_are_refused():
    """One folder by the command; fewer than three by the verb, which has another for two."""
    ran = cli("compare", FOLDERS[0])
    assert ran.code == 2
    assert "got one folder" in ran.err
    with pytest.raises(ck.CircuitkitError, match="got 2 circuits, expected at least 3"):
        ck.compare_many(FOLDERS[:2])


def test_circuits_of_two_models_are_compared_with_a_warning():
    """A name means another node in another model."""
    other = GALLERY.parent / "tinypython-sparse" / "for_while"
    assert "of different checkpoints" in cli("compare", *FOLDERS[:2], other).out


def test_a_picture_shows_whose_nodes_are_whose(tmp_path):
    """Every node of each circuit is in it."""
    path = tmp_path / "all.svg"
    assert cli("compare", *FOLDERS, "--svg", path).code == 0
    svg = path.read_text()
    for folder in FOLDERS:
        assert all(
            f"<title>{n}</title>" in svg for n in ck.CircuitFolder.open(folder).circuit.nodes
        )
