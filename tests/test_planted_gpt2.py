"""Laws of models planted in GPT-2's format: anyone can run them, and what is said of them is so."""

import csv
import json
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from plain_forward import gpt2_logits
from safetensors.torch import load_file, save_file
from test_cli import cli

from circuitkit import Claim, validate
from circuitkit.checkpoints import load_checkpoint
from circuitkit.errors import CircuitError, MismatchError, UsageError
from circuitkit.extraction import ExtractConfig, PruningConfig, measure_means, run_extraction
from circuitkit.extraction.masked_model import masked_differences
from circuitkit.model import pair_losses, record_tap
from circuitkit.nodes import Node, NodeSet, Site
from circuitkit.planted import load_truth, plant, save_gpt2
from circuitkit.planted.catalogue import planted_from
from circuitkit.planted.copying import closing_quote
from circuitkit.planted.gpt2_wiring import BEGINNING, GPT2Variation
from circuitkit.planted.live_nodes import find_alive
from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_model import TABLE
from circuitkit.planted.variation import Variation
from circuitkit.planted.wire import wire
from circuitkit.planted.wrong_circuits import WHY
from circuitkit.task import load_task

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from planted_cases import Bench

MODELS = [
    ("selected_slot", 0, 0.0), ("closing_quote", 1, 0.2), ("neuron_chain", 2, 0.0),
    ("twin_heads", 0, 0.2), ("cancelling_pair", 1, 0.0), ("decoys", 2, 0.2),
    ("outweighed", 0, 0.2), ("either_feature", 1, 0.0), ("variable_binding", 2, 0.2),
    ("twin_neurons", 1, 0.0),
]  # fmt: skip
"""Every mechanism, its seed and its noise; all seeds: tests/benchmarks/planted_gpt2.py."""

MISSING = {"random of the same size", "less one part", "the decoy", "one family only"}
"""Kinds of wrong circuits that miss the target."""

NAMES = [name for name, _, _ in MODELS]
LOUD = "transformers is not installed: that it reads these folders is NOT checked here"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a model once: what was planted, the record, its folder."""

    @cache
    def export(name):
        _, seed, noise = next(model for model in MODELS if model[0] == name)
        folder = tmp_path_factory.mktemp(name)
        planted = plant(name, seed=seed, noise=noise, format="gpt2")
        return SimpleNamespace(planted=planted, truth=save_gpt2(planted, folder), folder=folder)

    return export


def rows(folder):
    with (folder / "task.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def nodes(names):
    return NodeSet.of(map(Node.parse, names))


@pytest.fixture(scope="module")
def measured(exported):
    """The loss of a set of nodes of an exported model as read back, on its selection pairs."""

    @cache
    def measure(name):
        folder = exported(name).folder
        checkpoint, task = load_checkpoint(folder), load_task(folder / TABLE)
        model, pairs = checkpoint.load_model(), checkpoint.ask(task, "select", 999)
        values = measure_means(model, checkpoint.load_reference()).values
        return lambda kept: float(
            pair_losses(masked_differences(model, pairs, kept, values)).mean()
        )

    return measure


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_circuits_are_those_wired(exported, measured, name):
    """Brute force finds them, the model as read back agrees, with a gap to the next loss."""
    at = exported(name)
    found = {nodes(circuit.nodes) for circuit in at.truth.smallest}
    assert found == set(at.planted.wired)
    assert all(measured(name)(circuit) < 0.12 for circuit in found)
    assert at.truth.refused_nats is None or at.truth.refused_nats > 0.2
    assert at.truth.drift_nats < 0.01


def test_the_search_agrees_with_trying_every_subset(exported):
    """Of the nodes that can matter, by the definition, of the model as read back."""
    at = exported("neuron_chain")
    checkpoint = load_checkpoint(at.folder)
    model, task = checkpoint.load_model(), load_task(at.folder / TABLE)
    pairs = checkpoint.ask(task, "select", 999)[::8]
    values = measure_means(model, checkpoint.load_reference()).values
    live = find_alive(model, pairs, values).nodes
    met = {}
    for size in range(len(live) + 1):
        for some in combinations(live, size):
            kept = NodeSet.of(some)
            if float(pair_losses(masked_differences(model, pairs, kept, values)).mean()) <= 0.15:
                met.setdefault(size, set()).add(kept)
    assert met[min(met)] == {nodes(circuit.nodes) for circuit in at.truth.smallest}


@pytest.mark.parametrize("name", NAMES)
def test_the_model_does_its_whole_task(exported, name):
    """Every prompt of task.csv, on both sides, with a beginning token in front and without."""
    folder = exported(name).folder
    checkpoint = load_checkpoint(folder)
    model, tokenizer = checkpoint.load_model(), checkpoint.tokenizer
    start = tokenizer.token_to_id(BEGINNING)
    asked = [(r["clean"], r["answer"], r["foil"]) for r in rows(folder)]
    asked += [(r["corrupt"], r["foil"], r["answer"]) for r in rows(folder)]
    by_length = {}
    for prompt, answer, foil in asked:
        ids, *(right, wrong) = (tokenizer.encode(text).ids for text in (prompt, answer, foil))
        by_length.setdefault(len(ids), []).append((ids, right[0], wrong[0]))
    for same in by_length.values():
        tokens, right, wrong = (torch.tensor(part) for part in zip(*same, strict=True))
        each = torch.arange(len(tokens))
        for read in (tokens, torch.cat([torch.full((len(tokens), 1), start), tokens], 1)):
            logits = model(read)[:, -1]
            assert bool((logits[each, right] > logits[each, wrong] + 1).all())


def prompts(folder):
    """The token ids of some prompts."""
    tokenizer = load_checkpoint(folder).tokenizer
    return [
        tokenizer.encode(r[side]).ids for r in rows(folder)[::90] for side in ("clean", "corrupt")
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_a_gpt2(exported, name):
    """A forward pass written apart, from the files alone, gives the logits to 1e-5."""
    folder = exported(name).folder
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    assert set(weights) == {n for n in weights if n.startswith("transformer.")}
    for ids in prompts(folder)[:4]:
        expected = gpt2_logits(config, weights, torch.tensor(ids))
        found = exported(name).planted.model(torch.tensor([ids]))[0]
        assert torch.allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_transformers_computes_the_same(exported, name):
    """It loads the folder by itself, tokenizer too, and gives the logits to 1e-5."""
    transformers = pytest.importorskip("transformers", reason=LOUD)
    folder = exported(name).folder
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.bos_token == BEGINNING
    assert [tokenizer(r["clean"]).input_ids for r in rows(folder)[::90]] == prompts(folder)[::2]
    for ids in prompts(folder):
        found = exported(name).planted.model(torch.tensor([ids]))
        with torch.no_grad():
            assert torch.allclose(found, model(torch.tensor([ids])).logits, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_five_lines_of_the_readme_print_all_of_it(exported):
    """In the folder, with transformers alone."""
    pytest.importorskip("transformers", reason=LOUD)
    folder = exported("cancelling_pair").folder
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) == 5
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "1.0\n"


def test_the_readme_says_how_prompts_begin(exported):
    """transformer-lens puts a token in front, unless told not to."""
    text = (exported("outweighed").folder / "README.md").read_text()
    assert "`prepend_bos=False`" in text
    assert "all 528 pairs" in text
    assert len(rows(exported("outweighed").folder)) == 528


@pytest.mark.parametrize("name", ["closing_quote", "twin_heads"])
def test_the_norms_are_one_map_everywhere(exported, name):
    """At every place of the whole model the mean is 0 and a block reads what was written."""
    model = exported(name).planted.model
    tokens = exported(name).planted.reference[:64]
    seen = {}
    model(tokens, record_tap(seen))
    stream = model.embed(tokens)[0]
    for layer in range(model.arch.n_layer):
        for block in ("attn", "mlp"):
            assert float(stream.mean(-1).abs().max()) < 1e-4
            read = seen[Site(layer, block, "act_in")]
            assert torch.allclose(read, stream, rtol=0.05, atol=1e-4)
            stream = stream + seen[Site(layer, block, "resid_delta")]


def test_noise_computes_something():
    """A planted failure: noise that is no noise would pass every test on noise."""
    planted = plant("twin_heads", noise=0.2, format="gpt2")
    seen = {}
    planted.model(planted.reference[:8], record_tap(seen))
    written = [
        float(seen[site][..., list(planted.inert[site])].std())
        for site in seen if site.place == "resid_delta"
    ]  # fmt: skip
    assert min(written) > 0.01
    assert len(planted.inert & planted.mechanism) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_table_holds_the_pairs_that_were_planted(exported, name):
    """Every prompt and answer, template and split, but for the space before an answer."""
    at = exported(name)
    task, lines = load_task(at.folder / TABLE), map(json.loads, at.planted.task_lines.splitlines())
    assert not task.notes
    wanted, held = defaultdict(list), {}
    for line in lines:
        sides = tuple((line[s]["prompt"].strip(), line[s]["answer"].strip()) for s in "ab")
        wanted[line["split"]].append((*sides, line["template"]))
    for split in wanted:
        pairs = task.up_to(split, 10_000, 0)
        sides = (((p.a.text, p.a.answer[1:]), (p.b.text, p.b.answer[1:])) for p in pairs)
        held[split] = [(*both, p.template) for both, p in zip(sides, pairs, strict=True)]
    assert {s: sorted(found) for s, found in held.items()} == {
        s: sorted(found) for s, found in wanted.items()
    }


def found_in(folder):
    """What a short search finds, read from the files alone."""
    config = ExtractConfig(
        target_loss_nats=0.15, n_train=96, n_select=48, n_test=64, rung="smallest",
        pruning=PruningConfig(n_steps=60),
    )  # fmt: skip
    return run_extraction(load_checkpoint(folder), load_task(folder / TABLE), config)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cancelling_pair"])
def test_extraction_finds_the_truth_in_the_folder(exported, name):
    """The folder is a checkpoint like any other: the same nodes as brute force."""
    at = exported(name)
    found = found_in(at.folder).circuit.nodes
    assert NodeSet(found.channels) in {nodes(c.nodes) for c in at.truth.smallest}


@pytest.mark.slow
def test_the_validator_refuses_half_of_a_pair(exported):
    """It meets the target, and knocked out it leaves the other half, which votes wrong."""
    at = exported("cancelling_pair")
    (half,) = [w for w in at.truth.wrong if w.kind == "half of a cancelling pair"]
    case = Bench.at("cancelling_pair", 1, at.folder).case("", "", nodes(half.nodes))
    found = validate(case.checkpoint, case.task, case.circuit, means=case.means, n_pairs=96)
    assert found.grade == "F"
    assert found[Claim.NECESSARY].note.startswith("ANTI-CHANCE")


@pytest.mark.parametrize("name", NAMES)
def test_each_wrong_circuit_is_what_it_is_called(exported, measured, name):
    """Random and incomplete ones miss the target; the others are not the mechanism."""
    at, loss = exported(name), measured(name)
    kinds = {w.kind for w in at.truth.wrong}
    assert kinds >= {"random of the same size", "less one part", "plus idle nodes"}
    for wrong in at.truth.wrong:
        kept = nodes(wrong.nodes)
        assert wrong.why == WHY[wrong.kind]
        assert kept != at.planted.mechanism
        misses = wrong.kind in {
            "random of the same size",
            "less one part",
            "the decoy",
            "one family only",
        }
        assert (loss(kept) > 0.15) == misses


def test_the_parts_are_heads_mlps_and_edges(exported):
    """Of two neurons and the head that reads them."""
    at = exported("closing_quote")
    (head,) = at.truth.mechanism.heads
    name = f"a{head[0]}.h{head[1]}"
    assert at.truth.mechanism.mlps == [0]
    assert len(at.truth.mechanism.neurons) == 2
    assert set(at.truth.mechanism.part_edges) == {
        ("embed", "m0"), ("m0", f"{name}.k"), ("m0", f"{name}.v"), (name, "logits"),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["twin_heads"])
def test_the_same_seed_gives_the_same_small_files(exported, tmp_path, name):
    """Byte for byte, at most 2 MB."""
    at = exported(name)
    save_gpt2(plant(name, seed=0, noise=0.2, format="gpt2"), tmp_path)
    files = sorted(at.folder.iterdir())
    assert [f.name for f in files] == sorted(f.name for f in tmp_path.iterdir())
    assert all(f.read_bytes() == (tmp_path / f.name).read_bytes() for f in files)
    assert sum(f.stat().st_size for f in files) < 2 * 2**20


def copy_of(folder, target):
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_the_truth_is_refused_beside_other_weights(exported, tmp_path):
    """By their hash: one weight edited, and a file gone."""
    folder = copy_of(exported("twin_heads").folder, tmp_path)
    assert load_truth(folder) == exported("twin_heads").truth
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.0.attn.c_proj.bias"][0] = 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    again = r"model\.safetensors is not the one .* twin_heads .* --width 64 --noise 0.2 --out DIR"
    with pytest.raises(MismatchError, match=again):
        load_truth(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(MismatchError, match="sha256 no file"):
        load_truth(folder)


def test_the_truth_is_refused_beside_another_reference(exported, tmp_path):
    """The means are over it, and a smallest circuit is smallest under these."""
    folder = copy_of(exported("twin_heads").folder, tmp_path)
    tokens = load_file(folder / "reference.safetensors")["tokens"]
    save_file({"tokens": tokens.flip(0)}, folder / "reference.safetensors")
    with pytest.raises(MismatchError, match=r"reference\.safetensors is not the one"):
        load_truth(folder)


@pytest.mark.parametrize("change", [{"format": "circuitkit.truth/1"}, {"extra": 1}, {"seed": "0"}])
def test_another_truth_is_refused(exported, tmp_path, change):
    """Read strictly, as every file from outside."""
    folder = copy_of(exported("twin_heads").folder, tmp_path)
    record = json.loads((folder / "truth.json").read_text())
    (folder / "truth.json").write_text(json.dumps({**record, **change}))
    with pytest.raises(CircuitError, match=r"truth\.json: .* Expected circuitkit\.truth-gpt2/1"):
        load_truth(folder)


def test_a_folder_without_a_truth_is_refused(tmp_path):
    with pytest.raises(CircuitError, match="the truth of a model planted in GPT-2's format"):
        load_truth(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "norm_trap"}, "works through rmsnorm, and GPT-2 has LayerNorm"),
        ({"sink": True}, "GPT-2 has no attention sink"),
        ({"topk": 0.5}, "GPT-2 has no activation top-k"),
        ({"width": 48}, "expected a multiple of 8 from 64"),
        ({"width": 70}, "expected a multiple of 8 from 64"),
    ],
)
def test_what_gpt2_has_not_is_refused(options, message):
    """Before anything is wired."""
    with pytest.raises(UsageError, match=message):
        plant(**{"name": "twin_heads", "format": "gpt2", **options})


def a_plan(change):
    """One head, changed so that GPT-2 breaks it."""
    w = wire(GPT2Variation(), ("left", "right"))
    w.embed("side", {"left": 1, "right": -1})
    mechanism = w.average_head(0, "side", "seen", 16) | w.answer("seen", "left", "right", gain=4)
    change(w)
    return Plan(
        wiring=w, mechanism=mechanism, answers=("left", "right"),
        sides=lambda i: (f"{i.before} left {i.after}", f"{i.before} right {i.after}"),
    )  # fmt: skip


def loud(w):
    """A bystander so loud that the norm's scale follows it: alone, the head is amplified."""
    w.average_head(0, "side", "loud", 16_000)


def unspoken(w):
    """A second head of which the plan does not tell."""
    w.average_head(0, "side", "seen", 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unspoken, "LayerNorm breaks the truth of made up: brute force finds 2 smallest circuits"),
        (loud, "nodes that reach no answer change the loss of a smallest circuit"),
    ],
)
def test_a_truth_that_layernorm_breaks_is_refused(tmp_path, change, message):
    """When it is planted, with the reason, and nothing is written."""
    with pytest.raises(UsageError, match=message):
        save_gpt2(planted_from(a_plan(change), "made up", ""), tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_dead_nodes_may_not_do_is_refused(tmp_path):
    """A planted failure: a second head, called inert, does the task where the first is cut."""
    planted = planted_from(a_plan(unspoken), "made up", "")
    every = NodeSet.full(planted.model.arch.widths)
    values = NodeSet.of(n for n in every if n.site == Site(0, "attn", "v"))
    called_inert = replace(planted, inert=planted.inert | (values - planted.mechanism))
    with pytest.raises(UsageError, match=r"less one node to 0\.0"):
        save_gpt2(called_inert, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_of_our_own_architecture_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"expected plant\('twin_heads', format='gpt2'\)"):
        save_gpt2(plant("twin_heads"), tmp_path)


def test_an_answer_that_is_read_inside_is_refused():
    """The unembedding is tied: an answer token in the prompt would write what is read."""
    plan = a_plan(lambda w: w.neuron(0, {"seen": 1}, {"more": 1}))
    with pytest.raises(UsageError, match="reads a channel inside the model that its answers"):
        planted_from(plan, "made up", "")


def test_a_plan_is_wired_for_the_format_of_its_variation():
    """One plan, two architectures, as many nodes."""
    ours, theirs = (closing_quote(v) for v in (Variation(), GPT2Variation()))
    assert ours.wiring.arch.norm == "none"
    assert theirs.wiring.arch.norm == "layernorm"
    assert len(ours.mechanism) == len(theirs.mechanism)


def test_the_command_writes_the_folder(tmp_path):
    """And names the wrong circuits."""
    ran = cli("plant", "cancelling_pair", "--format", "gpt2", "--out", tmp_path / "out")
    assert ran.code == 0
    assert "1 smallest circuit, 4 nodes" in ran.out
    assert "truth.json: half of a cancelling pair, random" in ran.out
    assert load_truth(tmp_path / "out").name == "cancelling_pair"


def test_the_command_refuses_in_one_message(tmp_path):
    """With exit code 2."""
    ran = cli("plant", "norm_trap", "--format", "gpt2", "--out", tmp_path / "out")
    assert ran.code == 2
    assert "Plant it without --format gpt2" in ran.err
    assert not (tmp_path / "out").exists()
