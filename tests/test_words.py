"""Laws of the words in code: what a person reads there is plain English and the field's terms."""

import ast
import io
import tokenize
from pathlib import Path

import pytest
from private_words import IN_CODE, private_words_in

ROOT = Path(__file__).parents[1]
CODE = sorted((ROOT / "circuitkit").rglob("*.py"))
TEMPLATES = sorted(path for path in (ROOT / "reports" / "templates").rglob("*") if path.is_file())
TASKS = sorted((ROOT / "tasks").glob("*.toml"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def prose_of(source):
    """The docstrings, other strings and comments of some Python."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def private_words_of(source):
    return [found for text in prose_of(source) for found in private_words_in(text, IN_CODE)]


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_no_private_word_in_code(path):
    """In docstrings, messages, notes of findings and comments."""
    assert private_words_of(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_no_private_word_in_a_report(path):
    """In what the template adds to the findings."""
    assert private_words_in(path.read_text(encoding="utf-8"), IN_CODE) == []


@pytest.mark.parametrize("path", TASKS, ids=name_of)
def test_no_private_word_in_a_task(path):
    """Only those of pages: circuits are bound to the bytes of a task's file, comments included."""
    assert private_words_in(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""Ask\nthe judge."""', ["the judge"]),
        ('def f():\n    """What M tells of a pair."""', ["tell (for say or show)"]),
        ('raise ValueError(f"{x} is told by {y}")', ["told"]),
        ('NOTE = "no " "passengers"', ["passengers"]),
        ("x = 1  # the circuit on trial, and its twin", ["on trial", "twin"]),
        ('"""Judged by the mean loss; taken up again."""', ["judged", "taken up"]),
        ('"""Contests between channels."""', ["contest"]),
    ],
)
def test_private_words_are_found(source, found):
    """In docstrings, in parts of f-strings and joined strings, in comments, over line breaks."""
    assert [each.partition(": ")[0] for each in private_words_of(source)] == found


def test_ordinary_words_and_names_are_left_alone():
    """Names of code are no prose; ``tell ... apart`` is a phrase of its own."""
    source = '''
def told(twin, ends):
    """It depends: the line ends with a space, extends, and can tell the two prompts apart."""
    return "twin_paths tell apart"
'''
    assert private_words_of(source) == []


def test_there_is_something_to_read():
    """Every place is where this test looks for it."""
    assert len(CODE) > 100
    assert TEMPLATES
    assert len(TASKS) > 20
