"""Laws of the text that models learn from."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.corpora.tinypython import VALIDATION_SEED, tinypython
from circuitkit.task.words import (
    ASIDES,
    CLASSES,
    EXTENSIONS,
    FIELDS,
    FUNCTIONS,
    NAMES,
    READ_FILES,
    WORDS,
    WRITE_FILES,
)


def documents(n, seed=0):
    return list(islice(tinypython(seed), n))


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
        "from itertools import islice; import sys;"
        "from circuitkit.corpora.tinypython import tinypython;"
        "sys.stdout.write(''.join(islice(tinypython(7), 50)))"
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


def names_of(words):
    return f"(?:{'|'.join(words)})"


QUOTED = "['\"]"
BEHAVIOURS = {
    "single_double_quote": (r"\('[^\n{]*'\)\n", r"\(\"[^\n{]*\"\)\n", 0.4),
    "bracket_counting": (r" = \[\d[^\[\n]*\]\n", r" = \[\[[^\n]*\]\]\n", 0.2),
    "set_or_string": (r"\w\.add\(", r"\w \+= [\"'a-z]", 0.25),
    "set_or_string_fixedvarname": (r"\bcurrent\.add\(", r"\bcurrent \+= [\"'a-z]", 0.05),
    "for_while": (r"\bfor \w+ in ", r"\bwhile \w+:", 0.2),
    "if_equals": (r"\bif \w+ ==", r"\n *\w+ = \d\n", 0.7),
    "final_kwarg": (r"=None, \w+=None", r"\((?!self)\w+, \w+(?:, \w+)?\):", 0.15),
    "with_as": (r"\bwith [^\n]*\) as", r" = (?:open|[a-z]+)\([^\n]*\)\n", 0.3),
    "bracket_brace": (rf"\{{{QUOTED}\w+{QUOTED}:", rf"[ (]\[{QUOTED}\w+{QUOTED}[,\]]", 0.12),
    "with_open": (rf", {QUOTED}r{QUOTED}\)", rf", {QUOTED}w{QUOTED}\)", 0.15),
    "else_elif": (r"\belif \w+:", r"\belse:\n *\w+ =", 0.05),
    "fstring_brace": (rf"\bf{QUOTED}[^\n]*\{{", rf"\({QUOTED}[^\n{{}}]*{QUOTED}\)\n", 0.3),
    "if_ternary": (r"\n *if [^\n]*:\n", r" = \w+ if [^\n]* else \w", 0.3),
    "lambda_func": (r"lambda \w+:", rf"\bdef {names_of(NAMES)}\(", 0.2),
    "enumerate_range": (r"for \w+, \w+ in enumerate\(", r"for \w+ in range\(", 0.1),
    "var_if": (r"\bif \w+ == True:", r"\n *\w+ = True\n", 0.08),
    "while_return_true": (r"\n *while True:\n", r"\n *return True\n", 0.15),
}
"""Both answers of a behaviour, and how often a document has each at least, on average."""


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_both_answers_of_a_behaviour_are_frequent(text, behaviour):
    """Each at its stated rate, and neither six times as frequent as the other."""
    *patterns, rate = BEHAVIOURS[behaviour]
    counts = [len(re.findall(pattern, text)) for pattern in patterns]
    assert min(counts) >= 4000 * rate, counts
    assert max(counts) < 6 * min(counts), counts


def test_a_swap_comes_in_both_orders(text):
    """var_swap: either name may be the first, whichever was bound first."""
    first = Counter()
    for document in documents(4000):
        for match in re.finditer(r"\b(\w+), (\w+) = \2, \1\n", document):
            before = document[: match.start()]
            a, b = (before.find(f"{name} = ") for name in match.groups())
            first[a < b] += min(a, b) >= 0
    assert min(first.values()) > 4000 * 0.08, first
    assert max(first.values()) < 1.5 * min(first.values()), first


def test_fields_are_copied_in_any_order():
    """class_init: what ``self.x`` gets is ``x``; its place among the parameters tells nothing."""
    places = Counter()
    for document in documents(4000):
        for node in ast.walk(ast.parse(document)):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                fields = [argument.arg for argument in node.args.args[1:]]
                copies = [(s.targets[0].attr, s.value) for s in node.body if type(s) is ast.Assign]
                copied = [(a, v.id) for a, v in copies if isinstance(v, ast.Name)]
                assert sorted(copied) == sorted((f, f) for f in fields)
                places[copied[0][0] == fields[0]] += len(fields) == 2
    assert min(places.values()) > 4000 * 0.03, places
    assert max(places.values()) < 1.5 * min(places.values()), places


def test_the_line_after_for_is_indented_and_after_an_assignment_it_is_not(text):
    """indent_for: only what opens a block is followed by a deeper line."""
    lines = text.split("\n")
    seen = Counter()
    for line, below in pairwise(lines):
        deeper = len(below) - len(below.lstrip()) > len(line) - len(line.lstrip())
        if re.match(r" *(for|\w+ =) ?", line) and below.strip():
            assert deeper == line.lstrip().startswith("for "), (line, below)
            seen[deeper] += 1
    assert min(seen.values()) > 4000 * 0.2, seen


def test_the_name_of_a_file_tells_how_it_is_opened(text):
    """with_open: and nothing else about the call does."""
    for name, mode in re.findall(r"open\(.([a-z]+)[^\n]*, .(\w).\)", text):
        assert name in (READ_FILES if mode == "r" else WRITE_FILES)
    for pattern in (*EXTENSIONS, "with open", '"'):
        found = re.findall(r"\n *([^\n]*, .(\w).\)[^\n]*)\n", text)
        modes = Counter(mode for line, mode in found if "open(" in line and pattern in line)
        assert max(modes.values()) < 1.3 * min(modes.values()), (pattern, modes)


def test_braces_come_only_in_fstrings():
    """fstring_brace: every f-string has one, after at least a word; no other string has any."""
    n = 0
    for document in documents(1500):
        for node in ast.walk(ast.parse(document)):
            if isinstance(node, ast.JoinedStr):
                kinds = [type(part).__name__ for part in node.values]
                assert kinds[:2] == ["Constant", "FormattedValue"]
                assert kinds[2:] in ([], ["Constant"])
                n += 1
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "{" not in node.value
    assert n > 1500 * 0.3


def test_defaults_come_for_all_parameters_or_none():
    """final_kwarg: what the parameter before has decides; ``self`` has none either way."""
    for document in documents(1500):
        for node in ast.walk(ast.parse(document)):
            if isinstance(node, ast.FunctionDef):
                own = [a.arg for a in node.args.args if a.arg != "self"]
                assert len(node.args.defaults) in (0, len(own))


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
        elif isinstance(node, ast.withitem):
            kinds.setdefault(ast.unparse(node.optional_vars), set()).add("Call")
    return kinds


def test_names_keep_their_type():
    """``.add`` comes only on sets, ``.append`` on lists, ``.items`` on dicts, the rest on files."""
    call = {"Call"}
    wanted = {"add": call, "append": {"List"}, "items": {"Dict"}, "read": call, "write": call}
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
    assert seen["append"] > 30
    assert min(seen["items"], seen["read"], seen["write"]) > 0


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
