"""Laws of planted models: what brute force finds is what was wired, whatever lies around it."""

import json
import random
import re
from dataclasses import replace
from functools import cache
from itertools import combinations
from math import log
from types import SimpleNamespace

import pytest
import torch
from test_cli import cli
from tiny import tiny_model

from circuitkit.checkpoints import load_checkpoint
from circuitkit.circuit import Circuit
from circuitkit.errors import UsageError
from circuitkit.extraction import measure_means, zero_means
from circuitkit.extraction.criterion import PUSH, Criterion
from circuitkit.extraction.masked_model import gates_of, masked_differences, tapped_differences
from circuitkit.model import gate_tap, logit_differences, pair_losses, record_tap
from circuitkit.nodes import Node, NodeSet
from circuitkit.planted import find_truth, plant, planted_model, planted_names, truth, truth_of
from circuitkit.planted.live_nodes import find_alive
from circuitkit.task import load_task

NAMES = tuple(planted_names())
TRAPS = ("cancellation_trap", "norm_trap")
TARGET = 0.15
VARIATIONS = {
    "plain": {},
    "noise and width": {"noise": 0.2, "width": 32},
    "sink": {"sink": True, "seed": 1},
    "everything": {"topk": 0.5, "noise": 0.1, "seed": 3, "sink": True, "width": 24},
}
SEVERAL = {
    "two_mechanisms": "several", "shared_entry": "several", "shared_exit": "several",
    "surface_forms": "one", "harder_form": "nested", "either_way": "either",
}  # fmt: skip
"""By model whose prompts come in forms, what is true of the forms."""

PLANTED = [
    (name, variation)
    for name in NAMES
    for variation in VARIATIONS
    if (name != "induction" or variation in ("plain", "sink"))
    and (name not in SEVERAL or variation in ("plain", "everything"))
]
"""Induction, the largest, takes seconds a search; with noise it is tried below."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """Plant a model once: the model, its folder, and all that is measured on it."""

    @cache
    def grow(name, variation="plain"):
        folder = tmp_path_factory.mktemp(name)
        planted = plant(name, **VARIATIONS[variation])
        found = planted.save(folder)
        checkpoint, task = load_checkpoint(folder), load_task(folder / "task.jsonl")
        model = checkpoint.load_model()
        return SimpleNamespace(
            planted=planted,
            truth=found,
            folder=folder,
            checkpoint=checkpoint,
            task=task,
            model=model,
            means=measure_means(model, checkpoint.load_reference()),
            pairs=checkpoint.encode(task.up_to("select", 64)),
        )

    return grow


def loss(at, nodes):
    """The loss of a set of nodes by the definition, the masked model."""
    return float(pair_losses(masked_differences(at.model, at.pairs, nodes, at.means.values)).mean())


def rest(at):
    """Everything that is no part of the mechanism."""
    return NodeSet.full(at.model.arch.widths) - at.planted.mechanism


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variation"), PLANTED)
def test_brute_force_finds_what_was_wired(grown, name, variation):
    """The smallest circuits are those wired, with a wide gap to any other set."""
    at = grown(name, variation)
    assert set(at.truth.circuits) == set(at.planted.wired)
    assert len(at.truth.circuits) == len(at.planted.wired)
    assert at.truth.loss_nats < TARGET - 0.03
    assert at.truth.refused_nats is None or at.truth.refused_nats > TARGET + 0.05


def of_form(at, form):
    """The same with the pairs of one form."""
    chosen = [i for i, name in enumerate(at.pairs.templates) if name.startswith(f"{form}/")]
    return SimpleNamespace(**{**vars(at), "pairs": at.pairs[torch.tensor(chosen)]})


@pytest.mark.parametrize("name", SEVERAL)
def test_brute_force_finds_what_was_wired_for_each_form(grown, name):
    """On the pairs of a form alone."""
    at = grown(name)
    for form, circuits in at.planted.by_form.items():
        some = of_form(at, form)
        found = find_truth(some.model, some.pairs, some.means, TARGET)
        assert set(found.circuits) == set(circuits)


@pytest.mark.parametrize(("name", "outcome"), SEVERAL.items())
def test_the_circuits_of_forms_do_each_other_as_the_outcome_says(grown, name, outcome):
    """By the definition: does the circuit of one form meet the target on every other?"""
    at = grown(name)
    does = {
        form: [loss(of_form(at, other), circuits[0]) <= TARGET for other in at.planted.by_form]
        for form, circuits in at.planted.by_form.items()
    }
    assert at.planted.outcome == outcome
    does_all = [all(each) for each in does.values()]
    assert any(does_all) == (outcome != "several")
    assert all(does_all) == (outcome in ("one", "either"))
    told = json.loads((at.folder / "truth.json").read_text())["families"]
    assert told["outcome"] == outcome
    assert set(told["circuits"]) == set(at.planted.by_form)
    apart = len({circuit for some in at.planted.by_form.values() for circuit in some})
    assert (apart > 1) == (outcome != "one")


@pytest.mark.parametrize("name", ["closing_quote", "neuron_chain", "twin_paths"])
def test_under_zero_ablation_constants_count(grown, name):
    """A bias is ablated too, so that what holds it can matter: dead nodes still change nothing."""
    at = grown(name, "noise and width")
    zeros = zero_means(at.model.arch.widths)
    at = SimpleNamespace(**{**vars(at), "means": zeros})
    found = find_truth(at.model, at.pairs, zeros, TARGET)
    live = NodeSet.of(find_alive(at.model, at.pairs, zeros.values).nodes, at.model.arch.widths)
    assert all(loss(at, nodes) <= TARGET for nodes in found.circuits)
    dead, dice = NodeSet.full(at.model.arch.widths) - live, random.Random(0)
    some = NodeSet.of((n for n in dead if dice.random() < 0.5), at.model.arch.widths)
    for nodes in (found.circuits[0], live):
        assert loss(at, nodes | some) == pytest.approx(loss(at, nodes), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_judge_of_extraction_accepts_every_truth(grown, name):
    """So that what extraction misses is its own: neither bound nor drift refuse the truth."""
    at = grown(name)
    criterion = Criterion(
        model=at.model,
        values=at.means.values,
        pushed=(at.means.pushed(PUSH), at.means.pushed(-PUSH)),
        pairs=at.pairs,
        target_loss_nats=TARGET,
    )
    assert all(map(criterion.meets, at.truth.circuits))


@pytest.mark.parametrize("name", NAMES)
def test_the_model_does_its_task(grown, name):
    """On every split, out of distribution too."""
    at = grown(name)
    splits = [s for s in ("train", "select", "test", "ood") if at.task.templates(s)]
    assert len(splits) >= 3
    for split in splits:
        pairs = at.checkpoint.encode(at.task.up_to(split, 999))
        assert float(pair_losses(tapped_differences(at.model, pairs, None)).mean()) < 0.06


@pytest.mark.parametrize("name", ["selected_slot", "twin_paths", "weak_votes", "neuron_chain"])
def test_the_search_agrees_with_trying_every_subset(grown, name):
    """Of all subsets of the live nodes, by the definition."""
    at = grown(name)
    at = SimpleNamespace(**{**vars(at), "pairs": at.pairs[::3]})
    live = find_alive(at.model, at.pairs, at.means.values).nodes
    for size in range(len(live) + 1):
        sets = [NodeSet.of(some, at.model.arch.widths) for some in combinations(live, size)]
        met = {nodes for nodes in sets if loss(at, nodes) <= TARGET}
        if met:
            break
    assert met == set(at.truth.circuits)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "induction"])
def test_a_dead_node_changes_nothing(grown, name):
    """Kept or ablated, beside a circuit or beside anything else."""
    at = grown(name, "noise and width")
    every = list(NodeSet.full(at.model.arch.widths))
    live = NodeSet.of(find_alive(at.model, at.pairs, at.means.values).nodes, at.model.arch.widths)
    dice = random.Random(0)
    for share in (0.1, 0.5, 0.9):
        some = NodeSet.of((n for n in every if dice.random() < share), at.model.arch.widths)
        for nodes in (at.truth.circuits[0], live, some & live):
            assert loss(at, nodes | (some - live)) == pytest.approx(loss(at, nodes), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_some_live_node_changes_something(grown, name):
    """A planted failure: a node of the circuit, taken for dead, would be noticed."""
    at = grown(name)
    circuit = at.truth.circuits[0]
    for node in circuit:
        assert loss(at, circuit - NodeSet.of([node])) > loss(at, circuit) + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_noise_moves_nothing(grown, name, tmp_path):
    """The same seed with and without noise has the same circuits, channel by channel."""
    noisy = plant(name, noise=0.3).save(tmp_path)
    assert set(noisy.circuits) == set(grown(name).truth.circuits)


def test_noise_is_there():
    """A planted failure: noise that is no noise would pass every test on noise."""
    plain, noisy = (plant("induction", noise=noise).model for noise in (0.0, 0.3))
    n_plain, n_noisy = (sum(int(p.count_nonzero()) for p in m.parameters()) for m in (plain, noisy))
    assert n_noisy > 3 * n_plain


@pytest.mark.parametrize("option", ["sink", "topk"])
def test_sink_and_topk_are_part_of_the_architecture(option):
    """What a variation says, the model has."""
    arch = plant("closing_quote", **{option: 0.5 if option == "topk" else True}).model.arch
    assert bool(arch.activation_topk) == (option == "topk")
    assert arch.attention_sink == (option == "sink")


def test_twin_paths_are_two():
    """Each is enough, they share no node, and without one of them the other still does it."""
    twins = plant("twin_paths").wired
    assert len(twins) == 2
    assert not twins[0] & twins[1]


@pytest.mark.parametrize("name", ["twin_paths", "long_way_round", "either_way"])
def test_a_redundant_model_does_without_the_circuit(grown, name):
    """The complement of a circuit still meets the target."""
    at = grown(name)
    for circuit in at.truth.circuits:
        assert loss(at, NodeSet.full(at.model.arch.widths) - circuit) < TARGET


def test_any_three_weak_votes_are_a_circuit(grown):
    """Six voters give twenty circuits, and two votes are too few."""
    circuits = grown("weak_votes").truth.circuits
    assert len(circuits) == 20
    assert {len(nodes) for nodes in circuits} == {6}


PARTS = ("outweighed", "twin_heads", "twin_neurons")


def interchanged(at, nodes):
    """The loss with all other nodes as on the other prompt of the pair, of the same length."""
    seen = {}
    tokens, last = at.pairs.tokens, at.pairs.last
    with torch.no_grad():
        at.model(tokens, record_tap(seen), last)
        others = {site: x.roll(len(x) // 2, 0) for site, x in seen.items()}
        tap = gate_tap(gates_of(nodes, at.model.arch.widths), others)
        logits = at.model(tokens, tap, last)[:, 0]
    return float(pair_losses(logit_differences(logits, at.pairs)).mean())


@pytest.mark.parametrize("name", PARTS)
def test_a_part_meets_the_target_and_without_it_the_model_is_at_chance(grown, name):
    """Entry and exit are shared, so that knocking out either part shows no other."""
    at = grown(name)
    everything = NodeSet.full(at.model.arch.widths)
    for part in at.truth.circuits:
        assert loss(at, part) < TARGET
        assert loss(at, everything - part) == pytest.approx(log(2), abs=1e-3)


@pytest.mark.parametrize("name", [*PARTS, "weak_votes"])
def test_a_part_does_not_turn_the_answer(grown, name):
    """Put into the run on the other prompt: the mechanism decides there, no part of it does."""
    at = grown(name)
    assert interchanged(at, at.planted.mechanism) < TARGET
    assert all(interchanged(at, part) > log(2) - 1e-3 for part in at.truth.circuits)


def test_the_outweighed_path_is_outvoted(grown):
    """Not balanced: the answer is that of the other prompt."""
    at = grown("outweighed")
    assert interchanged(at, at.truth.circuits[0]) > 3


def test_a_borrowed_constant_decides_and_fails_on_most_backgrounds(grown):
    """The other prompt ends with the word that opens the gate; with most words' values it shuts."""
    at = grown("borrowed_constant")
    (part,) = at.truth.circuits
    (opens,) = at.planted.mechanism - part
    assert interchanged(at, part) < TARGET
    levels = at.model.transformer.wte.weight[:, opens.channel]
    met = []
    for level in levels:
        values = {site: x.clone() for site, x in at.means.values.items()}
        values[opens.site][opens.channel] = level
        cue = masked_differences(at.model, at.pairs, part, values).view(2, -1).mean(0)
        met.append(float((cue > 0).float().mean()))
    assert set(met) == {0.0, 1.0}
    assert sum(met) == 2
    assert float(levels.mean()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_trap_springs_when_the_bystanders_come_back(grown, name):
    """Beside all that is no part of the mechanism, a trap fails and a true circuit holds."""
    at = grown(name)
    restored = [loss(at, circuit | rest(at)) for circuit in at.truth.circuits]
    assert at.planted.is_trap == (name in TRAPS)
    assert all((value > TARGET) == at.planted.is_trap for value in restored)


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_smaller_than_the_mechanism(grown, name):
    """The mechanism meets the target, with less than half of it a wrong set does too."""
    at = grown(name)
    assert loss(at, at.planted.mechanism) < TARGET
    assert all(2 * len(nodes) < len(at.planted.mechanism) + 1 for nodes in at.truth.circuits)


def test_the_cancelled_shortcut_votes_wrong_out_of_distribution(grown):
    """Where the shortcut and the mechanism disagree, the model follows the mechanism."""
    at = grown("cancellation_trap")
    pairs = at.checkpoint.encode(at.task.up_to("ood", 999))
    trap = masked_differences(at.model, pairs, at.truth.circuits[0], at.means.values)
    real = masked_differences(at.model, pairs, at.planted.mechanism, at.means.values)
    assert float((trap > 0).float().mean()) < 0.1
    assert float((real > 0).float().mean()) == 1.0


def test_decoys_agree_in_most_templates_and_not_in_all(grown):
    """The decoy stands last: in three templates of four it goes with the answer."""
    at = grown("decoys")
    pairs = [p for split in ("train", "select", "test") for p in at.task.up_to(split, 999)]
    agrees = {p.template: p.a.text.split()[-1] == "up" for p in pairs}
    assert 0.6 < sum(agrees.values()) / len(agrees) < 0.9


def test_a_constant_far_back_is_needed(grown):
    """The reported mode does not vary over the task, yet the circuit misses without it."""
    at = grown("long_range_mode")
    seen = next(n for n in at.truth.circuits[0] if str(n).startswith("0.attn.resid_delta"))
    store = {}
    with torch.no_grad():
        at.model(at.pairs.tokens, record_tap(store))
    rows = torch.arange(len(at.pairs.last))
    told = store[seen.site][rows, at.pairs.last, seen.channel]
    assert float(told.max() - told.min()) < 0.02
    assert float(told.mean() - at.means.values[seen.site][seen.channel]) > 0.2
    assert loss(at, at.truth.circuits[0] - NodeSet.of([seen])) > TARGET


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_no_template_and_no_prompt(grown, name):
    """And twin prompts are equally long."""
    task = grown(name).task
    pairs = {split: task.pairs(split, 48) for split in ("train", "select", "test")}
    for one, other in combinations(pairs, 2):
        assert not set(task.templates(one)) & set(task.templates(other))
        assert not {p.a.text for p in pairs[one]} & {p.a.text for p in pairs[other]}
        assert len(task.templates(one)) == 48
        for pair in pairs[one]:
            assert len(pair.a.text.split()) == len(pair.b.text.split())


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_holds_every_token(name):
    """So that the means are of everything the task uses."""
    planted = plant(name)
    assert set(planted.reference.flatten().tolist()) == set(range(planted.model.arch.vocab_size))


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    """In every file; another seed gives others."""
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        plant("closing_quote", seed=seed, noise=0.1).save(tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    a, b, c = ([(tmp_path / f / name).read_bytes() for name in names] for f in "abc")
    assert a == b
    assert [name for name, x, y in zip(names, a, c, strict=True) if x == y] == [
        "config.json", "tokenizer.json",
    ]  # fmt: skip


def test_no_global_random_number_is_drawn():
    """Wiring leaves the state of torch's generator alone."""
    before = torch.get_rng_state()
    plant("induction", noise=0.3)
    assert torch.equal(before, torch.get_rng_state())


def test_a_miswired_model_has_no_truth(grown):
    """A planted failure: with one weight cut, nothing meets the target, and that is said."""
    at = grown("neuron_chain")
    model = at.checkpoint.load_model()
    model.layers[1].mlp.c_proj.weight.zero_()
    with pytest.raises(UsageError, match=r"no set of the \d+ nodes that can matter meets 0.15"):
        find_truth(model, at.pairs, at.means, TARGET)


def test_a_wrong_claim_is_noticed(grown):
    """A planted failure: a wired circuit less one node is not what brute force finds."""
    at = grown("closing_quote")
    wired = at.planted.wired[0]
    wrong = replace(at.planted, wired=(wired - NodeSet.of([next(iter(wired))]),))
    assert set(at.truth.circuits) != set(wrong.wired)


@pytest.mark.parametrize("target", [0.0, 0.7, float("nan")])
def test_a_target_no_better_than_chance_is_refused(grown, target):
    """There every set of nodes would do."""
    at = grown("neuron_chain")
    with pytest.raises(UsageError, match="expected more than 0, less than ln 2"):
        find_truth(at.model, at.pairs, at.means, target)


@pytest.mark.parametrize("option", ["bigram table", "learned positions", "layernorm"])
def test_what_the_search_does_not_cover_is_refused(grown, option):
    """Rather than called exact."""
    at = grown("neuron_chain")
    shorter = at.pairs.last - (torch.arange(len(at.pairs.last)) < len(at.pairs)).long()
    with pytest.raises(UsageError, match="brute force does not cover"):
        find_truth(tiny_model(option), replace(at.pairs, last=shorter), at.means, TARGET)


def test_too_many_sets_are_refused(grown, monkeypatch):
    """Before they are tried."""
    at = grown("induction")
    monkeypatch.setattr(truth, "MAX_SETS", 20)
    with pytest.raises(UsageError, match="more than 20 sets of the 17 nodes"):
        find_truth(at.model, at.pairs, at.means, TARGET)


def test_a_smaller_target_can_need_more(grown):
    """The truth is one of a target: three votes meet 0.15 nats, 0.08 takes four."""
    at = grown("weak_votes")
    found = truth_of(at.checkpoint, at.task, 0.08)
    assert {len(nodes) for nodes in found.circuits} == {7}


@pytest.mark.parametrize(
    ("option", "value"),
    [("seed", -1), ("width", 15), ("width", 17), ("width", 512), ("topk", 0.4), ("topk", 1.5),
     ("noise", -0.1), ("noise", 2.0)],
)  # fmt: skip
def test_a_variation_out_of_range_is_refused(option, value):
    """With what was got and what is expected."""
    with pytest.raises(UsageError, match=re.escape(f"{option} {value}: expected")):
        plant("induction", **{option: value})


def test_an_unknown_name_is_refused():
    """With the nearest ones."""
    with pytest.raises(UsageError, match=r"no planted model 'inductoin'; .* induction"):
        plant("inductoin")


def test_the_list_has_a_line_for_every_model():
    """As text and as JSON, each with its mechanism."""
    lines = cli("plant", "--list").out.splitlines()
    assert len(lines) == len(NAMES) >= 12
    told = cli("plant", "--list", "--json").json
    assert [each["name"] for each in told] == [line.split()[0] for line in lines] == list(NAMES)
    assert all(each["about"].endswith(".") for each in told)


@pytest.mark.slow
def test_plant_writes_a_folder_that_extract_works_on(tmp_path):
    """Checkpoint, task and truth; extraction finds the truth, nodes and edges."""
    out, found = tmp_path / "planted", tmp_path / "circuit"
    ran = cli("plant", "nesting_depth", "--out", out, "--noise", 0.1, "--sink")
    assert ran.code == 0
    assert "7 nodes, 4 edges" in ran.out
    assert f"circuitkit extract {out} --task {out / 'task.jsonl'}" in ran.out
    assert cli("extract", out, "--task", out / "task.jsonl", "--out", found, "-q",
               "--rung", "smallest").code == 0  # fmt: skip
    told = json.loads((out / "truth.json").read_text())
    assert told["format"] == "circuitkit.truth/1"
    circuit = Circuit.load(found)
    (smallest,) = told["circuits"]
    assert NodeSet.of(map(Node.parse, smallest["nodes"])) == circuit.nodes
    assert smallest["edges"] == [[str(e.source), str(e.target), e.weight] for e in circuit.edges]


def test_plant_tells_its_result_as_json(tmp_path):
    """And nothing else, with -q not even that a search is on."""
    ran = cli("plant", "twin_paths", "--out", tmp_path / "twins", "--json", "-q")
    assert ran.code == 0
    assert ran.err == ""
    assert (ran.json["n_circuits"], ran.json["n_nodes"], ran.json["n_edges"]) == (2, 4, [2, 2])
    assert ran.json["is_trap"] is False


def test_a_trap_is_called_one(tmp_path):
    """On the line below its circuits; progress is on stderr."""
    ran = cli("plant", "cancellation_trap", "--out", tmp_path / "trap")
    assert "a trap: the smallest is not how the model does it" in ran.out
    assert "brute force" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["twin_path", "--out", "DIR"], "the nearest names are twin_paths"),
        (["twin_paths"], "--out is missing"),
        (["--out", "DIR"], "the name is missing"),
        (["twin_paths", "--out", "DIR", "--width", "15"], "width 15: expected an even number"),
    ],
)
def test_plant_refuses_with_one_message(tmp_path, arguments, told):
    """Exit code 2, no traceback, nothing written."""
    out = tmp_path / "out"
    ran = cli("plant", *(str(out) if each == "DIR" else each for each in arguments))
    assert ran.code == 2
    assert told in ran.err
    assert not out.exists()


def test_plant_leaves_a_folder_of_something_else_alone(tmp_path):
    """It writes to a new folder, or over an earlier planted model."""
    (tmp_path / "diary.txt").write_text("mine")
    ran = cli("plant", "twin_paths", "--out", tmp_path)
    assert ran.code == 2
    assert "holds something else (diary.txt)" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_an_interrupted_plant_leaves_nothing_in_its_way(tmp_path, monkeypatch):
    """The search is the long part, and comes before anything is written."""
    searched = planted_model.truth_of

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(planted_model, "truth_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        plant("twin_paths").save(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(planted_model, "truth_of", searched)
    assert plant("twin_paths").save(tmp_path / "out").circuits


@pytest.mark.parametrize(("first", "then"), [("circuitkit", "gpt2"), ("gpt2", "circuitkit")])
def test_plant_mixes_no_two_formats_in_a_folder(tmp_path, first, then):
    """Files of the first would stay beside those of the second."""
    plant = ("plant", "cancelling_pair", "--out", tmp_path, "-q", "--format")
    assert cli(*plant, first).code == 0
    assert cli(*plant, first).code == 0
    ran = cli(*plant, then)
    assert ran.code == 2
    assert "holds a planted model of another format" in ran.err
