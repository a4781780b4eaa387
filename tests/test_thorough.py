"""Laws of the thorough suite: true circuits pass, each claim catches a failure planted for it."""

import sys
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from test_validation import TRUE, circuit_of, planted
from tiny import nodes as parse_nodes
from tiny import tiny_model

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.circuit import CircuitFolder
from circuitkit.circuit.folder import THOROUGH as FILE
from circuitkit.extraction import ExtractConfig, PruningConfig, measure_means
from circuitkit.findings import WHERE_BRIDGED, Claim, Finding
from circuitkit.model.attention_pattern import pattern
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant
from circuitkit.planted.planted_prompts import random_text, task_lines, word_tokenizer
from circuitkit.planted.variation import Variation
from circuitkit.planted.wiring import Wiring
from circuitkit.progress import silent
from circuitkit.statistics.intervals import Estimate
from circuitkit.statistics.jackknife import jackknife
from circuitkit.task import load_task
from circuitkit.validation import attention_patterns, suites
from circuitkit.validation.claim_test import ClaimTest
from circuitkit.validation.claims import (
    claims_of,
    complete,
    roles,
    search_null,
    specific,
    stable,
    worst_case,
)
from circuitkit.validation.claims.edge_sufficient import check_edge_sufficient
from circuitkit.validation.claims.independence import distance_correlation, share_better
from circuitkit.validation.controls.null_problems import KINDS, null_problem
from circuitkit.validation.controls.repeated_search import (
    CountingCriterion,
    own_problem,
    search,
)
from circuitkit.validation.saved_findings import SavedFindings
from circuitkit.validation.search_trial import SearchTrial, Sibling
from circuitkit.validation.suites import Thorough, run_thorough
from circuitkit.validation.trial import Trial

discretise = sys.modules["circuitkit.extraction.discretise"]  # the package has a function so named

QUICK = ExtractConfig(
    n_train=48, n_select=24, pruning=PruningConfig(n_steps=30, batch_pairs=16, lr=0.2)
)
"""A search of a fifth of a second, enough for a model of a few dozen nodes."""


@pytest.fixture(scope="module", autouse=True)
def few_sets():
    """A dozen random subsets where a verdict takes fifty."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(complete, "N_SUBSETS", 12)
        yield


SEARCHES = (Claim.SEARCH_NULL, Claim.STABLE)
THOROUGH = {
    claim: test.check for claim, test in claims_of("thorough").items() if claim not in WHERE_BRIDGED
}
LOOKS = tuple(claim for claim in THOROUGH if claim not in (*SEARCHES, Claim.SPECIFIC))


def trial_of(checkpoint, task, nodes, siblings=(), search=QUICK, n_pairs=96, **changes):
    """What the thorough claims are tried on, for a circuit of some nodes."""
    model = checkpoint.load_model()
    means = measure_means(model, checkpoint.load_reference(), checkpoint_sha256=checkpoint.sha256)
    circuit = circuit_of(checkpoint, task, nodes, means, n_pairs=n_pairs, **changes)
    trial = Trial(
        checkpoint=checkpoint, model=model, task=task, circuit=circuit, means=means,
        reference=checkpoint.load_reference(),
        pairs=checkpoint.encode(task.up_to("test", n_pairs, circuit.seed)), seed=circuit.seed,
    )  # fmt: skip
    return SearchTrial.of(trial, search, siblings)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A planted model with its folder, planted once; no brute force."""

    @cache
    def grow(name):
        folder, found = tmp_path_factory.mktemp(name), plant(name, noise=0.1)
        (folder / "task.jsonl").write_text(found.task_lines)
        save_checkpoint(
            folder, found.model, name=name, tokenizer=found.tokenizer, reference=found.reference
        )
        return found, load_checkpoint(folder), load_task(folder / "task.jsonl")

    return grow


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One layer of eight channels: a search takes no time."""
    return planted(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def true_small(small):
    return trial_of(*small, parse_nodes(*TRUE))


@pytest.fixture(scope="module")
def true_grown(grown):
    """The trial of a true circuit: the whole mechanism of a planted model."""

    @cache
    def try_it(name):
        found, checkpoint, task = grown(name)
        return trial_of(checkpoint, task, found.mechanism)

    return try_it


def smallest(grown, name, **changes):
    """The trial of a smallest circuit, which in a trap is wrong."""
    found, checkpoint, task = grown(name)
    return trial_of(checkpoint, task, found.wired[0], **changes)


# Every claim passes on a true circuit


@pytest.mark.parametrize("name", ["closing_quote", "weak_votes"])
@pytest.mark.parametrize("claim", LOOKS)
def test_a_true_circuit_passes(true_grown, name, claim):
    """Of detectors and a copying head, of six voters."""
    finding = THOROUGH[claim](true_grown(name))
    assert (finding.claim, finding.outcome) == (claim, "pass"), finding.note
    assert finding.threshold
    assert finding.threshold_source
    assert finding.fooled_by
    assert finding.n_pairs > 0
    assert finding.n_clusters > 0


@pytest.mark.parametrize("claim", LOOKS)
def test_one_test_pair_is_no_crash(small, claim):
    """What needs more is not run, or undecided; the worst case and families have their own."""
    finding = THOROUGH[claim](trial_of(*small, parse_nodes(*TRUE), n_pairs=1))
    if claim in (Claim.WORST_CASE, Claim.ONE_MECHANISM):
        assert finding.n_pairs > 1
    else:
        assert finding.outcome in ("inconclusive", "not_run")
        assert finding.note


def test_a_blind_circuit_is_right_half_of_the_time(true_grown, monkeypatch):
    """A tie is half an answer for the worst case, the patched patterns and stability too."""
    trial = true_grown("closing_quote")
    monkeypatch.setattr(SearchTrial, "kept", lambda _, nodes, pairs: torch.zeros(2 * len(pairs)))
    worst = THOROUGH[Claim.WORST_CASE](trial)
    assert worst.effect == 0.5
    assert "0.500 right" in worst.note
    found = [stable.Found(nodes=trial.nodes, size=None, n_questions=0)]
    assert set(stable._agreement(trial, found)) == {0.5}
    none = lambda logits, _: torch.zeros(len(logits))  # noqa: E731
    monkeypatch.setattr(attention_patterns, "logit_differences", none)
    assert "as the circuit does: accuracy 0.500" in attention_patterns.distance_of_patterns(
        trial, trial.few[:8]
    )


@pytest.mark.slow
@pytest.mark.parametrize("claim", SEARCHES)
def test_a_true_circuit_passes_what_searches(true_small, claim):
    """Nothing as small for any null; other seeds and halves find what behaves alike."""
    finding = THOROUGH[claim](true_small)
    assert finding.outcome == "pass", finding.note


@pytest.mark.parametrize("claim", LOOKS)
def test_a_finding_repeats(true_small, claim):
    """The same trial, the same finding, byte for byte."""
    first, second = (THOROUGH[claim](true_small) for _ in range(2))
    assert first.model_dump_json() == second.model_dump_json()


# Every claim catches what was planted for it


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        (Claim.COMPLETE, "twin_paths"),
        (Claim.COMPLETE, "weak_votes"),
        (Claim.ROLES, "norm_trap"),
        (Claim.ADVERSARIAL_RESTORE, "cancellation_trap"),
        (Claim.RESAMPLE_INDEPENDENT, "norm_trap"),
        (Claim.INDEPENDENCE, "twin_paths"),
        (Claim.SIZE_CURVE, "cancellation_trap"),
        (Claim.SIZE_CURVE, "norm_trap"),
    ],
)
def test_a_wrong_circuit_that_meets_the_target_is_caught(grown, claim, name):
    """Half of what does the task, or a trap: small, sufficient and wrong."""
    trial = smallest(grown, name)
    assert trial.circuit.loss_nats.circuit < 0.15
    assert THOROUGH[claim](trial).outcome == "fail"


@pytest.mark.parametrize("claim", [claim for claim in LOOKS if claim != Claim.ONE_MECHANISM])
def test_a_circuit_that_lacks_a_node_is_caught(grown, claim):
    """By every claim that looks at what the circuit does."""
    found, checkpoint, task = grown("closing_quote")
    gone = NodeSet.of([next(iter(found.mechanism))])
    finding = THOROUGH[claim](trial_of(checkpoint, task, found.mechanism - gone))
    assert finding.outcome == "fail", finding.note


def test_what_is_cancelled_is_named(grown):
    """The nodes whose return breaks the circuit are those of its opposite."""
    finding = THOROUGH[Claim.ADVERSARIAL_RESTORE](smallest(grown, "cancellation_trap"))
    assert finding.note.startswith("the complement holds cancelling pathways: ")
    assert "1.attn.v" in finding.note


def test_the_worst_template_is_named(grown):
    """A circuit that knows one of two signs is wrong wherever the other one stands."""
    found, checkpoint, task = grown("either_feature")
    blind = NodeSet.of(n for n in found.mechanism if n.site.block != "attn")
    finding = THOROUGH[Claim.WORST_CASE](trial_of(checkpoint, task, blind))
    assert finding.outcome == "fail"
    assert "worst template: test-" in finding.note
    assert finding.n_pairs == 384


def test_what_the_model_gets_wrong_is_not_held_against_the_circuit(true_small, monkeypatch):
    """Nor does a wrong answer of the model leave the share without an interval."""
    n, pairs = len(true_small.few), true_small.few
    model, circuit = torch.full((2 * n,), 3.0), torch.full((2 * n,), 3.0)
    first, last = (np.flatnonzero(np.array(pairs.templates) == pairs.templates[i]) for i in (0, -1))
    model[np.concatenate([first, first + n])] = -3.0
    monkeypatch.setattr(worst_case, "tapped_differences", lambda *_: model)
    monkeypatch.setattr(true_small, "ask", lambda *_: pairs)
    monkeypatch.setattr(true_small, "kept", lambda *_: circuit)
    all_right = worst_case.check_worst_case(true_small)
    assert all_right.effect == 1
    assert all_right.low is not None
    assert all_right.low < 1
    circuit[last[0]] = -3.0
    found = worst_case.check_worst_case(true_small)
    assert f"worst template: {pairs.templates[-1]}" in found.note


def test_nothing_is_cut_where_every_edge_is_listed(true_small):
    """A circuit of node granularity runs as it is."""
    assert check_edge_sufficient(true_small).note.startswith("0 weights")


def test_the_nodes_whose_roles_are_compared_lie_over_the_whole_circuit(true_small, monkeypatch):
    """Where they are not all: the last sites have their share."""
    seen, effects = [], roles._effects

    def watched(trial, pairs, nodes, runs):
        seen.extend(nodes)
        return effects(trial, pairs, nodes, runs)

    monkeypatch.setattr(roles, "MOST_NODES", len(true_small.nodes) * 2 // 3)
    monkeypatch.setattr(roles, "_effects", watched)
    roles.check_roles(true_small)
    every = list(true_small.nodes)
    places = [every.index(node) for node in seen]
    assert len(places) == roles.MOST_NODES
    assert all(0 < b - a <= 2 for a, b in pairwise([-1, *places, len(every)]))


# Other tasks


@pytest.fixture
def no_built_in(monkeypatch):
    """Reading the twenty built-in tasks takes a second; one test does."""
    monkeypatch.setattr(specific, "builtin_tasks", tuple)


@pytest.fixture(scope="module")
def two_tasks(tmp_path_factory):
    """A model that does two tasks by two heads, and the nodes of each."""
    folder = tmp_path_factory.mktemp("two")
    wiring = Wiring(Variation(), ("left", "right", "up", "down"), n_layer=1)
    parts, tasks = [], []
    for name, answers in (("side", ("left", "right")), ("height", ("up", "down"))):
        wiring.embed(name, dict(zip(answers, (1, -1), strict=True)))
        found = wiring.average_head(0, name, f"{name}_told", 16)
        parts.append(found | wiring.answer(f"{name}_told", *answers, gain=4))
        (folder / f"{name}.jsonl").write_text(
            task_lines(answers, lambda i, a=answers: tuple(f"{i.before} {x} {i.after}" for x in a), None, 0)  # noqa: E501
        )  # fmt: skip
        tasks.append(load_task(folder / f"{name}.jsonl"))
    n = len(wiring.tokens)
    save_checkpoint(
        folder, wiring.model, name="two", tokenizer=word_tokenizer(wiring.tokens),
        reference=random_text(n, 0),
    )  # fmt: skip
    return load_checkpoint(folder), tasks, [NodeSet.of(part) for part in parts]


def test_a_circuit_that_harms_its_own_task_alone_is_specific(two_tasks, no_built_in):
    """The task of the circuit beside it stays whole; the matrix has both rows."""
    checkpoint, (side, height), (ours, theirs) = two_tasks
    sibling = Sibling(task=height, circuit=circuit_of(checkpoint, height, theirs))
    finding = THOROUGH[Claim.SPECIFIC](trial_of(checkpoint, side, ours, (sibling,)))
    assert finding.outcome == "pass", finding.note
    own, theirs = finding.note.split(" | ")
    assert own == "its own task loses 1.00; the others: height 0.00"
    assert theirs == "knockout of height: 1.00; the others: side 0.00"


def test_tasks_of_one_name_count_each(tmp_path, two_tasks, no_built_in):
    """Each as its circuit calls it, not as the copy of its file does."""
    checkpoint, (side, height), (ours, theirs) = two_tasks
    folder = CircuitFolder.claim(tmp_path / "height")
    folder.save_sources(height, {})
    circuit_of(checkpoint, height, theirs).save(folder.path)
    assert (folder.task.name, folder.task.sha256) == ("height", height.sha256)
    named = replace(folder.task, name=side.name)
    sibling = Sibling(task=named, circuit=circuit_of(checkpoint, height, theirs))
    finding = THOROUGH[Claim.SPECIFIC](trial_of(checkpoint, side, ours, (sibling,)))
    own, theirs = finding.note.split(" | ")
    assert own == "its own task loses 1.00; the others: side 0.00"
    assert theirs == "knockout of side: 1.00; the others: side 0.00"


def test_a_task_that_asks_the_same_is_no_other_task(tmp_path, two_tasks, no_built_in):
    """Its own task in other bytes is left out, and it is said."""
    checkpoint, (side, height), (ours, theirs) = two_tasks
    path = tmp_path / "again.jsonl"
    path.write_text("\n" + (checkpoint.path / "side.jsonl").read_text())
    again = load_task(path)
    siblings = tuple(
        Sibling(task=task, circuit=circuit_of(checkpoint, task, nodes))
        for task, nodes in ((again, ours), (height, theirs))
    )
    finding = THOROUGH[Claim.SPECIFIC](trial_of(checkpoint, side, ours, siblings))
    assert finding.outcome == "pass", finding.note
    assert finding.n_draws == 1
    assert finding.note.endswith("asks the same: again, not counted")


def test_a_circuit_that_harms_another_task_as_well_is_not_specific(two_tasks, no_built_in):
    """Both heads in one circuit."""
    checkpoint, (side, height), (ours, theirs) = two_tasks
    sibling = Sibling(task=height, circuit=circuit_of(checkpoint, height, theirs))
    finding = THOROUGH[Claim.SPECIFIC](trial_of(checkpoint, side, ours | theirs, (sibling,)))
    assert finding.outcome == "fail"


def test_a_circuit_that_harms_nothing_is_not_specific(two_tasks, no_built_in):
    """Not even its own task."""
    checkpoint, (side, height), (_, theirs) = two_tasks
    sibling = Sibling(task=height, circuit=circuit_of(checkpoint, height, theirs))
    empty = NodeSet(widths=checkpoint.architecture.widths)
    finding = THOROUGH[Claim.SPECIFIC](trial_of(checkpoint, side, empty, (sibling,)))
    assert finding.outcome == "fail"


def test_without_another_task_it_is_not_run(true_small):
    """And says so, and which could not be asked."""
    finding = THOROUGH[Claim.SPECIFIC](true_small)
    assert finding.outcome == "not_run"
    assert finding.note == (
        "the checkpoint does no other task that could be asked; 20 tasks cannot be asked of this "
        "checkpoint, such as bracket_brace, bracket_counting, class_init"
    )


# Searches


@pytest.mark.slow
def test_a_trap_fails_the_search_null(grown):
    """The opposite of the shortcut is a circuit for the inverted labels, and as small."""
    finding = THOROUGH[Claim.SEARCH_NULL](smallest(grown, "cancellation_trap"))
    assert finding.outcome == "fail"
    assert finding.p_value > 0.05
    assert f"stopped after {finding.n_draws} of 19 draws" in finding.note


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_neither_everything_nor_nothing_is_a_small_circuit(small, share):
    """All claims answer, and the search null says no to the whole model."""
    checkpoint, task = small
    widths = checkpoint.architecture.widths
    nodes = NodeSet.full(widths) if share else NodeSet(widths=widths)
    trial = trial_of(checkpoint, task, nodes)
    about_it = [claim for claim in LOOKS if claim != Claim.ONE_MECHANISM]
    found = {claim: THOROUGH[claim](trial).outcome for claim in about_it}
    if share:
        assert THOROUGH[Claim.SEARCH_NULL](trial).outcome == "fail"
    else:
        assert "pass" not in found.values()


def test_the_nulls_are_what_they_say(true_grown):
    """Four kinds in turn; none of them a problem that the model does."""
    trial = true_grown("closing_quote")
    own = own_problem(trial)
    unrelated, permuted, inverted, shuffled = (null_problem(trial, i) for i in range(len(KINDS)))
    assert not set(unrelated.train.answers.tolist()) & set(own.train.answers.tolist())
    swapped = (permuted.select.answers != own.select.answers).double().mean()
    assert 0.25 <= float(swapped) <= 0.75
    assert torch.equal(inverted.train.answers, own.train.foils)
    assert torch.equal(inverted.train.foils, own.train.answers)
    for before, after in zip(own.model.parameters(), shuffled.model.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    weights = [m.layers[0].attn.c_attn.weight for m in (own.model, shuffled.model)]
    assert not torch.equal(*weights)
    assert [p.kind for p in (unrelated, permuted)] == ["unrelated answers", "permuted labels"]


def test_a_search_stops_asking_when_its_budget_is_spent(true_small):
    """Without a question it finds nothing; with as many as it wants it finds the circuit."""
    own = own_problem(true_small)
    free, poor = (search(true_small, own, 0, silent, budget) for budget in (None, 0))
    assert (poor.size, free.nodes) == (None, true_small.nodes)
    assert search(true_small, own, 0, silent, free.n_questions).nodes == free.nodes


def test_a_search_ends_when_its_budget_is_spent_in_vain(true_small, monkeypatch):
    """What comes after could meet nothing, and takes hours: gradients of thousands of nodes."""
    steepest, asked = discretise.steepest, []

    def counted(*args):
        asked.append(args)
        return steepest(*args)

    monkeypatch.setattr(discretise, "steepest", counted)
    in_vain = 0
    for i in range(len(KINDS)):
        asked.clear()
        found = search(true_small, null_problem(true_small, i), 1, silent, budget=20)
        if found.size is None:
            in_vain += 1
            assert found.n_questions <= 21
            assert len(asked) <= 3  # nodes are added back in eights, each of them a question
    assert in_vain


def test_no_node_is_added_back_where_no_excess_is_finite(true_small, monkeypatch):
    """As after gentle masks that spend a budget of which harder ones met the target."""
    own, asked = own_problem(true_small), []
    monkeypatch.setattr(
        discretise, "steepest", lambda *args: asked.append(args) or list(true_small.nodes)
    )
    spent = CountingCriterion(
        model=own.model,
        values=own.means.values,
        pairs=own.select,
        target_loss_nats=true_small.circuit.target_loss_nats,
        budget=0,
        has_met=True,
    )
    assert discretise.add_back(NodeSet(widths=own.model.arch.widths), spent) is None
    assert len(asked) == 1


def test_a_wrong_circuit_is_not_what_other_seeds_find(small, monkeypatch):
    """A circuit that lacks its value channel answers otherwise."""
    monkeypatch.setattr(stable, "N_SEARCHES", 3)
    trial = trial_of(*small, parse_nodes(*(set(TRUE) - {TRUE[1]})))
    assert THOROUGH[Claim.STABLE](trial).outcome == "fail"


# Statistics


def test_the_jackknife_of_a_mean_is_the_t_interval_of_its_templates():
    """With as many pairs in each."""
    values = np.random.default_rng(0).normal(size=(20, 4))
    clusters = [str(i) for i in range(20) for _ in range(4)]
    found = jackknife(lambda some: float(values.flatten()[some].mean()), clusters)
    error = values.mean(1).std(ddof=1) / 20**0.5
    assert found.effect == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.7291 * error, rel=1e-3)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_templates_bound_nothing_for_the_jackknife_either(n):
    """So that no claim passes by them; a file holds no infinities."""
    found = jackknife(lambda some: 0.3, [f"t{i % n}" for i in range(8)])
    assert (found.effect, found.bounds) == (0.3, (None, None))
    assert found.within(high=1.0) == "inconclusive"


def test_another_task_of_a_single_template_is_not_taken_for_done(true_small):
    """Nothing bounds its accuracy: it is left out, and no claim breaks on it."""
    pairs = true_small.few
    alike = replace(pairs, templates=("t",) * len(pairs))
    assert specific._ask(true_small, true_small.task, pairs).is_done
    assert not specific._ask(true_small, true_small.task, alike).is_done


def test_a_row_of_many_tasks_names_the_three_most_harmed():
    """And what the others lose in the median."""
    harms = {
        name: Estimate(effect=x, low=x, high=x)
        for name, x in zip("abcdef", (0.1, 0.9, 0.3, 0.5, 0.2, 0.7), strict=True)
    }
    rows = list(harms.items())
    assert specific._row(rows) == "b 0.90, f 0.70, d 0.50, the median of 3 more 0.20"
    assert specific._row(rows[:1]) == "a 0.10"


def test_the_jackknife_covers_a_ratio_of_clustered_pairs():
    """Its 90 % interval holds the truth in 84 to 96 % of 300 simulations."""
    draw, hits = np.random.default_rng(1), 0
    clusters = [str(i) for i in range(24) for _ in range(3)]
    for _ in range(300):
        shift = draw.normal(size=(24, 1))
        u = (1 + shift + draw.normal(size=(24, 3))).flatten()
        w = (4 + 0.5 * shift + 0.5 * draw.normal(size=(24, 3))).flatten()
        found = jackknife(lambda some, u=u, w=w: float(u[some].sum() / w[some].sum()), clusters)
        hits += found.low <= 0.25 <= found.high
    assert 0.84 <= hits / 300 <= 0.96


def test_distance_correlation_tells_dependence():
    """0 on average when independent or constant, 1 for a line, above 0 where correlation is 0."""
    draw = np.random.default_rng(2)

    def of(x, y):
        return distance_correlation(*(np.abs(v[:, None] - v[None]) for v in (x, y)))

    x = draw.normal(size=100)
    assert of(x, 3 - 2 * x) == pytest.approx(1.0)
    assert of(x, np.ones(100)) == 0.0
    assert of(x, x**2) > 0.2
    apart = [of(draw.normal(size=50), draw.normal(size=50)) for _ in range(200)]
    assert abs(np.mean(apart)) < 0.01


def test_a_few_losses_among_ties_do_not_blow_up_the_interval():
    """Worse on 3 pairs of 400, in two templates; worse on most, it is seen."""
    clusters = [str(i % 40) for i in range(400)]
    never = np.zeros(400, dtype=bool)
    rare, often = never.copy(), ~never
    rare[[0, 1, 40]], often[:40] = True, False
    few, many = (share_better(never, worse, clusters, 0) for worse in (rare, often))
    assert few.effect == pytest.approx(0.5 - 1.5 / 400)
    assert (few.within(0.4, 0.6), many.within(0.4, 0.6)) == ("pass", "fail")


@pytest.mark.parametrize("option", ["plain", "sink"])
def test_patterns_are_those_of_the_model(option):
    """Patterns times values is what attention gives."""
    model = tiny_model(option)
    attention, arch = model.layers[0].attn, model.arch
    q, k, v = torch.randn(3, 2, 5, arch.d_attn, generator=torch.Generator().manual_seed(0))
    for head in range(arch.n_head):
        channels = slice(head * arch.d_head, (head + 1) * arch.d_head)
        weights = pattern(attention, q, k, head)
        assert torch.allclose(weights.sum(-1), torch.ones(2, 5))
        got = weights[..., 1:] @ v[..., channels]
        assert torch.allclose(got, attention.attend(q, k, v)[..., channels], atol=1e-5)


# The suite


@pytest.fixture
def counted(monkeypatch):
    """Every claim at once, each noting that it ran; the third stops the run when asked to."""
    ran, stop = [], []

    def fake(claim):
        def check(trial):
            if claim in stop:
                raise KeyboardInterrupt
            ran.append(claim)
            trial.passes += 2
            return Finding(claim=claim, outcome="pass", effect=float(len(claim)), seeds=(1,))

        return check

    for claim, test in claims_of("thorough").items():
        faked = ClaimTest(declared=test.declared, check=fake(claim))
        monkeypatch.setitem(claims_of("thorough"), claim, faked)
    return ran, stop


def run(trial, folder, default=()):
    file = folder and folder / FILE
    found = run_thorough(trial, Thorough(search=QUICK, file=file), default)
    return [finding.model_copy(update={"seconds": 0.0}) for finding in found]


def test_a_stopped_suite_goes_on_where_it_stopped(true_small, tmp_path, counted):
    """No claim runs twice, and the findings are those of a run that was not stopped."""
    ran, stop = counted
    stop.append(Claim.STABLE)
    with pytest.raises(KeyboardInterrupt):
        run(true_small, tmp_path)
    assert ran == list(THOROUGH)[: list(THOROUGH).index(Claim.STABLE)]
    stop.clear()
    found = run(true_small, tmp_path)
    assert ran == list(THOROUGH)
    assert found == run(true_small, None)
    assert found[0].forward_passes == 2


@pytest.mark.slow
def test_a_stopped_search_null_keeps_its_searches(true_small, tmp_path, monkeypatch):
    """And ends with the finding of one that was not stopped, forward passes included."""
    ran, search = [], search_null.search

    def stopped(trial, problem, index, *args):
        if index == 3 and index not in ran:
            ran.append(index)
            raise KeyboardInterrupt
        ran.append(index)
        return search(trial, problem, index, *args)

    whole = THOROUGH[Claim.SEARCH_NULL](replace_saved(true_small, None))
    monkeypatch.setattr(search_null, "search", stopped)
    with pytest.raises(KeyboardInterrupt):
        THOROUGH[Claim.SEARCH_NULL](replace_saved(true_small, tmp_path / FILE))
    found = THOROUGH[Claim.SEARCH_NULL](replace_saved(true_small, tmp_path / FILE))
    assert ran == [0, 1, 2, 3, *range(3, whole.n_draws + 1)]
    assert found.model_copy(update={"seconds": whole.seconds}) == whole


def replace_saved(trial, path):
    """A trial with what such a file holds."""
    trial.saved = SavedFindings(path, "hash")
    return trial


@pytest.mark.parametrize("ablation", ["mean", "zero"])
def test_a_search_of_which_nothing_is_recorded_is_as_the_circuit_was_found(
    small, monkeypatch, ablation
):
    """Under its ablation, whose values it goes with, and from its seed."""
    trial, asked = trial_of(*small, parse_nodes(*TRUE)), []
    trial.circuit = trial.circuit.model_copy(update={"ablation": ablation, "seed": 5})
    claim, declared = Claim.ROLES, claims_of("thorough")[Claim.ROLES].declared
    noted = ClaimTest(
        declared=declared,
        check=lambda long: asked.append(long.search) or Finding(claim=claim, outcome="pass"),
    )
    monkeypatch.setattr(suites, "claims_of", lambda suite: {claim: noted})
    plain = Trial(**{f.name: getattr(trial, f.name) for f in fields(Trial) if f.init})
    run_thorough(plain, Thorough(), [])
    (search,) = asked
    assert (search.ablation, search.seed) == (ablation, 5)


def test_findings_of_other_inputs_are_not_taken_up(true_small, small, tmp_path, counted):
    """Another circuit in the same folder starts anew; so does a file that cannot be read."""
    ran, _ = counted
    run(true_small, tmp_path)
    other = trial_of(*small, parse_nodes(*TRUE[:3]))
    run(other, tmp_path)
    assert len(ran) == 2 * len(THOROUGH)
    (tmp_path / FILE).write_text("{")
    run(other, tmp_path)
    assert len(ran) == 3 * len(THOROUGH)
    run(other, tmp_path)
    assert len(ran) == 3 * len(THOROUGH)


def test_a_circuit_that_comes_beside_it_costs_no_finding_but_those_about_it(
    two_tasks, tmp_path, counted
):
    """A stopped run goes on; only what the other tasks' circuits tell is asked again."""
    (ran, stop), (checkpoint, (side, height), (ours, theirs)) = counted, two_tasks
    beside = Sibling(task=height, circuit=circuit_of(checkpoint, height, theirs))
    alone, among = (trial_of(checkpoint, side, ours, some) for some in ((), (beside,)))
    stop.append(Claim.WORST_CASE)
    for trial in (alone, among):
        with pytest.raises(KeyboardInterrupt):
            run(trial, tmp_path)
    stop.clear()
    run(among, tmp_path)
    assert set(ran) == set(THOROUGH)
    assert [claim for claim in THOROUGH if ran.count(claim) > 1] == [Claim.SPECIFIC]


def test_nothing_is_written_without_a_folder(tmp_path):
    """Findings are then kept in memory alone."""
    saved = SavedFindings(None, "x")
    saved.add(Finding(claim=Claim.ROLES, outcome="pass"))
    assert list(saved.findings) == [Claim.ROLES]
    assert list(Path(tmp_path).iterdir()) == []


def test_where_integrity_fails_nothing_runs(true_small, counted):
    """Nothing after it would mean anything."""
    failed = Finding(claim=Claim.INTEGRITY, outcome="fail")
    found = run(true_small, None, [failed])
    assert {finding.outcome for finding in found} == {"not_run"}
    assert "integrity fails" in found[0].note
    assert counted[0] == []


def test_the_suite_has_every_thorough_claim_in_order():
    """Those of the design, and no other; those about bridges come last."""
    expected = tuple(Claim)[tuple(Claim).index(Claim.STANDS_ALONE) :]
    assert (*THOROUGH, *WHERE_BRIDGED) == expected
