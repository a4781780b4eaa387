"""Laws of the twenty tasks that come with circuitkit, in the corpus' tokenizer."""

import ast
from functools import cache
from itertools import islice

import pytest

from circuitkit.corpora import open_corpus
from circuitkit.corpora.tokenizer import train_tokenizer
from circuitkit.task import SPLITS, builtin_tasks, load_task

TABLE_1 = {
    *("single_double_quote", "final_kwarg", "set_or_string", "set_or_string_fixedvarname"),
    *("class_init", "with_as", "bracket_brace", "with_open", "bracket_counting", "for_while"),
    *("else_elif", "fstring_brace", "if_ternary", "var_swap", "indent_for", "lambda_func"),
    *("if_equals", "enumerate_range", "var_if", "while_return_true"),
}

MAX_TOKENS = 110

ENDINGS = (
    *("", " pass", " 0", " 0}", " 0})", " 0]", " 0])", " 0)", ")", "): pass", "(0)", "pass"),
    *("(x): pass", " x: pass", " 0: pass", "x}')", 'x}")'),
    *("')", '")', "') as x: pass", '") as x: pass'),
)
"""Among these is one that makes Python of any prompt with its answer."""

each_task = pytest.mark.parametrize("name", builtin_tasks())


@pytest.fixture(scope="module")
def encode():
    tokenizer = train_tokenizer(islice(open_corpus("tinypython", seed=0), 20_000), 640)
    return lambda text: tokenizer.encode(text).ids


task_of = cache(load_task)


@cache
def drawn(name, split):
    """512 pairs of the test split, 150 of the others: each template twice or more."""
    return tuple(task_of(name).pairs(split, 512 if split == "test" else 150))


def sides(name):
    """Both sides of 150 pairs of each split."""
    pairs = [pair for split in SPLITS for pair in drawn(name, split)[:150]]
    return [side for pair in pairs for side in (pair.a, pair.b)]


def test_the_built_in_tasks_are_the_twenty_of_table_1():
    """Named as there; the frames that they share are not among them."""
    assert set(builtin_tasks()) == TABLE_1


@each_task
def test_a_task_says_what_it_asks(name):
    """A question and its source; each form apart says which shortcut it breaks."""
    task = task_of(name)
    assert task.name == name
    assert task.question.endswith("?")
    assert task.source == "Gao et al. 2025, Table 1"
    assert len(task.shortcuts) >= 2
    assert all(task.shortcuts)


@each_task
def test_a_task_says_what_less_than_its_prompt_tells(name):
    """The leaks are measured and in the file; the last token alone tells nothing."""
    leaks = task_of(name).leaks
    assert leaks is not None
    assert leaks.last_token == 0.5


@each_task
def test_splits_have_no_template_in_common(name):
    """At least 40 for training, selecting and testing together, and 12 to test on."""
    splits = [set(task_of(name).templates(split)) for split in SPLITS]
    assert sum(map(len, splits)) == len(set.union(*splits))
    assert sum(map(len, splits[:3])) >= 40
    assert len(splits[2]) >= 12


@pytest.mark.slow
@each_task
def test_splits_have_no_prompt_in_common(name):
    """What comes in one split, on either side, comes in no other."""
    prompts = [{s.text for p in drawn(name, split) for s in (p.a, p.b)} for split in SPLITS]
    assert sum(map(len, prompts)) == len(set.union(*prompts))


@each_task
def test_the_test_split_has_512_pairs(name):
    """None comes twice."""
    assert len({(pair.a.text, pair.b.text) for pair in drawn(name, "test")}) == 512


@each_task
def test_the_last_token_of_a_prompt_tells_nothing(encode, name):
    """Both prompts of a pair end in the same token."""
    for split in SPLITS:
        for pair in drawn(name, split)[:150]:
            assert encode(pair.a.text)[-1] == encode(pair.b.text)[-1], pair


@each_task
def test_a_text_is_the_tokens_of_its_prompt_and_the_one_of_its_answer(encode, name):
    """No token reaches across the end of the prompt; all fit."""
    for side in sides(name):
        prompt, answer = encode(side.text), encode(side.answer)
        assert len(answer) == 1, side
        assert encode(f"{side.text}{side.answer}") == prompt + answer, side
        assert len(prompt) <= MAX_TOKENS, side


@each_task
def test_a_prompt_with_its_answer_begins_python(name):
    """Some ending makes it a module that parses."""
    for side in sides(name):
        text = f"{side.text}{side.answer}"
        assert any(map(parses, (text + ending for ending in ENDINGS))), text


def parses(text):
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
