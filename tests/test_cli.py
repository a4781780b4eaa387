"""Laws of the command line: what is printed where, exit codes, and the files that are left."""

import contextlib
import io
import json
import re
import resource
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from example_circuit import example_circuit
from tiny import tiny_checkpoint, token_task

import circuitkit.extraction
from circuitkit.checkpoints import bundled_checkpoints, load_checkpoint
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.circuit.circuit_json import SMALLEST
from circuitkit.cli import COMMANDS, main
from circuitkit.cli.circuit_text import in_words
from circuitkit.errors import CircuitError
from circuitkit.extraction import ExtractConfig, Means, PruningConfig, criterion
from circuitkit.findings import DEFAULT_CLAIMS, Validation
from circuitkit.nodes import FINAL_RESID, Node, NodeSet
from circuitkit.planted import plant
from circuitkit.provenance import Named
from circuitkit.task import SPLITS, builtin_tasks, load_task
from circuitkit.validation import leave_one_out
from circuitkit.validation.claims import beats_controls, integrity

NANO = "tinypython-nano"
FEW_STEPS = PruningConfig(n_steps=20, lr=0.15, pressure_start=1e-3)


def small_config(**settings):
    """What ``extract`` asks for, but with little of everything, so that a test does not wait."""
    few = {"restarts": 1, "n_train": 64, "n_select": 32, "n_test": 48, "rung": "smallest"}
    few |= {"pruning": FEW_STEPS} if settings.get("method", "pruning") == "pruning" else {}
    return ExtractConfig(**settings | few)


CIRCUIT_FILES = {
    "circuit.json", "means.safetensors", "pruning.json", "nodes.csv", "edges.csv", "circuit.dot",
    "circuit.svg", "ladder.csv", "explanation.json", "paths.dot", "paths.svg",
}  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def cli(*arguments):
    """Run ``circuitkit`` in this process; anything but an orderly exit is raised."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["circuitkit", *map(str, arguments)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as exited,
        ):
            main()
    finally:
        sys.argv = before
    return Ran(exited.value.code, out.getvalue(), err.getvalue())


def process(*arguments, **options):
    """The same in a process of its own."""
    command = [sys.executable, "-c", "from circuitkit.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        check=False, capture_output=True, text=True, **options,
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def few_controls():
    """Fewer draws than a verdict needs: here it is only asked whether it is reached."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(beats_controls, "N_DRAWS", 9)
        patched.setattr(leave_one_out, "MOST_NODES", 5)
        yield


@pytest.fixture
def small(monkeypatch):
    """Extractions of a few steps, and integrity that a small reference passes."""
    monkeypatch.setattr(circuitkit.extraction, "ExtractConfig", small_config)
    monkeypatch.setattr(integrity, "HALVES_NATS", 9.0)
    monkeypatch.setattr(criterion, "DRIFT_NATS", 9.0)


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """extract, validate, report, once; with what each of them printed."""
    folder = tmp_path_factory.mktemp("flow") / "circuit"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(circuitkit.extraction, "ExtractConfig", small_config)
        patched.setattr(integrity, "HALVES_NATS", 9.0)
        patched.setattr(criterion, "DRIFT_NATS", 9.0)
        options = ("--reference-tokens", 4096, "--target-loss", 0.3)
        ran = {
            "extract": cli("extract", NANO, "--task", "if_equals", "--out", folder, *options),
            "validate": cli("validate", folder, "--json"),
            "report": cli("report", folder),
        }
    return folder, ran


@pytest.fixture
def copy(flow, tmp_path):
    """A circuit folder to write into."""
    return Path(shutil.copytree(flow[0], tmp_path / "copy"))


# Help


def test_help_shows_every_command():
    """And exits 0."""
    ran = cli("--help")
    assert ran.code == 0
    assert all(f"\n  {name} " in ran.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    """That begins with the command itself."""
    example = re.compile(rf"^ +circuitkit {name}\b", re.MULTILINE)
    for flag in ("--help", "-h"):
        ran = cli(name, flag)
        assert ran.code == 0
        assert "Example:" in ran.out
        assert example.search(ran.out)


@pytest.mark.parametrize(
    "name", ["checkpoints", "inspect", "train", "extract", "validate", "report", "compare"]
)
def test_every_command_with_a_result_prints_it_as_json(name):
    """``--json`` is an option of each."""
    assert "--json" in cli(name, "--help").out


def test_help_imports_no_library():
    """But click: help is there before the others would be."""
    code = (
        "import sys\nfrom circuitkit.cli import circuitkit\n"
        "circuitkit.main(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'pandas', 'numpy', 'pydantic', 'jinja2', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_is_quick():
    """Under 0.6 s of processor time, the median of three."""

    def seconds():
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process("--help").returncode == 0
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime

    assert median(seconds() for _ in range(3)) < 0.6


MODULES = """
import circuitkit as ck
assert issubclass(ck.errors.CheckpointError, ck.CircuitkitError)
assert ck.extraction.extract is ck.extract
assert not hasattr(ck, "extractt")
try:
    ck.extractt
except AttributeError as error:
    print(error)
"""


def test_the_modules_of_the_package_are_attributes():
    """Before any name of it was used; any other is no attribute."""
    ran = subprocess.run(
        [sys.executable, "-c", MODULES], check=False, capture_output=True, text=True
    )
    assert (ran.stderr, ran.stdout) == ("", "module 'circuitkit' has no attribute 'extractt'\n")


def test_the_version_is_printed():
    """That of the package."""
    ran = cli("--version")
    assert ran.code == 0
    assert circuitkit.__version__ in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exract"], "No such command 'exract'"),
        (["tasks", "shw"], "No such command 'shw'"),
        (["extract", NANO], "Missing option '--task'"),
        (["extract", NANO, "--task", "if_equals"], "Missing option '--out'"),
        (["inspect"], "Missing argument 'CHECKPOINT'"),
        (["report"], "Missing argument 'DIR...'"),
        (["validate", "x", "--pairs", "0"], "Invalid value for '--pairs'"),
        (["extract", NANO, "--ablation", "half"], "Invalid value for '--ablation'"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, message):
    """With click's message on stderr and nothing on stdout."""
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


# What is there


def test_bundled_checkpoints_are_listed():
    """Size, nonzeros and validation loss of each."""
    rows = cli("checkpoints", "--json").json
    assert [row["name"] for row in rows] == list(bundled_checkpoints())
    for row in rows:
        assert 0 < row["n_nonzero"] <= row["n_parameters"]
        assert row["sha256"] == load_checkpoint(row["name"]).sha256
        assert row["validation_loss_nats"] > 0
    shown = cli("checkpoints")
    assert (shown.code, shown.err) == (0, "")
    assert all(row["name"] in shown.out for row in rows)


def test_inspect_has_exactly_the_keys_of_the_contract():
    """And numbers that agree with one another."""
    found = cli("inspect", NANO, "--json").json
    assert list(found) == [
        "format", "name", "architecture", "n_parameters", "n_nonzero", "n_nodes", "sites",
        "matrices", "renamed", "dropped", "warnings", "layers", "n_sample_tokens",
        "nonzero_activations", "residual_kurtosis",
    ]  # fmt: skip
    assert found["format"] == "circuitkit.checkpoint/1"
    assert found["name"] == NANO
    assert found["n_nodes"] == sum(found["sites"].values())
    assert found["n_nonzero"] == sum(m["nonzero"] for m in found["matrices"])
    assert found["architecture"]["vocab_size"] == 512
    assert all(list(m) == ["name", "shape", "nonzero", "l0_fraction"] for m in found["matrices"])
    assert len(found["sites"]) == 8 * found["architecture"]["n_layer"] + 1
    assert len(found["layers"]) == found["architecture"]["n_layer"]
    for layer in found["layers"]:
        assert list(layer) == ["layer", "n_neurons", "n_unwired", "n_silent"]
    assert len(found["residual_kurtosis"]) == found["architecture"]["n_layer"] + 1


def test_inspect_shows_every_figure_as_text():
    """The nonzeros, a line a matrix, a layer, a kind of site, a place in the stream."""
    found, shown = cli("inspect", NANO, "--json").json, cli("inspect", NANO)
    assert (shown.code, shown.err) == (0, "")
    assert f"{found['n_nonzero']:,} nonzero" in shown.out
    lines = [line.split() for line in shown.out.splitlines()]
    for matrix in found["matrices"]:
        shape = " × ".join(map(str, matrix["shape"])).split()
        figures = (f"{matrix['nonzero']:,}", f"{matrix['l0_fraction']:.4f}")
        assert [matrix["name"], *shape, *figures] in lines
    for layer in found["layers"]:
        assert list(map(str, layer.values())) in lines
    for kind, share in found["nonzero_activations"].items():
        assert [kind, f"{share:.4f}"] in lines
    assert ["at", "the", "end", f"{found['residual_kurtosis'][-1]:.1f}"] in lines


def test_inspect_says_what_is_odd(tmp_path):
    """A folder without a tokenizer does tasks of token ids only."""
    folder = tiny_checkpoint(tmp_path / "tiny")
    assert "no tokenizer.json" in cli("inspect", folder).out
    (folder / "reference.safetensors").unlink()
    assert "warning: no reference.safetensors" in cli("inspect", folder).out
    assert len(cli("inspect", folder, "--json").json["warnings"]) == 2


def test_tasks_are_listed():
    """Name, question, templates a split, what leaks and what the shifts break."""
    rows = cli("tasks", "list", "--json").json
    assert [row["name"] for row in rows] == list(builtin_tasks())
    for row in rows:
        assert list(row) == ["name", "question", "n_templates", "leaks", "breaks"]
        assert set(row["n_templates"]) == set(SPLITS)
        assert set(row["leaks"] or LEAKS) == set(LEAKS)
    shown = cli("tasks", "list").out
    assert all(f"  {row['question']}\n" in shown for row in rows)
    assert max(map(len, shown.splitlines())) <= 100
    (line,) = [x.split() for x in shown.splitlines() if x.split()[:1] == [rows[0]["name"]]]
    assert line[1:5] == [str(n) for n in rows[0]["n_templates"].values()]
    leaks = rows[0]["leaks"]
    assert line[5:] == [f"{leaks[name]:.2f}" if leaks else "-" for name in LEAKS]


LEAKS = ("last_token", "bag_of_tokens", "length")


@pytest.mark.parametrize("name", builtin_tasks())
def test_a_task_is_shown(name):
    """Question, source, hash, leaks, a few pairs of every split, what each ood form breaks."""
    found = cli("tasks", "show", name, "--json").json
    assert list(found) == [
        "name", "question", "source", "sha256", "n_templates", "leaks", "breaks", "notes", "pairs",
    ]  # fmt: skip
    assert set(found["pairs"]) == set(SPLITS)
    for pairs in found["pairs"].values():
        for pair in pairs:
            assert set(pair) == {"a", "b", "template"}
            assert pair["a"]["answer"] != pair["b"]["answer"]
    shown = cli("tasks", "show", name).out
    assert found["question"] in shown
    assert all(f"  {i}. {text}\n" in shown for i, text in enumerate(found["breaks"], 1))


def test_what_a_file_does_not_say_is_shown_as_such(tmp_path):
    """No leaks declared, no shortcut named."""
    text = own_toml(tmp_path / "mine.toml").read_text()
    kept = [
        line for line in text.splitlines() if not line.startswith(("breaks", "[leaks]", *LEAKS))
    ]
    (tmp_path / "mine.toml").write_text("\n".join(kept))
    shown = cli("tasks", "show", tmp_path / "mine.toml").out
    assert "predicted by: the file does not say" in shown
    assert "ood forms break\n  1. -\n" in shown


def test_a_task_is_checked():
    """Everything counted and measured; exit code 1 exactly if there is a problem."""
    ran = cli("tasks", "check", "if_equals", "--checkpoint", NANO, "--pairs", 64, "--json")
    assert list(ran.json) == [
        "task", "checkpoint", "n_pairs", "n_templates", "loss_nats", "accuracy", "n_tokens",
        "answers", "duplicates", "unusable", "leaks", "declared_leaks", "notes", "problems",
    ]  # fmt: skip
    for name in ("loss_nats", "accuracy"):
        assert list(ran.json[name]) == ["mean", "low", "high"]
        assert ran.json[name]["low"] <= ran.json[name]["mean"] <= ran.json[name]["high"]
    assert list(ran.json["n_tokens"]) == ["min", "median", "max"]
    assert ran.json["answers"] == {" ==": 0.5, " =": 0.5}
    assert tuple(ran.json["leaks"]) == LEAKS
    assert ran.json["unusable"] == {"n_pairs": 0, "reasons": {}, "pairs": []}
    assert ran.code == (1 if ran.json["problems"] else 0)


def test_a_task_the_model_cannot_do_is_a_problem(tmp_path):
    """A random model: exit code 1, and the problem in words."""
    folder = tiny_checkpoint(tmp_path / "tiny")
    task = token_task(tmp_path / "t.jsonl", load_checkpoint(folder).architecture)
    ran = cli("tasks", "check", task, "--checkpoint", folder)
    assert ran.code == 1
    assert "problem: accuracy lower bound" in ran.out


def letter_task(path):
    """Text in the letters of the tiny tokenizer, twelve pairs a split."""
    lines = [
        {
            "a": {"prompt": f"{x}{y}ca", "answer": "i"},
            "b": {"prompt": f"{x}{y}da", "answer": "j"},
            "template": f"{split}{i % 3}",
            "split": split,
        }
        for split, first, second in (
            ("train", "abcd", "abc"),
            ("select", "efgh", "efg"),
            ("test", "abcd", "efg"),
        )
        for i, (x, y) in enumerate((x, y) for x in first for y in second)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "ids"])
def test_fixed_pairs_are_shown_checked_and_extracted(tmp_path, small, kind):
    """A ``.jsonl`` of text or of token ids, with a checkpoint that reads it."""
    folder = tiny_checkpoint(tmp_path / "tiny", text=kind == "text")
    architecture = load_checkpoint(folder).architecture
    path = tmp_path / "mine.jsonl"
    task = letter_task(path) if kind == "text" else token_task(path, architecture)
    shown = cli("tasks", "show", task)
    assert re.search(r"'..ca' → 'i'" if kind == "text" else r"\[\d.*\] → \d", shown.out)
    assert "predicted by: the file does not say" in shown.out
    checked = cli("tasks", "check", task, "--checkpoint", folder, "--json").json
    assert checked["n_pairs"] == 12
    assert 1 <= checked["n_tokens"]["min"] <= checked["n_tokens"]["max"] <= 9
    assert checked["declared_leaks"] is None
    if kind == "text":
        assert checked["duplicates"] == 0
        assert checked["n_tokens"] == {"min": 5, "median": 5, "max": 5}
        assert (checked["leaks"]["last_token"], checked["leaks"]["length"]) == (0.5, 0.5)
        assert checked["answers"] == {"i": 0.5, "j": 0.5}
    printed = cli("tasks", "check", task, "--checkpoint", folder).out
    assert "leaks       last token" in printed
    assert "declared    the file does not say" in printed
    ran = cli("extract", folder, "--task", task, "--out", tmp_path / "out", "-q",
              "--target-loss", 0.65)  # fmt: skip
    assert ran.code in (0, 1), ran.err
    assert Circuit.load(tmp_path / "out").task.name == "mine"


def test_fixed_pairs_without_a_train_split_have_no_leaks(tmp_path):
    """There is nothing to fit on; the rest is checked all the same."""
    folder = tiny_checkpoint(tmp_path / "tiny", text=True)
    task = letter_task(tmp_path / "mine.jsonl")
    kept = [line for line in task.read_text().splitlines() if '"split": "test"' in line]
    task.write_text("\n".join(kept))
    ran = cli("tasks", "check", task, "--checkpoint", folder)
    assert "leaks       not measured: no pairs of split train" in ran.out
    assert cli("tasks", "check", task, "--checkpoint", folder, "--json").json["leaks"] is None


# The flow


@pytest.mark.slow
def test_the_flow_exits_as_its_results_say(flow):
    """0 if the target is met, or the verdict passes; else 1, an honest negative."""
    folder, ran = flow
    met = Circuit.load(folder).outcome == "target_met"
    assert ran["extract"].code == (0 if met else 1)
    assert ran["validate"].code == (0 if Validation.load(folder).passes else 1)
    assert ran["report"].code == 0


@pytest.mark.slow
def test_the_flow_leaves_every_file_of_the_contract(flow):
    """And nothing half-written."""
    left = {path.name for path in flow[0].iterdir()}
    made = CIRCUIT_FILES | {"validation.json", "findings.csv", "report.pdf"}
    assert left - {"sources.json"} == made
    assert (flow[0] / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_results_are_on_stdout_and_progress_on_stderr(flow):
    """Each command names what to do next."""
    folder, ran = flow
    circuit = Circuit.load(folder)
    assert f"{circuit.n_nodes} nodes, {circuit.n_edges} edges" in ran["extract"].out
    assert f"next: circuitkit validate {folder}" in ran["extract"].out
    assert ran["report"].out == f"{folder / 'report.pdf'}\n"
    assert "masks 1: 1 of 20" in ran["extract"].err
    assert "masks" not in ran["extract"].out
    assert "claims: " in ran["validate"].err


@pytest.mark.slow
def test_validate_prints_its_file_as_json(flow):
    """The same findings, in the order of the suite."""
    folder, ran = flow
    assert ran["validate"].out == (folder / "validation.json").read_text()
    found = ran["validate"].json
    assert [f["claim"] for f in found["findings"]] == [str(claim) for claim in DEFAULT_CLAIMS]
    assert found["circuit_sha256"] == Circuit.load(folder).sha256


@pytest.mark.slow
def test_validate_tells_grade_and_weakest_finding(copy, small):
    """In words, every claim of the suite; quietly, when asked."""
    ran = cli("validate", copy, "--pairs", 32, "-q")
    validation = Validation.load(copy)
    assert ran.err == ""
    assert [line.split()[0] for line in ran.out.splitlines() if line[0] != " "][
        : len(DEFAULT_CLAIMS)
    ] == [str(claim) for claim in DEFAULT_CLAIMS]
    assert f"grade {validation.grade}; weakest finding: {validation.weakest}" in ran.out
    assert ran.code == (0 if validation.passes else 1)


@pytest.mark.slow
def test_a_missed_target_is_an_honest_negative(tmp_path, small):
    """Exit code 1; the best circuit found is saved all the same, and can be reported."""
    arguments = ("--task", "if_equals", "--out", tmp_path / "missed", "--reference-tokens", 2048)
    ran = cli("extract", NANO, *arguments, "--target-loss", "1e-9", "--json", "-q")
    assert (ran.code, ran.err) == (1, "")
    assert ran.json["outcome"] == Circuit.load(tmp_path / "missed").outcome == "target_missed"
    assert {path.name for path in (tmp_path / "missed").iterdir()} >= CIRCUIT_FILES
    assert list(ran.json) == [
        "path", "task", "checkpoint", "outcome", "target_loss_nats", "rung", "n_nodes",
        "n_edges", "loss_nats", "accuracy", "nodes_1_minimal", "edges_1_minimal",
        "n_alternatives", "ladder",
    ]  # fmt: skip


@pytest.mark.slow
def test_resume_of_a_finished_extraction_does_nothing(copy, small):
    """Not a byte changes, and the verdict stays; another seed is another extraction."""
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    options = ("--reference-tokens", 4096, "--target-loss", 0.3, "--resume", "--json")
    ran = cli("extract", NANO, "--task", "if_equals", "--out", copy, *options)
    assert ran.json["n_nodes"] == Circuit.load(copy).n_nodes
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.mark.slow
def test_another_reference_is_another_extraction(copy, small):
    """Its means are others: what is there is not taken for it, and not replaced by ``--resume``."""
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    options = ("--reference-tokens", 2048, "--target-loss", 0.3, "-q")
    ran = cli("extract", NANO, "--task", "if_equals", "--out", copy, *options, "--resume")
    assert ran.code == 2
    assert "holds a circuit that was found with other settings" in ran.err
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    means = Circuit.load(copy).means_sha256
    cli("extract", NANO, "--task", "if_equals", "--out", copy, *options)
    assert Circuit.load(copy).means_sha256 != means


@pytest.mark.slow
def test_extracting_again_removes_a_verdict_on_what_was_there(copy, small):
    """A validation of another circuit is not left beside the new one."""
    arguments = ("--task", "for_while", "--out", copy, "--reference-tokens", 2048)
    cli("extract", NANO, *arguments, "--method", "attribution", "--target-loss", "1e-9", "-q")
    assert Circuit.load(copy).task.name == "for_while"
    assert not {"validation.json", "findings.csv", "report.pdf"} & {
        path.name for path in copy.iterdir()
    }


@pytest.mark.slow
def test_a_report_over_several_folders_is_one_pdf(flow, copy, tmp_path):
    """Named with ``--out``; without it, each folder gets its own."""
    one = cli("report", flow[0], copy, "--out", tmp_path / "all.pdf", "--json")
    assert one.json == {"paths": [str(tmp_path / "all.pdf")]}
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
    each = cli("report", flow[0], copy)
    assert each.out.split() == [str(flow[0] / "report.pdf"), str(copy / "report.pdf")]


QUICK = ("--method", "attribution", "--restarts", 1, "--target-loss", 0.15)


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """A planted model with two circuits, its task, a folder; another method's in ``other``."""
    folder = tmp_path_factory.mktemp("twins") / "planted"
    plant("twin_paths").save(folder)
    task, out = folder / "task.jsonl", folder / "found"
    assert cli("extract", folder, "--task", task, "--out", out, *QUICK).code == 0
    options = ("--method", "random", *QUICK[2:], "--calibrate", "--granularity", "edge")
    ran = cli("extract", folder, "--task", task, "--out", folder / "other", *options)
    assert ran.code == 0
    assert "calibrated" in ran.out
    return folder, task, out


@pytest.mark.slow
def test_a_circuit_shares_everything_with_itself(flow, copy):
    """And nothing with the empty one."""
    circuit = Circuit.load(copy)
    found = cli("compare", flow[0], copy, "--json").json
    assert found["jaccard_nodes"] == 1.0
    assert found["shared"]["nodes"] == [str(node) for node in circuit.nodes]
    assert len(found["shared"]["edges"]) == circuit.n_edges
    assert found["only_a"] == found["only_b"] == {"nodes": [], "edges": []}
    empty = {"nodes": circuit.nodes - circuit.nodes, "edges": (), "n_nodes": 0, "n_edges": 0}
    circuit.model_copy(update={**empty, "n_edges_induced": 0}).save(copy)
    found = cli("compare", flow[0], copy, "--json").json
    assert found["jaccard_nodes"] == 0.0
    assert len(found["only_a"]["nodes"]) == circuit.n_nodes
    assert f"only a  {circuit.n_nodes} nodes" in cli("compare", flow[0], copy).out


def test_methods_and_edges_are_compared(twins):
    """Found by other ways on the same planted model, said to be other ways; edges are listed."""
    folder, _task, out = twins
    ran = cli("compare", out, folder / "other", "--json")
    a, b = Circuit.load(out), Circuit.load(folder / "other")
    assert ran.json["same_checkpoint"]
    assert ran.json["same_task"]
    n_shared = len(ran.json["shared"]["edges"])
    assert n_shared + len(ran.json["only_a"]["edges"]) == a.n_edges
    assert n_shared + len(ran.json["only_b"]["edges"]) == b.n_edges
    union = n_shared + len(ran.json["only_a"]["edges"]) + len(ran.json["only_b"]["edges"])
    assert ran.json["jaccard_edges"] == pytest.approx(n_shared / union)
    said = cli("compare", out, folder / "other").out
    assert "by attribution" in said
    assert f"{a.edges[0].source} -> {a.edges[0].target}" in said


@pytest.mark.slow
def test_extract_says_which_circuit_it_replaces(twins, copy):
    """Whatever goes is named: one of another task or checkpoint, and one of its own."""
    folder, task, _out = twins
    was = Circuit.load(copy)
    said = [cli("extract", folder, "--task", task, "--out", copy, *QUICK).err for _ in range(2)]
    own = Circuit.load(copy)
    for text, held in zip(said, (was, own), strict=True):
        assert (
            f"holds a circuit of {held.task.name} in {held.checkpoint.name}; the search replaces it"
            in text
        )
    assert not (copy / "report.pdf").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "option", "name"),
    [
        (("report",), "--out", "circuit.json"),
        (("report", "--format", "html"), "--out", "validation.json"),
        (("export", "--format", "mask"), "--out", "means.safetensors"),
        (("export", "--format", "mask"), "--out", "report.pdf"),
        (("compare", "."), "--svg", "circuit.svg"),
    ],
)
def test_no_output_goes_over_a_file_of_a_circuit(flow, copy, command, option, name):
    """It is refused, and the file is as it was."""
    if not (copy / name).exists():
        (copy / name).write_bytes(b"a report")
    was = (copy / name).read_bytes()
    verb, *more = (str(flow[0]) if word == "." else word for word in command)
    ran = cli(verb, copy, *more, option, copy / name)
    assert ran.code == 2
    assert f"{name} is a file of the circuit in that folder; expected another" in ran.err
    assert (copy / name).read_bytes() == was
    if verb == "report":
        assert cli("report", copy, "--out", copy / "report.pdf").code == 0


def test_extract_says_when_its_circuit_is_not_the_only_one(twins):
    """A file that names the others, and a line that counts them."""
    folder, task, out = twins
    ran = cli("extract", folder, "--task", task, "--out", out, *QUICK, "--resume")
    circuit = Circuit.load(out)
    assert len(circuit.alternatives) > 0
    assert all(other != circuit.nodes for other in circuit.alternatives)
    assert f"not the only one: {len(circuit.alternatives)} more" in ran.out
    assert ran.code == 0


def test_extract_names_what_could_take_the_place_of_a_part(twins):
    """The nodes that the nearest alternative changes; nothing where it changes many."""
    folder, _, out = twins
    circuit = Circuit.load(out)
    first = next(iter(circuit.nodes))
    other = Node(first.site, first.channel + 1)
    near = circuit.nodes - NodeSet.of([first]) | NodeSet.of([other])
    far = NodeSet.of(Node(FINAL_RESID, channel) for channel in range(30))
    told = in_words(circuit.model_copy(update={"alternatives": (far, near)}), folder)
    assert f"as good as {first}: {other}" in told
    assert "as good as" not in in_words(circuit.model_copy(update={"alternatives": (far,)}), folder)


@pytest.mark.parametrize(("target", "is_loose"), [(0.15, False), (0.69, False), (0.7, True)])
def test_a_target_that_guessing_meets_is_called_loose(target, is_loose):
    """ln 2 nats is the loss of a circuit that cannot tell the two prompts apart."""
    circuit = example_circuit(target_loss_nats=target)
    assert ("(loose: " in in_words(circuit, Path("here"))) == is_loose


def test_what_a_circuit_is_minimal_by_is_what_was_asked_of_it():
    """Of a trusted one nodes can go with the target still met, but not with every ask."""
    folder = Path(__file__).parents[1] / "reports/gallery/tinypython-nano/for_while"
    trusted, smallest = Circuit.load(folder), Circuit.load(folder, SMALLEST)
    told = in_words(trusted, Path("here"))
    assert "1-minimal (by the asks mean, interchange, norms, background)" in told
    assert "1-minimal (by the target, and by a drift of at most" in in_words(smallest, Path("here"))
    checkpoint = load_checkpoint(NANO)
    pairs = checkpoint.ask(load_task("for_while"), "select", 192)
    means = Means.load(folder, checkpoint.architecture.widths)
    by_target = criterion.Criterion(
        model=checkpoint.load_model(), values=means.values, pairs=pairs, target_loss_nats=0.15
    )
    free = [node for node in trusted.nodes if by_target.meets(trusted.nodes - NodeSet.of([node]))]
    assert free


def test_a_raised_target_says_whose_loss_raised_it():
    """That of the model on the selection pairs, which is no line of what is printed."""
    circuit = example_circuit(requested_target_loss_nats=0.15, target_loss_nats=0.196)
    told = "0.196 nats (raised from 0.150: the model's own loss is 0.146 on the selection pairs)"
    assert told in in_words(circuit, Path("here"))


def test_a_folder_without_its_task_says_what_it_lacks(tmp_path):
    """The name of a file is no built-in task."""
    example_circuit(task=Named(name="mine", sha256="0" * 64)).save(tmp_path)
    with pytest.raises(CircuitError, match=r"lacks its copy of the task 'mine': expected task\."):
        _ = CircuitFolder(tmp_path).task


def test_an_interrupted_extraction_says_how_to_go_on(twins, tmp_path, monkeypatch):
    """The very command, with --resume; what was finished is kept, and gone in the end."""
    folder, task, out = twins

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    arguments = ("extract", folder, "--task", task, "--out", tmp_path / "again", *QUICK)
    monkeypatch.setattr("circuitkit.extraction.restarts.follow", interrupted)
    ran = cli(*arguments)
    assert ran.code == 130
    command = f"circuitkit {shlex.join(map(str, arguments))} --resume"
    assert f"interrupted and saved; go on with: {command}" in ran.err
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        "search.json", "means.safetensors",
    }  # fmt: skip
    monkeypatch.undo()
    before = (tmp_path / "again" / "search.json").read_bytes()
    other = cli(*arguments, "--seed", 5, "--resume")
    assert other.code == 2
    assert "the finished parts of a search with other settings, or by another version" in other.err
    assert (tmp_path / "again" / "search.json").read_bytes() == before
    assert cli(*arguments, "--resume").code == 0
    names = CIRCUIT_FILES - {"circuit.svg"}
    assert all((tmp_path / "again" / n).read_bytes() == (out / n).read_bytes() for n in names)
    assert not (tmp_path / "again" / "search.json").exists()


# Things of one's own

JSONL = [
    (f"{before}{name} = {number}\nif {name}", f"{before}{name} = {number}\n{name}", name)
    for before in ("", "total = 3\n")
    for name in ("width", "height", "count", "score", "index", "size", "limit", "depth", "age")
    for number in (1, 7)
]


def own_jsonl(path):
    """The question of if_equals in text, every name a template, a split a name."""
    lines = [
        {
            "a": {"prompt": a, "answer": " =="},
            "b": {"prompt": b, "answer": " ="},
            "template": name,
            "split": ("train", "select", "test")[len(name) % 3],
        }
        for a, b, name in JSONL
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def own_toml(path):
    """A built-in task under another name."""
    builtin = (Path(__file__).parents[1] / "tasks" / "if_equals.toml").read_text()
    path.write_text(builtin.replace('"if_equals"', '"mine"'))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("make", [own_jsonl, own_toml])
def test_a_task_and_a_checkpoint_of_ones_own_need_no_more_than_the_folder(tmp_path, small, make):
    """``validate DIR`` finds the checkpoint where it was and the task in the folder."""
    checkpoint = shutil.copytree(bundled_checkpoints()[NANO], tmp_path / "mine")
    task = make(tmp_path / f"mine{'.jsonl' if make is own_jsonl else '.toml'}")
    out = tmp_path / "circuit"
    options = ("--reference-tokens", 2048, "--target-loss", 0.5, "--method", "attribution", "-q")
    assert cli("extract", checkpoint, "--task", task, "--out", out, *options).code == 0
    task.unlink()
    ran = cli("validate", out, "--pairs", 8, "-q", "--json")
    assert ran.code in (0, 1), ran.err
    assert ran.json["circuit_sha256"] == Circuit.load(out).sha256
    shutil.move(checkpoint, tmp_path / "moved")
    lost = cli("validate", out)
    assert lost.code == 2
    assert "name its folder with --checkpoint" in lost.err
    found = cli("validate", out, "--checkpoint", tmp_path / "moved", "--pairs", 8, "-q", "--json")
    assert found.json["grade"] == ran.json["grade"]


# Ctrl-C


def test_ctrl_c_is_exit_code_130(tmp_path, monkeypatch):
    """No traceback, and no circuit."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(circuitkit.extraction, "run_extraction", interrupted)
    ran = cli("extract", NANO, "--task", "if_equals", "--out", tmp_path / "out")
    assert (ran.code, ran.out) == (130, "")
    assert "interrupted" in ran.err
    assert list(tmp_path.iterdir()) == []


TRAINING = """
format = "circuitkit.training/1"
name = "mine"

[corpus]
source = "tinypython"
n_tokens = 4000
vocab_size = 280
n_validation_tokens = 400
n_reference_tokens = 640

[architecture]
n_ctx = 16
n_layer = 1
d_model = 16
n_head = 2
d_head = 8
d_mlp = 32

[sparsity]
l0_fraction = 0.25

[optimizer]
lr = 0.01

[run]
n_tokens = 640_000
batch_sequences = 4
validate_every = 5000
save_every = 5000
"""


@pytest.mark.slow
def test_a_training_that_was_stopped_is_finished_by_resume(tmp_path):
    """The checkpoint is there, and its numbers are printed as JSON."""
    config, out = tmp_path / "mine.toml", tmp_path / "run"
    config.write_text(TRAINING)
    arguments = ("train", config, "--out", out, "--set", "run.n_tokens=640", "--json")
    first = cli(*arguments)
    assert first.code == 0
    assert list(first.json) == [
        "path", "sha256", "n_tokens", "validation_loss_nats", "l0_fraction", "seconds",
    ]  # fmt: skip
    again = cli(*arguments, "--resume")
    assert again.json == first.json
    assert first.json["sha256"] == load_checkpoint(out).sha256
    assert cli("inspect", out, "--json").json["name"] == "mine"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error():
    """``circuitkit inspect … | head -1``."""
    command = f"{sys.executable} -c 'from circuitkit.cli import main; main()' inspect {NANO}"
    done = subprocess.run(
        f"{command} | head -1", shell=True, check=False, capture_output=True, text=True
    )
    assert done.stdout.startswith(NANO)
    assert "Traceback" not in done.stderr


def test_the_training_bar_shows_what_was_measured_only():
    """Before the first validation neither its loss nor an L0 fraction is known."""
    from circuitkit.training import TrainingStep
    from circuitkit.training.training_progress import numbers

    at = {"stage": "steps", "done": 1, "total": 2, "loss_nats": 2.0}
    assert numbers(TrainingStep(**at)) == {"note": "loss 2.000"}
    seen = TrainingStep(**at, validation_loss_nats=1.5, l0_fraction=0.035)
    assert numbers(seen) == {"note": "loss 2.000  validation 1.500  L0 0.035"}
