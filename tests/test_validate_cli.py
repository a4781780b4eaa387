"""Laws of ``circuitkit validate`` on bad input: said plainly, no traceback, and never a pass."""

import json

import pytest
from safetensors.torch import load_file, save_file
from test_cli import cli
from test_validation import circuit_of
from tiny import zeroed

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.circuit import Circuit
from circuitkit.extraction import measure_means
from circuitkit.files import write_whole
from circuitkit.findings import Validation
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant
from circuitkit.provenance import Named
from circuitkit.task import load_task
from circuitkit.validation import leave_one_out
from circuitkit.validation.claims import beats_controls


@pytest.fixture(autouse=True)
def few_controls(monkeypatch):
    """No circuit here has to beat luck at 0.01, or be tried node by node to the last."""
    monkeypatch.setattr(beats_controls, "N_DRAWS", 19)
    monkeypatch.setattr(leave_one_out, "MOST_NODES", 20)


@pytest.fixture
def planted(tmp_path):
    """A neuron chain, saved."""
    found = plant("neuron_chain")
    save(tmp_path / "model", found, found.model)
    return found


def save(folder, found, model):
    save_checkpoint(
        folder, model, name=found.name, tokenizer=found.tokenizer, reference=found.reference
    )


def folder_of(tmp_path, nodes, lines, name="circuit"):
    """A circuit folder as ``extract`` leaves it, of nodes that no search found."""
    out, checkpoint = tmp_path / name, load_checkpoint(tmp_path / "model")
    write_whole(out / "task.jsonl", lines)
    task = load_task(out / "task.jsonl")
    means = measure_means(
        checkpoint.load_model(), checkpoint.load_reference(), checkpoint_sha256=checkpoint.sha256
    )
    circuit_of(checkpoint, task, nodes, means, n_pairs=384).save(out)
    means.save(out)
    (out / "sources.json").write_text(json.dumps({"checkpoint": str(tmp_path / "model")}))
    return out


@pytest.fixture
def circuit(tmp_path, planted):
    """The true circuit's folder."""
    return folder_of(tmp_path, planted.mechanism, planted.task_lines)


def judged(*arguments):
    """What the command says, and that it says so without a traceback."""
    ran = cli("validate", *arguments, "-q")
    assert "Traceback" not in ran.err + ran.out
    return ran


def change_means(folder, model):
    tensors = load_file(folder / "means.safetensors")
    about = {"circuitkit": metadata(folder / "means.safetensors")}
    tensors["mean/final_resid"] += 0.5
    save_file(tensors, folder / "means.safetensors", about)


def metadata(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()["circuitkit"]


def change_task(folder, model):
    lines = (folder / "task.jsonl").read_text().splitlines()
    (folder / "task.jsonl").write_text("\n".join(lines[:-1]) + "\n")


def change_weight(folder, model):
    tensors = load_file(model / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"] + 0.25
    save_file(tensors, model / "model.safetensors")


def cut_means(folder, model):
    path = folder / "means.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def no_nodes(folder, model):
    told = json.loads((folder / "circuit.json").read_text())
    del told["nodes"]
    (folder / "circuit.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (change_means, "the circuit was extracted under means"),
        (cut_means, "means.safetensors does not hold this model's means"),
        (change_task, "the circuit was extracted with task task"),
        (change_weight, "the circuit was extracted with checkpoint neuron_chain"),
        (no_nodes, "circuit.json is not a circuit"),
    ],
)
def test_a_changed_file_is_refused(tmp_path, circuit, change, says):
    """With what was changed, and nothing is written."""
    change(circuit, tmp_path / "model")
    ran = judged(circuit)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("circuitkit: ")
    assert says in ran.err
    assert not (circuit / "validation.json").exists()


def test_a_node_taken_from_the_file_is_noticed(circuit, planted):
    """What it stores is then not what runs here: integrity fails, and nothing else is tried."""
    told = json.loads((circuit / "circuit.json").read_text())
    kept = Circuit.load(circuit).nodes
    gone = next(iter(kept))
    nodes = kept - NodeSet.of([gone])
    told["nodes"] = {str(site): list(channels) for site, channels in nodes.channels.items()}
    told["edges"] = [edge for edge in told["edges"] if str(gone) not in edge[:2]]
    told["n_nodes"], told["n_edges"] = len(nodes), len(told["edges"])
    (circuit / "circuit.json").write_text(json.dumps(told))
    ran = judged(circuit, "--pairs", 1000)
    assert ran.code == 1
    assert "distinct pairs" not in ran.err  # how many there are was not seen
    assert "the stored circuit loss" in ran.out
    assert "grade F; weakest finding: integrity" in ran.out


@pytest.mark.slow
def test_a_true_circuit_passes(circuit):
    """So that the refusals here are of what was done to it; what was not run is said."""
    ran = judged(circuit)
    assert ran.code == 0, ran.out
    assert "the task has no ood forms" in ran.out
    assert Validation.load(circuit).passes


def test_a_report_of_an_earlier_verdict_does_not_stay(circuit):
    """What the folder shows is what was found last."""
    for name in ("report.pdf", "report.html"):
        (circuit / name).write_bytes(b"of an earlier verdict")
    judged(circuit, "--pairs", 40)
    assert not (circuit / "report.pdf").exists()
    assert not (circuit / "report.html").exists()


def test_too_few_pairs_pass_nothing(circuit):
    """Two pairs settle nothing, and what to do is said."""
    ran = judged(circuit, "--pairs", 2)
    assert ran.code == 1
    assert "ask for more pairs" in ran.out
    assert "2 templates only" in ran.out


@pytest.mark.slow
def test_too_few_templates_pass_nothing(tmp_path, planted):
    """All pairs of a split from a single one."""
    lines = []
    for line in planted.task_lines.splitlines():
        pair = json.loads(line)
        lines.append(json.dumps({**pair, "template": f"{pair['split']}-only"}))
    ran = judged(folder_of(tmp_path, planted.mechanism, "\n".join(lines) + "\n"))
    assert ran.code == 1
    assert "1 template only: with fewer than 12 no grade is better than C" in ran.out


def test_a_model_that_does_not_do_the_task_stops_the_suite(tmp_path, planted):
    """Its circuit would mean nothing."""
    idle = zeroed(load_checkpoint(tmp_path / "model").load_model())
    save(tmp_path / "model", planted, idle)
    ran = judged(folder_of(tmp_path, planted.mechanism, planted.task_lines))
    assert ran.code == 1
    assert "the model does not do this task" in ran.out
    assert "not run: sufficient" in ran.out


@pytest.mark.slow
@pytest.mark.parametrize("which", ["empty", "everything"])
def test_neither_nothing_nor_everything_passes(tmp_path, planted, which):
    """Each is judged to the end, and refused."""
    widths = planted.model.arch.widths
    nodes = NodeSet(widths=widths) if which == "empty" else NodeSet.full(widths)
    ran = judged(folder_of(tmp_path, nodes, planted.task_lines))
    assert ran.code == 1
    assert "grade F" in ran.out
    told = "the circuit is empty" if which == "empty" else "the circuit keeps every node"
    assert told in ran.out


@pytest.mark.slow
def test_circuits_beside_are_compared_with(tmp_path, circuit, planted):
    """Those of other tasks on the same checkpoint; a broken folder is no hindrance."""
    other = folder_of(tmp_path, NodeSet(), planted.task_lines, "other")
    loaded = Circuit.load(other)
    loaded.model_copy(update={"task": Named(name="another", sha256="a" * 64)}).save(other)
    elsewhere = folder_of(tmp_path, NodeSet(), planted.task_lines, "elsewhere")
    named = Named(name="elsewhere", sha256="e" * 64)
    loaded.model_copy(update={"task": named, "checkpoint": named}).save(elsewhere)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "circuit.json").write_text("{")
    note = {f["claim"]: f for f in cli("validate", circuit, "--json", "-q").json["findings"]}[
        "beats_controls"
    ]["note"]
    assert "another's circuit, 7 nodes apart: " in note
    assert "elsewhere" not in note


def beats_controls_note(folder):
    told = cli("validate", folder, "--json", "-q").json["findings"]
    return next(f["note"] for f in told if f["claim"] == "beats_controls")


@pytest.mark.slow
def test_a_task_in_other_bytes_is_no_other_task(tmp_path, circuit, planted):
    """Blank lines, other template names, another order: its circuit is no rival, and it is said."""
    lines = planted.task_lines.replace('"template": "', '"template": "my ').splitlines()
    folder_of(tmp_path, planted.mechanism, "\n\n".join(reversed(lines)), "again")
    note = beats_controls_note(circuit)
    assert "asks the same: task, not counted as a rival" in note
    assert "task's circuit" not in note


@pytest.mark.slow
def test_a_task_that_cannot_be_read_is_known_by_its_file(tmp_path, circuit, planted):
    """As long as nothing better is at hand; and it is said."""
    other = folder_of(tmp_path, planted.mechanism, planted.task_lines + "\n", "other")
    (other / "task.jsonl").write_text("{")
    note = beats_controls_note(circuit)
    assert "task's circuit is the same circuit" in note
    assert "tasks known by their files alone: task" in note


@pytest.mark.slow
def test_what_a_tokenizer_file_asks_for_is_said(tmp_path, circuit):
    """On stderr, even when quiet, by every command that asks the checkpoint a task."""
    folder = tmp_path / "model"
    data = json.loads((folder / "tokenizer.json").read_text())
    cut = {"max_length": 3, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
    (folder / "tokenizer.json").write_text(json.dumps(data | {"truncation": cut}))
    task, told = circuit / "task.jsonl", "note: tokenizer.json: asks to cut every text to 3 tokens"
    assert told in cli("tasks", "check", task, "--checkpoint", folder).err
    out = ("--out", tmp_path / "out", "--restarts", 1, "--rung", "smallest", "-q")
    assert told in cli("extract", folder, "--task", task, *out).err
    assert told in cli("validate", tmp_path / "out", "-q").err


@pytest.mark.slow
def test_copies_are_said_by_extract_and_validate(tmp_path, planted):
    """On stderr and in pruning.json; in the note of competent."""
    lines = planted.task_lines.splitlines()
    copies = [line.replace('"template": "', '"template": "again ') for line in lines]
    task, out = tmp_path / "twice.jsonl", tmp_path / "out"
    task.write_text("\n".join([*lines, *copies]))
    settings = ("--out", out, "--restarts", 1, "--rung", "smallest", "-q")
    ran = cli("extract", tmp_path / "model", "--task", task, *settings)
    told = "test: 384 lines of the file are copies or mirror images of others and count once"
    assert f"note: {told}" in ran.err
    assert told in json.loads((out / "pruning.json").read_text())["remarks"]
    assert Circuit.load(out).n_pairs == 384
    found = cli("validate", out, "--json", "-q").json["findings"]
    assert told in found[1]["note"]
    assert (found[0]["outcome"], found[1]["n_clusters"]) == ("pass", 48)
