"""Laws of the README: a page that is read in a minute, on GitHub and on a package index.

Its code runs and prints what is shown; its commands, links and paths exist.
"""

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
from safetensors.numpy import load_file

import circuitkit
from circuitkit import Circuit, CircuitFolder, Validation, load_checkpoint
from circuitkit.circuit.folder import SMALLEST_VALIDATION
from circuitkit.cli import COMMANDS
from circuitkit.cli import circuitkit as command_line
from circuitkit.task import builtin_tasks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
PYTHON = [code for language, code in BLOCKS if language in ("python", "py")]
PRINTED = [text for language, text in BLOCKS if language == "text"]
SHELL = [code for language, code in BLOCKS if language in ("", "sh", "bash", "console", "shell")]
COMMAND_LINES = [
    line.strip().removeprefix("$ ").partition(" #")[0].strip()
    for code in SHELL
    for line in code.replace("\\\n", " ").splitlines()
    if line.strip().removeprefix("$ ").startswith(("circuitkit ", "make "))
]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in BLOCK.sub("", README).splitlines()
    if line.startswith("| ")
][1:]
HOME = "https://github.com/circuitkit/circuitkit"
PLACES = (
    f"{HOME}/blob/main/",
    f"{HOME}/tree/main/",
    "https://raw.githubusercontent.com/circuitkit/circuitkit/main/",
)
"""Where a path of the repository is read: pages, folders, images."""
LINKS = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", README)
HERO = ROOT / "reports" / "gallery" / "tinypython-sparse" / "with_open"
IN_PYTHON = ROOT / "reports" / "gallery" / "tinypython-nano" / "for_while"


def names_used(code):
    """What is read off ``circuitkit``, under whatever name it was imported."""
    tree = ast.parse(code)
    aliases, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {a.asname or a.name for a in node.names if a.name == "circuitkit"}
        if isinstance(node, ast.ImportFrom) and node.module == "circuitkit":
            used |= {a.name for a in node.names}
    return used | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in aliases
    }


def test_the_readme_is_short():
    """At most a thousand words, code included."""
    assert len(README.split()) <= 1000


def test_there_is_a_python_example():
    """The flow in five lines, each verb of it in the package."""
    flow = {"load_checkpoint", "load_task", "extract", "validate", "write_report"}
    assert any(flow <= names_used(code) for code in PYTHON)


@pytest.mark.parametrize("code", PYTHON)
def test_python_blocks_use_public_names(code):
    """Nothing that ``circuitkit.__all__`` does not promise."""
    assert names_used(code) <= set(circuitkit.__all__)


@pytest.mark.slow
def test_python_blocks_print_what_is_shown(tmp_path, monkeypatch, capsys):
    """Run as they stand; each is followed by what it prints."""
    assert [language for language, _ in BLOCKS if language].count("python") == len(PRINTED)
    monkeypatch.chdir(tmp_path)
    for code, shown in zip(PYTHON, PRINTED, strict=True):
        exec(compile(code, "README.md", "exec"), {})
        assert capsys.readouterr().out == shown
    report = Path(PRINTED[0].splitlines()[-1])
    assert report.read_bytes().startswith(b"%PDF")
    left = {path.name for path in report.parent.iterdir()}
    assert {"means.safetensors", "sources.json", "validation.json"} <= left, "what validate needs"


def test_the_code_finds_the_circuit_of_the_gallery():
    """The printed result is that of the smallest circuit there.

    Its weakest finding is another in the gallery, where circuits of other tasks lie beside it.
    """
    circuit = CircuitFolder.open(IN_PYTHON).at("smallest")
    validation = Validation.load(IN_PYTHON, SMALLEST_VALIDATION)
    size = f"{circuit.n_nodes} nodes, {circuit.n_edges} edges"
    assert f"{size}, {circuit.loss_nats.circuit:.3f} nats" in PRINTED[0]
    assert f"grade {validation.grade} because of" in PRINTED[0]


def test_the_picture_is_of_the_circuit_that_is_named():
    """Size, grade and price."""
    circuit, validation = Circuit.load(HERO), Validation.load(HERO)
    size = f"{circuit.n_nodes} nodes, {circuit.n_edges} edges"
    assert f"![The circuit of with_open in tinypython-sparse: {size}]({PLACES[2]}" in README
    assert (HERO / "paths.svg").exists()
    assert f"It has grade {validation.grade}." in README
    price = circuit.n_edges / CircuitFolder.open(HERO).smallest.n_edges
    assert f"here {price:.1f} times the edges" in README
    assert "circuitkit extract tinypython-sparse --task with_open --out" in README


def test_the_reading_of_the_picture_is_true():
    """Tokens, head, channels and answers, by the numbers in the circuit's folder."""
    circuit, validation = Circuit.load(HERO), Validation.load(HERO)
    around = circuit.surroundings
    notes, output = around.a, around.b
    cue = notes.tokens.index("notes")
    assert output.tokens[cue] == "output"
    assert (notes.answer, output.answer) == ("r", "w")
    heads = {n.channel // around.d_head for n in circuit.nodes if n.site.place in ("q", "k", "v")}
    assert heads == {6}
    edges = {(str(edge.source), str(edge.target)) for edge in circuit.edges}
    assert {
        ("0.attn.v:102", "0.attn.resid_delta:118"),
        ("0.attn.v:106", "0.attn.resid_delta:5"),
    } <= (edges)
    assert (102 % around.d_head, 106 % around.d_head) == (6, 10)
    v = [[side.activations[f"0.attn.v:{c}"][cue] for side in (output, notes)] for c in (102, 106)]
    assert f"{v[0][0]:.1f} against {v[0][1]:.1f} for `notes`" in README
    assert f"{v[1][1]:.1f} against {v[1][0]:.1f}. It is written" in README
    assert [(n, t, w > 0) for n, t, w in around.unembedding] == [
        ("final_resid:5", "r", True), ("final_resid:118", "w", True)
    ]  # fmt: skip
    looks = [_attention(side)[cue] for side in (notes, output)]
    assert f"{looks[0]:.2f} of its attention at `notes`, {looks[1]:.2f} at `output`" in README
    follows = validation["interchange"].note.partition("follows the circuit on ")[2][:5]
    assert f"turns {follows} of the answers" in README


def _attention(side):
    """From the last token, by the head's kept channels, its other channels and the sink."""
    model = load_checkpoint("tinypython-sparse").load_model()
    means = load_file(HERO / "means.safetensors")
    at = slice(6 * 16, 7 * 16)
    q = np.array(means["mean/0.attn.q"][at], dtype=float)
    k = np.tile(means["mean/0.attn.k"][at].astype(float), (len(side.tokens), 1))
    for name, values in side.activations.items():
        site, _, channel = name.partition(":")
        if site == "0.attn.q":
            q[int(channel) - at.start] = values[-1]
        if site == "0.attn.k":
            k[:, int(channel) - at.start] = values
    scores = np.exp(k @ q / 4)
    sink = float(model.layers[0].attn.attn_imp.sink_logit[6].detach())
    return scores / (scores.sum() + np.exp(sink))


@pytest.mark.parametrize("code", PYTHON)
def test_checkpoints_and_tasks_in_python_blocks_are_bundled(code):
    """An example a reader can run as it stands."""
    from circuitkit.checkpoints import bundled_checkpoints

    known = {"load_checkpoint": bundled_checkpoints(), "load_task": builtin_tasks()}
    for call in ast.walk(ast.parse(code)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr in known and isinstance(call.args[0], ast.Constant):
            assert call.args[0].value in known[call.func.attr]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_and_their_options_exist(line):
    """Make targets are in the Makefile, commands and options in the command line."""
    program, *words = shlex.split(line, comments=True)
    if program == "python":
        assert (ROOT / words[0]).exists()
        return
    if program == "make":
        check_target(words)
        return
    if words[0].startswith("-") or words[0] == "COMMAND":
        return
    command = command_line.get_command(click.Context(command_line), words[0])
    assert command is not None, words[0]
    if isinstance(command, click.Group):
        words = [word for word in words if not word.startswith("[")]
        command = command.commands[words[1]] if len(words) > 1 and "|" not in line else command
    options = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | {"--help"}
    given = {
        word.strip("[]").partition("=")[0] for word in words if word.lstrip("[").startswith("--")
    }
    if not isinstance(command, click.Group):
        assert given <= options


def check_target(words):
    """A target of the Makefile, or the output of a benchmark that it runs."""
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    benches = re.search(r"^BENCHES := ((?:.*\\\n)*.*)$", makefile, re.MULTILINE).group(1).split()
    targets += [f"out/bench/{name}.txt" for name in benches if name != "\\"]
    assert {word for word in words if "=" not in word} <= set(targets)


def test_every_command_is_in_the_readme():
    """``circuitkit NAME`` in the code, a line each."""
    named = {line.split()[1] for line in COMMAND_LINES if line.startswith("circuitkit ")}
    assert set(COMMANDS) <= named
    listing = next(code for code in SHELL if "circuitkit checkpoints" in code)
    assert len(listing.splitlines()) == len(COMMANDS)


def test_every_command_of_make_exists():
    """Those that are promised: demo and test among them."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    assert {"demo", "test", "lint", "types", "bench"} <= set(phony)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in phony)


def test_one_table_of_eight_rows_each_with_its_command():
    """How good it is: every row ends in a command that exists."""
    assert 0 < len(ROWS) <= 9  # the rule under the head counts
    for question, answer, printed_by in ROWS[1:]:
        assert question.endswith("?")
        assert answer
        test_commands_and_their_options_exist(printed_by.strip("`"))


def n_edges(folder):
    """Of the smallest circuit of a folder of the gallery, kept whole or by its numbers."""
    names = ("smallest.json", "circuit.json", "numbers.json")
    kept = next(folder / name for name in names if (folder / name).exists())
    return json.loads(kept.read_text())["n_edges"]


def test_what_the_table_says_of_the_gallery_is_so():
    """Grades of all tasks, and how many edges fewer the sparse model needs at the smallest rung."""
    folders = [path.parent for path in HERO.parents[1].glob("*/*/validation.json")]
    grades = [json.loads((f / "validation.json").read_text())["grade"] for f in folders]
    counts = [f"{g} {grades.count(g)}" for g in ("A", "B", "C", "C-redundant", "F") if g in grades]
    assert f"of {len(grades)}, grade {', '.join(counts)}" in README
    edges = {(f.parent.name, f.name): n_edges(f) for f in folders}
    tasks = [task for model, task in edges if model == "tinypython-dense"]
    ratios = [edges["tinypython-dense", t] / edges["tinypython-sparse", t] for t in tasks]
    assert f"{min(ratios):.0f} to {max(ratios):.0f} times fewer edges" in README
    assert f"on {len(ratios)} tasks" in README


def test_the_limits_count_the_grades_of_the_sparse_checkpoints():
    """Of the trusted circuits, as the gallery has them."""
    folders = [f for f in HERO.parents[1].glob("*/*/") if "dense" not in f.parent.name]
    grades = [json.loads((f / "validation.json").read_text())["grade"] for f in folders]
    said = f"Of the {len(grades)} trusted circuits of the sparse checkpoints "
    said += f"{grades.count('B')} have grade B and {grades.count('C')} C."
    assert set(grades) == {"B", "C"}
    assert said in (ROOT / "docs" / "limits.md").read_text()


def test_what_the_table_says_of_benchmarks_is_in_the_results():
    """The page of results holds the very numbers that commands printed."""
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert "found exactly in ≥ 95 % | 122 of 122 |" in results
    assert "122 of 122 runs" in README
    case = r"^\| ([\w' ,-]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| [\d.]+ \|"
    cases = {name: list(map(int, n)) for name, *n in re.findall(case, results, re.MULTILINE)}
    total, accepted, *_ = cases.pop("true circuit")
    wrong = sum(n for n, *_ in cases.values())
    kept = sum(n[1] for n in cases.values())
    assert f"{kept} of {wrong}; it accepts {accepted} of {total} true ones" in README
    assert "all | 37 of 37 |" in results
    assert "37 of 37 smallest circuits of sparse models" in README
    assert "30 of 37" in results
    assert "on 30 of 37 tasks" in README
    assert "4.1 × (1.8 to 5.9) faster, edges 0.07 ×" in results
    assert "0.07 times the edges in a quarter of the time" in README
    row = r"^\| tinypython-\w+ \w+ \| \w+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \| ([\d.]+) \|$"
    total = re.findall(row, results, re.MULTILINE)
    low, high = min(map(float, total)), max(map(float, total))
    assert f"{low:.0f} to {high:.0f} s from the command line" in README


@pytest.mark.parametrize("target", LINKS)
def test_links_and_pictures_are_absolute_and_there(target):
    """A package index has no repository around the page; the path behind a link exists."""
    assert target.startswith("https://")
    for place in PLACES:
        if target.startswith(place):
            path = target.removeprefix(place).partition("#")[0]
            assert (ROOT / path).exists(), path
            return
    assert target == HOME or "circuitkit" not in target


def test_every_path_in_prose_exists():
    """``like/this``, if it begins with a folder of the repository."""
    prose = BLOCK.sub("", README)
    folders = ("circuitkit/", "tasks/", "reports/", "tests/", ".github/")
    named = [p for p in re.findall(r"`([^`\s]+)`", prose) if p.startswith(folders)]
    missing = [p for p in named if not any(c in p for c in "*<{") and not (ROOT / p).exists()]
    assert missing == []


def test_the_project_file_points_at_what_exists():
    """README, licence and the entry point."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (ROOT / project["readme"]).exists()
    assert all((ROOT / file).exists() for file in project["license-files"])
    assert project["scripts"] == {"circuitkit": "circuitkit.cli:main"}
    assert project["version"] == circuitkit.__version__
