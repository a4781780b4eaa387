"""Laws of perturbing: nodes of a circuit carried into a dense model, from Python and the CLI."""

import json
from pathlib import Path
from shutil import copytree

import pytest
from click.testing import CliRunner
from tiny_bridged import write_bridges

import circuitkit as ck
from circuitkit.bridges import cue_nodes
from circuitkit.bridges import perturb as perturbing
from circuitkit.bridges.bridge_maps import identity_bridges
from circuitkit.bridges.perturb import perturb
from circuitkit.bridges.same_norm import rotations
from circuitkit.checkpoints import bundled_checkpoints, load_checkpoint
from circuitkit.checkpoints.native import BRIDGES
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.circuit.perturbation import FILE, PICTURE, TABLE, Perturbation
from circuitkit.cli import circuitkit as command
from circuitkit.errors import CheckpointError, CircuitError, UsageError
from circuitkit.extraction import ExtractConfig, Means
from circuitkit.findings import Claim, Finding
from circuitkit.nodes import Node
from circuitkit.progress import silent
from circuitkit.provenance import Named
from circuitkit.task import load_task
from circuitkit.validation.claims import explains_dense
from circuitkit.validation.claims.explains_dense import check_explains_dense
from circuitkit.validation.search_trial import SearchTrial
from circuitkit.validation.suites import Thorough, run_thorough
from circuitkit.validation.verdict import grade_of
from circuitkit.views.page import page_html
from circuitkit.views.perturbation_plot import draw_perturbation
from circuitkit.views.report_data import page
from circuitkit.views.reported import Reported

NANO = "tinypython-nano"
GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / NANO / "if_equals"
READ = "final_resid:22"
"""A node of the circuit; which, and what it does, is of no matter here."""


@pytest.fixture(scope="module", autouse=True)
def few_pairs():
    """To find cue nodes and means on, where a verdict takes many."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cue_nodes, "_CUE_PAIRS", 8)
        patched.setattr(perturbing, "_TRAIN_PAIRS", 8)
        patched.setattr(explains_dense, "_TRAIN_PAIRS", 8)
        yield


@pytest.fixture(scope="module")
def bridged(tmp_path_factory):
    """The nano with bridges to itself that change nothing: the gallery's circuits are its own."""
    folder = tmp_path_factory.mktemp("bridged") / NANO
    copytree(bundled_checkpoints()[NANO], folder)
    nano = load_checkpoint(NANO)
    model = nano.load_model()
    write_bridges(folder, model, nano, model, identity_bridges(2, model.arch.d_model))
    return folder


@pytest.fixture(scope="module")
def made(bridged, tmp_path_factory):
    """One node moved, on few pairs, in a folder."""
    out = tmp_path_factory.mktemp("out") / "moved"
    options = {"n_pairs": 12, "n_random": 9, "strengths": [0.5]}
    return perturb(bridged, "if_equals", GALLERY, [READ], out=out, progress=silent, **options), out


def test_a_dense_model_that_is_the_sparse_one_does_what_it_does(made):
    """The curve of one is that of the other, up to rounding, at every strength."""
    found, _ = made
    assert [point.strength for point in found.curve] == [0, 0.5, 1]
    for point in found.curve:
        assert point.dense_d.effect == pytest.approx(point.sparse_d.effect, abs=1e-4)
    assert found.curve[0].dense_follows.effect == 0
    assert found.end.dense_d.effect < found.curve[1].dense_d.effect < found.curve[0].dense_d.effect
    moved = found.curve[0].dense_d.effect - found.end.dense_d.effect
    assert found.d_per_norm.effect == pytest.approx(moved / found.norm, rel=1e-5)
    assert found.random.n_draws == 9
    assert 0.1 <= found.random.p_value <= 1
    assert (found.nodes, found.crossings) == ((READ,), ("final_resid",))


def test_a_perturbation_is_a_file_a_table_and_a_picture(made, bridged, tmp_path):
    """Written whole, read back equal; the same call gives the same bytes."""
    found, out = made
    assert Perturbation.load(out) == found
    assert sorted(path.name for path in out.iterdir()) == sorted((FILE, TABLE, PICTURE))
    lines = (out / TABLE).read_text().splitlines()
    assert lines[0].startswith("strength,dense_d,dense_d_low,dense_d_high,dense_other_answer")
    assert len(lines) == 4
    perturb(bridged, "if_equals", GALLERY, [READ], out=tmp_path / "again", progress=silent,
            n_pairs=12, n_random=9, strengths=[0.5])  # fmt: skip
    for name in (FILE, TABLE, PICTURE):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


@pytest.mark.parametrize("name", ["usd_$_to_$", r"a$\frac$", "run$^$1"])
def test_a_dollar_sign_begins_no_formula(made, name):
    """In the names of a task and of the dense model."""
    named = {key: Named(name=name, sha256="0" * 64) for key in ("task", "dense")}
    assert "<svg" in draw_perturbation(made[0].model_copy(update=named))


def test_a_perturbation_in_the_circuits_folder_is_in_report_and_page(made, tmp_path):
    """With its picture and the controls; one of another circuit is not."""
    found, _ = made
    folder = copytree(GALLERY, tmp_path / "circuit")
    assert page(Reported.of(CircuitFolder(folder)))["dense"] is None
    found.save(folder)
    reported = Reported.of(CircuitFolder(folder))
    shown = page(reported)["dense"]
    assert shown["svg"].startswith("<?xml")
    assert shown["rows"][0][0] == "the circuit's nodes"
    html = page_html([reported])
    assert "In the dense model" in html
    assert shown["source"] in html
    found.model_copy(update={"circuit_sha256": "0" * 64}).save(folder)
    assert CircuitFolder(folder).perturbation is None


def test_the_report_typesets_it(made, tmp_path):
    """The section is there in the PDF's data, and Typst takes it."""
    folder = copytree(GALLERY, tmp_path / "circuit")
    without = ck.write_report(folder).stat().st_size
    made[0].save(folder)
    assert ck.write_report(folder).stat().st_size > without


def test_without_nodes_the_cue_nodes_are_moved_together(bridged):
    """Each of them a node of the circuit; in a model's own copy they turn the answer."""
    found = ck.perturb(bridged, "if_equals", GALLERY, n_pairs=12, n_random=1, strengths=[],
                       progress=silent)  # fmt: skip
    nodes = {Node.parse(name) for name in found.nodes}
    assert nodes <= set(Circuit.load(GALLERY).nodes)
    assert len(nodes) > 1
    assert found.end.dense_d.effect < 0 < found.curve[0].dense_d.effect


def test_all_nodes_are_those_of_the_circuit(bridged):
    """By one word; moved together they turn the answer as well."""
    found = ck.perturb(bridged, "if_equals", GALLERY, ["all"], n_pairs=12, n_random=1,
                       strengths=[], progress=silent)  # fmt: skip
    assert found.nodes == tuple(map(str, Circuit.load(GALLERY).nodes))
    assert found.end.dense_d.effect < 0


# What is refused


@pytest.mark.parametrize(
    ("nodes", "error", "says"),
    [
        (["1.attn.v:5"], CircuitError, r"no node 1\.attn\.v:5; expected one of 1\.attn\.v:9"),
        (["0.mlp.post_act:1"], CircuitError, r"no node .*one of 0\.attn\.resid_delta:87, 1\."),
        (["1.attn.w:5"], UsageError, r"no such site: '1\.attn\.w'"),
        ([], UsageError, "no node to move"),
        ([5], UsageError, "nodes: got 5, expected names such as"),
        ("1.attn.v:5", CircuitError, r"no node 1\.attn\.v:5; expected one of 1\.attn\.v:9"),
    ],
)
def test_a_node_that_the_circuit_does_not_have_is_refused(bridged, nodes, error, says):
    """With those that it has there."""
    with pytest.raises(error, match=says):
        perturb(bridged, "if_equals", GALLERY, nodes)


def test_a_checkpoint_without_bridges_is_refused():
    """The bundled nano has none."""
    with pytest.raises(CheckpointError, match=r"tinypython-nano has no bridges"):
        perturb(NANO, "if_equals", GALLERY, [READ])


def test_a_strength_outside_is_refused(bridged):
    """From 0 to 1; and no fewer than one random direction."""
    with pytest.raises(UsageError, match=r"strength 1\.5: expected numbers from 0"):
        perturb(bridged, "if_equals", GALLERY, [READ], strengths=[1.5])
    for strengths in (["a"], 0.5):
        with pytest.raises(UsageError, match=r"strengths .*: expected a list of numbers"):
            perturb(bridged, "if_equals", GALLERY, [READ], strengths=strengths)
    for seed in (-1, 2**70):
        with pytest.raises(UsageError, match=r"seed -?\d+: expected a whole number from 0"):
            perturb(bridged, "if_equals", GALLERY, [READ], seed=seed)
    with pytest.raises(UsageError, match=r"n_random 0: expected at least 1"):
        perturb(bridged, "if_equals", GALLERY, [READ], n_random=0)


def test_a_folder_that_holds_something_else_is_refused(bridged, tmp_path):
    """Before anything runs."""
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="exists and holds something else"):
        perturb(bridged, "if_equals", GALLERY, [READ], out=tmp_path)


def test_the_folder_of_another_circuit_keeps_what_it_has(bridged, tmp_path):
    """A perturbation beside it would be of no circuit there."""
    other = copytree(GALLERY.parent / "for_while", tmp_path / "other")
    before = sorted(path.name for path in other.iterdir())
    with pytest.raises(UsageError, match="holds another circuit than the one whose nodes are"):
        perturb(bridged, "if_equals", GALLERY, [READ], out=other)
    assert sorted(path.name for path in other.iterdir()) == before


# The command line


def ran(*words):
    return CliRunner().invoke(command, list(map(str, words)))


def test_the_command_prints_the_curve_and_writes_the_files(bridged, tmp_path):
    """A line a strength, the controls, and what to do next."""
    folder = copytree(GALLERY, tmp_path / "circuit")
    words = ("bridge", folder, "--node", READ, "--checkpoint", bridged, "--out", folder,
             "--pairs", 8, "--strength", 0.5, "-q")  # fmt: skip
    done = ran(*words)
    assert done.exit_code == 0, done.output
    assert "follows on" in done.output
    assert "100 random directions" in done.output
    assert done.output.splitlines()[-1] == f"next: circuitkit report {folder}"
    as_json = ran(*words, "--json")
    assert json.loads(as_json.stdout) == json.loads((folder / FILE).read_text())


def test_inspect_prints_every_crossing(bridged):
    """NMSE, loss and divergence, both ways; as JSON too."""
    printed = ran("inspect", bridged).output
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("1.attn ")]
    assert line.split()[1] == "0.000"
    found = json.loads(ran("inspect", bridged, "--json").stdout)["bridges"]
    assert found["dense"]["name"] == NANO
    assert len(found["quality"]["crossings"]) == 5


# The claim


@pytest.fixture(scope="module")
def trial(bridged):
    """The gallery's circuit, of the nano with bridges to itself."""
    return trial_of(load_checkpoint(bridged))


def trial_of(checkpoint):
    task, circuit, model = load_task("if_equals"), Circuit.load(GALLERY), checkpoint.load_model()
    return SearchTrial(
        checkpoint=checkpoint, model=model, task=task, circuit=circuit,
        means=Means.load(GALLERY, model.arch.widths), reference=checkpoint.load_reference(),
        pairs=checkpoint.ask(task, "test", 16), seed=0, search=ExtractConfig(),
    )  # fmt: skip


@pytest.mark.slow
def test_a_circuit_explains_the_model_that_it_is_of(trial):
    """Carried over unchanged, its cue nodes turn the answer, and random directions do not."""
    found = check_explains_dense(trial)
    assert (found.outcome, found.n_draws) == ("pass", 100)
    assert found.p_value == pytest.approx(1 / 101)
    assert "final_resid" in found.note


@pytest.mark.slow
def test_bridges_that_carry_nothing_right_explain_nothing(trial, monkeypatch):
    """The planted failure: what is carried is turned at random, as the controls are."""
    real = explains_dense.load_pair

    def turned(*args):
        pair = real(*args)
        for i, bridge in enumerate(pair.bridges):
            rotation = next(rotations([i], pair.dense.arch.d_model, 1, seed=i + 7))
            bridge.decoder.weight.copy_(rotation[i].T @ bridge.decoder.weight)
        return pair

    monkeypatch.setattr(explains_dense, "load_pair", turned)
    found = check_explains_dense(trial)
    assert found.outcome == "fail"
    assert found.effect is not None
    assert found.effect < 0.5


def test_a_dense_model_that_is_not_there_is_not_judged(bridged, tmp_path):
    """The note says where it should be."""
    folder = copytree(bridged, tmp_path / NANO)
    record = json.loads((folder / "training.json").read_text())
    (folder / "training.json").write_text(json.dumps(record | {"bridge_to": "/nowhere/at/all"}))
    found = check_explains_dense(trial_of(load_checkpoint(folder)))
    assert found.outcome == "not_run"
    assert "cannot be read" in found.note


def test_the_claim_is_asked_only_where_there_are_bridges(trial, bridged, monkeypatch, tmp_path):
    """Elsewhere there is no such finding, and a verdict is what it was."""
    from circuitkit.validation.claim_test import ClaimTest
    from circuitkit.validation.claims import claims_of

    for claim, test in claims_of("thorough").items():
        fake = ClaimTest(
            declared=test.declared,
            check=lambda trial, claim=claim: Finding(claim=claim, outcome="pass", effect=9.0),
        )
        monkeypatch.setitem(claims_of("thorough"), claim, fake)
    with_it = run_thorough(trial, Thorough(search=ExtractConfig()), ())
    assert with_it[-1].claim == Claim.EXPLAINS_DENSE
    folder = copytree(bridged, tmp_path / NANO)
    (folder / BRIDGES).unlink()
    without = run_thorough(trial_of(load_checkpoint(folder)), Thorough(search=ExtractConfig()), ())
    assert [f.claim for f in without] == [f.claim for f in with_it[:-1]]
    default = [Finding(claim=c, outcome="pass", n_clusters=40) for c in tuple(Claim)[:13]]
    assert grade_of((*default, *without)) == grade_of((*default, *with_it)) == "A"
    failed = with_it[-1].model_copy(update={"outcome": "fail"})
    assert grade_of((*default, *without, failed)) == "B"
