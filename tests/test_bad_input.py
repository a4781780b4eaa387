"""Laws of refusal: exit code 2, one clear message, no traceback, nothing written."""

import json
import shutil

import pytest
import torch
from example_circuit import example_circuit
from safetensors.torch import load_file, save_file
from test_cli import NANO, cli, process
from tiny import tiny_checkpoint

from circuitkit.checkpoints import bundled_checkpoints, load_checkpoint
from circuitkit.extraction.asks import DEFAULT_ASKS
from circuitkit.provenance import Named
from circuitkit.task import load_task


def refused(*arguments, says, tmp_path=None):
    """The command exits 2 with ``says`` on stderr, and leaves the folder as it was."""
    before = snapshot(tmp_path)
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert ran.err.startswith("circuitkit: "), ran.err
    assert "Traceback" not in ran.err
    for part in [says] if isinstance(says, str) else says:
        assert part in ran.err
    assert snapshot(tmp_path) == before
    return ran


def snapshot(folder):
    if folder is None:
        return None
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def extracting(checkpoint=NANO, task="if_equals", out="out", *more):
    return ("extract", checkpoint, "--task", task, "--out", out, *more)


@pytest.fixture
def checkpoint(tmp_path):
    """A copy of the bundled checkpoint, to damage."""
    return shutil.copytree(bundled_checkpoints()[NANO], tmp_path / "checkpoint")


@pytest.fixture
def circuit(tmp_path):
    """A circuit folder that validate and report begin to read."""
    loaded, task = load_checkpoint(NANO), load_task("if_equals")
    made = example_circuit(
        task=Named(name=task.name, sha256=task.sha256),
        checkpoint=Named(name=loaded.name, sha256=loaded.sha256),
    )
    made.save(tmp_path / "circuit")
    return tmp_path / "circuit"


# Names


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["inspect", "tinypython-nona"], ["no such checkpoint", "Did you mean tinypython-nano?"]),
        (["inspect", "nowhere/at/all"], "no such checkpoint: nowhere/at/all"),
        (["tasks", "show", "if_equal"], ["no task 'if_equal'", "if_equals"]),
        (["tasks", "show", "missing.toml"], "no such file: missing.toml"),
        (["tasks", "check", "missing.jsonl", "--checkpoint", NANO], "no such file: missing.jsonl"),
        (["tasks", "check", "if_equals", "--checkpoint", "nowhere"], "no such checkpoint"),
        (extracting("nowhere"), "no such checkpoint"),
        (extracting(task="nothing"), "no task 'nothing'"),
        (["validate", "nowhere"], "no such file: nowhere/circuit.json"),
        (["report", "nowhere"], "no such file: nowhere/circuit.json"),
        (["compare", "nowhere", "nowhere"], "no such file: nowhere/circuit.json"),
        (["train", "nowhere.toml", "--out", "out"], "no such file: nowhere.toml"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, monkeypatch, arguments, says):
    """With what was expected, and the nearest name."""
    monkeypatch.chdir(tmp_path)
    refused(*arguments, says=says, tmp_path=tmp_path)
    assert list(tmp_path.iterdir()) == []


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", LONG], ["validate", LONG], ["report", LONG], ["compare", LONG, LONG],
        ["families", LONG, "--checkpoint", NANO], ["study", LONG, "--dry-run"],
        extracting(LONG), extracting(task=LONG),
        extracting(out=LONG),
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_a_name_that_no_file_can_have_is_refused(tmp_path, monkeypatch, arguments):
    """The system says so where a path is first looked at."""
    monkeypatch.chdir(tmp_path)
    refused(*arguments, says="got a name of 300 characters, xxxx", tmp_path=tmp_path)


def test_a_refusal_is_one_message_in_a_process_of_its_own(tmp_path):
    """No traceback, whatever Python's settings."""
    done = process("inspect", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("circuitkit: no such checkpoint: nowhere")
    assert "Traceback" not in done.stderr


# Checkpoints


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_tensors(change):
    def apply(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return apply


def change_config(change):
    def apply(folder):
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return apply


FIRST = "transformer.h.0.attn.c_attn.weight"

DAMAGE = {
    "truncated weights": (
        lambda f: truncate(f / "model.safetensors"), "not a whole safetensors file"
    ),
    "corrupt weights": (
        lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 999),
        "not a whole safetensors file",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "a tensor is missing": (change_tensors(lambda t: t.pop(FIRST)), ["lacks 1 tensor", FIRST]),
    "a tensor too many": (
        change_tensors(lambda t: t.update(extra=torch.zeros(2))), ["holds 1 tensor", "extra (2,)"]
    ),
    "a tensor of another shape": (
        change_tensors(lambda t: t.update({FIRST: torch.zeros(3, 3)})), [f"{FIRST} is (3, 3)"]
    ),
    "NaN": (
        change_tensors(lambda t: t[FIRST].fill_(float("nan"))), [FIRST, "NaN or infinite"]
    ),
    "an unknown key": (
        change_config(lambda c: c["architecture"].update(rotary=True)), ["rotary", "config.json"]
    ),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json"),
    "truncated config": (lambda f: truncate(f / "config.json"), ["config.json", "Invalid JSON"]),
    "truncated tokenizer": (lambda f: truncate(f / "tokenizer.json"), "is not a tokenizer"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_refused(tmp_path, checkpoint, name):
    """By ``inspect`` and by ``extract``, which leaves no folder behind."""
    damage, says = DAMAGE[name]
    damage(checkpoint)
    refused("inspect", checkpoint, says=says, tmp_path=tmp_path)
    refused(
        *extracting(
            checkpoint,
            out=tmp_path / "out",
        ),
        says=says,
        tmp_path=tmp_path,
    )


def test_a_truncated_reference_is_refused(tmp_path, checkpoint):
    """Before the search begins."""
    truncate(checkpoint / "reference.safetensors")
    says = "not a whole safetensors file"
    refused(*extracting(checkpoint, out=tmp_path / "out"), says=says, tmp_path=tmp_path)
    assert not (tmp_path / "out").exists()


# Tasks

TASK = """
format = "circuitkit.task/1"
name = "mine"
question = "Which?"
source = "ours"

[draw]
name = "{{ identifier() }}"

[[forms]]
a = { prompt = "if {{ name }}", answer = " ==" }
b = { prompt = "{{ name }}", answer = " =" }
"""

LEAKS = "[leaks]\nlast_token = {}\nbag_of_tokens = 0.5\nlength = 0.5\n"


def with_prompt(source):
    return TASK.replace('"if {{ name }}"', f"'{source}'")


WRONG_TASKS = {
    "not TOML": (TASK.replace("[draw]", "[draw"), "not TOML"),
    "broken Jinja2": (TASK.replace("{{ name }}", "{{ name"), "forms[1].a.prompt"),
    "unknown function": (TASK.replace("identifier()", "os.system('x')"), "draw.name"),
    "a template that never ends": (
        with_prompt("{% for i in range(10000000000) %}{% endfor %}"),
        ["mine.toml: forms[1].a.prompt", "range of 10000000000 items; at most 1000"],
    ),
    "a template that calls itself": (
        with_prompt("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
        ["mine.toml: forms[1].a.prompt", "Macro; expected text"],
    ),
    "a template of a gigabyte": (
        with_prompt('{{ "a" * 1000000000 }}'),
        ["mine.toml: forms[1].a.prompt", "would make more than 20000 characters", "1000000000"],
    ),
    "a number of a gigabyte": (
        with_prompt("{% for i in range(999) %}{{ integer(0, 10 * 1000000000000) }}{% endfor %}"),
        ["mine.toml: forms[1].a.prompt", "would make a number past 1000000000000"],
    ),
    "Python's internals": (
        with_prompt('{{ "".__class__.__mro__[1] }}'),
        ["mine.toml: forms[1].a.prompt", "templates have no attributes", "__mro__"],
    ),
    "a function's globals": (
        with_prompt('{{ pick["__globals__"] }}'),
        ["mine.toml: forms[1].a.prompt", "access to ['__globals__']"],
    ),
    "an undefined variable": (
        with_prompt("if {{ nmae }}"),
        ["mine.toml: forms[1].a.prompt", "'nmae' is undefined; known here:", "name"],
    ),
    "an answer of two tokens": (
        TASK.replace(" ==", " == zebra"),
        ["mine.toml: forms[1].a.answer (template form1/", "' == zebra'", "expected exactly one"],
    ),
    "an answer of two tokens in some frames only": (
        TASK.replace('"{{ name }}", answer = " ="', r'"x\n", answer = "size"'),
        ["mine.toml: forms[1].b.answer (template form1/in_", " size' is ", "expected exactly one"],
    ),
    "two sides that ask the same": (
        with_prompt("{{ name }}"), ["mine.toml: forms[1], in frame ", "both sides ask "]
    ),
    "two sides with one answer": (
        TASK.replace(" ==", " ="), ["mine.toml: forms[1], in frame ", "both sides answer ' ='"]
    ),
    "an empty answer at the top": (
        TASK.replace('{{ name }}", answer = " =="', r'{{ name }}\n", answer = ""'),
        ["mine.toml: forms[1].a, in frame ", "the answer is empty"],
    ),
    "an empty answer within a line": (
        'frames = "inside"\n' + TASK.replace('" =="', '""'),
        ["mine.toml: forms[1].a, in frame in_", "the answer is empty"],
    ),
    "frames of another kind": (
        'frames = "outside"\n' + TASK,
        ["mine.toml: frames: got 'outside'", "'top' or 'inside'"],
    ),
    "a share of more than all": (
        TASK + LEAKS.format(1.2),
        ["mine.toml: leaks.last_token: got 1.2", "less than or equal to 1"],
    ),
    "a share of less than nothing": (
        TASK + LEAKS.format(-0.1),
        ["mine.toml: leaks.last_token: got -0.1", "greater than or equal"],
    ),
    "a share that is none": (
        TASK + LEAKS.format("nan"), "mine.toml: leaks.last_token: got nan"
    ),
    "a shortcut of no words": (
        TASK + TASK.partition("[[forms]]")[2].join(("[[ood]]\nbreaks = ''", "")),
        "mine.toml: ood[1].breaks: got ''",
    ),
    "a prompt that does not fit": (
        TASK.replace("if {{ name }}", "if {{ name }}" + " + 1234" * 90),
        ["mine.toml: forms[1].a.prompt (template form1/", "reads at most 128"],
    ),
    "an unknown key": (TASK + "\n[extra]\nx = 1\n", "extra: no such key"),
    "no forms": (TASK.partition("[[forms]]")[0], "forms is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_TASKS)
def test_a_wrong_task_is_refused(tmp_path, name):
    """By ``tasks check`` and by ``extract``, with where."""
    text, says = WRONG_TASKS[name]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    refused("tasks", "check", path, "--checkpoint", NANO, says=says, tmp_path=tmp_path)
    refused(*extracting(task=path, out=tmp_path / "out"), says=says, tmp_path=tmp_path)


def test_a_prompt_that_ends_within_a_token_is_refused(tmp_path):
    """The model would be asked something else than the text says."""
    path = tmp_path / "mine.toml"
    path.write_text(
        TASK.replace('"if {{ name }}", answer = " =="', '"{{ name }} = ", answer = "3"')
    )
    says = [
        "mine.toml: forms[1].a.answer (template form1/",
        "the answer '3' is no token of its own",
    ]
    refused("tasks", "check", path, "--checkpoint", NANO, says=says, tmp_path=tmp_path)


LINE = {
    "a": {"prompt": [1, 2], "answer": 3},
    "b": {"prompt": [2, 1], "answer": 4},
    "template": "t",
    "split": "test",
}

WRONG_LINES = {
    "half a line": (json.dumps(LINE)[:-9], ["mine.jsonl: line 2: not JSON"]),
    "an unknown split": (
        json.dumps(LINE | {"split": "dev"}), ["mine.jsonl: line 2: split: got 'dev'", "'train'"]
    ),
    "an id past the vocabulary": (
        json.dumps(LINE | {"a": {"prompt": [7, 9999], "answer": 3}}),
        ["mine.jsonl: line 2: a.prompt (template t): token id 9999", "vocabulary of 512"],
    ),
    "text beside ids": (
        json.dumps(LINE | {"a": {"prompt": "x", "answer": "y"}}),
        ["mine.jsonl: line 2: one side is text, the other tokens"],
    ),
    "an answer of two tokens": (
        json.dumps(
            LINE
            | {"a": {"prompt": "x", "answer": " = 3"}, "b": {"prompt": "y", "answer": " ="}}
        ),
        ["mine.jsonl: line 2: a.answer (template t): the answer ' = 3' is 2 tokens"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_LINES)
def test_a_wrong_line_is_refused(tmp_path, name):
    """With file, line, key and value."""
    line, says = WRONG_LINES[name]
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(LINE | {"template": "u", "split": "train"}) + "\n" + line + "\n")
    refused("tasks", "check", path, "--checkpoint", NANO, says=says, tmp_path=tmp_path)


# Circuit folders


def test_a_circuit_of_another_checkpoint_is_refused(tmp_path, circuit, checkpoint):
    """Both hashes are named. Another norm_eps is another checkpoint."""
    change_config(lambda c: c["architecture"].update(norm_eps=0.01))(checkpoint)
    other = load_checkpoint(checkpoint).sha256
    for name in ("means.safetensors",):
        assert not (circuit / name).exists()
    from circuitkit.extraction.means import zero_means

    zero_means(load_checkpoint(checkpoint).architecture.widths).save(circuit)
    says = [load_checkpoint(NANO).sha256[:12], other[:12]]
    refused("validate", circuit, "--checkpoint", checkpoint, says=says, tmp_path=tmp_path)
    small = tiny_checkpoint(tmp_path / "small")  # of another shape: the means do not fit either
    says = [says[0], load_checkpoint(small).sha256[:12], "Give the checkpoint it was extracted"]
    refused("validate", circuit, "--checkpoint", small, says=says, tmp_path=tmp_path)


@pytest.mark.parametrize("command", ["validate", "report"])
def test_a_truncated_circuit_is_refused(tmp_path, circuit, command):
    """With the file's name."""
    truncate(circuit / "circuit.json")
    refused(command, circuit, says=["circuit.json is not a circuit"], tmp_path=tmp_path)


def test_a_folder_without_means_is_refused(tmp_path, circuit):
    """They are part of the circuit."""
    refused("validate", circuit, says="means.safetensors; extract", tmp_path=tmp_path)


def test_a_report_into_a_folder_is_refused(tmp_path, circuit):
    """``--out`` names a PDF."""
    refused("report", circuit, "--out", tmp_path, says="is a folder", tmp_path=tmp_path)


def test_a_truncated_validation_is_refused(tmp_path, circuit):
    """Not reported as if it were not there."""
    (circuit / "validation.json").write_text('{"format": "circuitkit')
    refused("report", circuit, says="validation.json is not a validation", tmp_path=tmp_path)


# Where to write


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    """Its files are the user's."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    out = tmp_path / "out"
    refused(*extracting(out=out), says="holds something else", tmp_path=tmp_path)
    refused("train", NANO, "--out", out, says="holds something else", tmp_path=tmp_path)


@pytest.mark.parametrize("below", ["", "below"])
def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path, below):
    """A regular file stands in the way."""
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / below if below else tmp_path / "file"
    refused(*extracting(out=out), says=str(tmp_path / "file"), tmp_path=tmp_path)


# Options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--method", "attribution", "--schedule", "paper"], "learns no masks"),
        (["--granularity", "edge", "--no-refine"], "drops edges one by one"),
        (["--gradient-points", "5"], "5 gradient points mean nothing"),
        (["--rung", "smallest", "--asks", "mean,norms"], "this search ends at the smallest"),
        (["--rung", "smallest", "--asks", ",".join(DEFAULT_ASKS)], "ends at the smallest"),
        (["--target-loss", "-1"], "target loss -1.0: expected a positive number"),
        (["--target-loss", "nan"], "target loss nan: expected a positive number"),
        (["--target-loss", "0"], "target loss 0.0: expected a positive number"),
        (["--device", "abacus"], ["device = 'abacus' cannot be used", "Try cpu"]),
        (["--reference", "nowhere.txt"], "no such file: nowhere.txt"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path, options, says):
    """Before anything is written."""
    out = tmp_path / "out"
    refused(*extracting(NANO, "if_equals", out, *options), says=says, tmp_path=tmp_path)
    assert not out.exists()


def test_a_task_the_model_does_not_do_is_refused_early(tmp_path):
    """With the measured loss and accuracy, before means are measured or anything is written."""
    out = tmp_path / "out"
    says = ["var_swap on tinypython-nano: the model does not do the task", "0.35", "--target-loss"]
    refused(*extracting(NANO, "var_swap", out), says=says, tmp_path=tmp_path)
    assert not list(out.glob("*"))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("run.n_token=5", ["n_token", "Did you mean n_tokens?"]),
        ("optimiser.lr=1", ["optimiser", "Did you mean optimizer?"]),
        ("run.n_tokens=many", ["run.n_tokens", "'many'"]),
        ("run.n_tokens", "expected key=value"),
        ("run.device=abacus", "abacus"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path, override, says):
    """With the nearest right key."""
    out = tmp_path / "out"
    refused("train", NANO, "--out", out, "--set", override, says=says, tmp_path=tmp_path)
    assert not out.exists()
