"""Laws of released circuits: the file's nodes, our edges and numbers, its losses as published."""

import json
import math
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import cli
from test_readme import test_commands_and_their_options_exist as command_exists

import circuitkit as ck
from circuitkit.checkpoints.viz_data import read_viz_data
from circuitkit.circuit.comparison import compare
from circuitkit.circuit.published_losses import AS_PUBLISHED, PublishedLosses
from circuitkit.cli.convert_command import convert
from circuitkit.cli.released_circuit import is_released_circuit
from circuitkit.errors import CircuitError, CircuitkitError, MismatchError, UsageError
from circuitkit.nodes import Node, NodeSet, transformer_sites
from circuitkit.planted import plant
from circuitkit.views.rerun_command import commands
from circuitkit.views.search_section import method

NAME = "neuron_chain"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A wired model with its task, and the circuit that is known."""
    folder = tmp_path_factory.mktemp("planted")
    plant(NAME).save(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(planted):
    return ck.load_checkpoint(planted)


@pytest.fixture(scope="module")
def truth(planted):
    return json.loads((planted / "truth.json").read_text())["circuits"][0]


def viz_data(checkpoint, nodes, edges=()):
    """A file of the release, written from its description: all sites, channels backwards."""
    kept = {str(site): [] for site in transformer_sites(checkpoint.architecture.n_layer)}
    for node in map(Node.parse, nodes):
        kept[str(node.site)].insert(0, node.channel)
    pairs = {}
    for source, target, weight in edges:
        a, b = Node.parse(source), Node.parse(target)
        pairs.setdefault((str(a.site), str(b.site)), []).append((a.channel, b.channel, weight))
    return {
        "circuit_data": {site: torch.tensor(channels) for site, channels in kept.items()},
        "importances": {
            "loss": 0.5,
            "interv_loss": torch.tensor(1.5),
            "ch_interv_losses": {
                site: [float(channel) for channel in channels] for site, channels in kept.items()
            },
            "layer_interv_losses": {},
            "pair_data": [pair_entry(sites, found) for sites, found in pairs.items()],
            "task_samples": (
                torch.tensor([[3, 0, 4, 0], [5, 6, 0, 0], [3, 0, 7, 0], [5, 8, 0, 0]]),
                {"0.attn.act_in": {0: torch.zeros(4, 4)}},
            ),
            "beeg_model_config": {"n_layer": checkpoint.architecture.n_layer, "dropout": 0},
        },
        "samples": {}, "all_loss": 0.1, "num_total_nodes": 9, "prune_config": {},
    }  # fmt: skip


def pair_entry(sites, found):
    """``[values, sources, targets, (site, site)]``; each change is twice the weight."""
    sources, targets = sorted({a for a, _, _ in found}), sorted({b for _, b, _ in found})
    values = torch.zeros(len(sources), len(targets))
    for a, b, weight in found:
        values[sources.index(a), targets.index(b)] = 2 * weight
    return [values, torch.tensor(sources), torch.tensor(targets), sites]


def written(folder, held):
    folder.mkdir(exist_ok=True, parents=True)
    torch.save(held, folder / "viz_data.pt")
    return folder / "viz_data.pt"


@pytest.fixture(scope="module")
def imported(planted, checkpoint, truth, tmp_path_factory):
    """The planted circuit, released and imported; the folder beside one of our own."""
    folder = tmp_path_factory.mktemp("imported")
    path = written(folder / "release", viz_data(checkpoint, truth["nodes"], truth["edges"]))
    ck.import_circuit(path, planted, planted / "task.jsonl", out=folder / "circuit")
    return folder / "circuit"


def test_a_released_circuit_has_the_nodes_of_the_file_and_the_edges_of_the_weights(
    imported, truth, checkpoint
):
    """Those that were planted; it meets the target, and no search made it."""
    circuit = ck.Circuit.load(imported)
    assert [str(node) for node in circuit.nodes] == truth["nodes"]
    edges = [[str(e.source), str(e.target), e.weight] for e in circuit.edges]
    assert edges == truth["edges"]
    assert (circuit.outcome, circuit.method) == ("target_met", "released")
    assert circuit.checkpoint.sha256 == checkpoint.sha256
    assert not circuit.minimality.nodes_1_minimal


def test_its_losses_are_those_that_an_extraction_measures(imported, planted, truth):
    """On the test pairs of the task, under the means of the reference: nothing of the file."""
    circuit = ck.Circuit.load(imported)
    assert circuit.loss_nats.circuit < 0.15 < circuit.loss_nats.empty
    assert circuit.loss_nats.circuit != pytest.approx(0.25)
    assert circuit.reference is not None
    assert circuit.reference.is_own


def test_stored_losses_are_halved_and_called_published(imported, truth):
    """Each beside its own node or edge, whatever the order of the file."""
    losses = PublishedLosses.load(imported)
    assert losses.about == AS_PUBLISHED
    assert "as published" in losses.about
    assert "not reproduced" in losses.about
    assert (losses.loss_nats, losses.intervention_loss_nats) == (0.25, 0.75)
    assert losses.node_loss_nats == {
        name: Node.parse(name).channel / 2 for name in truth["nodes"]
    }  # fmt: skip
    assert sorted(map(list, losses.edge_loss_change_nats)) == sorted(truth["edges"])


def test_samples_are_pairs_without_the_zeros_that_fill_them_up(imported):
    """Rows i and i + N/2; a zero inside is a token."""
    assert PublishedLosses.load(imported).samples == (
        ((3, 0, 4), (3, 0, 7)), ((5, 6), (5, 8))
    )  # fmt: skip


@pytest.mark.slow
def test_an_imported_circuit_is_validated_compared_and_reported(imported, planted, tmp_path):
    """By the command line, from its folder alone."""
    validated = cli("validate", imported, "--pairs", 16, "-q", "--json")
    assert validated.code in (0, 1), validated.err
    assert validated.json["circuit_sha256"] == ck.Circuit.load(imported).sha256
    found = compare(ck.Circuit.load(imported), ck.Circuit.load(imported))
    assert found.jaccard_nodes == 1
    compared = cli("compare", imported, imported)
    assert compared.code == 0
    assert "by released" in compared.out
    reported = cli("report", imported, "--format", "html", "--out", tmp_path / "report.html")
    assert reported.code == 0, reported.err


def test_another_circuit_in_the_folder_takes_the_published_losses_away(imported, tmp_path):
    """A folder holds parts of one circuit."""
    copy = shutil.copytree(imported, tmp_path / "copy")
    ck.CircuitFolder(copy).forget_circuit()
    assert not (copy / "published.json").exists()
    with pytest.raises(CircuitError, match=r"no such file: .*published\.json; expected the"):
        PublishedLosses.load(copy)
    (copy / "published.json").write_text("{}")
    with pytest.raises(CircuitError, match=r"published.json is not as imported: file: Field req"):
        PublishedLosses.load(copy)


def test_what_may_be_absent_may_be_absent(checkpoint, truth, tmp_path):
    """Losses, samples, sizes; a loss that is no finite number is none."""
    held = viz_data(checkpoint, truth["nodes"])
    held["importances"] = {
        "loss": math.nan,
        "interv_loss": 10**400,
        "ch_interv_losses": {"0.mlp.act_in": [math.inf]},
    }
    released = read_viz_data(written(tmp_path, held), checkpoint.architecture)
    assert (released.loss, released.intervention_loss, released.samples) == (None, None, ())
    assert released.edge_losses == ()


def test_an_older_file_is_read(checkpoint, truth, tmp_path):
    """Its settings lie among the sites, and are skipped; a folder stands for its file."""
    held = viz_data(checkpoint, truth["nodes"])
    held["circuit_data"]["prune_config"] = {"path": "/etc/passwd", "k": 3}
    written(tmp_path, held)
    kept = read_viz_data(tmp_path, checkpoint.architecture).kept
    assert NodeSet(kept) == NodeSet.of(map(Node.parse, truth["nodes"]))


@settings(max_examples=25)
@given(data=st.data())
def test_any_nodes_come_through(checkpoint, tmp_path_factory, data):
    """Every subset of the model's nodes, with its losses."""
    widths = checkpoint.architecture.widths
    nodes = data.draw(st.sets(st.sampled_from(list(map(str, NodeSet.full(widths)))), max_size=20))
    folder = tmp_path_factory.getbasetemp() / "any"
    released = read_viz_data(written(folder, viz_data(checkpoint, nodes)), checkpoint.architecture)
    assert {str(node) for node in NodeSet(released.kept, widths)} == nodes
    for site, losses in released.node_losses.items():
        assert losses == tuple(map(float, released.kept[site]))


def test_a_report_says_that_it_was_imported_and_how(imported):
    """The lines to copy make the same circuit again; no search is claimed."""
    folder = ck.CircuitFolder(imported)
    circuit, origin = folder.circuit, folder.origin
    lines = commands(circuit, None, origin)
    assert lines[-2].startswith("ck.import_circuit('viz_data.pt', ")
    call = lines[-2].replace("'viz_data.pt'", repr(str(imported.parent / "release")))
    call = call.replace("DIR", str(imported))
    assert eval(call, {"ck": ck}).nodes == circuit.nodes
    assert method(circuit) == "released by others and imported, not searched for"


# What is refused


def circuit_data(site, kept):
    return lambda held: held["circuit_data"].__setitem__(site, kept)


def importances(name, value):
    return lambda held: held["importances"].__setitem__(name, value)


ONE = torch.tensor([1])
Q = "0.attn.q"
WIDE = torch.zeros(1, dtype=torch.int64).expand(10**12)

HOSTILE = {
    "no circuit": (lambda h: h.pop("circuit_data"), "it has no circuit_data; it holds importances"),
    "no importances": (lambda h: h.pop("importances"), "it has no importances; it holds circuit_"),
    "circuit is a list": (lambda h: h.update(circuit_data=[1]), "circuit_data is a list, expecte"),
    "a site with a wrong name": (circuit_data("0.attn.query", ONE), "no such site: '0.attn.query'"),
    "a site that is no text": (circuit_data(7, ONE), "no such site: '7'"),
    "a layer too many": (circuit_data("9.attn.q", ONE), r"has a site 9\.attn\.q, and the checkpo"),
    "a site too few": (lambda h: h["circuit_data"].pop(Q), r"has no site 0\.attn\.q, and the chec"),
    "a channel out of range": (circuit_data(Q, torch.tensor([10**6])), "channel 1000000; the site"),
    "a channel below zero": (circuit_data(Q, torch.tensor([-1])), "has channel -1; the site has"),
    "channels twice": (circuit_data(Q, torch.tensor([1, 1])), r"\[0\.attn\.q\] has a channel twi"),
    "channels that are no integers": (circuit_data(Q, torch.tensor([1.0])), "float32, expected in"),
    "true and false": (circuit_data(Q, torch.tensor([True])), "torch.bool, expected integers"),
    "channels in a list": (circuit_data(Q, [1]), r"\[0\.attn\.q\] is a list, expected a plain te"),
    "channels in a table": (circuit_data(Q, torch.ones(1, 1).int()), r"shape \(1, 1\), expected 1"),
    "sparse channels": (circuit_data(Q, ONE.to_sparse()), "expected a plain tensor"),
    "more channels than there are": (circuit_data(Q, WIDE), r"shape \(1000000000000,\), expected"),
    "a loss in words": (importances("loss", "small"), "importances.loss is a str, expected a numb"),
    "two losses": (importances("loss", torch.ones(2)), r"loss is of shape \(2,\)"),
    "node losses in a list": (importances("ch_interv_losses", [1]), "ch_interv_losses is a list"),
    "too few node losses": (
        importances("ch_interv_losses", {"0.mlp.act_in": []}), "is not a list of 1 losses, one for"
    ),
    "edges in a dict": (importances("pair_data", {}), "pair_data is a dict, expected a list"),
    "half an edge": (importances("pair_data", [[ONE]]), r"pair_data\[0\] is not \[values, sources"),
    "edges of one site": (importances("pair_data", [[ONE, ONE, ONE, (Q,)]]), "not name two sites"),
    "edges of another shape": (
        importances("pair_data", [[torch.ones(2, 1), ONE, ONE, (Q, "0.attn.k")]]),
        r"values of shape \(2, 1\) for 1 sources and 1 targets",
    ),
    "samples in a dict": (importances("task_samples", {}), "samples is not .ids, activations."),
    "an odd number of samples": (
        importances("task_samples", (torch.ones(3, 2).int(), {})), "has 3 rows; expected two for"
    ),
    "a token that is not there": (
        importances("task_samples", (torch.full((2, 2), 10**6), {})), "token id 1000000, outside"
    ),
    "huge samples": (
        importances("task_samples", (torch.zeros(1, 1).int().expand(10**5, 10**5), {})),
        "expected 2 axes and at most 1,048,576 numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_wrong_part_is_refused(checkpoint, truth, tmp_path, fault):
    """By one message with the file, the part, what was got and what was expected."""
    change, message = HOSTILE[fault]
    held = viz_data(checkpoint, truth["nodes"])
    change(held)
    path = written(tmp_path, held)
    with pytest.raises(CircuitError, match=rf"viz_data\.pt: .*{message}.*Is it a released circuit"):
        read_viz_data(path, checkpoint.architecture)


@pytest.mark.parametrize(
    ("name", "ours"),
    [("n_layer", "n_layer"), ("block_size", "n_ctx"), ("n_mlp", "d_mlp"), ("n_embd", "d_model")],
)
def test_a_circuit_of_a_model_of_other_sizes_is_refused(checkpoint, truth, tmp_path, name, ours):
    """Where the file says them, under the release's names."""
    held = viz_data(checkpoint, truth["nodes"])
    size = getattr(checkpoint.architecture, ours)
    held["importances"]["beeg_model_config"][name] = size
    read_viz_data(written(tmp_path, held), checkpoint.architecture)
    held["importances"]["beeg_model_config"][name] = 999
    match = f"of a model with {name} 999, but the checkpoint has {size}"
    with pytest.raises(MismatchError, match=match):
        read_viz_data(written(tmp_path, held), checkpoint.architecture)


class Code:
    """Saved, it asks whoever loads it to run something."""

    def __reduce__(self):
        return print, ("run",)


def test_no_code_of_a_file_is_run(checkpoint, tmp_path, capsys):
    """It is refused by name."""
    with pytest.raises(CircuitError, match=r"holds a (builtins\.)?print, which is not read"):
        read_viz_data(written(tmp_path, {"circuit_data": Code()}), checkpoint.architecture)
    assert capsys.readouterr().out == ""


def test_what_is_no_such_file_is_refused(checkpoint, tmp_path):
    """Missing, cut, not a dict, packed so that it grows."""
    arch = checkpoint.architecture
    with pytest.raises(CircuitError, match=r"no such file: .*viz_data\.pt; expected a released"):
        read_viz_data(tmp_path, arch)
    with pytest.raises(CircuitError, match=r"viz_data\.pt holds a list; expected a released"):
        read_viz_data(written(tmp_path, [1]), arch)
    whole = (tmp_path / "viz_data.pt").read_bytes()
    (tmp_path / "viz_data.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CircuitError, match=r"viz_data\.pt is not a whole file of torch\.save"):
        read_viz_data(tmp_path, arch)
    with zipfile.ZipFile(tmp_path / "viz_data.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("viz_data/data.pkl", bytes(200 * 2**20))
    with pytest.raises(CircuitError, match=r"entries say 209,715,200, packed; expected what torch"):
        read_viz_data(tmp_path, arch)


@settings(max_examples=40)
@given(at=st.integers(0, 10**9), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_is_read_or_refused(checkpoint, truth, tmp_path_factory, at, byte, cut):
    """Never a crash: one byte is another, or the end is missing."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    data = bytearray(written(folder, viz_data(checkpoint, truth["nodes"])).read_bytes())
    data[at % len(data)] = byte
    (folder / "viz_data.pt").write_bytes(data[: at % len(data)] if cut else data)
    try:
        read_viz_data(folder, checkpoint.architecture)
    except CircuitkitError as error:
        assert "viz_data.pt" in str(error)  # noqa: PT017


# The page

PAGE = (Path(__file__).parents[1] / "docs" / "released-circuits.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_code_of_the_page_runs(planted, truth, checkpoint, tmp_path, monkeypatch, capsys):
    """On a file of the tests; the prompts of the file become a task with the answers given."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, viz_data(checkpoint, truth["nodes"]))
    importing, making = (code for language, code in BLOCKS if language == "python")
    task = str(planted / "task.jsonl")
    code = importing.replace("path/to/model", str(planted)).replace("bracket_counting", task)
    exec(code, {})
    assert "circuit=" in capsys.readouterr().out
    exec(making, {})
    lines = [json.loads(line) for line in Path("samples.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "prompt_a": [3, 0, 4], "answer_a": 3, "prompt_b": [3, 0, 7], "answer_b": 5
    }  # fmt: skip


@pytest.mark.parametrize(
    "line", [line for language, text in BLOCKS if not language for line in text.splitlines()]
)
def test_the_commands_of_the_page_exist(line):
    """With their options."""
    command_exists(line)


# From the command line


def converted(*arguments):
    """``circuitkit convert`` with these arguments."""
    convert.main(list(map(str, arguments)), standalone_mode=False)


def test_a_released_circuit_is_converted_in_words(planted, truth, checkpoint, tmp_path, capsys):
    """Measured and published losses side by side; the file is known by its name."""
    path = written(tmp_path / "release", viz_data(checkpoint, truth["nodes"]))
    assert is_released_circuit(path)
    assert is_released_circuit(path.parent)
    assert not is_released_circuit(planted)
    given = ["--checkpoint", str(planted), "--task", str(planted / "task.jsonl"), "--quiet"]
    converted(path, *given, "--out", tmp_path / "out")
    printed = capsys.readouterr().out
    assert f"{len(truth['nodes'])} nodes, {len(truth['edges'])} edges" in printed
    assert "published  0.250 nats, as published, halved to the loss of a pair" in printed
    converted(path, *given, "--out", tmp_path / "out", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["published"] == {"loss_nats": 0.25, "about": AS_PUBLISHED}


def test_a_released_circuit_of_another_name_is_known_by_its_model_and_task(
    planted, truth, checkpoint, tmp_path
):
    """Nothing else takes both."""
    path = written(tmp_path / "release", viz_data(checkpoint, truth["nodes"]))
    path = path.rename(path.with_name("renamed.pt"))
    given = ["--checkpoint", planted, "--task", planted / "task.jsonl", "--quiet"]
    converted(path, *given, "--out", tmp_path / "out")
    assert ck.Circuit.load(tmp_path / "out").n_nodes == len(truth["nodes"])


@pytest.mark.parametrize("missing", ["checkpoint", "task"])
def test_a_released_circuit_needs_its_model_and_a_task(tmp_path, missing):
    """Which are not in the file."""
    given = {"checkpoint": "a", "task": "b"}
    del given[missing]
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    with pytest.raises(UsageError, match="holds neither its model nor the answers of its task"):
        converted(tmp_path / "viz_data.pt", *options, "--out", tmp_path / "out")


def test_a_checkpoint_is_converted_without_task_or_model(planted, tmp_path):
    """They are for a released circuit."""
    with pytest.raises(UsageError, match=r"--task is for a released circuit, a viz_data\.pt, and"):
        converted(planted, "--task", "quotes.csv", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
