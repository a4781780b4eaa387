"""Laws of what is there already: it is not lost, not mistaken, and not ignored in silence."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from test_cli import cli

import circuitkit as ck
from circuitkit.checkpoints.reference import load_reference
from circuitkit.circuit import CircuitFolder
from circuitkit.circuit.folder import SEARCH
from circuitkit.errors import MismatchError, TaskError, UsageError
from circuitkit.extraction import ExtractConfig, PruningConfig, run_extraction
from circuitkit.extraction.ask_maker import AskMaker
from circuitkit.extraction.edge_pruning import cut_model
from circuitkit.extraction.extraction_inputs import read_inputs
from circuitkit.extraction.ladder import (
    Step,
    measure_step,
    price_in_words,
    read_ladder,
    save_ladder,
)
from circuitkit.extraction.resume import search_key
from circuitkit.findings import DEFAULT_CLAIMS, Claim
from circuitkit.planted import plant
from circuitkit.progress import silent
from circuitkit.validation.kept_findings import kept_findings
from circuitkit.views.report import _given

GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / "tinypython-nano" / "if_equals"
QUICK = ExtractConfig(
    rung="smallest", restarts=1, target_loss_nats=0.15, n_train=48, n_select=32, n_test=32,
    pruning=PruningConfig(n_steps=25),
)  # fmt: skip


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A planted model, its task, and the extraction of its circuit in a folder."""
    folder = tmp_path_factory.mktemp("planted")
    plant("either_feature").save(folder / "model")
    inputs = ck.load_checkpoint(folder / "model"), ck.load_task(folder / "model" / "task.jsonl")
    found = run_extraction(*inputs, QUICK, out=folder / "circuit", progress=silent)
    return inputs, found, folder / "circuit"


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is there


def test_a_report_with_the_circuit_given_says_what_one_without_it_says(planted, tmp_path):
    """The folder holds this very circuit, so all that it knows is there to say."""
    _, found, folder = planted
    plain = ck.write_report(CircuitFolder(folder)).read_bytes()
    assert ck.write_report(folder, found.circuit).read_bytes() == plain


def verdict_of(circuit, *claims, outcome="pass", n_pairs=32):
    """A verdict made by hand."""
    findings = tuple(ck.Finding(claim=c, outcome=outcome, n_pairs=n_pairs) for c in claims)
    return ck.Validation(
        grade="F", weakest=claims[0], circuit_sha256=circuit.sha256, findings=findings
    )


def test_a_verdict_given_to_a_report_takes_the_place_of_no_larger_one(planted, tmp_path):
    """Of this circuit. One that is damaged, or says no more, is replaced."""
    folder, circuit = copytree(planted[2], tmp_path / "copy"), planted[1].circuit
    large = verdict_of(circuit, Claim.SUFFICIENT, Claim.ROLES, Claim.STABLE)
    small = verdict_of(circuit, Claim.SUFFICIENT)
    large.save(folder)
    assert _given(folder, circuit, None, None, None).validation is None  # as documented
    before = files_of(folder)
    with pytest.raises(UsageError, match=r"that the one given does not \(roles, stable\), and"):
        ck.write_report(folder, circuit, small)
    assert files_of(folder) == before
    for old in (small.model_dump_json(), "{"):
        (folder / "validation.json").write_text(old)
        (folder / "report.html").write_text("of an earlier verdict")
        ck.write_report(folder, circuit, small)
        assert ck.Validation.load(folder) == small
        of_it = old == small.model_dump_json()  # a page of the same verdict stays
        assert (folder / "report.html").exists() == of_it


def test_a_verdict_rests_on_one_number_of_pairs(planted, tmp_path):
    """What stays of a thorough run was tested on its pairs; what it did not test does not stay."""
    (checkpoint, task), found, _ = planted
    folder, circuit = CircuitFolder(copytree(planted[2], tmp_path / "copy")), found.circuit
    n = len(checkpoint.ask(task, "test", circuit.n_pairs, circuit.seed))
    assert kept_findings(folder, checkpoint, circuit, None) == ()
    before = verdict_of(circuit, Claim.SUFFICIENT, Claim.ROLES, n_pairs=n)
    before.save(folder.path)
    assert [f.claim for f in kept_findings(folder, checkpoint, circuit, None)] == [Claim.ROLES]
    with pytest.raises(UsageError, match=rf"a thorough run on {n} test pairs, .* got 8\. Ask for"):
        kept_findings(folder, checkpoint, circuit, 8)
    verdict_of(circuit, Claim.SUFFICIENT, Claim.ROLES, outcome="not_run").save(folder.path)
    assert kept_findings(folder, checkpoint, circuit, 8) == ()


@pytest.mark.slow
def test_claims_of_the_thorough_suite_stay_in_a_verdict_that_is_made_again(tmp_path):
    """They took minutes; they are of this very circuit, and count for its grade as before."""
    folder = copytree(GALLERY, tmp_path / "if_equals")
    inputs = read_inputs(
        ck.load_checkpoint("tinypython-nano"), ck.load_task("if_equals"), ExtractConfig(), None,
        None, None,
    )  # fmt: skip
    (folder / "sources.json").write_text(json.dumps(inputs.sources))
    before = ck.Validation.load(folder)
    long = {f.claim: f for f in before.findings if f.claim not in DEFAULT_CLAIMS}
    assert long
    again = ck.validate_folder(folder)
    assert {f.claim: f for f in again.findings if f.claim in long} == long
    assert (again.grade, again.weakest) == (before.grade, before.weakest)
    assert ck.Validation.load(folder) == again
    (folder / "validation.json").write_text("{")
    assert set(ck.validate_folder(folder).to_frame()["claim"]) <= set(DEFAULT_CLAIMS)


def test_a_refused_search_leaves_the_finished_parts_of_another(planted, tmp_path):
    """A model that does not do the task is an error before anything is written."""
    inputs, *_ = planted

    def stop(stage, done, total):
        if stage.startswith("eliminate"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_extraction(*inputs, QUICK, out=tmp_path, progress=stop)
    before = files_of(tmp_path)
    assert SEARCH in before
    with pytest.raises(UsageError, match="holds the finished parts of a search; that is not repl"):
        ck.write_report(tmp_path, planted[1].circuit)
    opposite = tmp_path.parent / "opposite.jsonl"
    lines = [json.loads(line) for line in inputs[1].file.data.decode().splitlines()]
    for line in lines:
        line["a"]["answer"], line["b"]["answer"] = line["b"]["answer"], line["a"]["answer"]
    opposite.write_text("".join(json.dumps(line) + "\n" for line in lines))
    default = replace(QUICK, target_loss_nats=None)
    with pytest.raises(TaskError, match="does not do the task"):
        run_extraction(inputs[0], opposite, default, out=tmp_path, progress=silent)
    assert files_of(tmp_path) == before


def test_a_model_is_not_planted_where_another_file_has_its_names(tmp_path):
    """A task of one's own, a circuit's folder: only what ``plant`` made is replaced."""
    (tmp_path / "task.jsonl").write_text("mine\n")
    ran = cli("plant", "either_feature", "--out", tmp_path)
    assert ran.code == 2
    assert "holds something else (task.jsonl)" in ran.err
    assert (tmp_path / "task.jsonl").read_text() == "mine\n"


def test_equal_samples_are_one_key_and_others_are_others(planted):
    """Whatever integers hold the ids; their shape is part of a sample."""
    (checkpoint, task), *_ = planted
    own = checkpoint.load_reference()
    half = own.reshape(-1, own.shape[1] // 2)
    keys = [search_key(checkpoint, task, QUICK, sample, None) for sample in (own, own.long(), half)]
    assert keys[0] == keys[1] != keys[2]


# What is given


def test_a_setting_outside_its_type_is_refused_before_anything_runs():
    """With its name and what is expected; in a process where nothing else checks types."""
    wrong = [
        {"method": "Random"}, {"schedule": "Paper"}, {"ablation": "Zero"}, {"rung": "trust"},
        {"granularity": "edges"}, {"restarts": 1.5}, {"target_loss_nats": "0.1"},
        {"target_loss_nats": 10**400},
    ]  # fmt: skip
    code = """if True:
        import json, sys
        import circuitkit as ck
        for wrong in json.loads(sys.argv[1]):
            try:
                ck.ExtractConfig(**wrong)
            except ck.CircuitkitError as error:
                print(error)
    """
    ran = subprocess.run(
        [sys.executable, "-c", code, json.dumps(wrong)], capture_output=True, text=True, check=True
    )
    said = ran.stdout.splitlines()
    assert len(said) == len(wrong)
    for line, setting in zip(said, wrong, strict=True):
        assert line.startswith(f"ExtractConfig: {next(iter(setting))}: got ")
        assert "expected" in line


def test_numbers_of_numpy_become_plain_ones():
    """Which files and hashes take; what is true or false is no number."""
    code = """if True:
        import json
        import numpy as np
        import circuitkit as ck
        config = ck.ExtractConfig(seed=np.int64(3), target_loss_nats=np.float32(0.25))
        print(type(config.seed), json.dumps(config.to_dict()))
        try:
            ck.ExtractConfig(restarts=True)
        except ck.CircuitkitError as error:
            print(error)
    """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("<class 'int'> {")
    assert '"target_loss_nats": 0.25,' in ran.stdout
    assert "ExtractConfig: restarts: got True (bool), expected int." in ran.stdout


def test_ids_are_whole_numbers_whatever_holds_them():
    """Not true or false, not a tensor; they are kept as Python's."""
    prompt = ck.Prompt(tokens=[np.int64(4), 5], answer=np.int64(7))
    assert prompt == ck.Prompt(tokens=(4, 5), answer=7)
    assert {type(token) for token in (*prompt.tokens, prompt.answer)} == {int}
    for tokens, answer in ((torch.tensor([1, 2]), 3), ([1.0], 2), ((1, True), 2)):
        with pytest.raises(TaskError, match="expected a tuple of ids"):
            ck.Prompt(tokens=tokens, answer=answer)
    with pytest.raises(TaskError, match="expected int"):
        ck.Prompt(tokens=(1, 2), answer=True)


def test_how_to_learn_masks_is_refused_where_none_are_learned(planted):
    """It would be recorded as if it had been used."""
    inputs, *_ = planted
    config = replace(QUICK, method="attribution")
    with pytest.raises(UsageError, match="learns no masks, so pruning means nothing to it"):
        run_extraction(*inputs, config, progress=silent)


def test_means_of_another_checkpoint_ablation_or_sample_are_refused(planted):
    """The right ones give the same circuit."""
    inputs, found, _ = planted
    assert run_extraction(*inputs, QUICK, means=found.means, progress=silent).circuit == (
        found.circuit
    )
    fewer = ck.measure_means(
        inputs[0].load_model(), inputs[0].load_reference()[:4], checkpoint_sha256=inputs[0].sha256
    )
    nobodys = replace(found.means, checkpoint_sha256="")
    with pytest.raises(MismatchError, match=r"of no checkpoint [(]measure_means was not given its"):
        run_extraction(*inputs, QUICK, means=nobodys, progress=silent)
    for wrong, config in (
        (replace(found.means, checkpoint_sha256="0" * 64), QUICK),
        (found.means, replace(QUICK, ablation="zero")),
        (fewer, QUICK),
    ):
        with pytest.raises(MismatchError, match=r"means of ablation .* were given, expected"):
            run_extraction(*inputs, config, means=wrong, progress=silent)


def test_nodes_that_the_model_lacks_are_no_choice(planted):
    """By name."""
    inputs, *_ = planted
    within = ck.NodeSet({ck.Site.parse("7.attn.q"): [0]})
    with pytest.raises(UsageError, match=r"within does not fit .*7\.attn\.q"):
        run_extraction(*inputs, QUICK, within=within, progress=silent)


def test_fewer_tokens_than_one_sequence_are_refused(planted):
    """At most so many are read, and none would be."""
    inputs, *_ = planted
    length = inputs[0].load_reference().shape[1]
    for n_tokens in (length - 1, 0, -5):
        with pytest.raises(UsageError, match=f"at least one sequence of it, {length}"):
            load_reference(inputs[0], None, n_tokens)
    assert load_reference(inputs[0], None, 2 * length - 1).shape == (1, length)


@pytest.mark.slow
def test_tokens_given_as_a_sample_are_called_so(planted, tmp_path):
    """The command says that they were given, and not the first tokens of the checkpoint's own."""
    (checkpoint, task), *_ = planted
    own = checkpoint.load_reference()
    for sample, told in ((own.flip(0).flip(1), True), (own, False), (own[:4], False)):
        run_extraction(checkpoint, task, QUICK, reference=sample, out=tmp_path, progress=silent)
        report = ck.write_report(tmp_path).with_suffix(".html")
        assert cli("report", tmp_path, "--format", "html").code == 0
        assert ("REFERENCE is the sample that was given" in report.read_text()) == told


def test_a_graph_needs_no_checkpoint_and_takes_none(planted, tmp_path):
    """One that is not there was ignored."""
    with pytest.raises(UsageError, match="format 'graphml' needs no checkpoint"):
        ck.export(planted[2], tmp_path / "a.graphml", format="graphml", checkpoint="no/such")


# Without a sample of text


def without_sample(planted):
    checkpoint = planted[0][0]
    path = checkpoint.path / "reference.safetensors"
    return path, path.read_bytes()


@pytest.mark.slow
def test_zero_ablation_without_a_sample_asks_the_rest_and_says_so(planted):
    """The usual asks but one; that one by name is an error before the search."""
    inputs, *_ = planted
    path, data = without_sample(planted)
    path.unlink()
    try:
        config = replace(QUICK, ablation="zero", rung="trusted", target_loss_nats=0.3)
        found = run_extraction(*inputs, config, progress=silent)
        assert any("(background)" in remark for remark in found.remarks)
        assert "background" not in {asked.ask for asked in found.circuit.asks}
        with pytest.raises(UsageError, match="the ask 'background' puts a circuit among"):
            read_inputs(*inputs, replace(config, asks=("mean", "background")), None, None, None)
    finally:
        path.write_bytes(data)


# Numbers of the ladder


def test_minimality_names_the_pairs_it_was_tried_on(planted):
    """Also where a trusted circuit has to do no more than the mean."""
    inputs, found, _ = planted
    alone = found.circuit.minimality
    assert (alone.split, alone.n_pairs) == ("select", min(32, alone.n_pairs))
    config = replace(QUICK, rung="trusted", asks=("mean",))
    trusted = run_extraction(*inputs, config, progress=silent).circuit
    assert trusted.rung == "trusted"
    assert trusted.minimality.split == "select and train"


def step_of(planted, circuit, **changes):
    (checkpoint, task), found, _ = planted
    maker = AskMaker(
        model=checkpoint.load_model(), values=found.means.values, sample=None,
        pairs=checkpoint.ask(task, "test", 32), target_loss_nats=0.15, seed=0,
    )  # fmt: skip
    return measure_step(circuit, replace(maker, **changes), "smallest")


def test_f_of_a_circuit_as_good_as_its_model_is_one_and_of_no_better_than_a_guess_none(
    planted, tmp_path
):
    """Both losses are over the same pairs; a share of nothing is none, in the file too."""
    circuit = planted[1].circuit

    def losing(circuit_nats, model_nats):
        losses = circuit.loss_nats.model_copy(update={"circuit": circuit_nats, "model": model_nats})
        return step_of(planted, circuit.model_copy(update={"loss_nats": losses}))

    assert losing(0.2, 0.2).f_mean == 1
    hopeless = losing(0.74, 0.7)
    assert hopeless.f_mean is None
    save_ladder([hopeless], tmp_path)
    assert read_ladder(tmp_path) == (hopeless,)


def test_the_ladder_of_an_edge_circuit_is_of_its_edges(planted):
    """A circuit of no edges decides nothing, whatever its nodes would do with all of theirs."""
    inputs, found, _ = planted
    circuit = found.circuit.model_copy(update={"edges": (), "n_edges": 0})
    cut = cut_model(inputs[0].load_model(), circuit.nodes, (), found.means.values)
    whole, edgeless = step_of(planted, circuit), step_of(planted, circuit, cut=cut)
    assert edgeless.follows < whole.follows


def test_the_price_over_no_edges_is_no_ratio():
    """So many edges in place of none."""
    common = {"outcome": "target_met", "f_mean": 1.0, "f_interchange": 1.0, "follows": 1.0,
              "f_norms": 1.0, "gain": 1.0, "cue_kept": None}  # fmt: skip
    steps = [
        Step(rung="smallest", n_nodes=0, n_edges=0, **common),
        Step(rung="trusted", n_nodes=9, n_edges=12, **common),
    ]
    assert "price of trust: 12 edges in place of the edges of the" in price_in_words(steps)
