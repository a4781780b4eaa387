"""Laws of the validator's benchmark: the cases are what they say, the tables count rightly."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.extraction import measure_means
from circuitkit.extraction.masked_model import masked_differences, tapped_differences
from circuitkit.files import write_whole
from circuitkit.findings import DEFAULT_CLAIMS, Claim, Finding, Validation
from circuitkit.model import pair_losses
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant, planted_names
from circuitkit.statistics.intervals import Estimate
from circuitkit.task import load_task

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import planted_cases
import planted_thresholds
import planted_validation
from side_by_side import place_side_by_side


def losses(both, folder):
    """Of the model and of either circuit, in nats, on the first one's task."""
    save_checkpoint(
        folder, both.model, name="both", tokenizer=both.tokenizer, reference=both.reference
    )
    write_whole(folder / "task.jsonl", both.task_lines)
    checkpoint = load_checkpoint(folder)
    pairs = checkpoint.encode(load_task(folder / "task.jsonl").up_to("test", 96))
    means = measure_means(both.model, both.reference).values
    found = [tapped_differences(both.model, pairs, None)]
    found += [masked_differences(both.model, pairs, n, means) for n in (both.first, both.second)]
    return [float(pair_losses(d).mean()) for d in found]


@pytest.mark.parametrize("options", [{}, {"sink": True, "noise": 0.1}])
def test_two_models_side_by_side_do_both_tasks(tmp_path, options):
    """Each by its own circuit, which is none of the other task's; layers may differ."""
    one, other = plant("closing_quote", **options), plant("nesting_depth", **options)
    for first, second in ((one, other), (other, one)):
        both = place_side_by_side(first, second)
        assert len(both.first) == len(first.mechanism)
        assert not len(both.first & both.second)
        model, own, foreign = losses(both, tmp_path / first.name)
        assert model == pytest.approx(own, abs=1e-3)
        assert own < 0.05
        assert foreign > 0.65


def test_permuted_labels_tell_nothing():
    """About half the pairs have their answers exchanged, and nothing else is changed."""
    lines = plant("neuron_chain").task_lines.splitlines()
    permuted = planted_cases.permute_labels(lines, seed=0).splitlines()
    changed = 0
    for line, other in zip(map(json.loads, lines), map(json.loads, permuted), strict=True):
        sides, others = [(p["a"], p["b"]) for p in (line, other)]
        assert [s["prompt"] for s in sides] == [s["prompt"] for s in others]
        assert {s["answer"] for s in sides} == {s["answer"] for s in others}
        changed += sides[0]["answer"] != others[0]["answer"]
    assert 0.4 < changed / len(lines) < 0.6


def validation(**outcomes):
    """Every claim passes but for those named."""
    return Validation(
        grade="C" if outcomes else "B",
        weakest=Claim.INTEGRITY,
        circuit_sha256="0" * 64,
        findings=tuple(
            Finding(claim=c, outcome=outcomes.get(c.value, "pass"), n_clusters=40)
            for c in DEFAULT_CLAIMS
        ),
    )


@pytest.mark.parametrize(
    ("outcomes", "carried"),
    [
        ({}, []),
        ({"minimal": "fail"}, ["minimal"]),
        ({"minimal": "fail", "faithful": "inconclusive"}, []),
        ({"minimal": "fail", "follows_ood": "not_run"}, ["minimal"]),
        ({"sufficient": "fail"}, ["sufficient"]),
    ],
)
def test_a_claim_carries_a_verdict_that_would_pass_without_it(outcomes, carried):
    """Only if it alone stands in the way."""
    assert list(planted_validation.carried_by(validation(**outcomes))) == carried


def judged(kind, grade, caught=(), carried=()):
    return planted_validation.Judged(
        kind=kind, model="m", seed=0, what="", grade=grade, caught=caught, carried=carried,
        backup_found=None, seconds=1.0,
    )  # fmt: skip


def test_the_tables_count_verdicts():
    """True circuits are right when accepted, wrong ones when not; misses are listed."""
    rows = [
        judged(planted_cases.TRUE, "B"),
        judged(planted_cases.TRUE, "F", ("minimal",)),
        judged(planted_cases.RANDOM, "F", ("sufficient", "minimal")),
        judged(planted_cases.RANDOM, "C", ("minimal",), ("minimal",)),
        judged(planted_cases.PASSENGERS, "B"),
    ]
    assert list(planted_validation.confusion(rows))[1:] == [
        "| true circuit | 2 | 1 | 0 | 1 | 0.50 | minimal 1 |",
        "| plus 20 passengers | 1 | 1 | 0 | 0 | 0.00 | nothing |",
        "| same-size random | 2 | 0 | 1 | 1 | 1.00 | minimal 2, sufficient 1 |",
    ]
    assert list(planted_validation.contributions(rows))[1:] == [
        "| sufficient | 1 | 0 | none |",
        "| minimal | 2 | 1 | same-size random (1) |",
    ]
    assert len(list(planted_validation.misses(rows))) == 2


def test_a_backup_is_found_only_if_what_is_named_is_it():
    """A name too many, none at all, or another word for it are no find."""
    other = NodeSet.of(plant("neuron_chain").mechanism)
    case = SimpleNamespace(backup=other)
    named = ", ".join(map(str, other))

    def says(note):
        found = validation(necessary="fail")
        findings = [
            f.model_copy(update={"note": note}) if f.claim is Claim.NECESSARY else f
            for f in found.findings
        ]
        told = found.model_copy(update={"findings": tuple(findings)})
        return planted_validation.names_backup(told, case)

    assert says(f"REDUNDANT: by {named}; mean: accuracy 1.0")
    assert not says(f"REDUNDANT: by {named}, 0.attn.q:1; mean: accuracy 1.0")
    assert not says("REDUNDANT: too unsurely")
    assert not says(f"by {named}")


def test_a_twin_inside_is_found_in_any_note_that_says_so():
    """By its own name, after the words; a node of the circuit, or another word, is no find."""
    planted = plant("twin_heads")
    one, other = planted.wired
    case = SimpleNamespace(backup=other - one, kind=planted_cases.INSIDE)
    own = ", ".join(map(str, other - one))

    def says(note, claim=Claim.NECESSARY):
        found = validation()
        findings = [
            f.model_copy(update={"note": note}) if f.claim is claim else f for f in found.findings
        ]
        said = found.model_copy(update={"findings": tuple(findings)})
        return planted_validation.backup_found(said, case)

    words = f"REDUNDANT INSIDE: in place of {min(one)}, others do the task too (0.020 nats): "
    assert says(f"F_x = 0.0; {words}{own}")
    assert says(f"{words}{own}", Claim.ROBUST_TO_ABLATION)
    assert says(f"{words}{own}; outweighed by {min(one)}")
    assert not says(f"{words}{own}, {min(one)}")
    assert not says("REDUNDANT INSIDE")
    assert not says(f"REDUNDANT: {own}")


@pytest.mark.parametrize("name", planted_names())
def test_every_smallest_circuit_that_is_not_the_mechanism_has_a_kind(name):
    """So that none is left out of the confusion table, or called wrong though it is true."""
    planted = plant(name)
    is_mechanism = planted.wired == (planted.mechanism,)
    assert is_mechanism == (name not in planted_cases.KINDS_OF_SMALLEST)


def measured(name):
    """The true circuit and a smallest one."""
    found = {}
    for case in planted_cases.cases_of(name, 0, measured.folder):
        if case.kind not in found:
            found[case.kind] = planted_thresholds.measured(case).estimates
    return found[planted_cases.TRUE], found[planted_cases.KINDS_OF_SMALLEST[name]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fails"),
    [
        ("outweighed", {"F_x", "following"}),
        ("twin_heads", {"F_x", "following"}),
        ("borrowed_constant", {"cue"}),
    ],
)
def test_each_measure_catches_its_own_kind_only(tmp_path, name, fails):
    """True circuits are above the proposed thresholds in all of them."""
    measured.folder = tmp_path
    thresholds = {"F_x": 0.5, "following": 0.9, "cue": 0.9}
    true, part = measured(name)
    assert all(true[m].low >= least for m, least in thresholds.items())
    assert {m for m, least in thresholds.items() if part[m].low < least} == fails


@pytest.mark.slow
def test_both_prompts_of_a_pair_share_their_background(tmp_path):
    """What both draw alike cannot change the cue of paths that only add up."""
    cases = planted_cases.cases_of("outweighed", 0, tmp_path)
    (case,) = (c for c in cases if c.kind == planted_cases.OUTWEIGHED)
    trial = planted_thresholds._trial(case)
    assert planted_thresholds.cue_kept(trial).min() == 1
    apart = trial.ablated_circuit("resample_joint", trial.pairs).view(2, -1).mean(0)
    assert float((apart > 0).double().mean()) < 0.9


def test_thresholds_lie_between_true_and_false():
    """A gap is from the highest lower bound of the kinds meant to the lowest of true circuits."""

    def found(kind, low):
        estimates = {
            m: Estimate(effect=low, low=low, high=low, method="")
            for m in ("F_x", "following", "cue")
        }
        return planted_thresholds.Measured(kind=kind, about="", estimates=estimates)

    some = [found(planted_cases.TRUE, low) for low in (0.95, 0.8)]
    some += [found(planted_cases.OUTWEIGHED, low) for low in (-3, 0.25)]
    assert list(planted_thresholds.ranges(some))[1:] == [
        "| true circuit | 2 | 0.80 to 0.95 | 0.80 to 0.95 | 0.80 to 0.95 |",
        "| outweighed | 2 | -3.00 to 0.25 | -3.00 to 0.25 | -3.00 to 0.25 |",
    ]
    first, _, cue = planted_thresholds.gaps(some)
    assert first.startswith("F_x: true from 0.80")
    assert first.endswith("up to 0.25")
    assert "nan" in cue
