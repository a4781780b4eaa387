"""Laws of the comparison with other tools: the scores are right, and no run is made twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks" / "truth"))

import run_peers as truth_run
import scoring
from tables import Result, tables

TRUTH = {
    "name": "made_up",
    "mechanism": {
        "nodes": ["x", "y"], "heads": [[0, 1]], "mlps": [1], "neurons": [[1, 7]],
        "part_edges": [["embed", "a0.h1.v"], ["positions", "a0.h1.v"], ["a0.h1", "m1"]],
    },
    "smallest": [
        {"nodes": ["x"], "heads": [[0, 1]], "mlps": [], "neurons": [],
         "part_edges": [["embed", "a0.h1.v"]]}
    ],
    "wrong": [
        {"kind": "half", "nodes": ["x"], "heads": [[0, 1]], "mlps": [], "neurons": [],
         "part_edges": [["embed", "a0.h1.v"]]},
        {"kind": "less one part", "nodes": ["y"], "heads": [[0, 1]], "mlps": [1],
         "neurons": [[1, 7]], "part_edges": [["embed", "a0.h1.v"]]},
    ],
}  # fmt: skip
"""What the tables read of a truth.json."""

PEER = """
import pathlib, sys
log = pathlib.Path(sys.argv[1]) / "runs"
log.write_text(log.read_text() + "x" if log.exists() else "x")
{then}
"""


@pytest.mark.parametrize(
    ("scores", "true", "share", "last"),
    [
        ({"a": 3, "b": -2, "c": 1}, "ab", 1.0, 2),  # the sign does not count
        ({"a": 3, "b": 2, "c": 1}, "c", 0.0, 3),
        ({"a": 3, "b": 2, "c": 1}, "ac", 0.5, 3),
        ({"a": 0, "b": 0, "c": 0, "d": 0}, "ab", 0.5, 4),  # silence is a guess
        ({"a": 5, "b": 1, "c": 1}, "ab", 0.75, 3),  # one of two equals, by chance
        ({"a": 5, "b": 1 + 1e-7, "c": 1}, "ac", 0.75, 3),  # rounding decides nothing
        ({"a": 1, "b": 0}, "az", 0.5, 2),  # a true part without a score is last
    ],
)
def test_scores_are_ranked_by_size(scores, true, share, last):
    """Precision is recall at the true size; ties count for their share, and rank last."""
    found = scoring.of_scores(scores, set(true))
    assert found == (pytest.approx(share), pytest.approx(share), last)


def test_a_set_has_a_precision_and_a_recall_of_its_own():
    """And none of an empty one."""
    assert scoring.of_set(["a", "b", "c", "d"], ["a", "z"]) == (0.25, 0.5, None)
    assert scoring.of_set([], ["a"]) == (0.0, 0.0, None)


def test_parts_are_compared_at_the_grain_of_the_peer():
    """Neurons where it has them, MLPs where it has not; positions count with the embedding."""
    mechanism = TRUTH["mechanism"]
    assert scoring.parts(mechanism, neurons=True) == {"a0.h1", "m1.n7"}
    assert scoring.parts(mechanism, neurons=False) == {"a0.h1", "m1"}
    assert scoring.edges(mechanism) == {"embed>a0.h1.v", "a0.h1>m1"}
    fine = scoring.discovery({"parts": {"a0.h1": 2, "m1.n7": 1, "m1.n8": 0}}, mechanism,
                             by_edges=False)  # fmt: skip
    coarse = scoring.discovery({"parts": {"a0.h1": 2, "m0": 1, "m1": 0}}, mechanism, by_edges=False)
    assert fine == (1.0, 1.0, 2)
    assert coarse == (0.5, 0.5, 3)


def test_a_circuit_is_asked_about_only_where_a_tool_can_tell_it_apart():
    """Less one node may be less an edge and no part."""
    mechanism, less = TRUTH["mechanism"], TRUTH["wrong"][1]
    assert scoring.is_expressible(less, mechanism, by_edges=True)
    assert not scoring.is_expressible(less, mechanism, by_edges=False)


@pytest.mark.parametrize(
    ("faithfulness", "refused"),
    [(1.0, False), (0.8, False), (1.2, False), (0.79, True), (1.21, True), (0.0, True),
     (float("nan"), True)],
)  # fmt: skip
def test_too_little_and_too_much_are_refused(faithfulness, refused):
    """A circuit louder than the model is no account of it."""
    assert scoring.is_refused(faithfulness) is refused


def peer(folder, then):
    script = folder / "peer.py"
    script.write_text(PEER.format(then=then))
    return truth_run.Peer(name="made up", script=script)


def run(folder, then, **options):
    """Run a made-up peer; what it wrote."""
    out = folder / "results" / "made_up-0.json"
    truth_run.run_peer(peer(folder, then), Path(sys.executable), folder, out, **options)
    return json.loads(out.read_text())


def test_a_resumed_run_repeats_nothing(tmp_path):
    """What is there is left as it is."""
    then = "pathlib.Path(sys.argv[2]).write_text('{\"methods\": {}}')"
    assert run(tmp_path, then) == run(tmp_path, then) == {"methods": {}}
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize(
    ("then", "limit", "reason"),
    [
        ("raise ValueError('no such head')", 60, "failed: ValueError: no such head"),
        ("import time; time.sleep(60)", 0.3, "did not end in 0 s"),
    ],
)
def test_a_peer_that_fails_or_takes_too_long_is_a_result(tmp_path, then, limit, reason):
    """With the reason; nothing half-written stays."""
    assert run(tmp_path, then, limit=limit) == {"failed": reason}
    assert list(tmp_path.rglob("*.part")) == []


def test_a_peer_that_cannot_be_installed_is_a_row(tmp_path):
    """With what the installer said last; the others go on."""

    def make(peer, folder):
        raise subprocess.CalledProcessError(1, "pip", stderr="WARNING: x\nERROR: no such version\n")

    captum = next(p for p in truth_run.PEERS if p.name == "captum")
    why = truth_run.prepare(captum, tmp_path, make)
    out = tmp_path / "results.json"
    truth_run.run_peer(captum, why, tmp_path, out)
    result = Result(peer="captum", truth=TRUTH, found=json.loads(out.read_text()))
    assert list(tables([result]))[-1] == (
        "| captum | 1 | could not be installed: ERROR: no such version |"
    )


def test_the_tables_say_what_was_found():
    """A method a row, a truth a column; circuits that are the same parts are left out."""
    method = {"parts": {"a0.h1": 2.0, "m1.n7": 0.5, "m1.n8": 1.0}, "seconds": 1.0,
              "faithfulness": [1.0, 0.5, 1.0]}  # fmt: skip
    own = {
        "extract": {"chosen_parts": ["a0.h1"], "chosen_edges": ["embed>a0.h1.v"], "seconds": 2.0},
        "validate": {"grades": ["B", "C-redundant", "F"], "seconds": 3.0},
    }
    found = [
        Result(peer=name, truth=TRUTH, found={"versions": {name: "1"}, "methods": methods})
        for name, methods in (("other", {"patching": method}), ("circuitkit", own))
    ]
    lines = list(tables(found))
    assert "| method | exact | made_up | made_up, nearest smallest |" in lines
    assert "| other: patching | 1 of 1 | 0.50 (3) | 1.00 (1) |" in lines
    assert "| circuitkit: extract | 1 of 1 | 1.00 / 0.50 | 1.00 / 1.00 |" in lines
    assert "| the mechanism | 0 of 1 (1.00 to 1.00) | 0 of 1 (A or B 1, C 0) |" in lines
    assert "| half | 1 of 1 (0.50 to 0.50) | 0 of 1 (A or B 0, C 1) |" in lines
    assert "| less one part | same parts | 1 of 1 (A or B 0, C 0) |" in lines


@pytest.mark.parametrize("peer", truth_run.PEERS, ids=lambda peer: peer.name)
def test_every_peer_has_its_script_and_pinned_requirements(peer):
    """An open range would be another tool tomorrow."""
    assert peer.script.is_file()
    if peer.requirements is not None:
        lines = peer.requirements.read_text().split()
        assert lines
        assert all("==" in line for line in lines)
