"""Laws of the text that models learn from."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.corpora import VALIDATION_SEED, open_corpus
from circuitkit.errors import CorpusError
from circuitkit.words import ASIDES, CLASSES, FIELDS, FUNCTIONS, NAMES, WORDS


def documents(n, seed=0):
    return list(islice(open_corpus("tinypython", seed=seed), n))


@pytest.fixture(scope="module")
def text():
    return "\n".join(documents(4000))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_every_module_parses_and_ends_its_last_line(seed):
    """Python accepts every document, whatever the seed."""
    for document in documents(30, seed):
        ast.parse(document)
        assert document.endswith("\n")
        assert not document.endswith("\n\n")


def test_the_same_seed_writes_the_same_in_every_process():
    """The order of hashes has no say."""
    code = (
        "from itertools import islice; from circuitkit.corpora import open_corpus; import sys;"
        "sys.stdout.write(''.join(islice(open_corpus('tinypython', seed=7), 50)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert outputs == {"".join(documents(50, seed=7)).encode()}


def test_seeds_differ():
    """Held-out seeds write other documents: almost none comes twice."""
    train, held_out = documents(500, 0), documents(500, VALIDATION_SEED)
    assert len(set(train) & set(held_out)) < 5


def test_importing_corpora_imports_no_torch():
    """The corpus belongs to a floor without an engine."""
    code = "import circuitkit.corpora, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


BEHAVIOURS = {
    "single_double_quote": (r"\('[^\n]*'\)\n", r"\(\"[^\n]*\"\)\n"),
    "bracket_counting": (r" = \[\d[^\[\n]*\]\n", r" = \[\[[^\n]*\]\]\n"),
    "set_or_string": (r"\w\.add\(", r"\w \+= [\"'a-z]"),
    "set_or_string_bound": (r" = set\(\)", r" = (?:\"\"|'')\n"),
    "for_while": (r"\bfor \w+ in \w+(?:\(|:)", r"while \w+:\n"),
    "if_equals": (r"if \w+ ==", r"\n *\w+ = \d\n"),
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_both_answers_of_a_behaviour_are_frequent_and_balanced(text, behaviour):
    """Neither class is rarer than two thirds of the other; both come every few documents."""
    counts = [len(re.findall(pattern, text)) for pattern in BEHAVIOURS[behaviour]]
    assert min(counts) / max(counts) > 0.6, counts
    assert min(counts) > 4000 / 4


def test_a_list_has_one_row_or_two_of_equal_length(text):
    """So that the second row always closes the list as well."""
    nested = re.findall(r"\[\[.*?\]\]", text)
    rows = [[len(row) for row in ast.literal_eval(found)] for found in nested]
    assert {len(row) for row in rows} == {2}
    assert all(first == second for first, second in rows)


def functions_of(tree):
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [ast.Module([n for n in tree.body if not hasattr(n, "name")], []), *found]


def parameters_of(scope):
    return {a.arg for a in scope.args.args} if isinstance(scope, ast.FunctionDef) else set()


def bound_to(scope):
    """Each name (or attribute of self) and the kinds of value it is ever bound to."""
    kinds = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign):
            kinds.setdefault(ast.unparse(node.targets[0]), set()).add(type(node.value).__name__)
    return kinds


def test_names_keep_their_type():
    """``.add`` comes only on what was bound to set(), ``.append`` only on lists."""
    wanted = {"add": {"Call"}, "append": {"List"}}
    seen = Counter()
    for document in documents(1500):
        tree = ast.parse(document)
        for scope in functions_of(tree):
            kinds = bound_to(tree) if "self" in ast.unparse(scope) else bound_to(scope)
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    owner = ast.unparse(node.func.value)
                    parameters = parameters_of(scope)
                    assert kinds.get(owner, set()) <= wanted[node.func.attr], document
                    assert owner in kinds or owner in parameters, document
                    seen[node.func.attr] += 1
    assert seen["add"] > 500
    assert seen["append"] > 50


def test_strings_grow_by_strings_and_numbers_by_numbers():
    """The right of += is of the type that the left was bound to."""
    for document in documents(800):
        for scope in functions_of(ast.parse(document)):
            kinds = bound_to(scope)
            values = {
                ast.unparse(n.targets[0]): n.value for n in ast.walk(scope) if type(n) is ast.Assign
            }
            for node in ast.walk(scope):
                if isinstance(node, ast.AugAssign) and isinstance(node.value, ast.Constant):
                    value = values.get(ast.unparse(node.target))
                    if isinstance(value, ast.Constant) and ast.unparse(node.target) in kinds:
                        assert type(value.value) is type(node.value.value), document


def test_strings_say_the_same_in_both_quotes(text):
    """How long a string is does not tell its quote."""
    lengths = [
        [len(found.split()) for found in re.findall(pattern, text)]
        for pattern in (r"\('([a-z ]+)'\)", r'\("([a-z ]+)"\)')
    ]
    means = [sum(found) / len(found) for found in lengths]
    assert abs(means[0] - means[1]) < 0.1


def test_the_vocabulary_holds_no_keyword_and_no_repetition():
    """Every name can be bound, and no list holds a word twice."""
    for words in (NAMES, FIELDS, FUNCTIONS, CLASSES, WORDS, ASIDES):
        assert len(set(words)) == len(words)
    for name in (*NAMES, *FIELDS, *FUNCTIONS, *CLASSES):
        ast.parse(f"{name} = 1")
    assert set(FIELDS) <= set(NAMES)
    assert not set(NAMES) & set(FUNCTIONS)


def test_a_folder_is_read_once_in_order(tmp_path):
    """Every UTF-8 file is a document; bytes that are no text and empty files are not."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.py").write_text("two = 2\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("é", encoding="utf-8")
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "d.txt").write_text("", encoding="utf-8")
    assert list(open_corpus(f"folder:{tmp_path}", seed=0)) == ["é", "two = 2\n"]


@pytest.mark.parametrize("spec", ["tinypyton", "", "folder:", "folder", "https://example.org"])
def test_an_unknown_corpus_is_refused(spec):
    """The message names what was got and what there is."""
    with pytest.raises(CorpusError, match=rf"no such corpus: '{spec}'; expected tinypython or"):
        open_corpus(spec, seed=0)


def test_a_missing_folder_is_refused_before_it_is_read(tmp_path):
    """Opening fails, not the first document an hour later."""
    with pytest.raises(CorpusError, match=r"no such folder of text: .*nowhere"):
        open_corpus(f"folder:{tmp_path / 'nowhere'}", seed=0)


def test_a_folder_without_text_is_refused(tmp_path):
    """An empty corpus would train on nothing."""
    (tmp_path / "c.bin").write_bytes(b"\xff")
    with pytest.raises(CorpusError, match=r"no text in .*: it holds no readable"):
        open_corpus(f"folder:{tmp_path}", seed=0)
