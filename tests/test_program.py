"""Laws of written programs: equal to the circuit, run by NumPy alone, safe with any text."""

import ast
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from example_circuit import example_circuit
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compiled import architectures
from tiny import OPTIONS, encoded_pairs, random_nodes, random_values, tiny_model

import circuitkit as ck
from circuitkit.checkpoints.of_circuit import checkpoint_of
from circuitkit.circuit.folded_circuit import FoldedCircuit, Tried
from circuitkit.compiled import compile_circuit
from circuitkit.errors import CircuitError, MismatchError
from circuitkit.exports import fold_circuit, fold_folder
from circuitkit.exports.fold_folder import exact_differences
from circuitkit.exports.run_program import check_names, largest_error
from circuitkit.exports.survival import roundest, survival
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant
from circuitkit.progress import silent
from circuitkit.provenance import Named
from circuitkit.views.numpy_program import program_text
from circuitkit.views.program_about import _rounded_up

GALLERY = Path(__file__).parents[1] / "reports" / "gallery"
SHARES = (0.0, 0.1, 0.4, 0.8, 1.0)
REFUSED = "Export the circuit as graphml or node-link instead"


def fold(model, kept, pairs, seed=0):
    texts = [f"t{i}" for i in range(model.arch.vocab_size)]
    return fold_circuit(model, kept, random_values(model.arch, seed), pairs, texts)


def differences(folded, digits=17):
    """What the program gives for every prompt that was tried."""
    names = {"__name__": "program"}
    exec(program_text(example_circuit(), folded, digits), names)
    return [names["logit_difference"](list(t.tokens), t.answer, t.foil) for t in folded.tried]


def assert_equal(model, kept, pairs, seed=0):
    """The program and the masked model, both in float64."""
    by_all = any(kind.endswith("act_in") for kind in model.arch.activation_topk)
    refused = pytest.raises(CircuitError, match=REFUSED)
    try:
        folded = fold(model, kept, pairs, seed)
    except CircuitError:
        if not (by_all and model.arch.norm == "layernorm"):
            raise
        with refused:
            fold(model, kept, pairs, seed)
        return
    own = exact_differences(model, pairs, kept, random_values(model.arch, seed)).numpy()
    np.testing.assert_allclose(differences(folded), own, atol=1e-8, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("share", SHARES)
def test_a_program_is_the_masked_model(option, share):
    """For empty, small, large and full circuits, on prompts of different lengths."""
    for seed in range(3):
        model = tiny_model(option, seed, density=0.5)
        kept = random_nodes(model.arch, share, seed)
        assert_equal(model, kept, encoded_pairs(model.arch, 5, seed), seed)


@settings(max_examples=30)
@given(st.data())
def test_any_combination_of_sites_is_written(data):
    """Whole sites in or out: blocks that only read, only write, heads without a query or a key."""
    model = tiny_model(data.draw(st.sampled_from(list(OPTIONS))), data.draw(st.integers(0, 3)))
    widths = model.arch.widths
    chosen = data.draw(st.sets(st.sampled_from(list(widths))))
    kept = NodeSet({site: range(0, widths[site], 2) for site in chosen}, widths)
    assert_equal(model, kept, encoded_pairs(model.arch, 3))


@pytest.mark.slow
@settings(max_examples=50)
@given(architectures(), st.sampled_from(SHARES), st.integers(0, 2**20))
def test_any_circuit_of_any_architecture_is_written(changes, share, seed):
    """Or refused in words, where LayerNorm moves every channel that competes."""
    model = tiny_model("plain", seed, density=(0.2, 0.5, 1.0)[seed % 3], **changes)
    assert_equal(
        model, random_nodes(model.arch, share, seed), encoded_pairs(model.arch, 4, seed), seed
    )


# what is written, on real folders: a program runs with NumPy and nothing else

HOOK = """
import json, runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "circuitkit", "scipy", "pandas", "tokenizers"):
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Refuse())
program = runpy.run_path(sys.argv[1])["logit_difference"]
print(json.dumps([program(*prompt) for prompt in json.load(sys.stdin)]))
assert not {"torch", "circuitkit"} & set(sys.modules)
"""


def run_alone(path, pairs):
    """What a program gives for both sides of pairs, in a Python that has NumPy alone."""
    prompts = [
        (list(tokens), answer, foil)
        for (tokens, answer), foil in zip(pairs.sides(), pairs.foils.tolist(), strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-c", HOOK, str(path)], input=json.dumps(prompts),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return np.array(json.loads(done.stdout))


def own_differences(folder, circuit):
    """The test pairs, and on them the masked model in float64 and the compiled circuit."""
    checkpoint = checkpoint_of(folder, circuit)
    model = checkpoint.load_model()
    values = ck.Means.load(folder.path, model.arch.widths).values
    pairs = checkpoint.ask(folder.task, "test", circuit.n_pairs, circuit.seed)
    nodes = NodeSet(circuit.nodes.channels, model.arch.widths)
    as_run = compile_circuit(model, nodes, values).differences(pairs)
    return pairs, exact_differences(model, pairs, nodes, values).numpy(), as_run.numpy()


@pytest.fixture(scope="module")
def planted_folder(tmp_path_factory):
    """A wired model's circuit, as ``extract`` leaves it."""
    model, out = (tmp_path_factory.mktemp(name) for name in ("model", "circuit"))
    plant("closing_quote").save(model)
    settings = {"restarts": 1, "target_loss_nats": 0.15, "rung": "smallest", "progress": silent}
    ck.extract(model, model / "task.jsonl", out=out, **settings)
    return out


@pytest.fixture(scope="module")
def programs(planted_folder, tmp_path_factory):
    """A program of a planted circuit, of two of nano, of one of sparse."""
    folders = {
        "planted": planted_folder,
        "no rivals": GALLERY / "tinypython-nano" / "with_open",
        "rivals": GALLERY / "tinypython-nano" / "if_ternary",
        "positions": GALLERY / "tinypython-sparse" / "final_kwarg",
    }
    out = tmp_path_factory.mktemp("programs")
    return {
        name: (
            ck.CircuitFolder.open(f),
            ck.export(f, out / f"{i}.py", format="program", rung="smallest"),
        )
        for i, (name, f) in enumerate(folders.items())
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["planted", "no rivals", "rivals", "positions"])
def test_a_program_needs_numpy_alone_and_is_the_circuit(programs, name):
    """To 1e-5 on every test pair, and as near to the circuit in float32 as that is to itself."""
    folder, path = programs[name]
    pairs, exact, as_run = own_differences(folder, folder.at("smallest"))
    found = run_alone(path, pairs)
    assert np.abs(found - exact).max() <= 1e-5
    assert np.abs(found - as_run).max() <= 1e-5 + np.abs(exact - as_run).max()
    assert np.abs(exact - as_run).max() <= 2e-5


@pytest.mark.slow
def test_the_file_runs_and_checks_itself(programs):
    """``python FILE`` prints an example's logit difference; a changed weight shows."""
    _, path = programs["rivals"]
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    printed = run([sys.executable, "-I", str(path)]).stdout
    assert printed.count("(the same)") == 2
    text = path.read_text()
    constant = re.search(r"gelu\((-?[\d.]+)", text)[1]
    changed = path.with_name("changed.py")
    changed.write_text(text.replace(f"gelu({constant}", "gelu(5.0", 1))
    assert "(changed)" in run([sys.executable, "-I", str(changed)]).stdout


@pytest.mark.slow
def test_a_program_is_short_and_says_what_it_is(programs):
    """A few lines a node before the tables; question, size and exactness at the top."""
    for folder, path in programs.values():
        text, circuit = path.read_text(), folder.at("smallest")
        function = text[text.index("def logit_difference") : text.index("def columns")]
        assert function.count("\n") <= 20 + 3 * circuit.n_nodes
        docstring = ast.get_docstring(ast.parse(text))
        question = circuit.surroundings.question.replace('"', "'")
        for said in (question, f"{circuit.n_nodes} nodes", circuit.sha256[:12], "float32"):
            assert " ".join(said.split()) in " ".join(docstring.split())


@pytest.mark.slow
def test_a_token_that_no_prompt_has_is_named(programs):
    """So is an answer, and a prompt that is too long."""
    names = {"__name__": "program"}
    exec(programs["positions"][1].read_text(), names)
    tokens, answer, foil, _ = names["EXAMPLES"][0]
    with pytest.raises(KeyError, match="511 is in no prompt of the task"):
        names["logit_difference"]([*tokens, 511], answer, foil)
    with pytest.raises(KeyError, match="510 is in no prompt of the task"):
        names["logit_difference"](tokens, 510, foil)
    with pytest.raises(KeyError, match="is in no prompt of the task"):
        names["logit_difference"](tokens * 50, answer, foil)


def test_the_same_circuit_gives_the_same_bytes(planted_folder, tmp_path):
    paths = [ck.export(planted_folder, tmp_path / n, format="program") for n in ("a.py", "b.py")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


# texts of others

HOSTILE = ('"""', "\\", "'''", "\n\nimport os\n", "\r", "\0", "\u2028", "\u202eabc", "🙂", "#", "}")


@cache
def small_fold() -> FoldedCircuit:
    model = tiny_model("the paper's", density=0.5)
    return fold(model, random_nodes(model.arch, 0.6), encoded_pairs(model.arch, 5))


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=12), min_size=4, max_size=4))
def test_no_text_gets_out_of_its_comment(texts):
    """The file parses, defines what it should, and computes what it did."""
    folded = small_fold()
    named = {t: texts[t % 4] + str(t) for t in folded.texts}
    circuit = example_circuit(
        around={"question": texts[0] or "?"}, task=Named(name=texts[1], sha256="1f" * 32),
        checkpoint=Named(name=texts[2], sha256="c0" * 32),
    )  # fmt: skip
    text = program_text(circuit, replace(folded, texts=named))
    check_names(text)
    plain, hostile = (ast.parse(t).body[1:] for t in (program_text(circuit, folded), text))
    assert list(map(ast.dump, hostile)) == list(map(ast.dump, plain))
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}


def test_a_program_says_how_its_prompts_begin_and_is_the_same_as_itself():
    """A start token is one of the tokens to give; large differences have digits enough."""
    folded, first, d = small_fold(), 3, 186.237621
    tried = tuple(replace(t, tokens=(first, *t.tokens), difference=d) for t in folded.tried)
    n_prompts, tried = len({t.tokens for t in tried}), (*tried, *tried)
    texts = {**folded.texts, first: "<start>"}
    text = program_text(example_circuit(), replace(folded, tried=tried, texts=texts))
    docstring = " ".join(ast.get_docstring(ast.parse(text)).split())
    assert "Every one of them begins with token 3, <start>." in docstring
    assert f"on the {n_prompts} prompts of the task" in docstring
    assert "186.237621)" in text


@pytest.mark.parametrize(("x", "shown"), [(1.4e-5, "2e-05"), (2e-5, "2e-05"), (9.6e-6, "1e-05"),
                                          (0.0, "0e+00")])  # fmt: skip
def test_an_error_is_never_rounded_down(x, shown):
    """What is up to it would not be."""
    assert _rounded_up(x) == shown


EVIL = {
    "import os": "line 1",
    "'doc'\nprint(1)": "line 2",
    "def run(): pass": "holds run",
    "if True: pass\nx = 1": "line 1",
    "x =": "is no Python",
    "\0": "is no Python",
}


@pytest.mark.parametrize("text", EVIL)
def test_a_text_that_holds_more_is_never_run(text):
    """A planted failure for each: it is refused before anything runs."""
    with pytest.raises(CircuitError, match=EVIL[text]):
        largest_error(text, [])


def test_a_program_that_fails_is_an_error():
    text = "def logit_difference(tokens, answer, foil):\n    return 1 / 0\n"
    with pytest.raises(CircuitError, match="does not run: ZeroDivisionError"):
        largest_error(text, [Tried(tokens=(0,), answer=1, foil=2, difference=0.0)])


def test_a_program_that_is_not_near_enough_is_not_written(planted_folder, tmp_path, monkeypatch):
    """However many digits its numbers have, and then there is no file."""

    def wrong(*given):
        return program_text(*given).replace("return float(d)", "return float(d) + 1e-4")

    monkeypatch.setattr(import_module("circuitkit.exports.export"), "program_text", wrong)
    with pytest.raises(CircuitError, match="nats away from the circuit on a prompt"):
        ck.export(planted_folder, tmp_path / "a.py", format="program")
    assert not (tmp_path / "a.py").exists()


def test_a_fold_that_is_wrong_is_not_written(planted_folder, tmp_path, monkeypatch):
    """A planted fault: the masked model says something else."""
    real = fold_folder.exact_differences
    monkeypatch.setattr(fold_folder, "exact_differences", lambda *a: real(*a) + 1e-5)
    with pytest.raises(CircuitError, match="nats away from the masked model"):
        ck.export(planted_folder, tmp_path / "a.py", format="program")


def test_another_task_or_other_means_are_refused(planted_folder, tmp_path):
    """What the circuit was not found with is named."""
    other = shutil.copytree(planted_folder, tmp_path / "other")
    (other / "task.jsonl").write_text((other / "task.jsonl").read_text() + "\n")
    with pytest.raises(MismatchError, match="extracted with task"):
        ck.export(other, tmp_path / "a.py", format="program")
    with pytest.raises(MismatchError, match="extracted with checkpoint"):
        ck.export(planted_folder, tmp_path / "a.py", format="program", checkpoint="tinypython-nano")


# activation top-k in a program


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), min_size=1, max_size=20))
def test_a_fixed_limit_parts_what_survives_from_what_does_not(rows):
    """Or it says that none does."""
    magnitude, alive = (torch.tensor(x) for x in zip(*rows, strict=True))
    found = survival(magnitude.double(), alive)
    counts = magnitude > 0
    if found.needs_rivals:
        assert magnitude[counts & ~alive].max() > 0.99 * magnitude[counts & alive].min()
        return
    kept = magnitude >= (found.limit or 0.0)
    kept = torch.zeros_like(kept) if found.never else kept
    assert torch.equal(kept[counts], alive[counts])


@given(st.floats(1e-6, 1e6), st.floats(1.001, 10))
def test_a_limit_is_round(low, factor):
    """It lies between its bounds, with no more digits than it takes."""
    found = roundest(low, low * factor)
    assert low < found < low * factor
    if factor > 2:
        assert len(f"{found:.10g}".strip("0.").replace(".", "")) <= 3 or "e" in f"{found:.10g}"
