"""Laws of circuits that dropped edges: every claim runs the circuit with its own edges alone."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from test_claims import on_trial
from test_thorough import QUICK

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.compiled import CompiledCircuit
from circuitkit.extraction import edges_between, four_differences, measure_means
from circuitkit.extraction.criterion import DRIFT_NATS, Criterion
from circuitkit.extraction.edge_pruning import cut_model
from circuitkit.findings import WHERE_BRIDGED, Claim
from circuitkit.model.transformer import _Block
from circuitkit.nodes import Node
from circuitkit.planted import plant
from circuitkit.task import load_task
from circuitkit.validation.claims import claims_of
from circuitkit.validation.search_trial import SearchTrial

BOTH = {**claims_of("default"), **claims_of("thorough")}
EVERY = {claim: test.check for claim, test in BOTH.items()}
SEARCHES = (Claim.SEARCH_NULL, Claim.STABLE)
WEIGHT = -4.0


def opened(folder, planted):
    """A planted model, saved and read, with what a trial needs."""
    save_checkpoint(
        folder,
        planted.model,
        name="quote",
        tokenizer=planted.tokenizer,
        reference=planted.reference,
    )
    (folder / "task.jsonl").write_text(planted.task_lines)
    checkpoint, task = load_checkpoint(folder), load_task(folder / "task.jsonl")
    model = checkpoint.load_model()
    means = measure_means(model, checkpoint.load_reference(), checkpoint_sha256=checkpoint.sha256)
    return SimpleNamespace(
        planted=planted, checkpoint=checkpoint, task=task, model=model, means=means
    )


def with_a_cancelled_weight(planted):
    """The same function, with one weight more between nodes of the mechanism.

    Another node, which is no part of it, reads a copy of the weight's source and takes away
    what the weight adds: within the circuit nothing does.
    """
    model, mlp = planted.model, planted.model.layers[0].mlp
    detect, classify = (n for n in sorted(planted.mechanism) if n.site == mlp.sites["post_act"])
    (source,) = mlp.c_fc.weight[classify.channel].nonzero().flatten().tolist()
    unused = (model.transformer.wte.weight == 0).all(0) & (mlp.c_fc.weight == 0).all(0)
    unused &= (mlp.c_proj.weight == 0).all(1)
    copy = int(unused.nonzero()[0])
    model.transformer.wte.weight[:, copy] = model.transformer.wte.weight[:, source]
    assert mlp.c_fc.weight[detect.channel, source] == 0
    mlp.c_fc.weight[detect.channel, source] = WEIGHT
    mlp.c_fc.weight[detect.channel, copy] = -WEIGHT
    return (str(Node(mlp.sites["act_in"], source)), str(detect))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A trial of a node circuit, and one of the same circuit on a model with a weight more."""
    plain = opened(tmp_path_factory.mktemp("plain"), plant("closing_quote"))
    planted = plant("closing_quote")
    added = with_a_cancelled_weight(planted)
    more = opened(tmp_path_factory.mktemp("more"), planted)
    own = thorough(on_trial(plain, planted.mechanism))
    trial = on_trial(more, planted.mechanism)
    kept = tuple(e for e in trial.circuit.edges if (str(e.source), str(e.target)) != added)
    cut = cut_model(trial.model, trial.nodes, kept, trial.values)
    scored = four_differences(
        trial.model, trial.pairs, trial.nodes, trial.values, circuit_model=cut
    )
    assert len(kept) == len(trial.circuit.edges) - 1
    trial.circuit = trial.circuit.model_copy(
        update={
            "edges": kept,
            "n_edges": len(kept),
            "granularity": "edge",
            "loss_nats": scored.losses(),
        }
    )
    return own, thorough(trial)


def thorough(trial):
    return SearchTrial.of(trial, QUICK, ())


SAME = (
    *(Claim.INTEGRITY, Claim.SUFFICIENT, Claim.FAITHFUL, Claim.NECESSARY),
    *(Claim.NO_NORM_LEAK, Claim.MINIMAL, Claim.GENERALISES, Claim.WORST_CASE),
    *(Claim.EDGE_SUFFICIENT, Claim.INDEPENDENCE),
)
"""The claims that give back no single node that the dropped weight is cancelled by."""


@pytest.mark.parametrize("claim", SAME)
def test_a_dropped_weight_is_not_there(pair, claim):
    """Whatever it would do between the kept nodes, outcome and effect are as without it."""
    own, more = ((EVERY[claim])(trial) for trial in pair)
    assert (more.outcome, own.outcome) == ("pass", "pass"), more.note
    assert more.effect == pytest.approx(own.effect, abs=1e-4)


def test_with_every_weight_the_circuit_fails(pair):
    """So the law above can fail: the weight, kept, ruins the circuit."""
    _, trial = pair
    whole = trial.other_differences(trial.nodes, trial.pairs)
    assert float((whole > 0).float().mean()) < 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    "claim", [claim for claim in EVERY if claim not in (*SEARCHES, *WHERE_BRIDGED)]
)
def test_no_claim_runs_the_circuit_with_a_dropped_weight(pair, claim, monkeypatch):
    """Where the weight's source is kept and what cancels it ablated, the weight is cut."""
    _, trial = pair
    trial = SearchTrial.of(trial, QUICK, ())
    (weight,) = set(edges_between(trial.model, trial.nodes)) - set(trial.circuit.edges)
    row = trial.model.layers[0].mlp.c_fc.weight[weight.target.channel]
    (copy,) = (row == -WEIGHT).nonzero().flatten().tolist()
    wrong, visit, compiled = [], _Block.visit, CompiledCircuit.__init__

    def spied_visit(self, place, x, tap):
        y = visit(self, place, x, tap)
        if self is trial.model.layers[0].mlp and place == "act_in" and tap is not None:
            changed = (x != y).flatten(0, 1)
            wrong.extend(
                ["masked"] * bool((changed[:, copy] & ~changed[:, weight.source.channel]).any())
            )
        return y

    def spied_compiled(self, folded, nodes):
        if folded.model is trial.model and len(nodes) > 0 and nodes <= trial.nodes:
            wrong.append("compiled")
        compiled(self, folded, nodes)

    monkeypatch.setattr(_Block, "visit", spied_visit)
    monkeypatch.setattr(CompiledCircuit, "__init__", spied_compiled)
    (EVERY[claim])(trial)
    controls = {"masked"} if claim is Claim.BEATS_CONTROLS else set()  # knocked out of the model
    assert not set(wrong) - controls


def test_what_a_dropped_edge_carries_is_pushed_too(pair):
    """A circuit that lives on the constant of a dropped edge hangs on the sample."""
    _, trial = pair
    dropped = set(edges_between(trial.model, trial.nodes)) - set(trial.circuit.edges)
    source = next(iter(dropped)).source
    far = {site: value.clone() for site, value in trial.values.items()}
    far[source.site][source.channel] += 5.0
    asked = {"values": trial.values, "pushed": (far,), "pairs": trial.few, "target_loss_nats": 9.0}
    still = Criterion(model=trial.circuit_model, **asked)
    assert still.drift(trial.nodes) <= DRIFT_NATS
    cut = partial(cut_model, trial.model, trial.nodes, trial.circuit.edges)
    assert replace(still, model_under=cut).drift(trial.nodes) > DRIFT_NATS
