"""Laws of candidates: few of a large model's nodes, enough for the task, cheaper to learn on."""

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_equals import criterion_of
from tiny import encoded_pairs, random_nodes, random_values, tiny_model

from circuitkit import load_checkpoint, load_task
from circuitkit.extraction import ExtractConfig, PruningConfig, zero_means
from circuitkit.extraction.candidates import attribution, find_candidates
from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.discretise import add_back, ranked_nodes
from circuitkit.extraction.gated_model import GatedModel
from circuitkit.extraction.mask_learning import _travel_left, learn_masks
from circuitkit.extraction.masked_model import gates_of, nodes_of
from circuitkit.extraction.search import in_force, rank
from circuitkit.nodes import Node, NodeSet, Site
from circuitkit.planted.catalogue import planted_from
from circuitkit.planted.plan import Plan
from circuitkit.planted.variation import Variation
from circuitkit.planted.wire import wire

sys.path.append(str(Path(__file__).parent / "benchmarks"))
import large_model  # pyright: ignore[reportMissingImports]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The benchmark of large models at its small scale: a checkpoint and a task."""
    folder = tmp_path_factory.mktemp("large")
    large_model.build(folder, "small")
    return load_checkpoint(folder), load_task(folder / "task.jsonl")


@pytest.fixture(scope="module")
def criterion(planted):
    checkpoint, task = planted
    model = checkpoint.load_model()
    return Criterion(
        model=model,
        values=zero_means(model.arch.widths).values,
        pairs=checkpoint.encode(task.pairs("select", 32, 0)),
        target_loss_nats=0.15,
    )


@pytest.fixture(scope="module")
def train(planted):
    checkpoint, task = planted
    return checkpoint.encode(task.pairs("train", 48, 0))


def test_the_large_benchmark_measures_what_it_says(planted):
    """At the small scale the planted circuit does the task, compiled as masked."""
    rows = {row.what: row.value for row in large_model.compare(*planted)}
    assert float(rows["largest difference in logits"]) <= 1e-4


def test_the_planted_circuit_does_the_task(criterion):
    """And not without its attention: the decoy has the other sign."""
    nodes = large_model.planted_nodes(criterion.model.arch)
    assert criterion.meets(nodes)
    assert not criterion.meets(NodeSet.of((n for n in nodes if n.site.place != "k"), nodes.widths))


def test_in_a_small_model_every_node_is_a_candidate(criterion, train):
    """Nothing is ruled out where it costs little to look."""
    assert find_candidates(train, criterion) is None


def test_candidates_are_few_and_do_the_task(criterion, train):
    """They are the nodes of largest attribution, and the planted circuit is among them."""
    candidates = find_candidates(train, criterion, small_model=0, first=128)
    assert candidates is not None
    assert len(candidates) == 128
    assert criterion.meets(candidates)
    assert len(large_model.planted_nodes(criterion.model.arch) - candidates) <= 1


def test_candidates_that_miss_the_target_are_widened(criterion, train):
    """One node cannot do the task, so more are taken until they can."""
    candidates = find_candidates(train, criterion, small_model=0, first=1)
    assert candidates is not None
    assert criterion.meets(candidates)
    fewer = find_candidates(train, criterion, small_model=0, first=len(candidates) // 2)
    assert fewer == candidates


def test_a_node_that_never_moves_is_no_candidate(criterion, train):
    """Even when all others are: its attribution is 0."""
    widths = criterion.model.arch.widths
    moved = attribution(train, criterion).amax(0).split(list(widths.values()))
    still = nodes_of({s: (m == 0).float() for s, m in zip(widths, moved, strict=True)})
    widest = find_candidates(train, criterion, small_model=0, first=10**9)
    assert widest is not None
    assert len(still) > 0
    assert len(widest) + len(still) == sum(widths.values())
    assert not widest & still


def test_a_node_that_moves_two_prompts_against_each_other_is_a_candidate(tmp_path):
    """A head that takes a decoy of both prompts out: it moves one up and the other down."""
    w = wire(Variation(), ("left", "right", "up"))
    w.embed("side", {"left": 1, "right": -1, "up": 1.5})
    w.embed("decoy", {"up": 1.5})
    copy = w.average_head(0, "side", "answer", 17)
    without = w.average_head(0, "decoy", "answer", -17)
    plan = Plan(
        wiring=w, mechanism=copy | without | w.answer("answer", "left", "right", gain=4),
        answers=("left", "right"),
        sides=lambda i: tuple(
            i.up_to(17, i.before, cue, i.after, "up") for cue in ("left", "right")
        ),
    )  # fmt: skip
    judge, truth = criterion_of(planted_from(plan, "both", "a decoy on both sides"), tmp_path)
    own = NodeSet(truth.circuits[0].channels, judge.model.arch.widths)
    together, apart = (
        attribution(judge.pairs, judge)[kind::2].amax(0).split(list(own.widths.values()))
        for kind in (0, 1)
    )
    still = nodes_of({s: (m < 1e-6).float() for s, m in zip(own.widths, together, strict=True)})
    moving = nodes_of({s: (m > 1e-3).float() for s, m in zip(own.widths, apart, strict=True)})
    assert own & still
    assert own & still <= moving
    candidates = find_candidates(judge.pairs, judge, small_model=0)
    assert candidates is not None
    assert own <= candidates
    assert judge.meets(candidates)


def test_nothing_outside_the_candidates_is_learned(criterion, train):
    """Whatever its attribution."""
    config = PruningConfig(n_steps=6, batch_pairs=8)
    within = random_nodes(criterion.model.arch, 0.05)
    scores = learn_masks(
        criterion.model,
        train,
        criterion.values,
        target_loss_nats=0.15,
        config=config,
        within=within,
    )
    assert len(scores.learned)
    assert scores.learned <= within
    assert set(ranked_nodes(scores)) == set(within)
    grown = add_back(NodeSet(widths=within.widths), criterion, within)
    assert grown is None or grown <= within


HARD, GENTLE = 1.0, 1e-8
LOSING = PruningConfig(
    n_steps=20, batch_pairs=8, lr=0.1, pressure_start=HARD, gentler=HARD / GENTLE
)


@pytest.fixture
def discretised(monkeypatch):
    """Discretisation that finds a set of some size, given four times the learned size, or none."""

    def set_sizes(by_pressure):
        def found(scores, criterion):
            few = 4 * max(8, len(scores.learned))
            size = by_pressure[scores.history[0][2]](few)
            return None if size is None else NodeSet.of(ranked_nodes(scores)[:size])

        monkeypatch.setattr(sys.modules["circuitkit.extraction.search"], "discretise", found)

    return set_sizes


def lost(few):
    return None


def near(few):
    return few


def far(few):
    return few + 1


def far_and_large(few):
    return 2 * few + 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "begun"),
    [(LOSING, GENTLE), (replace(LOSING, gentler=1.0), HARD)],
    ids=["lost", "not to be gentler"],
)
def test_masks_that_lost_the_task_are_learned_once_more_gently(
    discretised, criterion, train, config, begun
):
    """The restart goes on as if it had begun there, and says so."""
    discretised({HARD: lost, GENTLE: near})
    found = rank(train, criterion, ExtractConfig(pruning=config), seed=0)
    alone = learn_masks(
        criterion.model, train, criterion.values, target_loss_nats=0.15,
        config=replace(config, pressure_start=begun),
    )  # fmt: skip
    assert found.history == alone.history
    assert in_force(found, ExtractConfig(pruning=config)).pressure_start == begun


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hard", "gentle", "begun"),
    [
        (near, near, HARD),
        (far, far_and_large, HARD),
        (far, lambda few: 1, GENTLE),
        (lost, near, GENTLE),
        (lost, lost, GENTLE),
    ],
    ids=["near", "far, yet the smaller", "far", "lost", "both lost"],
)
def test_masks_are_kept_if_few_nodes_more_do_the_task(
    discretised, criterion, train, hard, gentle, begun
):
    """Four times the learned ones are few: they may lead to the smallest circuit of all."""
    discretised({HARD: hard, GENTLE: gentle})
    found = rank(train, criterion, ExtractConfig(pruning=LOSING), seed=0)
    assert found.history[0][2] == begun


def test_a_search_that_misses_its_target_discretises_each_ranking_once(
    monkeypatch, criterion, train
):
    """The hard masks and the gentle ones; what was tried in vain is not tried again."""
    module, judged = sys.modules["circuitkit.extraction.search"], []

    def in_vain(scores, criterion):
        judged.append(scores)
        assert not criterion.meets(NodeSet(widths=scores.learned.widths))

    monkeypatch.setattr(module, "discretise", in_vain)
    missed = module.search(train, criterion, ExtractConfig(pruning=LOSING), seed=0)
    assert missed.outcome == "target_missed"
    assert [scores.history[0][2] for scores in judged] == [HARD, GENTLE]
    assert missed.n_judged == 1


@pytest.mark.parametrize(("n_learned", "most"), [(0, 12), (60, 12), (200, 40)])
def test_a_learned_set_is_mended_by_a_dozen_nodes_or_a_fifth(
    monkeypatch, criterion, n_learned, most
):
    """As many are enough if they must be; one more is not tried."""
    everything = [Node(Site.parse("0.mlp.act_in"), channel) for channel in range(300)]
    monkeypatch.setattr(
        sys.modules["circuitkit.extraction.discretise"],
        "steepest",
        lambda nodes, criterion, within: [node for node in everything if node not in nodes],
    )
    monkeypatch.setattr(Criterion, "bound", lambda self, nodes: -len(nodes))
    learned = NodeSet.of(everything[:n_learned])
    for missing, size in ((most, n_learned + most), (most + 1, None)):
        monkeypatch.setattr(
            Criterion, "meets", lambda self, nodes, n=missing: len(nodes) >= n_learned + n
        )
        mended = add_back(learned, criterion)
        assert (None if mended is None else len(mended)) == size


def test_folding_away_closed_gates_changes_nothing():
    """The difference stays, and so do the gradients of the gates that are left."""
    model = tiny_model("the paper's")
    pairs, values = encoded_pairs(model.arch), random_values(model.arch)
    open_ones = random_nodes(model.arch, 0.3)
    found = []
    for narrow in (False, True):
        gated = GatedModel(model, values)
        gates = gates_of(open_ones, model.arch.widths)
        if narrow:
            gated.narrow(gates)
            assert gated.candidates == open_ones
        gates = {site: gate.clone().requires_grad_() for site, gate in gates.items()}
        differences = gated.differences(pairs, gates)
        differences.sum().backward()
        found.append((differences.detach(), gates))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=0)
    for site, channels in open_ones.channels.items():
        a, b = (gates[site].grad[list(channels)] for _, gates in found)
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_a_saturated_head_is_among_the_candidates(criterion, train):
    """Wide open, its softmax has no gradient in queries and keys; half open, it has."""
    model = deepcopy(criterion.model)
    model.layers[0].attn.c_attn.weight[:: model.arch.d_attn][:2] *= 6  # the head's q and k
    saturated = Criterion(
        model=model, values=criterion.values, pairs=criterion.pairs, target_loss_nats=0.15
    )  # fmt: skip
    candidates = find_candidates(train, saturated, small_model=0, first=256)
    assert candidates is not None
    planted = large_model.planted_nodes(model.arch)
    heads = [node for node in planted if node.site.place in ("q", "k")]
    assert all(node in candidates for node in heads)
    moved = attribution(train, saturated)[0]
    wide_open = moved.argsort(descending=True)[:256]
    flat = torch.zeros(len(moved)).index_fill(0, wide_open, 1.0)
    widths = model.arch.widths
    found = nodes_of(dict(zip(widths, flat.split(list(widths.values())), strict=True)))
    assert not any(node in found for node in heads)


def test_a_score_travels_the_learning_rates_that_are_left():
    """After the last step none is; after the first, all but the first."""
    config = PruningConfig(n_steps=10, lr=0.5)
    rates = [0.5 * (1 - step / 10) for step in range(10)]
    for step in range(10):
        assert _travel_left(step, config) == pytest.approx(sum(rates[step + 1 :]))
