"""Laws of the ladder, on planted models where the smallest circuit is not what decides."""

import csv
from dataclasses import replace

import pytest
from test_cli import cli

import circuitkit as ck
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.errors import CircuitError, UsageError
from circuitkit.extraction import ExtractConfig, PruningConfig, ask_maker, run_extraction
from circuitkit.extraction.asks import ASKS, check_asks
from circuitkit.extraction.ladder import price_in_words, read_ladder
from circuitkit.planted import plant
from circuitkit.progress import silent
from circuitkit.validation.validate_folder import thorough_inputs

QUICK = ExtractConfig(
    restarts=1, target_loss_nats=0.15, n_train=96, n_select=48, n_test=48,
    pruning=PruningConfig(n_steps=80),
)  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Checkpoint and task of a planted model by name, written once."""
    made = {}

    def model(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            planted = plant(name, seed=0)
            planted.save(folder)
            inputs = ck.load_checkpoint(folder), ck.load_task(folder / "task.jsonl")
            made[name] = planted, inputs
        return made[name]

    return model


@pytest.fixture(scope="module")
def climbed(models, tmp_path_factory):
    """Both rungs of the outweighed model, in a folder."""
    folder = tmp_path_factory.mktemp("found")
    _, inputs = models("outweighed")
    return folder, inputs, run_extraction(*inputs, QUICK, out=folder, progress=silent)


@pytest.mark.slow
def test_the_smallest_does_not_decide_and_the_trusted_does(climbed):
    """The outweighed head alone is the smallest; what decides has more of the mechanism."""
    folder, _, extraction = climbed
    smallest, trusted = read_ladder(folder)
    assert (smallest.rung, trusted.rung) == ("smallest", "trusted")
    assert smallest.f_interchange < 0
    assert smallest.follows < 0.1
    assert trusted.f_interchange > 0.5
    assert trusted.follows > 0.9
    assert extraction.smallest is not None
    assert extraction.circuit.n_edges > extraction.smallest.n_edges
    assert (smallest, trusted) == extraction.ladder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["twin_paths", "closing_quote"])
def test_a_rung_is_what_was_planted(models, name):
    """Two paths, either enough: the trusted circuit is both. One circuit: it is both rungs."""
    planted, inputs = models(name)
    found = run_extraction(*inputs, QUICK, progress=silent)
    assert found.circuit.rung == "trusted"
    assert found.circuit.nodes == planted.mechanism
    assert found.smallest is not None
    assert found.smallest.nodes in planted.wired


@pytest.mark.slow
def test_every_ask_is_within_its_limit(climbed):
    """By the bound that the file holds, for each ask that there is by default."""
    circuit = climbed[2].circuit
    assert {asked.ask for asked in circuit.asks} == set(QUICK.asks)
    assert all(asked.bound <= asked.limit for asked in circuit.asks)


@pytest.mark.slow
def test_the_folder_holds_both_rungs(climbed):
    """As files that are read back to the same nouns."""
    folder, _, extraction = climbed
    opened = CircuitFolder.open(folder)
    assert opened.circuit == extraction.circuit == opened.at(None) == opened.at("trusted")
    assert opened.smallest == extraction.smallest == opened.at("smallest")
    assert (folder / "smallest.json").read_text() == extraction.smallest.to_json()
    rows = list(csv.DictReader((folder / "ladder.csv").read_text().splitlines()))
    assert [int(row["n_nodes"]) for row in rows] == [
        extraction.smallest.n_nodes, extraction.circuit.n_nodes
    ]  # fmt: skip
    assert "price of trust" in price_in_words(extraction.ladder)


@pytest.mark.slow
def test_the_first_rung_alone_is_the_same_circuit(climbed, tmp_path):
    """``--rung smallest`` stops early: it finds what the climb began from."""
    _, inputs, extraction = climbed
    alone = run_extraction(*inputs, replace(QUICK, rung="smallest"), out=tmp_path, progress=silent)
    assert alone.circuit.nodes == extraction.smallest.nodes
    assert alone.circuit.rung == "smallest"
    assert not (tmp_path / "smallest.json").exists()
    with pytest.raises(CircuitError, match="holds no circuit of the rung 'trusted'"):
        CircuitFolder.open(tmp_path).at("trusted")


@pytest.mark.slow
def test_a_brief_extraction_has_the_same_nodes_and_no_ladder(climbed, tmp_path):
    """And asked for the rest, its folder is not taken for finished."""
    _, inputs, whole = climbed
    brief = run_extraction(*inputs, QUICK, out=tmp_path, brief=True, progress=silent)
    again = run_extraction(*inputs, QUICK, out=tmp_path, brief=True, resume=True, progress=silent)
    assert (brief.ladder, brief.explanation) == ((), None)
    assert not (tmp_path / "circuit.svg").exists()
    assert brief.circuit.nodes == again.circuit.nodes == whole.circuit.nodes
    assert brief.circuit.loss_nats == whole.circuit.loss_nats
    more = run_extraction(*inputs, QUICK, out=tmp_path, resume=True, progress=silent)
    assert more.ladder == whole.ladder


@pytest.mark.slow
def test_a_rung_that_is_not_reached_is_an_outcome(climbed, tmp_path, monkeypatch):
    """The folder then holds the smallest circuit, and says which ask failed and by how much."""
    monkeypatch.setattr(ask_maker, "GAIN_ASKED", 0.01)  # without norms the gain is 1
    _, inputs, extraction = climbed
    found = run_extraction(*inputs, QUICK, out=tmp_path, progress=silent)
    assert found.circuit.nodes == extraction.smallest.nodes
    assert found.circuit.rung == "smallest"
    assert found.smallest is None
    assert found.ladder[1].outcome == "not_reached"
    assert "norms at 100.00 of its limit" in price_in_words(found.ladder)


@pytest.mark.slow
def test_either_rung_is_validated(climbed):
    """The verdict on the smallest lies beside the other, and is of that circuit."""
    folder, _, extraction = climbed
    trusted = cli("validate", folder, "-q")
    verdict = (folder / "validation.json").read_bytes()
    smallest = cli("validate", folder, "--rung", "smallest", "-q")
    assert "interchange          pass" in trusted.out
    assert "interchange          fail" in smallest.out
    assert "the search did not ask this of the circuit" in smallest.out
    assert "did not ask" not in trusted.out
    assert (folder / "validation.json").read_bytes() == verdict
    beside = (folder / "smallest.validation.json").read_text()
    assert extraction.smallest.sha256 in beside


@pytest.mark.slow
def test_rungs_keep_their_finished_claims_apart(climbed):
    """A long validation of one that was stopped is not lost by one of the other."""
    folder = CircuitFolder.open(climbed[0])
    files = [folder.thorough_file(folder.at(rung).sha256) for rung in ("smallest", "trusted")]
    assert [file.name for file in files] == ["smallest.thorough.json", "thorough.json"]
    assert [thorough_inputs(folder, folder.at(r)).file for r in ("smallest", "trusted")] == files


@pytest.mark.slow
def test_asks_can_be_chosen(models, tmp_path):
    """Only those are asked, ``mean`` among them; restore is one of them."""
    _, inputs = models("outweighed")
    some = replace(QUICK, asks=("restore",))
    found = run_extraction(*inputs, some, progress=silent)
    assert [asked.ask for asked in found.circuit.asks] == ["mean", "restore"]
    assert found.circuit.search is not None
    assert found.circuit.search.asks == ("mean", "restore")


@pytest.mark.parametrize("smallest", [{"rung": "smallest"}, {"method": "attribution"}])
def test_asks_of_a_search_that_ends_at_the_smallest_are_refused(smallest):
    """They would be ignored; a record of before is read without them."""
    with pytest.raises(UsageError, match="this search ends at the smallest"):
        ck.ExtractConfig(asks=("restore",), **smallest)
    assert not ck.ExtractConfig(**smallest).climbs


@pytest.mark.parametrize(
    "wrong",
    [{"method": "attribution"}, {"granularity": "edge"}, {"schedule": "paper"}, {"tune": 2},
     {"refine": False}],
)  # fmt: skip
def test_a_search_that_cannot_climb_is_refused(wrong):
    with pytest.raises(UsageError, match="rung 'trusted' is reached by"):
        ExtractConfig(rung="trusted", **wrong)
    assert not ExtractConfig(**wrong).climbs


def test_an_ask_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="no such ask: 'swap'; expected some of mean"):
        check_asks(["swap"])
    assert check_asks(ASKS[::-1]) == ASKS


def test_a_circuit_of_an_earlier_version_keeps_its_bytes():
    """It has neither rung nor asks, and gains none when it is saved."""
    from example_circuit import example_circuit

    circuit = example_circuit()
    assert circuit.rung is None
    assert '"rung"' not in circuit.to_json()
    assert Circuit.model_validate_json(circuit.to_json()).to_json() == circuit.to_json()


@pytest.mark.slow
def test_a_climb_that_is_interrupted_ends_with_the_same_bytes(climbed, tmp_path):
    """Its finished parts are kept, as those of the first rung are."""
    folder, inputs, _ = climbed

    def stop(stage, done, total, note=""):
        if stage.startswith("trusted: eliminate"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_extraction(*inputs, QUICK, out=tmp_path, progress=stop)
    seen = []
    run_extraction(
        *inputs, QUICK, out=tmp_path, resume=True, progress=lambda stage, *_: seen.append(stage)
    )
    assert not any(stage.startswith("masks") for stage in seen)
    for name in ("circuit.json", "smallest.json", "ladder.csv", "pruning.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
