"""Laws of interchange: the numbers of a plain patched forward, and what is said where it fails."""

from types import SimpleNamespace

import pytest
import torch
from test_claims import on_trial
from test_hidden import heads, opened
from tiny import encoded_pairs, random_nodes, tiny_model

from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.model import encode_pairs
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant
from circuitkit.planted.planted_prompts import random_text, task_lines, word_tokenizer
from circuitkit.planted.variation import Variation
from circuitkit.planted.wiring import Wiring
from circuitkit.task import Pair, Prompt
from circuitkit.validation.ablations import ablated_differences
from circuitkit.validation.claims.interchange import check_interchange
from circuitkit.validation.claims.necessary import check_necessary
from circuitkit.validation.claims.robust_to_ablation import N_DRAWS, check_robust_to_ablation
from circuitkit.validation.claims.stands_alone import check_stands_alone
from circuitkit.validation.claims.sufficient import check_sufficient
from circuitkit.validation.outweighing import what_outweighs
from circuitkit.validation.redundant_inside import redundant_inside

LN2 = 0.6931471805599453

# A plain patched forward: one prompt at a time, unpadded, every node set by hand


def aligned_by_hand(prompt, other):
    """Where each position of a prompt is in the other: shared start, then counted from the end."""
    shared = 0
    while shared < min(len(prompt), len(other)) - 1 and prompt[shared] == other[shared]:
        shared += 1
    moved = len(other) - len(prompt)
    return [i if i < shared else max(0, i + moved) for i in range(len(prompt))]


def patched_by_hand(model, prompt, other, kept):
    """Logits at the last position with every node but ``kept`` set to its value on ``other``."""
    cache, place = {}, aligned_by_hand(prompt, other)

    def remember(site, x):
        cache[site] = x[0].clone()
        return x

    def overwrite(site, x):
        x = x.clone()
        for channel in range(x.shape[-1]):
            if channel not in kept[site]:
                for position, there in enumerate(place):
                    x[0, position, channel] = cache[site][there, channel]
        return x

    model(torch.tensor([other]), remember)
    return model(torch.tensor([prompt]), overwrite)[0, -1]


def by_hand(model, pairs, kept):
    """The logit differences of every prompt, a-sides first."""
    n = len(pairs)
    prompts = [row[: last + 1].tolist() for row, last in zip(pairs.tokens, pairs.last, strict=True)]
    found = []
    for row, prompt in enumerate(prompts):
        with torch.no_grad():
            logits = patched_by_hand(model, prompt, prompts[(row + n) % (2 * n)], kept)
        found.append(logits[pairs.answers[row]] - logits[pairs.foils[row]])
    return torch.stack(found)


def f_of(differences, model):
    """F by its formula: a ratio of means of pair losses."""
    losses = (torch.nn.functional.softplus(-d.double()).mean() for d in (differences, model))
    return (LN2 - next(losses)) / (LN2 - next(losses))


def pairs_of(arch, *prompts):
    """Pairs of token prompts that are written out."""
    made = [
        Pair(a=Prompt(tokens=a, answer=1), b=Prompt(tokens=b, answer=2), template=f"t{i}")
        for i, (a, b) in enumerate(prompts)
    ]
    return encode_pairs(made, None, start_token=None, vocab_size=arch.vocab_size, n_ctx=arch.n_ctx)


PAIRS = {
    "one token differs": ((5, 6, 7, 3, 9), (5, 6, 8, 3, 9)),
    "lengths differ": ((5, 6, 7, 3, 9), (5, 6, 8, 4, 10, 3, 9)),
    "nothing is shared": ((5, 6, 7), (3, 9, 4, 8, 10)),
    "other forms of other lengths": ((3, 4, 5, 6, 7, 8, 9), (10, 9, 3)),
    "one is the start of the other": ((5, 6), (5, 6, 7, 0)),
    "one goes on with the padding's token": ((5, 6), (5, 6, 0, 0)),
    "one token each": ((5,), (6,)),
}
MODELS = (
    "plain", "sink", "top-k attn.act_in", "top-k mlp.post_act", "concatenated positions",
    "learned positions", "layernorm", "no norm", "the paper's", "GPT-2's", "everything",
)  # fmt: skip


def source_of(model):
    return SimpleNamespace(model=model, seed=0, passes=0)


@pytest.mark.parametrize("option", MODELS)
def test_interchange_is_a_plain_patched_forward(option):
    """On any architecture, of pairs of all kinds at once: every difference, and F_x."""
    model = tiny_model(option)
    pairs, kept = pairs_of(model.arch, *PAIRS.values()), random_nodes(model.arch, 0.5)
    found = ablated_differences(source_of(model), "resample_pair", kept, pairs)
    expected = by_hand(model, pairs, kept)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    own = tapped_differences(model, pairs, None)
    assert float(f_of(found, own)) == pytest.approx(float(f_of(expected, own)), rel=1e-4)
    assert not torch.allclose(found, own, atol=1e-2)


@pytest.mark.parametrize("kind", PAIRS)
def test_interchange_is_plain_on_each_kind_of_pair(kind):
    """Alone in its batch, so that no other pair pads it."""
    model = tiny_model("everything", seed=1)
    pairs, kept = pairs_of(model.arch, PAIRS[kind]), random_nodes(model.arch, 0.6, seed=1)
    found = ablated_differences(source_of(model), "resample_pair", kept, pairs)
    torch.testing.assert_close(found, by_hand(model, pairs, kept), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("option", MODELS)
def test_the_whole_model_is_the_model(option):
    """Bit for bit: F_x = 1."""
    model = tiny_model(option)
    pairs, whole = pairs_of(model.arch, *PAIRS.values()), NodeSet.full(model.arch.widths)
    found = ablated_differences(source_of(model), "resample_pair", whole, pairs)
    assert torch.equal(found, tapped_differences(model, pairs, None))


@pytest.mark.parametrize("option", MODELS)
def test_the_empty_circuit_answers_as_the_other_prompt(option):
    """d is minus the other prompt's d; with a bigram table, plus what that says of the two tokens.

    The table is no node: it reads this prompt's last token, where the other run read its own.
    """
    model = tiny_model(option)
    pairs = pairs_of(model.arch, *PAIRS.values())
    found = ablated_differences(source_of(model), "resample_pair", NodeSet(), pairs)
    other = torch.cat([*reversed(tapped_differences(model, pairs, None).chunk(2))])
    torch.testing.assert_close(found, table(model, pairs) - other, atol=2e-5, rtol=1e-4)


def table(model, pairs):
    """By how much the table's row of this prompt's last token differs from the other's."""
    if not model.arch.bigram_table:
        return 0.0
    last = pairs.tokens[torch.arange(len(pairs.tokens)), pairs.last]
    there = torch.cat([*reversed(last.chunk(2))])
    rows = model.bigram_table[last] - model.bigram_table[there]
    return (rows.gather(1, pairs.answers[:, None]) - rows.gather(1, pairs.foils[:, None]))[:, 0]


# The claim


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Planted models, each with what a trial needs, by name."""
    made = {}

    def opened_once(name):
        if name not in made:
            planted = plant(name)
            made[name] = opened(
                tmp_path_factory.mktemp(name), planted.model, planted.tokenizer,
                planted.task_lines, planted.reference,
            )  # fmt: skip
            made[name].planted = planted
        return made[name]

    return opened_once


def test_f_x_of_the_claim_is_that_of_the_plain_forward(at):
    """On a planted model, on all its pairs, of a circuit that is half of it."""
    where = at("long_way_round")
    trial = on_trial(where, where.planted.wired[0])
    trial.pairs = trial.pairs[:24]
    finding = check_interchange(trial)
    expected = by_hand(where.model, trial.pairs, trial.nodes)
    own = tapped_differences(where.model, trial.pairs, None)
    assert finding.effect == pytest.approx(float(f_of(expected, own)), abs=1e-5)
    assert f"circuit on {((expected.sign() + 1) / 2).mean():.3f} [" in finding.note


@pytest.mark.parametrize("name", ["closing_quote", "variable_binding", "both_features"])
def test_a_true_circuit_turns_the_answer(at, name):
    """The whole mechanism of a planted model, with nothing to explain in the note."""
    where = at(name)
    finding = check_interchange(on_trial(where, where.planted.mechanism))
    assert (finding.outcome, finding.effect) == ("pass", pytest.approx(1.0, abs=0.05))
    assert finding.note.startswith("F_x = ")
    assert "the answer follows the circuit on 1.000" in finding.note
    assert "outweighed" not in finding.note
    assert "INSIDE" not in finding.note


def test_one_of_two_equal_paths_is_outweighed_by_the_other(at):
    """Sufficient alone, and cancelled by the other: every node that is named is of the other."""
    where = at("twin_paths")
    one, other = where.planted.wired
    trial = on_trial(where, one)
    assert check_sufficient(trial).outcome == "pass"
    finding = check_interchange(trial)
    assert (finding.outcome, finding.effect) == ("fail", pytest.approx(0.0, abs=1e-4))
    named = finding.note.partition("interchange of one node: ")[2].split("; ")[0].split(", ")
    assert named[0]
    assert {each.rsplit(" ", 1)[0] for each in named} <= {str(node) for node in other}
    assert "INSIDE" not in finding.note  # the other path has reads and writes of its own


def _sides(i):
    return f"{i.before} left {i.after}", f"{i.before} right {i.after}"


def outweighed(folder):
    """A weak head that does the task, beside one that says the same six times as loudly."""
    w = Wiring(Variation(), ("left", "right"))
    w.embed("side", {"left": 1, "right": -1})
    w.embed("side_again", {"left": 1, "right": -1})
    weak = w.average_head(0, "side", "one", 16) | w.answer("one", "left", "right", gain=2)
    loud = w.average_head(1, "side_again", "other", 16)
    loud |= w.answer("other", "left", "right", gain=12)
    lines = task_lines(("left", "right"), _sides, None, 0)
    reference = random_text(len(w.tokens), 0)
    return opened(folder, w.model, word_tokenizer(w.tokens), lines, reference), weak, loud


def test_an_outweighed_circuit_does_not_turn_the_answer(tmp_path):
    """Its answers are the other prompt's: F_x below 0, the louder head named by what it moves."""
    where, weak, loud = outweighed(tmp_path)
    finding = check_interchange(on_trial(where, NodeSet.of(weak)))
    assert finding.outcome == "fail"
    assert finding.effect < -1
    assert "follows the circuit on 0.000" in finding.note
    named = finding.note.partition("interchange of one node: ")[2].split("; ")[0]
    assert set(named.replace(",", "").split()[::2]) <= {str(node) for node in loud}
    assert check_interchange(on_trial(where, NodeSet.of(loud))).outcome == "pass"


def test_what_outweighs_is_measured_and_not_estimated(tmp_path):
    """How far d falls is that of the model run with the one node interchanged, by hand."""
    where, weak, _ = outweighed(tmp_path)
    trial = on_trial(where, NodeSet.of(weak))
    pairs = trial.few[:8]
    first = what_outweighs(trial).partition("interchange of one node: ")[2].split(", ")[0]
    name, falls = first.split()
    rest = NodeSet.full(where.model.arch.widths)
    rest = rest - NodeSet.of([n for n in rest if str(n) == name])
    own = tapped_differences(where.model, pairs, None).mean()
    by_one = float(own - by_hand(where.model, pairs, rest).mean())
    assert float(falls) == pytest.approx(by_one, abs=0.006)


def test_where_nothing_outside_moves_the_answer_nothing_is_named(at):
    """Outside the whole mechanism; outside the empty circuit everything does."""
    where = at("closing_quote")
    assert what_outweighs(on_trial(where, where.planted.mechanism)) == ""
    assert "outweighed" in check_interchange(on_trial(where, NodeSet())).note


# Another head or neuron between the same reads and writes


def inside(finding):
    """The nodes that are said to take the place of a part of the circuit."""
    said = finding.note.partition("REDUNDANT INSIDE: ")[2].partition(" nats): ")[2]
    return set(said.partition(";")[0].split(", "))


@pytest.mark.slow
def test_of_two_equal_heads_each_is_called_redundant_inside(tmp_path):
    """``necessary`` cannot see it; F_x is 0, and the other head's channels are named."""
    where, circuits = heads(tmp_path, 2)
    for own, other in (circuits, circuits[::-1]):
        trial = on_trial(where, NodeSet.of(own))
        necessary = check_necessary(trial)
        assert (necessary.outcome, "INSIDE" in necessary.note) == ("pass", False)
        finding = check_interchange(trial)
        assert (finding.outcome, finding.effect) == ("fail", pytest.approx(0.0, abs=0.05))
        assert inside(finding) == {str(n) for n in other - own if n.site.place in ("q", "k", "v")}


def neurons(folder, n):
    """``n`` equal pairs of neurons pass on what a head found, by one read and one write."""
    w = Wiring(Variation(), ("left", "right"))
    w.embed("side", {"left": 1, "right": -1})
    head = w.average_head(0, "side", "seen", 16)
    units = [
        w.neuron(1, {"seen": 1}, {"side_here": 1 / n})
        | w.neuron(1, {"seen": -1}, {"side_here": -1 / n})
        for _ in range(n)
    ]
    answer = w.answer("side_here", "left", "right", gain=8)
    lines = task_lines(("left", "right"), _sides, None, 0)
    reference = random_text(len(w.tokens), 0)
    return opened(folder, w.model, word_tokenizer(w.tokens), lines, reference), [
        head | unit | answer for unit in units
    ]


def test_of_two_equal_pairs_of_neurons_each_is_called_redundant_inside(tmp_path):
    """As of two heads, though they share a head, which nothing replaces; one neuron is enough."""
    where, (own, other) = neurons(tmp_path, 2)
    finding = check_interchange(on_trial(where, NodeSet.of(own)))
    assert (finding.outcome, finding.effect) == ("fail", pytest.approx(0.0, abs=0.05))
    assert inside(finding) - {""}
    assert inside(finding) <= {str(n) for n in other - own}


@pytest.mark.parametrize("made", [heads, neurons])
def test_a_single_one_has_no_other_inside(tmp_path, made):
    """It passes, and asked directly nothing is found."""
    where, (circuit,) = made(tmp_path, 1)
    trial = on_trial(where, NodeSet.of(circuit))
    assert check_interchange(trial).outcome == "pass"
    assert redundant_inside(trial) == ""


def test_a_part_that_is_not_needed_is_not_redundant(tmp_path, monkeypatch):
    """Anything would take its place; nor is a circuit without heads or neurons."""
    where, circuits = heads(tmp_path, 2)
    trial = on_trial(where, NodeSet.of(circuits[0]))
    assert redundant_inside(trial)
    reads = [n for n in circuits[0] if n.site.place not in ("q", "k", "v")]
    assert redundant_inside(on_trial(where, NodeSet.of(reads))) == ""
    loose = trial.circuit.model_copy(update={"target_loss_nats": 5.0})
    monkeypatch.setattr(trial, "circuit", loose)
    assert redundant_inside(trial) == ""


# The cue and the offset


def test_a_shared_draw_gives_both_prompts_one_background():
    """With nothing kept the two prompts of a pair differ in nothing: the cue is 0."""
    model = tiny_model("no norm")
    pairs = encoded_pairs(model.arch)
    pool = {s: torch.randn(40, w) for s, w in model.arch.widths.items()}
    source = SimpleNamespace(model=model, seed=0, passes=0, pool=pool)

    def cues(shared):
        d = ablated_differences(source, "resample_joint", NodeSet(), pairs, None, shared)
        return d.view(2, -1).mean(0)

    generator = torch.Generator().manual_seed(3)
    first, second = cues(generator), cues(generator)
    assert torch.allclose(first, torch.zeros_like(first), atol=1e-5)
    assert torch.allclose(second, torch.zeros_like(second), atol=1e-5)
    assert cues(None).abs().max() > 0.1


def test_an_offset_fails_what_stands_alone_and_not_what_is_robust(at):
    """One of two paths, the other at random tokens: its cue is there, and is drowned out."""
    where = at("twin_paths")
    trial = on_trial(where, where.planted.wired[0])
    robust, alone = check_robust_to_ablation(trial), check_stands_alone(trial)
    assert robust.n_draws == N_DRAWS
    assert (robust.outcome, robust.effect) == ("pass", 1.0)
    assert alone.outcome == "fail"
    both = on_trial(where, where.planted.mechanism)
    assert check_stands_alone(both).outcome == "pass"


def test_a_circuit_that_lives_on_ablation_values_is_not_robust(tmp_path):
    """A neuron that is open at the mean of another read, and shut by four tokens of ten."""
    w = Wiring(Variation(), ("left", "right"))
    w.embed("side", {"left": 1, "right": -1})
    w.embed("gate", {token: (-1.0) ** i for i, token in enumerate(w.tokens[:8])})
    seen = w.average_head(0, "side", "seen", 16)
    passed = w.neuron(1, {"seen": 1, "gate": 16}, {"close": 1}, bias=8)
    circuit = seen | passed | w.answer("close", "left", "right", gain=8, middle=8)
    lines = task_lines(("left", "right"), _sides, None, 0)
    reference = random_text(len(w.tokens), 0)
    where = opened(tmp_path, w.model, word_tokenizer(w.tokens), lines, reference)
    gate = {n for n in circuit if n.channel == w.channel("gate") and n.site.place == "act_in"}
    trial = on_trial(where, NodeSet.of(circuit - gate))
    assert trial.scored.losses().circuit < 0.05
    finding = check_robust_to_ablation(trial)
    assert finding.outcome == "fail"
    assert finding.effect == pytest.approx(0.8, abs=0.05)  # shut is a tie: half


@pytest.mark.slow
def test_the_numbers_of_robust_to_ablation_are_of_the_same_pairs(at):
    """F under each kind is on the pairs that the finding counts, that of F_x included."""
    where = at("long_way_round")
    trial = on_trial(where, where.planted.wired[0])
    finding = check_robust_to_ablation(trial)
    n = finding.n_pairs
    assert n == len(trial.few) < len(trial.pairs)
    assert f"F on these {n} pairs: mean " in finding.note
    own = tapped_differences(where.model, trial.few, None)
    found = by_hand(where.model, trial.few, trial.nodes)
    assert f"resample_pair {f_of(found, own):z.2f}" in finding.note
