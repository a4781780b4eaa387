"""Laws of the ways to find a circuit: attribution, chance, the paper's, edges, other circuits."""

import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tiny import (
    encoded_pairs,
    nodes,
    random_nodes,
    random_values,
    tiny_architecture,
    tiny_model,
)

from circuitkit.checkpoints import load_checkpoint
from circuitkit.compiled import compile_circuit
from circuitkit.errors import TaskError, UsageError
from circuitkit.extraction import (
    PAPER,
    Criterion,
    ExtractConfig,
    PruningConfig,
    attribute,
    bisect_scores,
    cut_model,
    edges_between,
    explore,
    learn_masks,
    measure_means,
    run_extraction,
    shuffled,
)
from circuitkit.extraction.calibration import calibrated, calibrated_loss, fit_calibration
from circuitkit.extraction.discretise import ranked_nodes
from circuitkit.extraction.edge_pruning import cut_edges, drop_edges
from circuitkit.extraction.elimination import drop_free, eliminate, without_partner
from circuitkit.extraction.extract_config import RESTARTS
from circuitkit.extraction.gated_model import GatedModel
from circuitkit.extraction.local_search import detours, size
from circuitkit.extraction.mask_learning import Scores
from circuitkit.extraction.masked_model import (
    gate_gradients,
    masked_differences,
    tapped_differences,
)
from circuitkit.extraction.target_loss import choose_target
from circuitkit.extraction.tuning import Tuning
from circuitkit.model import pair_losses
from circuitkit.nodes import NodeSet, Site
from circuitkit.planted import plant
from circuitkit.task import load_task

sys.path.append(str(Path(__file__).parent / "benchmarks"))

import plain_pruning

ARCH = tiny_architecture()
FULL = NodeSet.full(ARCH.widths)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A planted model by name: its checkpoint, its task, a criterion, training pairs, the truth."""

    @cache
    def of(name, **options):
        folder = tmp_path_factory.mktemp(name)
        truth = plant(name, **options).save(folder)
        checkpoint, task = load_checkpoint(folder), load_task(folder / "task.jsonl")
        model = checkpoint.load_model()
        criterion = Criterion(
            model=model,
            values=measure_means(model, checkpoint.load_reference()).values,
            pairs=checkpoint.encode(task.up_to("select", 192)),
            target_loss_nats=truth.target_loss_nats,
        )
        train = checkpoint.encode(task.up_to("train", 64))
        return checkpoint, task, criterion, train, truth

    return of


# Rankings


def test_attribution_is_the_slope_of_the_logit_difference_in_each_gate():
    """Its absolute value, averaged over the prompts, whatever the batches."""
    model, pairs, values = tiny_model("sink"), encoded_pairs(ARCH, 50), random_values(ARCH)
    found = attribute(model, pairs, values)
    slopes = gate_gradients(model, pairs, FULL, values, lambda d: d)
    for site, rank in found.ranks.items():
        torch.testing.assert_close(rank, slopes[site].abs(), atol=1e-5, rtol=1e-4)
    assert found.learned == NodeSet()
    assert ranked_nodes(found)[0] in FULL


@pytest.mark.parametrize("option", ["sink", "GPT-2's"])
def test_integrated_gradients_add_up_to_what_the_nodes_do(option):
    """Signed, over all nodes: the model's logit difference less the empty circuit's."""
    model = tiny_model(option)
    pairs, values = encoded_pairs(model.arch, 20), random_values(model.arch)
    full = NodeSet.full(model.arch.widths)
    points = [(i + 0.5) / 60 for i in range(60)]
    slopes = [gate_gradients(model, pairs, full, values, lambda d: d, p) for p in points]
    total = sum(float(slope.sum()) for each in slopes for slope in each.values()) / len(points)
    nothing = masked_differences(model, pairs, full - full, values).mean()
    whole = tapped_differences(model, pairs, None).mean()
    assert total == pytest.approx(float(whole - nothing), abs=0.02, rel=0.02)


def test_more_points_are_other_ranks():
    """The plain gradient is that of the whole model alone."""
    model, pairs, values = tiny_model(), encoded_pairs(ARCH, 8), random_values(ARCH)
    one, many = (attribute(model, pairs, values, n_points=n).ranks for n in (1, 8))
    assert any(not torch.allclose(one[site], many[site]) for site in one)


@pytest.mark.parametrize("within", [None, random_nodes(ARCH, 0.4)])
def test_a_shuffled_ranking_has_as_many_nodes_at_each_site_in_every_prefix(within):
    """Only which they are is left to chance, and to the seed."""
    scores = attribute(
        tiny_model(), encoded_pairs(ARCH), random_values(ARCH), within=within, seed=3
    )
    before, after, again, other = (
        ranked_nodes(s) for s in (scores, *(shuffled(scores, seed) for seed in (0, 0, 1)))
    )
    assert [node.site for node in after] == [node.site for node in before]
    assert set(after) == set(before) == set(within or FULL)
    assert after == again != other
    assert after != before


# Mask learning


SHORT = PruningConfig(n_steps=15, batch_pairs=4)


def learned(config, within=None, option="the paper's"):
    model = tiny_model(option, n_layer=1)
    return learn_masks(
        model, encoded_pairs(model.arch, 12), random_values(model.arch), target_loss_nats=0.5,
        config=config, seed=0, within=within,
    )  # fmt: skip


def test_the_papers_pressure_is_fixed_and_its_ranks_are_the_clamped_scores():
    """λ 1e-4 at every step; no rank outside [-1, 1]; the learned set is where they are positive."""
    scores = learned(replace(PAPER, n_steps=40, batch_pairs=4, lr=0.3))
    assert {pressure for _, _, pressure in scores.history} == {1e-4}
    ranks = torch.cat(list(scores.ranks.values()))
    assert ranks.abs().max() <= 1
    assert (ranks.abs() == 1).any()
    assert len(scores.learned) == int((ranks > 0).sum())


def test_weight_decay_pulls_scores_to_the_threshold():
    """Without any step by the gradient to speak of."""
    config = replace(PAPER, n_steps=10, batch_pairs=4, lr=1e-9)
    kept, decayed = (
        torch.cat(list(learned(replace(config, weight_decay=decay)).ranks.values()))
        for decay in (0.0, 1e8)
    )
    assert decayed.abs().mean() < 0.8 * kept.abs().mean()


def test_a_node_given_up_does_not_come_back(monkeypatch):
    """What is narrowed to holds what is learned; the paper's schedule gives up only the lost."""
    narrowed = []

    class Watched(GatedModel):
        def narrow(self, live):
            super().narrow(live)
            narrowed.append(self.candidates)

    monkeypatch.setattr("circuitkit.extraction.mask_learning.GatedModel", Watched)
    config = replace(SHORT, n_steps=60, lr=0.1, pressure_start=1e-2, pressure_factor=1.0)
    bold, careful = learned(replace(config, given_up=0.05)), list(narrowed)
    assert bold.learned <= narrowed[-1] < narrowed[0]
    assert all(after <= before for before, after in pairwise(narrowed))
    narrowed.clear()
    never = learned(replace(config, given_up=2.0))
    assert never.learned <= narrowed[-1]
    half = len(careful) // 2
    assert len(careful[half]) < len(narrowed[half])


def test_nodes_outside_are_never_learned():
    """Nor ranked, in a search restricted to some."""
    arch = tiny_architecture("the paper's", n_layer=1)
    within = random_nodes(arch, 0.5)
    scores = learned(SHORT, within=within)
    assert scores.learned <= within
    assert set(ranked_nodes(scores)) == set(within)
    assert scores.history[0][1] <= len(within)


def test_tied_masks_keep_a_query_with_its_key():
    """In the learned set and in the ranks."""
    scores = learned(replace(SHORT, tied=True))
    query, key = Site(0, "attn", "q"), Site(0, "attn", "k")
    assert scores.learned[query] == scores.learned[key] != ()
    assert torch.equal(scores.ranks[query], scores.ranks[key])
    free = learned(SHORT)
    assert not torch.equal(free.ranks[query], free.ranks[key])


# Discretising and eliminating


class PrefixJudge(Criterion):
    """A criterion that asks for so many nodes at least."""

    def __init__(self, least):
        self.model, self.least, self.n_asked = tiny_model(), least, 0

    def meets(self, nodes):
        self.n_asked += 1
        return len(nodes) >= self.least


@pytest.mark.parametrize("least", [1, 2, 37, len(FULL)])
def test_bisection_finds_the_smallest_prefix_of_a_monotone_rule(least):
    """In about as many questions as there are bits in the number of nodes."""
    scores = Scores(ranks={s: torch.rand(w) for s, w in ARCH.widths.items()}, learned=NodeSet())
    criterion = PrefixJudge(least)
    assert bisect_scores(scores, criterion) == NodeSet.of(ranked_nodes(scores)[:least])
    assert criterion.n_asked <= 10
    assert bisect_scores(scores, PrefixJudge(len(FULL) + 1)) is None


@pytest.mark.parametrize("option", ["plain", "sink"])
def test_a_query_without_its_key_does_nothing_unless_there_is_a_sink(option):
    """It adds the same to every key's logit, which the softmax cancels."""
    model, values = tiny_model(option), random_values(ARCH)
    lone = nodes("0.attn.q:1", "0.attn.q:6", "1.attn.q:3")
    kept = (random_nodes(ARCH, 0.7) | lone) - nodes("0.attn.k:1", "0.attn.k:6", "1.attn.k:3")
    pairs = encoded_pairs(ARCH, 20)
    found = without_partner(kept, has_sink=option == "sink")
    before, after = (masked_differences(model, pairs, n, values) for n in (kept, kept - lone))
    if option == "sink":
        assert len(found) == 0
        assert (before - after).abs().max() > 1e-3
    else:
        assert lone <= found
        torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-4)
        criterion = Criterion(model=model, values=values, pairs=pairs, target_loss_nats=99.0)
        assert not len(drop_free(kept, criterion) & found)


def test_the_papers_judge_asks_for_the_mean_alone():
    """Between the mean and its upper bound lies what only the strict one refuses."""
    model, pairs = tiny_model(), encoded_pairs(ARCH, 60, n_templates=10)
    criterion = Criterion(
        model=model, values=random_values(ARCH), pairs=pairs, target_loss_nats=1.0
    )
    criterion.target_loss_nats = (float(criterion.losses(FULL).mean()) + criterion.bound(FULL)) / 2
    assert not criterion.meets(FULL)
    assert replace(criterion, is_strict=False).meets(FULL)


# Edges


@pytest.mark.parametrize("option", ["plain", "no bias", "GPT-2's", "top-k mlp.post_act"])
@pytest.mark.parametrize("seed", range(2))
def test_a_node_without_its_outgoing_edges_is_an_ablated_node(option, seed):
    """Reads and neurons; each edge carries weight × ablation value, so all of them its constant."""
    model = tiny_model(option, seed)
    values, pairs = random_values(model.arch), encoded_pairs(model.arch, 20)
    full = NodeSet.full(model.arch.widths)
    ended = nodes("0.attn.act_in:2", "1.mlp.act_in:3", "0.mlp.post_act:5", "1.attn.v:1")
    cut = cut_edges(model, [e for e in edges_between(model, full) if e.source in ended], values)
    expected = masked_differences(model, pairs, full - ended, values)
    found = masked_differences(cut, pairs, full, values)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (expected - masked_differences(model, pairs, full, values)).abs().max() > 1e-3


@pytest.mark.parametrize("option", ["the paper's", "everything", "no bias"])
def test_a_cut_model_compiles_and_leaves_the_model_alone(option):
    """Masked and compiled agree on it; with nothing cut it is the model itself."""
    model = tiny_model(option)
    values, pairs = random_values(model.arch), encoded_pairs(model.arch, 20)
    kept = random_nodes(model.arch, 0.5)
    edges = edges_between(model, kept)
    before = {name: p.clone() for name, p in model.named_parameters()}
    cut = cut_model(model, kept, edges[::2], values)
    assert edges_between(cut, kept) == edges[::2]
    compiled = compile_circuit(cut, kept, values).differences(pairs)
    masked = masked_differences(cut, pairs, kept, values)
    torch.testing.assert_close(compiled, masked, atol=1e-4, rtol=1e-4)
    assert cut_model(model, kept, edges, values) is model
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.slow
def test_no_single_edge_and_no_single_node_can_go(planted):
    """From both ways round at once; what is kept are edges between kept nodes."""
    _, _, criterion, _, truth = planted("long_way_round")
    start = NodeSet.of(
        [node for node in NodeSet.full(criterion.model.arch.widths) if node.site.layer < 1]
        + list(truth.circuits[0])
    )
    start = NodeSet(start.channels, criterion.model.arch.widths)
    kept = drop_edges(start, criterion, list(start))
    induced = edges_between(criterion.model, kept.nodes)
    assert set(kept.edges) <= set(induced)
    assert list(kept.edges) == [edge for edge in induced if edge in set(kept.edges)]

    def meets(some, edges):
        cut = cut_model(criterion.model, some, edges, criterion.values)
        return replace(criterion, model=cut).meets(some)

    assert meets(kept.nodes, kept.edges)
    assert not any(meets(kept.nodes, set(kept.edges) - {edge}) for edge in kept.edges)
    assert not any(meets(kept.nodes - NodeSet.of([n]), kept.edges) for n in kept.nodes)


# Other circuits


SEVERAL = {"twin_paths": 2, "weak_votes": 20, "norm_trap": 6}


@pytest.mark.parametrize("name", SEVERAL)
def test_another_circuit_of_the_same_size_is_found(planted, name):
    """By detour or by swap, one that brute force knows too; that of lowest loss comes first."""
    _, _, criterion, train, truth = planted(name)
    assert len(truth.circuits) == SEVERAL[name]
    known = explore([truth.circuits[0]], criterion, train)
    same = [found for found in known if len(found) == len(truth.circuits[0])]
    assert len(same) > 1
    assert set(same) <= set(truth.circuits)
    as_small = [found for found in known if size(found, criterion) == size(known[0], criterion)]
    assert criterion.bound(known[0]) == min(map(criterion.bound, as_small))


@pytest.mark.parametrize("name", ["neuron_chain", "both_features"])
def test_a_circuit_that_is_alone_stays_alone(planted, name):
    """Nothing of its size is made up."""
    _, _, criterion, train, truth = planted(name)
    known = explore([truth.circuits[0]], criterion, train)
    assert [found for found in known if len(found) <= len(truth.circuits[0])] == [known[0]]
    assert known[0] == truth.circuits[0]


def test_a_circuit_too_large_to_explore_stays_as_it_is(planted, monkeypatch):
    """Not even asked about."""
    _, _, criterion, train, truth = planted("twin_paths")
    one, n_asked = truth.circuits[0], criterion.n_asked
    monkeypatch.setattr("circuitkit.extraction.local_search._MOST_NODES", len(one) - 1)
    assert explore([one], criterion, train) == (one,)
    assert criterion.n_asked == n_asked


def test_every_circuit_is_explored_not_only_the_smallest(planted, monkeypatch):
    """The larger one may lead to the smallest of all."""
    _, _, criterion, train, truth = planted("long_way_round")
    smallest = truth.circuits[0]
    everything = NodeSet.full(criterion.model.arch.widths)
    large = eliminate(everything - smallest, criterion, list(everything - smallest))
    idle = next(node for node in everything - smallest - large)
    stuck = smallest | NodeSet.of([idle])
    assert size(smallest, criterion) < size(stuck, criterion) < size(large, criterion)
    inner = sys.modules["circuitkit.extraction.local_search"]
    monkeypatch.setattr(inner, "swaps", lambda nodes, *_: iter([smallest] * (nodes == large)))
    monkeypatch.setattr(inner, "detours", lambda *_: iter(()))
    assert explore([stuck, large], criterion, train)[0] == smallest


def test_from_the_long_way_round_the_short_one_is_found(planted):
    """1-minimal is not smallest: what the long way leaves over holds the short one."""
    _, _, criterion, train, truth = planted("long_way_round")
    everything = NodeSet.full(criterion.model.arch.widths) - truth.circuits[0]
    long = eliminate(everything, criterion, list(everything))
    assert len(long) > len(truth.circuits[0])
    assert explore([long], criterion, train)[0] == truth.circuits[0]
    assert list(detours(long, criterion, train)) == list(truth.circuits)
    assert list(detours(truth.circuits[0], criterion, train, within=truth.circuits[0])) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"method": "attribution"},
        {"method": "attribution", "n_gradient_points": 4},
        {"method": "random"},
        {"schedule": "paper", "refine": False, "pruning": replace(PAPER, n_steps=30, lr=0.1)},
    ],
)
def test_every_method_ends_in_a_circuit_that_says_how_it_was_found(planted, options):
    """It meets the target, 1-minimal unless unrefined."""
    checkpoint, task, criterion, _, _ = planted("neuron_chain")
    config = ExtractConfig(target_loss_nats=0.15, restarts=1, **options)
    circuit = run_extraction(checkpoint, task, config).circuit
    refined = options.get("refine", True)
    assert circuit.outcome == "target_met"
    assert circuit.minimality.nodes_1_minimal is refined
    assert circuit.method == (options.get("method") or "paper unrefined")
    assert circuit.loss_nats.circuit < 0.3
    kept = NodeSet(circuit.nodes.channels, criterion.model.arch.widths)
    if refined:
        assert not any(criterion.meets(kept - NodeSet.of([node])) for node in kept)


def test_a_search_within_some_nodes_finds_a_circuit_of_them(planted):
    """For a backup of what was taken away: without one twin, the other."""
    checkpoint, task, criterion, _, truth = planted("twin_paths")
    one, other = truth.circuits
    config = ExtractConfig(target_loss_nats=0.15, restarts=1, rung="smallest",
                           pruning=PruningConfig(n_steps=60))  # fmt: skip
    left = NodeSet.full(criterion.model.arch.widths) - one
    circuit = run_extraction(checkpoint, task, config, within=left).circuit
    assert circuit.nodes == other
    assert circuit.alternatives == ()


@pytest.mark.slow
def test_edge_granularity_is_stored_and_scored(planted):
    """Kept and induced counts; the loss is that of the circuit with its edges cut."""
    checkpoint, task, criterion, _, _ = planted("either_feature")
    config = ExtractConfig(
        target_loss_nats=0.15, restarts=1, granularity="edge", method="attribution"
    )
    circuit = run_extraction(checkpoint, task, config).circuit
    model, kept = criterion.model, NodeSet(circuit.nodes.channels, criterion.model.arch.widths)
    assert circuit.granularity == "edge"
    assert circuit.minimality.edges_1_minimal
    assert circuit.minimality.nodes_1_minimal
    assert circuit.n_edges_induced == len(edges_between(model, kept)) >= circuit.n_edges
    cut = cut_model(model, kept, circuit.edges, criterion.values)
    pairs = checkpoint.encode(task.up_to("test", config.n_test))
    loss = float(pair_losses(masked_differences(cut, pairs, kept, criterion.values)).mean())
    assert circuit.loss_nats.circuit == pytest.approx(loss, abs=1e-5)


# Targets and calibration


def test_a_model_that_does_not_do_the_task_is_refused_with_its_loss():
    """And with what to do; a target asked for is a target."""
    model, pairs = tiny_model(), encoded_pairs(ARCH, 30)
    says = r"t on m: .* loss is \d\.\d+ nats .* on 30 selection pairs; .*--target-loss \d\.\d+ "
    with pytest.raises(TaskError, match=says):
        choose_target(model, pairs, None, "t on m")
    assert choose_target(model, pairs, 0.15, "t on m").loss_nats == 0.15


def test_calibration_undoes_a_scale_and_a_bias():
    """Of logit differences that were spoiled by both; the shift follows the answer's token."""
    pairs = encoded_pairs(ARCH, 600)
    generator = torch.Generator().manual_seed(0)
    sign = (pairs.answers - pairs.foils).sign().float()
    honest = 2 * torch.randn(1200, generator=generator) * torch.rand(1200, generator=generator)
    right = torch.rand(1200, generator=generator) < honest.sigmoid()
    honest = torch.where(right, honest, -honest)
    spoiled = (honest - 0.7 * sign) / 3
    fitted = fit_calibration(spoiled, pairs)
    assert fitted.scale == pytest.approx(3, rel=0.25)
    assert fitted.shift == pytest.approx(0.7, abs=0.25)
    plain = float(pair_losses(spoiled).mean())
    assert calibrated_loss(spoiled, pairs, fitted) < plain - 0.005
    assert fitted.scale > 0
    assert fitted == fit_calibration(spoiled, pairs)


def test_a_calibration_never_favours_both_answers_of_a_pair():
    """Shifting one prompt's difference up shifts its twin's down."""
    pairs = encoded_pairs(ARCH, 10)
    fitted = fit_calibration(torch.zeros(20), pairs)
    moved = calibrated(torch.zeros(20), pairs, fitted.model_copy(update={"shift": 1.0}))
    assert torch.equal(moved[:10], -moved[10:])


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"method": "attribution", "schedule": "paper"}, "learns no masks"),
        ({"granularity": "edge", "refine": False}, "which refine=False forbids"),
        ({"method": "random", "tune": 3}, "so there is nothing to tune"),
        ({"tune": -1}, "tune -1: expected 0 or more"),
        ({"tune": 2, "restarts": 3}, "in place of restarts, so restarts 3 means nothing"),
        ({"n_gradient_points": 0}, "n_gradient_points 0: expected at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong, match):
    """Before anything is loaded."""
    with pytest.raises(UsageError, match=match):
        ExtractConfig(**wrong)


# Tuning

SHORT = PruningConfig(n_steps=15)


@pytest.mark.slow
def test_tuning_begins_at_the_centre_and_tells_what_it_tried(planted):
    """So what it finds is no larger than one restart; every other try has settings of its own."""
    checkpoint, task, _, _, _ = planted("neuron_chain")
    config = ExtractConfig(target_loss_nats=0.15, restarts=1, rung="smallest", pruning=SHORT)
    plain = run_extraction(checkpoint, task, config)
    tuned = run_extraction(checkpoint, task, replace(config, tune=6, restarts=RESTARTS))
    tried = [told["pruning"] for told in tuned.pruning["restarts"]]
    assert tuned.pruning["restarts"][0] == plain.pruning["restarts"][0]
    assert tuned.circuit.n_edges <= plain.circuit.n_edges
    assert len({told["lr"] for told in tried}) == len(tried) == 6
    assert {told["n_steps"] for told in tried} == {15}
    assert {told["weight_decay"] for told in tried} == {0.0}  # no factor leads away from 0
    assert all(0.03 / 5 <= told["lr"] <= 0.03 * 5 for told in tried)


@pytest.mark.slow
def test_tuning_does_not_depend_on_the_cores_and_goes_on(planted, tmp_path, monkeypatch):
    """Rounds are of a fixed size; finished tries are reported again, not done again."""
    checkpoint, task, _, _, _ = planted("neuron_chain")
    config = ExtractConfig(target_loss_nats=0.15, tune=5, pruning=SHORT)
    straight = run_extraction(checkpoint, task, config, out=tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    again = run_extraction(checkpoint, task, config)
    assert again.pruning == straight.pruning
    told = set()
    resumed = run_extraction(
        checkpoint, task, config, out=tmp_path, resume=True, progress=lambda *s: told.add(s[0])
    )
    assert resumed.pruning == straight.pruning
    assert not any(stage.startswith("masks") for stage in told)


def test_tuning_the_papers_schedule_keeps_one_start_for_all(planted):
    """Its scores begin together, wherever that is."""
    checkpoint, task, _, _, _ = planted("neuron_chain")
    paper = replace(PAPER, n_steps=15, lr=0.1)
    config = ExtractConfig(schedule="paper", refine=False, tune=3, pruning=paper)
    for told in run_extraction(checkpoint, task, config).pruning["restarts"]:
        assert told["pruning"]["init_low"] == told["pruning"]["init_high"]


def test_tuning_without_optuna_says_what_to_install(planted, monkeypatch):
    """It is not needed for anything else."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"needs optuna.*pip install 'sparse-circuitkit\[tune\]'"):
        Tuning.around(PruningConfig(), 0)


# The paper's algorithm, written down plainly


def test_the_plain_algorithm_finds_the_planted_circuit(planted):
    """It stands for the paper in the benchmark: its circuit meets the target and holds ours."""
    _, _, criterion, train, truth = planted("neuron_chain")
    settings = plain_pruning.Settings(n_steps=60, pressure=1e-3, lr=0.05)
    target = criterion.target_loss_nats
    found = plain_pruning.prune_plainly(
        criterion.model, train, criterion.pairs, criterion.values, target, settings
    )
    assert found >= truth.circuits[0]
    assert len(found) < len(NodeSet.full(criterion.model.arch.widths)) / 2
    hopeless = plain_pruning.prune_plainly(
        criterion.model, train, criterion.pairs, criterion.values, 1e-9, settings
    )
    assert hopeless is None


def test_the_plain_algorithm_bisects_as_the_papers_schedule_does(planted):
    """From the same scores, the same nodes."""
    _, _, criterion, _, _ = planted("both_features")
    widths = criterion.model.arch.widths
    flat = torch.rand(sum(widths.values()), generator=torch.Generator().manual_seed(3))
    parts = dict(zip(widths, flat.split(list(widths.values())), strict=True))
    scores = Scores(ranks=parts, learned=NodeSet.full(widths))
    lenient = replace(criterion, is_strict=False, pushed=())
    plain = plain_pruning._bisect(
        criterion.model, criterion.pairs, criterion.values, criterion.target_loss_nats, flat
    )
    assert plain == bisect_scores(scores, lenient)
