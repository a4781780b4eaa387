"""Laws of the whole extraction, on the bundled checkpoint with small settings."""

from dataclasses import replace

import pytest
import torch

import circuitkit as ck
from circuitkit.checkpoints import load_checkpoint
from circuitkit.circuit import Circuit
from circuitkit.compiled import compile_circuit
from circuitkit.errors import CircuitError, MismatchError, TaskError, UsageError
from circuitkit.extraction import (
    ExtractConfig,
    Means,
    PruningConfig,
    criterion,
    run_extraction,
    zero_means,
)
from circuitkit.extraction.circuit_record import Found, search_record
from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.edge_pruning import Kept
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.mask_learning import PAPER, Scores
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.extraction.search import Restart
from circuitkit.model import pair_losses
from circuitkit.nodes import Node, NodeSet
from circuitkit.task import load_task

SMALL = ExtractConfig(
    target_loss_nats=0.3,
    restarts=1,
    n_train=64,
    n_select=32,
    n_test=48,
    rung="smallest",
    pruning=PruningConfig(n_steps=20, lr=0.15, pressure_start=1e-3),
)


@pytest.fixture(scope="module", autouse=True)
def few_sequences():
    """Of so small a reference any circuit hangs on the sample: not asked about here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(criterion, "DRIFT_NATS", 9.0)
        yield


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint("tinypython-nano")


@pytest.fixture(scope="module")
def task():
    return load_task("if_equals")


@pytest.fixture(scope="module")
def model(checkpoint):
    return checkpoint.load_model()


@pytest.fixture(scope="module")
def reference(checkpoint):
    return checkpoint.load_reference()[:32]


@pytest.fixture(scope="module")
def extraction(checkpoint, task, reference):
    return run_extraction(checkpoint, task, SMALL, reference=reference)


@pytest.mark.slow
def test_the_target_is_met_on_the_bundled_checkpoint(extraction):
    """And by few of the model's nodes, better than the empty circuit does."""
    circuit = extraction.circuit
    assert circuit.outcome == "target_met"
    assert 0 < circuit.n_nodes < 100
    assert circuit.loss_nats.circuit < circuit.loss_nats.empty
    assert circuit.target_loss_nats == SMALL.target_loss_nats
    assert circuit.requested_target_loss_nats is None


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(checkpoint, task, reference, extraction):
    """circuit.json, means.safetensors and pruning.json alike."""
    again = run_extraction(checkpoint, task, SMALL, reference=reference)
    assert again.circuit.to_json() == extraction.circuit.to_json()
    assert again.means.to_bytes() == extraction.means.to_bytes()
    assert again.pruning == extraction.pruning


@pytest.mark.slow
def test_stored_losses_are_those_of_the_masked_model(checkpoint, task, model, extraction):
    """A circuit and its complement, scored anew by another way than the search went."""
    circuit, values = extraction.circuit, extraction.means.values
    pairs = checkpoint.encode(task.up_to("test", SMALL.n_test, SMALL.seed))
    kept = NodeSet(circuit.nodes.channels, model.arch.widths)
    for nodes, name in ((kept, "circuit"), (~kept, "complement"), (kept - kept, "empty")):
        differences = masked_differences(model, pairs, nodes, values)
        assert float(pair_losses(differences).mean()) == pytest.approx(
            getattr(circuit.loss_nats, name), abs=1e-5
        )
        assert float((differences > 0).float().mean()) == getattr(circuit.accuracy, name)
    assert circuit.n_pairs == len(pairs)


@pytest.mark.slow
def test_no_single_node_can_go(checkpoint, task, model, extraction):
    """1-minimal, by a pass of its own: without any one node the criterion says no."""
    circuit = extraction.circuit
    strict = Criterion(
        model=model,
        values=extraction.means.values,
        pairs=checkpoint.encode(task.up_to("select", SMALL.n_select, SMALL.seed)),
        target_loss_nats=circuit.target_loss_nats,
    )
    nodes = NodeSet(circuit.nodes.channels, model.arch.widths)
    assert circuit.minimality.nodes_1_minimal
    assert strict.meets(nodes)
    assert [str(n) for n in nodes if strict.meets(nodes - NodeSet.of([n]))] == []


@pytest.mark.slow
def test_edges_are_the_nonzero_weights_between_kept_nodes(model, extraction):
    """All of them and no other, each with its weight."""
    circuit = extraction.circuit
    kept = NodeSet(circuit.nodes.channels, model.arch.widths)
    assert circuit.edges == edges_between(model, kept)
    assert all(edge.weight != 0 for edge in circuit.edges)
    assert all(edge.source in kept and edge.target in kept for edge in circuit.edges)


@pytest.mark.slow
def test_the_compiled_circuit_is_the_masked_model(checkpoint, task, model, extraction):
    """On every test prompt, to within rounding."""
    values = extraction.means.values
    nodes = NodeSet(extraction.circuit.nodes.channels, model.arch.widths)
    pairs = checkpoint.encode(task.up_to("test", 32))
    compiled = compile_circuit(model, nodes, values).differences(pairs)
    masked = masked_differences(model, pairs, nodes, values)
    torch.testing.assert_close(compiled, masked, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_a_circuit_compiles_under_its_own_means_and_model_alone(
    checkpoint, task, model, extraction
):
    """``ck.compile`` takes the nouns; others than the circuit's own are refused."""
    circuit, means = extraction.circuit, extraction.means
    pairs = checkpoint.encode(task.up_to("test", 8))
    nodes = NodeSet(circuit.nodes.channels, model.arch.widths)
    masked = masked_differences(model, pairs, nodes, means.values)
    found = ck.compile(model, circuit, means).differences(pairs)
    torch.testing.assert_close(found, masked, atol=1e-4, rtol=0)
    with pytest.raises(MismatchError, match=r"extracted under means .*, got"):
        ck.compile(model, circuit, zero_means(model.arch.widths))
    foreign = circuit.model_copy(update={"nodes": NodeSet.of([Node.parse("7.attn.q:0")])})
    with pytest.raises(CircuitError, match="not one of this model"):
        ck.compile(model, foreign, means)
    cut = circuit.model_copy(update={"n_edges_induced": circuit.n_edges + 1})
    with pytest.raises(CircuitError, match=r"keeps \d+ of its \d+ edges"):
        ck.compile(model, cut, means)


@pytest.mark.slow
def test_saving_and_loading_a_folder_is_the_identity(tmp_path, model, extraction):
    """Circuit and means come back as they were, and bind one another by hash."""
    extraction.save(tmp_path)
    assert Circuit.load(tmp_path) == extraction.circuit
    assert Circuit.load(tmp_path).to_json() == (tmp_path / "circuit.json").read_text()
    means = Means.load(tmp_path, model.arch.widths)
    assert means.sha256 == extraction.means.sha256 == extraction.circuit.means_sha256
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")]


@pytest.mark.slow
def test_the_circuit_names_what_it_was_made_from(checkpoint, task, extraction):
    """Hashes of checkpoint and task, the seed, and an example to look at."""
    circuit = extraction.circuit
    assert (circuit.checkpoint.name, circuit.checkpoint.sha256) == (
        checkpoint.name,
        checkpoint.sha256,
    )
    assert (circuit.task.name, circuit.task.sha256) == (task.name, task.sha256)
    assert circuit.provenance.seed == circuit.seed == SMALL.seed
    assert circuit.surroundings.question == task.question
    assert {circuit.surroundings.a.answer, circuit.surroundings.b.answer} == {" ==", " ="}


@pytest.mark.slow
def test_the_record_tells_the_way_there(extraction):
    """One line of history a step; the circuit is no larger than that of the chosen restart."""
    record, circuit = extraction.pruning, extraction.circuit
    assert len(record["history"]) == SMALL.pruning.n_steps
    chosen = record["restarts"][record["chosen_restart"]]
    assert (circuit.n_edges, circuit.n_nodes) <= (chosen["n_edges"], chosen["n_nodes"])
    assert record["outcome"] == circuit.outcome


@pytest.mark.slow
@pytest.mark.parametrize("best", [0, 1])
def test_whichever_restart_is_the_best_is_recorded(extraction, best):
    """Restarts hold tensors: the best is found among them as itself, not by comparison."""
    nodes = extraction.circuit.nodes
    restarts = [
        Restart(
            learning=SMALL.learning,
            scores=Scores(
                ranks={site: torch.rand(8) for site in nodes.widths}, learned=nodes,
                history=((0.1, 3, 1e-4),),
            ),
            outcome="target_met", nodes=nodes, n_edges=4, n_judged=9,
        )
        for _ in range(2)
    ]  # fmt: skip
    found = Found(restart=restarts[best], kept=Kept(nodes=nodes, edges=()))
    assert search_record(SMALL, restarts, found)["chosen_restart"] == best


def test_restarts_begin_at_a_high_and_a_low_pressure_in_turn():
    """Even restarts as configured, odd ones gentler; those of the paper's schedule all alike."""
    config = PruningConfig(pressure_start=0.3, gentler=10.0)
    starts = [config.of_restart(n).pressure_start for n in range(4)]
    assert starts == pytest.approx([0.3, 0.03, 0.3, 0.03])
    assert PAPER.of_restart(1) == PAPER


@pytest.mark.slow
def test_an_impossible_target_is_an_outcome(checkpoint, task, reference, extraction):
    """Below the model's own loss no circuit lies: missed, and said so, never an exception."""
    config = replace(
        SMALL, target_loss_nats=1e-9, n_train=32, n_select=16, pruning=PruningConfig(n_steps=3)
    )
    circuit = run_extraction(checkpoint, task, config, reference=reference).circuit
    assert circuit.outcome == "target_missed"
    assert not circuit.minimality.nodes_1_minimal
    assert circuit.target_loss_nats == 1e-9
    assert circuit.n_nodes == len(circuit.nodes) > extraction.circuit.n_nodes


@pytest.mark.slow
def test_zero_ablation_replaces_by_zero(checkpoint, task):
    """No reference is read, and every ablation value is 0."""
    config = replace(
        SMALL, ablation="zero", n_train=32, n_select=16, pruning=PruningConfig(n_steps=3)
    )
    extraction = run_extraction(checkpoint, task, replace(config, target_loss_nats=1e-9))
    assert extraction.circuit.ablation == extraction.means.ablation == "zero"
    assert not any(value.any() for value in extraction.means.values.values())
    assert extraction.means.n_tokens == 0


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_that_is_no_positive_number_is_refused(target):
    """Before anything is loaded."""
    with pytest.raises(UsageError, match="expected a positive number of nats"):
        ExtractConfig(target_loss_nats=target)


@pytest.mark.parametrize("wrong", [{"restarts": 0}, {"seed": -1}])
def test_a_wrong_count_is_refused(wrong):
    """With the name of the setting and what it got."""
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"{name} {value}: expected"):
        ExtractConfig(**wrong)


def test_a_task_without_selection_pairs_is_refused(tmp_path, checkpoint):
    """A search that cannot be judged is not begun."""
    path = tmp_path / "only_train.jsonl"
    path.write_text(
        '{"a": {"prompt": [1, 2], "answer": 3}, "b": {"prompt": [2, 2], "answer": 4}, '
        '"template": "t", "split": "train"}\n'
    )
    with pytest.raises(TaskError, match="split select has no pairs"):
        run_extraction(checkpoint, load_task(path), SMALL)
