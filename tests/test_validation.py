"""Laws of validation: a true circuit passes, each way of being wrong is refused."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from example_circuit import empty_circuit
from tiny import nodes as parse_nodes
from tiny import random_nodes, tiny_architecture, zeroed

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.circuit import Circuit
from circuitkit.competence.task_check import check_task
from circuitkit.errors import CircuitError, MismatchError
from circuitkit.extraction import measure_means
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.means import zero_means
from circuitkit.extraction.scoring import four_differences
from circuitkit.findings import DEFAULT_CLAIMS, Claim, Finding
from circuitkit.model import Transformer
from circuitkit.nodes import NodeSet
from circuitkit.provenance import Named
from circuitkit.task import load_task
from circuitkit.validation import grade_of, validate
from circuitkit.validation.claim_test import ClaimTest
from circuitkit.validation.claims import beats_controls, claims_of, integrity, minimal
from circuitkit.validation.claims.beats_controls import location_matched
from circuitkit.validation.leave_one_out import LeftOut
from circuitkit.validation.trial import Trial
from circuitkit.validation.verdict import weakest_of

# The verdict

PASSING = dict.fromkeys(DEFAULT_CLAIMS, "pass")


def findings(changes=None, n_clusters=40, note="", outcomes=None, size_ratio=4.0):
    """Findings of the whole suite: the default passes, the rest is not run, but for ``changes``."""
    found = {**dict.fromkeys(Claim, "not_run"), **(outcomes or PASSING), **(changes or {})}
    return [
        Finding(
            claim=claim,
            outcome=outcome,
            n_clusters=n_clusters,
            note=note if claim is Claim.NECESSARY else "",
            effect=size_ratio if claim is Claim.SEARCH_NULL else None,
        )
        for claim, outcome in found.items()
    ]


@pytest.mark.parametrize(
    ("changes", "grade"),
    [
        ({}, "B"),
        (dict.fromkeys(Claim, "pass"), "A"),
        ({**dict.fromkeys(Claim, "pass"), Claim.ROLES: "inconclusive"}, "B"),
        ({Claim.FOLLOWS_OOD: "not_run"}, "B"),
        ({Claim.FOLLOWS_OOD: "fail"}, "C"),
        ({Claim.FAITHFUL: "not_run"}, "C"),
        ({Claim.FAITHFUL: "fail"}, "C"),
        ({Claim.STOCHASTIC_RESTORE: "fail"}, "C"),
        ({Claim.INTERCHANGE: "fail"}, "C"),
        ({Claim.INTERCHANGE: "not_run"}, "C"),
        ({**dict.fromkeys(Claim, "pass"), Claim.STANDS_ALONE: "fail"}, "B"),
        ({Claim.BEATS_CONTROLS: "not_run"}, "C"),
        ({Claim.BEATS_CONTROLS: "inconclusive"}, "C"),
        ({Claim.BEATS_CONTROLS: "fail"}, "C"),
        ({Claim.MINIMAL: "fail"}, "C"),
        *[
            ({claim: outcome}, "F")
            for claim in (Claim.INTEGRITY, Claim.COMPETENT, Claim.SUFFICIENT, Claim.NECESSARY)
            for outcome in ("fail", "inconclusive", "not_run")
        ],
    ],
)
def test_the_grade_is_a_conjunction(changes, grade):
    """Sufficient and necessary is C; everything by default B; the thorough suite too, A."""
    assert grade_of(findings(changes)) == grade


@pytest.mark.parametrize(("ratio", "grade"), [(4.0, "A"), (3.9, "B"), (None, "B")])
def test_grade_a_needs_null_circuits_four_times_the_size(ratio, grade):
    """A p-value alone is not enough: the search must find little where there is nothing."""
    assert grade_of(findings(dict.fromkeys(Claim, "pass"), size_ratio=ratio)) == grade


@pytest.mark.parametrize(
    ("note", "grade"),
    [
        ("REDUNDANT: the model still does the task without the circuit", "C-redundant"),
        ("ANTI-CHANCE: without the circuit the model votes for the foil", "F"),
        ("mean: accuracy 0.4", "F"),
        ("this is not REDUNDANT", "F"),
    ],
)
def test_only_a_backup_excuses_a_circuit_that_is_not_necessary(note, grade):
    """And only one that is sufficient."""
    changes = {Claim.NECESSARY: "fail"}
    assert grade_of(findings(changes, note=note)) == grade
    assert grade_of(findings({**changes, Claim.SUFFICIENT: "fail"}, note=note)) == "F"


@pytest.mark.parametrize(("n_clusters", "grade"), [(11, "C"), (12, "B"), (0, "B")])
def test_few_templates_cap_the_grade(n_clusters, grade):
    """Eleven templates are not enough for more than C."""
    assert grade_of(findings(n_clusters=n_clusters)) == grade


@pytest.mark.parametrize(("p", "grade"), [(0.2, "F"), (0.03, "C"), (0.008, "C")])
def test_what_random_circuits_do_as_well_is_refused(p, grade):
    """That is luck; to be no better than a rival only lowers the grade."""
    found = [
        f.model_copy(update={"p_value": p, "outcome": "fail"})
        if f.claim is Claim.BEATS_CONTROLS
        else f
        for f in findings()
    ]
    assert grade_of(found) == grade


def test_a_claim_that_is_absent_counts_as_not_run():
    """Leaving out a finding is no way to a better grade."""
    assert grade_of([f for f in findings() if f.claim is not Claim.FAITHFUL]) == "C"
    assert grade_of([f for f in findings() if f.claim is not Claim.SUFFICIENT]) == "F"
    assert grade_of([]) == "F"


def test_a_missing_necessity_is_no_crash():
    """A suite that never asked whether the circuit is necessary grades F."""
    assert grade_of([f for f in findings() if f.claim is not Claim.NECESSARY]) == "F"


def test_the_weakest_finding_is_the_first_of_the_worst():
    """Fail, then inconclusive, then not run, then pass; the earlier in the suite goes first."""
    default = findings()[: len(DEFAULT_CLAIMS)]
    assert weakest_of(default) is Claim.INTEGRITY
    assert weakest_of(findings()) is Claim.STANDS_ALONE
    changes = {Claim.FOLLOWS_OOD: "inconclusive"}
    assert weakest_of(findings(changes)) is Claim.FOLLOWS_OOD
    changes |= {Claim.GENERALISES: "fail", Claim.MINIMAL: "fail"}
    assert weakest_of(findings(changes)) is Claim.MINIMAL


@pytest.mark.parametrize(
    ("changes", "grade", "weakest"),
    [
        ({Claim.SUFFICIENT: "inconclusive", Claim.MINIMAL: "fail"}, "F", Claim.SUFFICIENT),
        ({Claim.NECESSARY: "inconclusive", Claim.FAITHFUL: "fail"}, "F", Claim.NECESSARY),
        ({Claim.SUFFICIENT: "inconclusive", Claim.BEATS_CONTROLS: "fail"}, "F", Claim.SUFFICIENT),
        ({Claim.FOLLOWS_OOD: "not_run", Claim.FAITHFUL: "not_run"}, "C", Claim.FAITHFUL),
        ({Claim.SEARCH_NULL: "fail", Claim.FAITHFUL: "inconclusive"}, "C", Claim.FAITHFUL),
    ],
)
def test_the_weakest_finding_is_one_that_decides(changes, grade, weakest):
    """A worse finding that the grade does not hang on is not the weakest."""
    found = findings(changes)
    assert (grade_of(found), weakest_of(found)) == (grade, weakest)


def test_where_templates_are_few_the_claim_that_says_so_is_the_weakest():
    """The grade is capped at C though every claim passes."""
    found = findings({Claim.FOLLOWS_OOD: "not_run"}, n_clusters=6)
    assert grade_of(found) == "C"
    assert weakest_of(found) is Claim.COMPETENT


def test_a_ratio_too_small_for_an_a_is_the_weakest():
    """Every claim passes, and the search finds circuits nearly as small where there are none."""
    found = findings(dict.fromkeys(Claim, "pass"), size_ratio=3.0)
    assert (grade_of(found), weakest_of(found)) == ("B", Claim.SEARCH_NULL)


# A model whose circuit is known

CUES, ANSWERS = (1, 2), (3, 4)
FILLERS = {5: 0.011, 6: -0.017, 7: 0.023, 8: -0.029, 9: 0.031, 10: -0.037}
MIRROR = torch.tensor([0, 2, 1, 3, 4, 6, 5, 8, 7, 10, 9])
"""Either cue is as frequent in the reference, and its halves are alike: means near 0."""

READ, VALUE, WRITE = 5, 9, 3
TRUE = (f"0.attn.act_in:{READ}", f"0.attn.v:{VALUE}", f"0.attn.resid_delta:{WRITE}",
        f"final_resid:{WRITE}")  # fmt: skip


def planted_model(d_model, d_head, n_paths):
    """Which cue stood in the prompt: attention averages a channel and writes it to another.

    Each further path does the same with channels of its own.
    """
    arch = tiny_architecture("no norm", n_layer=1, d_model=d_model, d_head=d_head, d_mlp=4)
    model = zeroed(Transformer(arch).requires_grad_(requires_grad=False).eval())
    embedding = model.transformer.wte.weight
    for token, value in {CUES[0]: 1.0, CUES[1]: -1.0, **FILLERS}.items():
        embedding[token, READ : READ + n_paths] = value
    attention, v0 = model.transformer.h[0].attn, 2 * arch.d_attn
    for path in range(n_paths):
        attention.c_attn.weight[v0 + VALUE + path, READ + path] = 1.0
        attention.c_proj.weight[WRITE + path, VALUE + path] = 1.0
        for answer, sign in zip(ANSWERS, (1, -1), strict=True):
            model.lm_head.weight[answer, WRITE + path] = sign * 16.0
    return model


def planted_task(path):
    """The cue among three fillers, first or second; every context is a template."""
    lines = []
    contexts = list(product(FILLERS, repeat=3))[::3]
    for i, context in enumerate(contexts):
        split = "test" if i % 3 else ("train", "select")[i % 2]
        for place in (0, 1):
            sides = [
                {"prompt": [*context[:place], cue, *context[place:]], "answer": answer}
                for cue, answer in zip(CUES, ANSWERS, strict=True)
            ]
            name = "-".join(map(str, context))
            lines.append({"a": sides[0], "b": sides[1], "template": name, "split": split})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_task(path)


def planted(folder, d_model=8, d_head=8, n_paths=1):
    model = planted_model(d_model, d_head, n_paths)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, model.arch.vocab_size, (100, 6), generator=generator)
    sample = torch.cat([tokens, MIRROR[tokens]])
    sample = torch.stack([sample, sample.flip(1)], 1).flatten(0, 1)
    save_checkpoint(folder / "model", model, name="planted", reference=sample)
    return load_checkpoint(folder / "model"), planted_task(folder / "which_cue.jsonl")


def circuit_of(checkpoint, task, kept, means=None, n_pairs=96, **changes):
    """A circuit written by hand, with the losses it has."""
    model = checkpoint.load_model()
    means = means or measure_means(
        model, checkpoint.load_reference(), checkpoint_sha256=checkpoint.sha256
    )
    pairs = checkpoint.encode(task.up_to("test", n_pairs))
    nodes = NodeSet(kept.channels, model.arch.widths)
    scored = four_differences(model, pairs, nodes, means.values)
    edges = edges_between(model, nodes)
    fields = {
        "task": Named(name=task.name, sha256=task.sha256),
        "checkpoint": Named(name=checkpoint.name, sha256=checkpoint.sha256),
        "means_sha256": means.sha256,
        "ablation": means.ablation,
        "nodes": nodes,
        "edges": edges,
        "n_nodes": len(nodes),
        "n_edges": len(edges),
        "n_edges_induced": len(edges),
        "loss_nats": scored.losses(),
        "accuracy": scored.accuracies(),
        "n_pairs": len(pairs),
        "surroundings": None,
    }
    return Circuit(**{**dict(empty_circuit()), **fields, **changes})


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Twelve hidden channels a site: quick, but controls hit the circuit by luck."""
    return planted(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Many channels, so that a random circuit misses the true one."""
    return planted(tmp_path_factory.mktemp("wide"), d_model=256, d_head=64)


def outcomes(validation):
    return {f.claim.value: f.outcome for f in validation.findings if f.outcome != "not_run"}


@pytest.mark.slow
def test_the_true_circuit_passes_every_claim(wide):
    """But for one that its task has no prompts for: B."""
    validation = validate(*wide, circuit_of(*wide, parse_nodes(*TRUE)))
    claims = claims_of("default")
    assert outcomes(validation) == {c: "pass" for c in claims if c is not Claim.FOLLOWS_OOD}
    assert (validation.grade, validation.weakest) == ("B", "follows_ood")
    assert "no ood forms" in validation["follows_ood"].note
    assert validation.passes


@pytest.mark.slow
def test_the_same_circuit_gets_the_same_verdict(small):
    """All but the seconds is repeatable."""
    circuit = circuit_of(*small, parse_nodes(*TRUE))
    first, second = (
        [f.model_copy(update={"seconds": 0.0}) for f in validate(*small, circuit).findings]
        for _ in range(2)
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("gone", TRUE)
def test_without_any_node_of_it_the_true_circuit_is_refused(small, gone):
    """Every one of the four is needed, and its absence seen."""
    circuit = circuit_of(*small, parse_nodes(*(set(TRUE) - {gone})))
    validation = validate(*small, circuit)
    assert validation.grade == "F"
    assert validation["sufficient"].outcome == "fail"


@pytest.mark.slow
def test_passengers_are_flagged(wide):
    """Twenty nodes that do nothing make the circuit no worse; they are named as the weakness."""
    kept = parse_nodes(*TRUE, *(f"0.mlp.resid_delta:{i}" for i in range(20)))
    validation = validate(*wide, circuit_of(*wide, kept))
    assert validation.grade in ("C", "F")
    assert validation.weakest == "minimal" or validation["beats_controls"].outcome == "fail"
    assert validation["sufficient"].outcome == "pass"
    assert validation["minimal"].outcome == "fail"
    assert validation["minimal"].effect == pytest.approx(4 / 24)
    assert "20 of 24 do not matter alone" in validation["minimal"].note


@pytest.mark.slow
def test_a_backup_is_called_redundant(tmp_path):
    """Two paths that each do the task: one of them alone is sufficient, not necessary."""
    twins = planted(tmp_path, n_paths=2)
    validation = validate(*twins, circuit_of(*twins, parse_nodes(*TRUE)))
    assert validation["sufficient"].outcome == "pass"
    assert validation["necessary"].note.startswith("REDUNDANT")
    assert validation.grade == "C-redundant"
    assert not validation.passes


@pytest.mark.slow
def test_a_circuit_that_cancels_is_called_anti_chance(tmp_path):
    """Where the rest of the model votes for the foil, knocking the circuit out is no proof."""
    checkpoint, task = planted(tmp_path, n_paths=2)
    model = checkpoint.load_model()
    model.transformer.h[0].attn.c_proj.weight[WRITE + 1, VALUE + 1] = -0.4
    save_checkpoint(
        tmp_path / "against", model, name="against", reference=checkpoint.load_reference()
    )
    against = load_checkpoint(tmp_path / "against"), task
    validation = validate(*against, circuit_of(*against, parse_nodes(*TRUE)))
    assert validation["necessary"].note.startswith("ANTI-CHANCE")
    assert validation.grade == "F"


def test_a_circuit_that_keeps_everything_is_refused(small):
    """It is the model itself, and says nothing: random circuits do as well, most nodes idle."""
    checkpoint, _ = small
    validation = validate(*small, circuit_of(*small, NodeSet.full(checkpoint.architecture.widths)))
    assert validation["sufficient"].outcome == "pass"
    assert validation["beats_controls"].outcome == "fail"
    assert validation["minimal"].outcome == "fail"
    assert validation.grade == "F"


@pytest.mark.parametrize("kind", ["mean", "zero"])
def test_an_empty_circuit_is_refused(small, kind):
    """Nothing crashes; it does not do the task."""
    checkpoint, _ = small
    widths = checkpoint.architecture.widths
    means = zero_means(widths, checkpoint.sha256) if kind == "zero" else None
    validation = validate(*small, circuit_of(*small, NodeSet(widths=widths), means))
    assert validation["integrity"].outcome == "pass"
    assert validation["sufficient"].outcome == "fail"
    assert validation["minimal"].note == "the circuit is empty"
    assert validation.grade == "F"


@pytest.mark.parametrize("name", ["model", "circuit", "complement", "empty"])
def test_a_falsified_loss_fails_integrity(small, name):
    """And stops the suite: nothing after it would mean anything."""
    circuit = circuit_of(*small, parse_nodes(*TRUE))
    losses = circuit.loss_nats.model_copy(update={name: getattr(circuit.loss_nats, name) + 0.01})
    validation = validate(*small, circuit.model_copy(update={"loss_nats": losses}))
    assert validation["integrity"].outcome == "fail"
    assert f"the stored {name} loss" in validation["integrity"].note
    assert {f.outcome for f in validation.findings[1:]} == {"not_run"}
    assert "integrity fails" in validation["competent"].note
    assert (validation.grade, validation.weakest) == ("F", Claim.INTEGRITY)


@pytest.mark.parametrize(
    ("check", "broken", "note"),
    [
        ("_all_kept_is_model", lambda trial: False, "keeping every node is not the model"),
        ("_empty_is_blind", lambda trial: False, "more than the last token"),
        ("_compiled_differs", lambda trial: ["compiled and masked"], "compiled and masked"),
        ("_halves_differ", lambda trial: 0.1, "the loss moves by 0.1000 nats"),
        ("_shared_templates", lambda trial: ["splits share"], "splits share"),
    ],
)
def test_every_part_of_integrity_can_fail(small, monkeypatch, check, broken, note):
    """A part that says no is heard, and named."""
    monkeypatch.setattr(integrity, check, broken)
    validation = validate(*small, circuit_of(*small, parse_nodes(*TRUE)))
    assert validation["integrity"].outcome == "fail"
    assert note in validation["integrity"].note


def test_compiled_and_masked_are_really_compared(small, monkeypatch):
    """A compiled circuit that computes something else is caught."""
    original = integrity.compile_circuit

    def off_by_a_node(model, nodes, values):
        return original(model, nodes - parse_nodes(TRUE[3]), values)

    monkeypatch.setattr(integrity, "compile_circuit", off_by_a_node)
    validation = validate(*small, circuit_of(*small, parse_nodes(*TRUE)))
    assert "compiled and masked logits differ" in validation["integrity"].note


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 6])
def test_means_over_one_text_are_not_known_to_hold(small, n):
    """One sequence, or copies of it: integrity is undecided, and the finding says what to do."""
    checkpoint, task = small
    text = checkpoint.load_reference()[:1].repeat(n, 1)
    means = measure_means(checkpoint.load_model(), text, checkpoint_sha256=checkpoint.sha256)
    circuit = circuit_of(checkpoint, task, parse_nodes(*TRUE), means)
    finding = validate(checkpoint, task, circuit, means=means, reference=text)["integrity"]
    assert finding.outcome == "inconclusive"
    assert finding.effect < 1e-6
    assert "extract with a reference of more sequences" in finding.note


def test_halves_are_compared_with_the_whole(small, monkeypatch):
    """Halves that agree with each other, and both not with the whole, differ."""
    checkpoint, task = small
    circuit = circuit_of(checkpoint, task, parse_nodes(*TRUE))
    losses = Trial.circuit_losses

    def either_half_is_worse(self, nodes, pairs, values=None):
        return losses(self, nodes, pairs) + (0.02 if values is not None else 0.0)

    monkeypatch.setattr(Trial, "circuit_losses", either_half_is_worse)
    finding = validate(checkpoint, task, circuit)["integrity"]
    assert finding.outcome == "fail"
    assert finding.effect == pytest.approx(0.02, abs=1e-6)


@pytest.mark.slow
def test_nodes_kept_for_the_second_rule_are_no_passengers(small, monkeypatch):
    """What does not matter to the loss may be needed so that it does not hang on the sample."""
    checkpoint, task = small
    circuit = circuit_of(checkpoint, task, parse_nodes(*TRUE))
    rules = circuit.minimality.model_copy(update={"max_drift_nats": 0.01})
    one, few = sorted(circuit.nodes)[:1], {}
    matters = {node: node not in one for node in circuit.nodes}
    monkeypatch.setattr(LeftOut, "matters", property(lambda _: matters))
    nothing = LeftOut(nodes=(), rises=())
    monkeypatch.setattr("circuitkit.validation.trial.leave_one_out", lambda trial: nothing)
    kept = Trial.circuit_losses

    def losses(self, nodes, *more):
        return np.zeros(4) if nodes == self.nodes - NodeSet.of(one) else kept(self, nodes, *more)

    monkeypatch.setattr(Trial, "circuit_losses", losses)
    monkeypatch.setattr(minimal, "SHARE", 0.5)
    for drift, wanted in ((0.5, "pass"), (0.0, "fail")):
        monkeypatch.setattr(Trial, "drift", lambda self, nodes, pairs, d=drift: d)
        ruled = circuit.model_copy(update={"minimality": rules})
        few[wanted] = validate(checkpoint, task, ruled)["minimal"]
        assert few[wanted].outcome == wanted
    assert "without them 0.000 nats, which move by 0.500" in few["pass"].note
    assert validate(checkpoint, task, circuit)["minimal"].outcome == "fail"


def test_an_incompetent_model_has_no_circuit(small, tmp_path):
    """Where the model itself fails the task, the suite stops and says so."""
    checkpoint, task = small
    model = zeroed(checkpoint.load_model())
    save_checkpoint(tmp_path, model, name="idle", reference=checkpoint.load_reference())
    idle = load_checkpoint(tmp_path)
    validation = validate(idle, task, circuit_of(idle, task, parse_nodes(*TRUE)))
    assert validation["competent"].outcome == "fail"
    assert "the model does not do this task" in validation["competent"].note
    assert {f.outcome for f in validation.findings[2:]} == {"not_run"}
    assert validation.grade == "F"
    assert check_task(idle, task)["problems"]


@pytest.mark.slow
def test_findings_come_in_the_order_of_the_suite(small):
    """One a claim of the default suite, each with its threshold and what can fool it."""
    assert tuple(claims_of("default")) == DEFAULT_CLAIMS
    validation = validate(*small, circuit_of(*small, parse_nodes(*TRUE)))
    assert tuple(f.claim for f in validation.findings) == DEFAULT_CLAIMS
    for finding in validation.findings:
        assert finding.threshold
        assert finding.fooled_by
        if finding.claim is not Claim.FOLLOWS_OOD:
            assert finding.outcome != "not_run"
            assert finding.n_pairs > 0
            assert finding.n_clusters > 0
    assert validation.circuit_sha256 == circuit_of(*small, parse_nodes(*TRUE)).sha256


def test_fewer_pairs_can_be_asked_for(small):
    """Then the stored losses, of other pairs, are not compared."""
    circuit = circuit_of(*small, parse_nodes(*TRUE))
    validation = validate(*small, circuit, n_pairs=40)
    assert validation["sufficient"].n_pairs == 40
    assert validation["integrity"].outcome == "pass"


def test_controls_have_as_many_nodes_at_every_site(small):
    """And the same seed draws the same ones."""
    checkpoint, _ = small
    nodes = random_nodes(checkpoint.architecture, 0.3)
    controls = list(location_matched(nodes, 5, seed=1))
    for control in controls:
        sizes = {site: len(control[site]) for site in control.channels}
        assert sizes == {site: len(nodes[site]) for site in nodes.channels}
    assert controls == list(location_matched(nodes, 5, seed=1))
    assert len({tuple(control) for control in controls}) > 1


# Files that do not belong together


def test_another_checkpoint_is_refused(small, wide):
    """The message names both hashes."""
    checkpoint, task = small
    circuit = circuit_of(*small, parse_nodes(*TRUE))
    other = wide[0]
    both = f"checkpoint planted \\({checkpoint.sha256[:12]}.*{other.sha256[:12]}"
    with pytest.raises(MismatchError, match=both):
        validate(other, task, circuit)


def test_another_task_is_refused(small):
    """By its bytes, whatever its name."""
    checkpoint, task = small
    other = load_task("if_equals")
    both = f"task which_cue \\({task.sha256[:12]}.*if_equals \\({other.sha256[:12]}"
    with pytest.raises(MismatchError, match=both):
        validate(checkpoint, other, circuit_of(*small, parse_nodes(*TRUE)))


def test_other_means_are_refused(small):
    """Means over another sample make another circuit."""
    checkpoint, task = small
    circuit = circuit_of(*small, parse_nodes(*TRUE))
    other = measure_means(checkpoint.load_model(), checkpoint.load_reference()[:9])
    both = f"means {circuit.means_sha256[:12]}.*{other.sha256[:12]}"
    with pytest.raises(MismatchError, match=both):
        validate(checkpoint, task, circuit, means=other)


def test_nodes_that_the_model_does_not_have_are_refused(small):
    """A channel past the width, a layer past the last."""
    circuit = circuit_of(*small, parse_nodes(*TRUE))
    for name in ("0.attn.act_in:99", "7.mlp.act_in:0"):
        nodes = parse_nodes(*TRUE, name)
        wrong = circuit.model_copy(update={"nodes": nodes, "n_nodes": len(nodes)})
        with pytest.raises(CircuitError, match="does not fit the checkpoint"):
            validate(*small, wrong)


# The bundled checkpoint


@pytest.fixture(scope="module")
def nano():
    return load_checkpoint("tinypython-nano"), load_task("if_equals")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_circuit_of_the_bundled_checkpoint_is_refused(nano, seed, monkeypatch):
    """Two of a hundred nodes, at random, with their true losses written down."""
    monkeypatch.setattr(integrity, "HALVES_NATS", 1.0)  # few sequences here
    checkpoint, _ = nano
    reference = checkpoint.load_reference()[:64]
    means = measure_means(checkpoint.load_model(), reference)
    kept = random_nodes(checkpoint.architecture, 0.02, seed)
    circuit = circuit_of(*nano, kept, means, n_pairs=64)
    untested = Finding(claim=Claim.MINIMAL, outcome="not_run", note="slow, and tested above")
    declared = claims_of("default")[Claim.MINIMAL].declared
    fake = ClaimTest(declared=declared, check=lambda trial: untested)
    monkeypatch.setitem(claims_of("default"), Claim.MINIMAL, fake)
    monkeypatch.setattr(beats_controls, "N_DRAWS", 19)  # it need not beat luck at 0.01
    validation = validate(*nano, circuit, means=means, reference=reference)
    assert validation["integrity"].outcome == "pass"
    assert validation["sufficient"].outcome == "fail"
    assert validation.grade == "F"


@pytest.mark.slow
def test_the_empty_circuit_of_the_bundled_checkpoint_is_refused(nano, monkeypatch):
    """Top-k, attention sink, bigram table and all."""
    monkeypatch.setattr(integrity, "HALVES_NATS", 1.0)
    checkpoint, _ = nano
    reference = checkpoint.load_reference()[:64]
    means = measure_means(checkpoint.load_model(), reference)
    circuit = circuit_of(*nano, NodeSet(widths=checkpoint.architecture.widths), means, n_pairs=64)
    validation = validate(*nano, circuit, means=means, reference=reference)
    assert validation["integrity"].outcome == "pass"
    assert validation.grade == "F"


def test_a_task_is_checked_against_a_checkpoint(small):
    """The model's loss and accuracy with intervals, and nothing wrong."""
    checkpoint, task = small
    result = check_task(checkpoint, task, n_pairs=64)
    assert result["problems"] == []
    assert result["n_pairs"] == 64
    assert result["accuracy"]["mean"] == 1.0
    assert result["loss_nats"]["low"] < result["loss_nats"]["mean"] < result["loss_nats"]["high"]
