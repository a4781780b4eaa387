"""Laws of ``validate --thorough``: what it leaves, how it is stopped and goes on."""

import json
import shlex
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from test_cli import cli
from test_thorough import QUICK
from test_validation import planted

import circuitkit.extraction
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.extraction import ExtractConfig
from circuitkit.extraction.asks import DEFAULT_ASKS
from circuitkit.extraction.extract_config import RESTARTS
from circuitkit.findings import WHERE_BRIDGED, Claim, Validation
from circuitkit.validation.claim_test import ClaimTest
from circuitkit.validation.claims import beats_controls, claims_of, search_null, specific, stable
from circuitkit.validation.validate_folder import thorough_inputs, with_tasks

RUNG = ("--rung", "smallest")
SMALL = partial(
    ExtractConfig,
    n_train=QUICK.n_train,
    n_select=QUICK.n_select,
    n_test=48,
    pruning=QUICK.pruning,
    rung="smallest",
)


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Fewer draws than a verdict needs: here it is only asked whether it is reached."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(beats_controls, "N_DRAWS", 9)
        patched.setattr(search_null, "N_DRAWS", 2)
        patched.setattr(stable, "N_SEARCHES", 2)
        patched.setattr(specific, "builtin_tasks", tuple)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A circuit folder by itself, and a copy of it validated in one go."""
    room = tmp_path_factory.mktemp("room")
    planted(room)
    folder = room / "circuits" / "found"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(circuitkit.extraction, "ExtractConfig", SMALL)
        task = room / "which_cue.jsonl"
        assert (
            cli("extract", room / "model", "--task", task, "--out", folder, "-q", *RUNG).code == 0
        )
    bare = shutil.copytree(folder, room / "bare" / "found")
    ran = cli("validate", folder, "--thorough")
    return SimpleNamespace(folder=folder, bare=bare, ran=ran)


@pytest.fixture
def copy(done, tmp_path):
    """The circuit folder, not yet validated."""
    return shutil.copytree(done.bare, tmp_path / "found")


def findings(folder):
    """What was found, but for the seconds."""
    return [f.model_copy(update={"seconds": 0.0}) for f in Validation.load(folder).findings]


def stop_at(claim, monkeypatch):
    """Ctrl-C in the middle of a claim."""

    def interrupted(trial):
        raise KeyboardInterrupt

    declared = claims_of("thorough")[claim].declared
    stopped = ClaimTest(declared=declared, check=interrupted)
    monkeypatch.setitem(claims_of("thorough"), claim, stopped)


@pytest.mark.slow
def test_the_long_suite_leaves_every_finding(done):
    """Each claim once, in order, all of them run; nothing is left beside the validation."""
    validation = Validation.load(done.folder)
    asked = [claim for claim in Claim if claim not in WHERE_BRIDGED]
    assert [f.claim for f in validation.findings] == asked
    long = validation.findings[list(Claim).index(Claim.STANDS_ALONE) :]
    assert {f.claim for f in long if f.outcome == "not_run"} == {Claim.SPECIFIC}
    assert not (done.folder / "thorough.json").exists()
    assert (done.folder / "findings.csv").read_text().count("\n") == len(asked) + 1
    assert done.ran.code == (0 if validation.passes else 1)


@pytest.mark.slow
def test_the_long_suite_tells_how_far_it_is(done):
    """On stderr; results on stdout."""
    assert "thorough suite: 0 of 46" in done.ran.err
    assert "search null: 1 of 90" in done.ran.err
    assert "resample_independent pass" in done.ran.out


@pytest.mark.slow
def test_the_searches_are_those_of_the_extraction(done):
    """With the settings that its folder holds, at the pressure that the chosen restart began at."""
    asked = SMALL()
    config = thorough_inputs(CircuitFolder(done.folder), Circuit.load(done.folder)).search
    began = json.loads((done.folder / "pruning.json").read_text())["history"][0][2]
    assert config == replace(asked, pruning=replace(asked.learning, pressure_start=began))


@pytest.mark.slow
def test_of_tuned_settings_the_searches_have_those_that_won(copy):
    """Not those that tuning began with."""
    record = json.loads((copy / "pruning.json").read_text())
    won = {**record["restarts"][0], "pruning": {**record["config"]["pruning"], "lr": 0.0123}}
    record |= {"restarts": [*record["restarts"], won], "chosen_restart": len(record["restarts"])}
    (copy / "pruning.json").write_text(json.dumps(record))
    config = thorough_inputs(CircuitFolder(copy), Circuit.load(copy)).search
    assert config.learning.lr == 0.0123


@pytest.mark.slow
def test_settings_that_an_earlier_search_ignored_are_ignored(copy):
    """Such a search is refused today, and its circuit is validated all the same."""
    record = json.loads((copy / "pruning.json").read_text())
    ignored = {"n_gradient_points": 5, "rung": "smallest", "asks": ["mean"], "tune": 2}
    ignored["restarts"] = 3  # tune takes their place
    record["config"] |= {"method": "pruning", **ignored}
    (copy / "pruning.json").write_text(json.dumps(record))
    config = thorough_inputs(CircuitFolder(copy), Circuit.load(copy)).search
    assert (config.method, config.n_gradient_points) == ("pruning", 1)
    assert (config.rung, config.asks) == ("smallest", DEFAULT_ASKS)
    assert (config.tune, config.restarts) == (2, RESTARTS)


@pytest.mark.slow
@pytest.mark.parametrize("claim", [Claim.SEARCH_NULL, Claim.WORST_CASE])
def test_ctrl_c_says_how_to_go_on_and_the_rest_is_the_same(done, copy, monkeypatch, claim):
    """Exit code 130, finished claims kept; the printed command ends with the same findings."""
    with monkeypatch.context() as patched:
        stop_at(claim, patched)
        ran = cli("validate", copy, "--thorough", "-q")
    assert (ran.code, ran.out) == (130, "")
    told = ran.err.partition("go on with: ")[2].splitlines()[0]
    assert told == f"circuitkit validate {copy} --thorough -q"
    assert not (copy / "validation.json").exists()
    kept = copy / "thorough.json"
    before = json.loads(kept.read_text())["findings"] if kept.exists() else []
    assert len(before) == list(claims_of("thorough")).index(claim)
    assert cli(*shlex.split(told)[1:]).code == done.ran.code
    assert findings(copy) == findings(done.folder)
    assert not kept.exists()


@pytest.mark.slow
def test_the_default_suite_leaves_what_was_kept_alone(copy):
    """An interrupted long run can still go on after it."""
    (copy / "thorough.json").write_text("{}")
    cli("validate", copy, "-q")
    assert (copy / "thorough.json").exists()


@pytest.mark.slow
def test_options_are_part_of_the_command_to_go_on(copy, monkeypatch):
    """So that it asks for the same."""
    stop_at(Claim.SEARCH_NULL, monkeypatch)
    ran = cli("validate", copy, "--thorough", "--pairs", 32, *RUNG, "-q")
    assert f"circuitkit validate {copy} --thorough --pairs 32 --rung smallest -q" in ran.err


@pytest.mark.slow
def test_circuits_beside_this_one_are_asked_too(copy):
    """Of the same checkpoint and means; what cannot be read is passed over."""
    circuit = Circuit.load(copy)
    shutil.copytree(copy, copy.parent / "beside")
    shutil.copytree(copy, copy.parent / "broken")
    (copy.parent / "broken" / "circuit.json").write_text("{")
    other = circuit.model_copy(update={"means_sha256": "0" * 64})
    shutil.copytree(copy, copy.parent / "other")
    other.save(copy.parent / "other")
    folder = CircuitFolder(copy)
    found = thorough_inputs(folder, circuit, with_tasks(folder.beside())).siblings
    assert [sibling.circuit for sibling in found] == [circuit]


UNKNOWN = '{"config": {}, "chosen_restart": 0, "restarts": [{"pruning": {"n_stpes": 1}}]}'
NONE_CHOSEN = '{"config": {}, "chosen_restart": 7, "restarts": []}'


@pytest.mark.slow
@pytest.mark.parametrize("text", ["{", "{}", UNKNOWN, NONE_CHOSEN])
def test_a_wrong_record_of_the_search_is_refused(copy, text):
    """With one message, before anything runs."""
    (copy / "pruning.json").write_text(text)
    ran = cli("validate", copy, "--thorough", "-q")
    assert ran.code == 2
    problem = "is not JSON" if text == "{" else "does not hold the settings of an extraction"
    assert f"pruning.json {problem}" in ran.err


@pytest.mark.slow
def test_without_a_record_the_search_is_a_plain_one(copy):
    """Of the circuit's seed, as where none is given; see ``test_thorough``."""
    (copy / "pruning.json").unlink()
    assert thorough_inputs(CircuitFolder(copy), Circuit.load(copy)).search is None
