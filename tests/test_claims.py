"""Laws of the claims: each passes on a true circuit and catches what it is there to catch."""

import json
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_validation import circuit_of
from tiny import (
    OPTIONS,
    encoded_pairs,
    random_nodes,
    random_tokens,
    random_values,
    tiny_model,
    zeroed,
)

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.compiled import compile_circuit
from circuitkit.errors import MismatchError, TaskError
from circuitkit.extraction import four_differences, measure_means
from circuitkit.extraction.masked_model import masked_differences, tapped_differences
from circuitkit.extraction.means import zero_means
from circuitkit.extraction.target_loss import choose_target
from circuitkit.files import write_whole
from circuitkit.model import EncodedPairs, agreement, gate_tap, hits, record_tap
from circuitkit.model.other_prompt import aligned_positions
from circuitkit.model.per_pair import hits_of
from circuitkit.nodes import NodeSet, Site
from circuitkit.planted import plant
from circuitkit.planted.live_nodes import find_alive
from circuitkit.provenance import Named
from circuitkit.task import load_task
from circuitkit.validation import trial as trial_module
from circuitkit.validation import validate
from circuitkit.validation.ablations import (
    DRAWN,
    KINDS,
    STILL,
    ablated_differences,
    means_over,
)
from circuitkit.validation.cancelling_pairs import cancelling_pair
from circuitkit.validation.claims import beats_controls
from circuitkit.validation.claims.beats_controls import (
    N_DRAWS,
    Family,
    _as_low,
    _tally,
    check_beats_controls,
)
from circuitkit.validation.claims.competent import check_competent
from circuitkit.validation.claims.faithful import check_faithful
from circuitkit.validation.claims.follows_ood import check_follows_ood
from circuitkit.validation.claims.generalises import check_generalises
from circuitkit.validation.claims.integrity import check_integrity
from circuitkit.validation.claims.minimal import check_minimal
from circuitkit.validation.claims.necessary import check_necessary
from circuitkit.validation.claims.no_norm_leak import check_no_norm_leak, run_frozen
from circuitkit.validation.claims.robust_to_ablation import check_robust_to_ablation
from circuitkit.validation.claims.stochastic_restore import check_stochastic_restore
from circuitkit.validation.claims.sufficient import check_sufficient
from circuitkit.validation.controls.backup import find_backup
from circuitkit.validation.controls.same_size import (
    NEAREST,
    activity_matched,
    attribution_circuit,
    location_matched,
)
from circuitkit.validation.trial import Trial

SEED = 0


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    """A planted model with its task, changed or not, and all that a trial needs."""

    @cache
    def open_court(name, change=None):
        folder, planted = tmp_path_factory.mktemp(name), plant(name, seed=SEED)
        save_checkpoint(
            folder, planted.model, name=name, tokenizer=planted.tokenizer,
            reference=planted.reference,
        )  # fmt: skip
        lines = planted.task_lines if change is None else change(planted.task_lines)
        write_whole(folder / "task.jsonl", lines)
        checkpoint, task = load_checkpoint(folder), load_task(folder / "task.jsonl")
        model = checkpoint.load_model()
        means = measure_means(
            model, checkpoint.load_reference(), checkpoint_sha256=checkpoint.sha256
        )
        return SimpleNamespace(
            planted=planted, checkpoint=checkpoint, task=task, model=model, means=means
        )

    return open_court


@pytest.fixture
def few_controls(monkeypatch):
    """Where a circuit need not beat luck at 0.01."""
    monkeypatch.setattr(beats_controls, "N_DRAWS", 19)


def on_trial(at, nodes, **changes):
    """A circuit of these nodes before the court."""
    circuit = circuit_of(at.checkpoint, at.task, nodes, at.means, n_pairs=384)
    fields = {
        "checkpoint": at.checkpoint,
        "model": at.model,
        "task": at.task,
        "circuit": circuit,
        "means": at.means,
        "reference": at.checkpoint.load_reference(),
        "pairs": at.checkpoint.encode(at.task.up_to("test", 384)),
        "seed": 0,
    }
    return Trial(**{**fields, **changes})


def decoy_path(at):
    """The nodes of ``decoys`` that are no part of its mechanism: a shortcut."""
    pairs = at.checkpoint.encode(at.task.up_to("test", 64))
    return NodeSet.of(find_alive(at.model, pairs, at.means.values).nodes) - at.planted.mechanism


# Ways to ablate


def toy_trial(option="plain", seed=0):
    """Of a random model: what ablation looks at, and no more."""
    model = tiny_model(option, seed)
    tokens = random_tokens(model.arch, 6, 7, seed)
    pool = {}
    with torch.no_grad():
        model.stream(tokens, record_tap(pool))
    return SimpleNamespace(
        model=model,
        seed=seed,
        passes=0,
        reference_means=random_values(model.arch, seed),
        task_means=random_values(model.arch, seed + 1),
        pool={site: x.flatten(0, 1) for site, x in pool.items()},
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", ["plain", "the paper's", "concatenated positions"])
def test_with_every_node_kept_no_ablation_matters(kind, option):
    """Bitwise, whatever would stand in."""
    trial = toy_trial(option)
    pairs = encoded_pairs(trial.model.arch)
    found = ablated_differences(trial, kind, NodeSet.full(trial.model.arch.widths), pairs)
    assert torch.equal(found, tapped_differences(trial.model, pairs, None))


@pytest.mark.parametrize(
    ("kind", "values"), [("mean", "reference_means"), ("mean_task", "task_means")]
)
def test_mean_ablation_is_the_masked_model(kind, values):
    """Under the means of its name."""
    trial = toy_trial()
    pairs, kept = encoded_pairs(trial.model.arch), random_nodes(trial.model.arch, 0.5)
    found = ablated_differences(trial, kind, kept, pairs)
    assert torch.equal(found, masked_differences(trial.model, pairs, kept, getattr(trial, values)))
    zero = ablated_differences(trial, "zero", kept, pairs)
    nothing = zero_means(trial.model.arch.widths).values
    assert torch.equal(zero, masked_differences(trial.model, pairs, kept, nothing))


@pytest.mark.parametrize("option", ["plain", "the paper's", "no norm"])
def test_with_nothing_kept_the_twin_is_answered(option):
    """Its answer is this prompt's foil; only a bigram table still sees the prompt itself."""
    trial = toy_trial(option)
    pairs = encoded_pairs(trial.model.arch)
    found = ablated_differences(trial, "resample_pair", NodeSet(), pairs)
    own = tapped_differences(trial.model, pairs, None)
    own, bigram = (own, 0.0) if option != "the paper's" else unbigrammed(trial.model, pairs, own)
    twin = torch.cat([*reversed(own.chunk(2))])
    assert torch.allclose(found, bigram - twin, atol=1e-5)


def unbigrammed(model, pairs, differences):
    """The differences without the bigram table's share, and that share."""
    last = pairs.tokens[torch.arange(len(pairs.tokens)), pairs.last]
    share = model.bigram_table[last, pairs.answers] - model.bigram_table[last, pairs.foils]
    return differences - share, share


def one_pair(tokens, last):
    answers = torch.tensor([1, 2])
    return EncodedPairs(
        tokens=torch.tensor(tokens), last=torch.tensor(last), answers=answers,
        foils=answers.flip(0), templates=("t",),
    )  # fmt: skip


def test_twins_are_aligned_at_both_ends():
    """From the start as far as they agree, from the end after that; never past an end."""
    pairs = one_pair([[5, 6, 1, 7, 8, 0], [5, 6, 2, 3, 7, 8]], [4, 5])
    found = aligned_positions(pairs).tolist()
    assert found[0][:5] == [0, 1, 3, 4, 5]
    assert found[1] == [0, 1, 1, 2, 3, 4]


@pytest.mark.parametrize("goes_on", [7, 0])
def test_last_positions_are_aligned_even_where_one_prompt_starts_the_other(goes_on):
    """There the answer is read; a token that is also the padding makes no difference."""
    pairs = one_pair([[5, 6, 0, 0], [5, 6, goes_on, 8]], [1, 3])
    found = aligned_positions(pairs).tolist()
    assert found[0][:2] == [0, 3]
    assert found[1] == [0, 0, 0, 1]


@pytest.mark.parametrize("kind", STILL)
def test_a_circuit_under_still_values_is_the_same_compiled(kind):
    """So the table may ask the cheaper one."""
    trial = toy_trial()
    pairs, kept = encoded_pairs(trial.model.arch), random_nodes(trial.model.arch, 0.5)
    compiled = compile_circuit(trial.model, kept, STILL[kind](trial)).differences(pairs)
    assert torch.allclose(compiled, ablated_differences(trial, kind, kept, pairs), atol=1e-4)


@pytest.mark.parametrize("kind", ["resample_joint", "resample_independent"])
def test_resampled_values_are_those_of_reference_tokens(kind):
    """A site's all of one token, or each of its own; one draw a prompt, the seed's."""
    trial = toy_trial()
    pairs = encoded_pairs(trial.model.arch)
    values = DRAWN[kind](trial, pairs, torch.Generator().manual_seed(0))
    for site, pool in trial.pool.items():
        drawn = values[site]
        assert drawn.shape == (len(pairs.tokens), 1, pool.shape[1])
        same = drawn == pool[None]  # row, token, channel
        assert same.any(1).all(), "a value that no reference token has"
    whole = [(values[s] == pool[None]).all(2).any(1).all() for s, pool in trial.pool.items()]
    assert all(whole) == (kind == "resample_joint")
    one, again = (ablated_differences(trial, kind, NodeSet(), pairs) for _ in range(2))
    assert torch.equal(one, again)


def test_task_means_leave_padding_out():
    """By hand, prompt by prompt."""
    model = tiny_model("no norm")
    pairs = encoded_pairs(model.arch)
    found, seen, n = means_over(model, pairs), {}, 0
    for row, last in zip(pairs.tokens, pairs.last.tolist(), strict=True):
        here = {}
        with torch.no_grad():
            model.stream(row[None, : last + 1], record_tap(here))
        seen = {s: seen.get(s, 0) + x[0].double().sum(0) for s, x in here.items()}
        n += last + 1
    for site, total in seen.items():
        by_hand = (total / n).float()
        tolerance = 1e-6 * max(1.0, float(by_hand.abs().max()))
        torch.testing.assert_close(found[site], by_hand, atol=tolerance, rtol=1e-5)


def test_a_tie_is_half_an_answer():
    """A model that cannot tell the prompts apart is at chance, not wrong."""
    assert hits_of(torch.tensor([0.0, 1.0, 0.0, -2.0])).tolist() == [0.5, 0.5]
    assert hits(torch.tensor([0.0, 1.0, -2.0])).tolist() == [0.5, 1.0, 0.0]


def test_a_blind_model_scores_half_wherever_it_is_scored():
    """In the circuit file, in the message of a target that cannot be chosen."""
    model = zeroed(tiny_model())
    pairs = encoded_pairs(model.arch)
    scored = four_differences(model, pairs, NodeSet(), zero_means(model.arch.widths).values)
    assert set(scored.accuracies().model_dump().values()) == {0.5}
    with pytest.raises(TaskError, match=r"loss is 0\.693 nats and its accuracy 0\.500"):
        choose_target(model, pairs, None, "toy on zeros")


def test_a_tie_agrees_by_half():
    """With whatever prefers one of the two answers; with another tie it agrees."""
    ties, sure = torch.tensor([0.0, 0.0, 1.0, -1.0]), torch.tensor([0.0, 2.0, 3.0, 4.0])
    assert agreement(ties, sure).tolist() == [1.0, 0.5, 1.0, 0.0]
    assert torch.equal(agreement(ties, sure), agreement(sure, ties))


# True circuits


@pytest.mark.slow
@pytest.mark.parametrize("name", ["variable_binding", "neuron_chain", "either_feature"])
def test_a_true_circuit_is_accepted(court, name):
    """Every claim passes. In a serial circuit any one node gone is as harmful as all of them."""
    at = court(name)
    circuit = circuit_of(at.checkpoint, at.task, at.planted.mechanism, at.means, n_pairs=384)
    validation = validate(at.checkpoint, at.task, circuit, means=at.means)
    assert validation.grade == "B", [f for f in validation.findings if f.outcome != "pass"]
    assert validation.weakest == "follows_ood"


# Faithful


def test_a_shortcut_is_not_faithful(court):
    """A decoy that is right in three templates of four agrees with the model as often."""
    at = court("decoys")
    finding = check_faithful(on_trial(at, decoy_path(at)))
    assert finding.outcome == "fail"
    assert finding.effect == pytest.approx(0.75)
    whole = check_faithful(on_trial(at, NodeSet.full(at.model.arch.widths)))
    assert (whole.outcome, whole.effect) == ("pass", 1.0)
    assert "slope 1.00, R² 1.00" in whole.note
    assert "KL between the two answers 0.000" in whole.note


def test_half_the_strength_is_half_the_slope(court):
    """One of two equal paths: right as often, half as sure."""
    at = court("twin_paths")
    assert "slope 0.50, R² 1.00" in check_faithful(on_trial(at, at.planted.wired[0])).note


# Stochastic restore


def test_an_opponent_in_the_rest_shows_once_it_is_back(court):
    """The model's shortcut and its opposite cancel as long as both are out, or both in."""
    at = court("cancellation_trap")
    finding = check_stochastic_restore(on_trial(at, at.planted.mechanism))
    assert finding.outcome == "fail"
    assert "cancelling pathways" in finding.note
    assert "restored together" not in finding.note
    quiet = court("neuron_chain")
    assert check_stochastic_restore(on_trial(quiet, quiet.planted.mechanism)).outcome == "pass"


@pytest.mark.slow
def test_a_pair_that_cancels_outside_the_circuit_says_nothing_against_it(court):
    """Its halves come back together; neither half as the circuit is cleared by it."""
    at = court("cancelling_pair")
    true = on_trial(at, at.planted.mechanism)
    finding = check_stochastic_restore(true)
    assert finding.outcome == "pass"
    assert "restored together" in finding.note
    pair = cancelling_pair(true)
    half = at.planted.wrong["half of a cancelling pair"]
    assert half < pair
    assert not pair & at.planted.mechanism
    for wrong in (half, pair - half):
        trial = on_trial(at, wrong)
        assert not cancelling_pair(trial)
        assert "restored together" not in check_stochastic_restore(trial).note


def test_few_pairs_have_as_many_patterns_as_an_interval_needs(court):
    """Nine pairs of nine templates are no fewer than five of either."""
    at = court("neuron_chain")
    pairs = at.checkpoint.encode(at.task.up_to("test", 9))
    nine = check_stochastic_restore(on_trial(at, at.planted.mechanism, pairs=pairs))
    assert (nine.n_pairs, nine.n_draws) == (9, 5 * 5)
    assert None not in (nine.low, nine.high)
    assert "fewer than" not in nine.note


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_stochastic_restore, check_robust_to_ablation])
def test_what_a_few_pairs_leave_open_is_asked_of_all(court, monkeypatch, check):
    """Four pairs of a true circuit settle nothing; all do, and the finding counts them."""
    at = court("neuron_chain")
    assert check(on_trial(at, at.planted.mechanism)).n_pairs == trial_module._FEW
    monkeypatch.setattr(trial_module, "_FEW", 4)
    found = check(on_trial(at, at.planted.mechanism))
    assert (found.outcome, found.n_pairs) == ("pass", 384)


@pytest.mark.parametrize("name", ["cancellation_trap", "outweighed", "twin_heads", "decoys"])
def test_no_pair_is_seen_where_none_cancels_beside_the_circuit(court, name):
    """A half that would cancel the circuit too, a stronger path, a twin, a weak decoy."""
    at = court(name)
    for nodes in (at.planted.mechanism, *at.planted.wired):
        assert not cancelling_pair(on_trial(at, nodes))


# Norms


@pytest.mark.parametrize("option", OPTIONS)
def test_with_all_kept_frozen_norms_change_nothing(option):
    """The model's own denominators, put in by hand; the gain is 1."""
    model = tiny_model(option)
    pairs = encoded_pairs(model.arch)
    frozen = run_frozen(model, pairs, lambda site, x: x)
    assert torch.allclose(frozen.differences, tapped_differences(model, pairs, None), atol=1e-4)
    assert torch.allclose(frozen.gains, torch.ones_like(frozen.gains))


def test_without_norms_a_frozen_run_is_the_masked_model():
    """There is nothing to freeze."""
    model = tiny_model("no norm")
    pairs, kept = encoded_pairs(model.arch), random_nodes(model.arch, 0.5)
    values = random_values(model.arch)
    gates = {s: torch.zeros(w) for s, w in model.arch.widths.items()}
    for site, channels in kept.channels.items():
        gates[site][list(channels)] = 1.0
    frozen = run_frozen(model, pairs, gate_tap(gates, values))
    masked = masked_differences(model, pairs, kept, values)
    assert torch.allclose(frozen.differences, masked, atol=1e-5)


@pytest.mark.parametrize(("more", "is_low"), [(0.0, True), (1e-8, True), (1e-4, False)])
def test_a_control_worse_by_rounding_alone_is_as_good(more, is_low):
    """The circuit itself, drawn as a control, runs in other batches than it was scored in."""
    pairs = encoded_pairs(tiny_model().arch, 32)

    def score(_, some):
        return np.full(len(some), 0.1 + more * (len(some) < 32))

    limit = float(score(None, pairs).sum())
    assert _as_low(NodeSet(), pairs, score, limit) is is_low


def test_frozen_norms_are_the_models():
    """With nothing written but the embedding, a read is divided by the model's stream."""
    model = tiny_model("one layer")
    pairs = encoded_pairs(model.arch)
    pairs = pairs[pairs.by_length()]
    rows, seen, reads = torch.arange(len(pairs.tokens)), {}, {}

    def silent(site, x):
        reads[site] = x
        return torch.zeros_like(x) if site.place == "resid_delta" else x

    run_frozen(model, pairs, silent)
    with torch.no_grad():
        model.stream(pairs.tokens, record_tap(seen))
        embedded, _ = model.embed(pairs.tokens)
        after = embedded + seen[Site(0, "attn", "resid_delta")]
        norm = model.layers[0].ln_2
        eps = torch.finfo(torch.float32).eps
        expected = embedded / (after.square().mean(-1, keepdim=True) + eps).sqrt() * norm.weight
    assert torch.allclose(reads[Site(0, "mlp", "act_in")], expected, atol=1e-5)
    assert len(rows) == len(reads[Site(0, "mlp", "act_in")])


def test_an_amplified_writer_is_caught(court):
    """One of six weak writers does the task alone once the loud bystander is ablated."""
    at = court("norm_trap")
    trial = on_trial(at, at.planted.wired[0])
    assert check_sufficient(trial).outcome == "pass"
    finding = check_no_norm_leak(trial)
    assert finding.outcome == "fail"
    assert finding.effect < 0.5
    assert "the final norm amplifies" in finding.note


def test_a_gain_of_too_few_templates_has_no_interval(court):
    """Nor one that ends at infinity."""
    at = court("norm_trap")
    pairs = at.checkpoint.encode(at.task.up_to("test", 3))
    found = check_no_norm_leak(on_trial(at, at.planted.wired[0], pairs=pairs))
    assert "times [no interval]" in found.note


# Generalises


def only(split, agrees):
    """Keep of a split the pairs whose decoy agrees with the answer, or those where it does not."""

    def change(lines):
        kept = []
        for line in lines.splitlines():
            pair = json.loads(line)
            says_left = pair["a"]["prompt"].split()[-1] == "up"
            if pair["split"] != split or says_left == agrees:
                kept.append(line)
        return "\n".join(kept) + "\n"

    return change


ALWAYS_IN_TRAIN = only("train", agrees=True)


def test_a_trick_of_some_templates_does_not_generalise(court):
    """A decoy misleads in one template of four: those are named by the worst one."""
    at = court("decoys")
    finding = check_generalises(on_trial(at, decoy_path(at)))
    assert finding.outcome == "fail"
    assert "% of templates below 0.347 nats; worst test-" in finding.note
    assert check_generalises(on_trial(at, at.planted.mechanism)).outcome == "pass"


def test_a_trick_of_the_training_templates_does_not_generalise(court):
    """Where the decoy never misleads in training, the test loss is surely above the train loss."""
    at = court("decoys", ALWAYS_IN_TRAIN)
    finding = check_generalises(on_trial(at, decoy_path(at)))
    assert finding.low > 0.01
    assert finding.outcome == "fail"
    worst = finding.note.partition("worst ")[2].split(",")[0]
    assert worst in at.task.templates("test")


# Out of distribution


def test_a_wrong_mechanism_does_not_follow_the_model(court):
    """The shortcut is right on every test prompt, wrong on every one that breaks it."""
    at = court("cancellation_trap")
    trial = on_trial(at, at.planted.wired[0])
    assert check_faithful(trial).outcome == "pass"
    finding = check_follows_ood(trial)
    assert (finding.outcome, finding.effect) == ("fail", 0.0)
    assert "accuracy 0.000, the model's 1.000" in finding.note
    assert check_follows_ood(on_trial(at, at.planted.mechanism)).outcome == "pass"


def test_without_ood_forms_it_is_not_run(court):
    """And the note says what that costs."""
    at = court("neuron_chain")
    finding = check_follows_ood(on_trial(at, at.planted.mechanism))
    assert finding.outcome == "not_run"
    assert "no grade is better than B" in finding.note


# Necessary


@pytest.mark.parametrize("which", [0, 1])
def test_a_backup_is_found_and_named(court, which):
    """Of twin paths, the other one, node by node."""
    at = court("twin_paths")
    one, other = at.planted.wired[which], at.planted.wired[1 - which]
    trial = on_trial(at, one)
    assert find_backup(trial).nodes == other
    note = check_necessary(trial).note
    assert note.startswith("REDUNDANT: without the circuit the model still does the task")
    assert all(str(node) in note for node in other)


def test_a_longer_backup_is_found_too(court):
    """The long way round, whose two neurons are each enough."""
    at = court("long_way_round")
    short = at.planted.wired[0]
    found = find_backup(on_trial(at, short)).nodes
    long = at.planted.mechanism - short
    assert found < long
    assert len(found) == len(long) - 1


def test_what_speaks_against_a_circuit_is_named(court):
    """The head that cancels the shortcut, left alone, votes wrong: ANTI-CHANCE, in words."""
    at = court("cancellation_trap")
    trial = on_trial(at, at.planted.mechanism)
    finding = check_necessary(trial)
    assert finding.outcome == "fail"
    assert finding.note.startswith("ANTI-CHANCE: without the circuit the model prefers the wrong")
    against = find_backup(trial, against=True)
    assert {str(node.site) for node in against.nodes} == {
        "1.attn.act_in", "1.attn.v", "1.attn.resid_delta", "final_resid",
    }  # fmt: skip
    assert not len(against.nodes & at.planted.wired[0])


def test_a_backup_that_is_unsure_is_not_searched_for(court):
    """Where the complement's loss is near ln 2 any set of nodes would do."""
    at = court("neuron_chain")
    found = find_backup(on_trial(at, at.planted.mechanism))
    assert found.nodes is None
    assert "too unsurely" in str(found)


def test_nothing_is_no_backup(court):
    """A target that guessing meets does not make one of no nodes."""
    at = court("twin_paths")
    trial = on_trial(at, NodeSet(widths=at.planted.mechanism.widths))
    trial.circuit = trial.circuit.model_copy(update={"target_loss_nats": 0.7})
    assert len(find_backup(trial).nodes) > 0


# Controls


def test_controls_are_drawn_from_where_they_are_told(court):
    """As many at each site, none of the circuit's own, near in activity; short if need be."""
    at = court("neuron_chain")
    nodes = NodeSet(at.planted.mechanism.channels, at.model.arch.widths)
    activity = {site: torch.arange(w).float() for site, w in at.model.arch.widths.items()}
    for draw in (location_matched, lambda *a: activity_matched(a[0], a[1], a[2], activity, a[3])):
        controls = list(draw(nodes, 20, 0, ~nodes))
        for control in controls:
            assert not len(control & nodes)
            assert {s: len(control[s]) for s in nodes.channels} == {
                s: len(nodes[s]) for s in nodes.channels
            }
        assert len({tuple(control) for control in controls}) > 10
        assert controls == list(draw(nodes, 20, 0, ~nodes))
    spare = NodeSet.of(list(~nodes)[:1], nodes.widths)
    assert {len(control) for control in location_matched(nodes, 5, 0, spare)} <= {0, 1}


def test_activity_matched_controls_are_about_as_active():
    """Only the nodes nearest in activity stand in, not those that do nothing."""
    site = Site(0, "mlp", "post_act")
    activity = torch.cat([torch.zeros(100), torch.linspace(1, 2, 20)])
    nodes = NodeSet({site: [110]}, {site: 120})
    drawn = {c[site][0] for c in activity_matched(nodes, 200, 0, {site: activity})}
    assert min(drawn) >= 100
    assert len(drawn) == NEAREST


@pytest.mark.slow
def test_the_attribution_ranking_finds_an_easy_circuit(court):
    """So that to be no better than it is no failure, where it is the very same circuit."""
    at = court("neuron_chain")
    trial = on_trial(at, at.planted.mechanism)
    assert attribution_circuit(trial, len(at.planted.mechanism)) == at.planted.mechanism
    finding = check_beats_controls(trial)
    assert finding.outcome == "pass"
    assert "the top of the attribution ranking is the same circuit" in finding.note


def test_what_a_plain_ranking_does_as_well_is_no_better(court, few_controls):
    """The true circuit with passengers: as many nodes ranked by attribution do the same."""
    at = court("neuron_chain")
    rest = list(NodeSet.full(at.model.arch.widths) - at.planted.mechanism)
    nodes = at.planted.mechanism | NodeSet.of(rest[::12])
    finding = check_beats_controls(on_trial(at, nodes))
    assert finding.outcome == "fail"
    assert finding.p_value == 1 / 20
    assert "nodes apart: 0.000" in finding.note


@pytest.mark.slow
def test_another_tasks_circuit_is_compared_with(court, few_controls):
    """One that does as well is named by its task; one of the same task is left out."""
    at = court("twin_paths")
    one, other = (
        circuit_of(at.checkpoint, at.task, nodes, at.means, n_pairs=384)
        for nodes in at.planted.wired
    )
    foreign = other.model_copy(update={"task": Named(name="the other", sha256="0" * 64)})
    validation = validate(at.checkpoint, at.task, one, means=at.means, others=(other, foreign))
    note = validation["beats_controls"].note
    assert "the other's circuit, 8 nodes apart: " in note
    assert "no circuits of other tasks" not in note
    assert note.count("other's circuit") == 1


def test_a_circuit_of_another_checkpoint_is_no_rival(court):
    """Both hashes are named."""
    at = court("neuron_chain")
    circuit = circuit_of(at.checkpoint, at.task, at.planted.mechanism, at.means, n_pairs=384)
    elsewhere = circuit.model_copy(update={"checkpoint": Named(name="else", sha256="e" * 64)})
    both = f"else \\({'e' * 12}.*{at.checkpoint.sha256[:12]}"
    with pytest.raises(MismatchError, match=both):
        validate(at.checkpoint, at.task, circuit, means=at.means, others=(elsewhere,))


@pytest.mark.parametrize("seed", range(3))
def test_where_a_circuit_is_one_of_the_controls_luck_is_uniform(seed):
    """p ≤ x in at most a share x of trials, though a hopeless count is stopped early."""
    site, generator = Site(0, "mlp", "post_act"), torch.Generator().manual_seed(seed)
    everything = [NodeSet({site: [i]}, {site: N_DRAWS + 1}) for i in range(N_DRAWS + 1)]
    pairs, p_values = encoded_pairs(tiny_model().arch), []
    for _ in range(200):
        scores = torch.rand(N_DRAWS + 1, generator=generator).double()

        def score(nodes, some, scores=scores):
            return scores[nodes[site][0]].expand(len(some)).numpy()

        trial = SimpleNamespace(nodes=everything[0], progress=lambda *_: None)
        own = float(score(everything[0], pairs).sum())
        p_values.append(_tally(trial, pairs, Family("toy", everything[1:], score, own)).p)
    p = torch.tensor(p_values)
    assert float((p <= 0.01).float().mean()) <= 0.04
    assert float((p <= 0.05).float().mean()) <= 0.10
    assert float((p <= 0.05).float().mean()) > 0.02


# Bad circuits and bad evidence


def test_an_edited_edge_fails_integrity(court):
    """A weight that the model does not have."""
    at = court("neuron_chain")
    trial = on_trial(at, at.planted.mechanism)
    assert check_integrity(trial).outcome == "pass"
    edges = trial.circuit.edges
    wrong = (type(edges[0])(edges[0].source, edges[0].target, 9.5), *edges[1:])
    trial.circuit = trial.circuit.model_copy(update={"edges": wrong})
    finding = check_integrity(trial)
    assert finding.outcome == "fail"
    assert "1 stored edges are not the model's" in finding.note


def few_templates(n):
    def change(lines):
        kept, seen = [], {}
        for line in lines.splitlines():
            pair = json.loads(line)
            names = seen.setdefault(pair["split"], [])
            if pair["template"] not in names and len(names) < n:
                names.append(pair["template"])
            if pair["template"] in names:
                kept.append(line)
        return "\n".join(kept) + "\n"

    return change


ONE, SIX = few_templates(1), few_templates(6)


def test_a_single_template_proves_nothing(court, few_controls):
    """There is no interval: nothing passes or fails that needs one, and the note says so."""
    at = court("neuron_chain", ONE)
    trial = on_trial(at, at.planted.mechanism)
    finding = check_sufficient(trial)
    assert finding.outcome == "inconclusive"
    assert (finding.low, finding.high) == (None, None)
    assert "fewer than 5 templates bound nothing" in finding.interval_method
    assert "1 template only" in check_competent(trial).note
    validation = validate(at.checkpoint, at.task, trial.circuit, means=at.means)
    assert validation.grade == "F"
    assert check_minimal(trial).outcome == "inconclusive"


@pytest.mark.parametrize("n", [1, 2])
def test_of_few_templates_nothing_is_failed_either(court, few_controls, n):
    """A true circuit and a wrong one are undecided alike, and the weakest claim is of those."""
    at = court("neuron_chain", few_templates(n))
    for kept in (at.planted.mechanism, NodeSet()):
        trial = on_trial(at, kept)
        for check in (check_competent, check_sufficient, check_generalises, check_minimal):
            finding = check(trial)
            assert finding.outcome == "inconclusive"
            assert "add templates" in finding.note
    validation = validate(at.checkpoint, at.task, on_trial(at, at.planted.mechanism).circuit)
    assert (validation.grade, validation.weakest) == ("F", "competent")


def test_few_templates_are_told(court, few_controls):
    """A true circuit on six templates is no better than C, and why is said."""
    at = court("neuron_chain", SIX)
    circuit = circuit_of(at.checkpoint, at.task, at.planted.mechanism, at.means, n_pairs=384)
    validation = validate(at.checkpoint, at.task, circuit, means=at.means)
    assert validation.grade in ("C", "F")
    assert "6 templates only: with fewer than 12 no grade" in validation["competent"].note


def test_few_pairs_settle_nothing(court, few_controls):
    """Two pairs: nothing is traced back, nothing passes as sufficient and necessary."""
    at = court("neuron_chain")
    circuit = circuit_of(at.checkpoint, at.task, at.planted.mechanism, at.means, n_pairs=384)
    validation = validate(at.checkpoint, at.task, circuit, means=at.means, n_pairs=2)
    assert not validation.passes
    assert "ask for more pairs" in validation["competent"].note
