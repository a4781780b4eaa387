"""Laws of tasks: pairs differ in one cue, splits share no template, bad files say where."""

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.errors import TaskError
from circuitkit.task import SPLITS, Leaks, Pair, Prompt, builtin_tasks, load_task

PLAIN = """
format = "circuitkit.task/1"
name = "plain"
question = "Which?"
source = "none"
[draw]
name = "{{ identifier() }}"
number = "{{ integer() }}"
[[forms]]
a = { prompt = "if {{ name }}", answer = " ==" }
b = { prompt = "{{ name }}", answer = " =" }
"""


def written(tmp_path, text, name="mine.toml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def with_prompt(source):
    return PLAIN.replace('"if {{ name }}"', f"'''{source}'''")


@pytest.fixture
def plain(tmp_path):
    return load_task(written(tmp_path, PLAIN))


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(builtin_tasks()),
    split=st.sampled_from(SPLITS),
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_a_longer_request_begins_with_the_shorter(name, split, seed, sizes):
    """Pairs are a function of task, split and seed; templates come in turn; none comes twice."""
    few, many = sorted(sizes)
    pairs = load_task(name).pairs(split, many, seed)
    assert load_task(name).pairs(split, few, seed) == pairs[:few]
    assert len(set(pairs)) == many
    templates = load_task(name).templates(split)
    assert [pair.template for pair in pairs[: len(templates)]] == list(templates[:many])


def test_pairs_are_the_same_in_every_process():
    """The order of hashes has no say."""
    code = (
        "from circuitkit.task import load_task;print(load_task('for_while').pairs('test', 20, 3))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert outputs == {str(load_task("for_while").pairs("test", 20, 3))}


def test_seeds_differ():
    """Another seed draws other pairs from the same templates."""
    task = load_task("bracket_counting")
    assert not set(task.pairs("test", 50, 0)) & set(task.pairs("test", 50, 1))


def test_importing_tasks_imports_no_torch():
    """Tasks are nouns: a report reads them without an engine."""
    code = "import circuitkit.task, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_hash_shows_any_edit(tmp_path, plain):
    """Even of a comment."""
    edited = load_task(written(tmp_path, PLAIN + "# more\n", "edited.toml"))
    assert edited.sha256 != plain.sha256
    assert load_task(written(tmp_path, PLAIN, "copy.toml")).sha256 == plain.sha256


def test_a_task_that_runs_out_says_how_many_pairs_it_has(plain):
    """Without a frame there are as many pairs as names."""
    origin = plain.origin
    alone = replace(origin.frames[0], name="alone"), replace(origin.frames[0], name="only")
    small = replace(plain, origin=replace(origin, frames=(origin.frames[0], *alone)))
    assert len(set(small.pairs("test", 25))) == 25
    with pytest.raises(TaskError, match=r"99 pairs of split test asked for, it has (2\d|3[0-3]) d"):
        small.pairs("test", 99)


def test_a_task_without_ood_has_no_ood_pairs(plain):
    """It says so rather than give others."""
    assert plain.templates("ood") == ()
    with pytest.raises(TaskError, match="1 pairs of split ood asked for, it has 0"):
        plain.pairs("ood", 1)


def test_both_sides_see_the_same_draws(tmp_path):
    """What a form draws for itself is shared too, and avoids the names in use."""
    drawn = "{{ identifier() }} = {{ integer() }} if"
    text = PLAIN.replace("if {{ name }}", drawn).replace(
        'b = { prompt = "', f'b = {{ prompt = "{drawn} '
    )
    for pair in load_task(written(tmp_path, text)).pairs("train", 50):
        assert pair.b.text.startswith(pair.a.text)


SPLIT_OF_FORMS = ("train", "select", "test")


def drawn(task, n=19):
    """Pairs of every template, by template."""
    pairs = [p for split in SPLIT_OF_FORMS for p in task.pairs(split, n)]
    return {pair.template: pair for pair in pairs}


def test_a_frame_indents_every_line_of_a_prompt(tmp_path):
    """But the answer stays as written where it goes on a line."""
    text = PLAIN.replace("if {{ name }}", "{{ name }} = 1\\n\\nx").replace('" =="', '"\\n"')
    pairs = drawn(load_task(written(tmp_path, text)))
    assert {p.a.answer for p in pairs.values()} == {"\n"}
    assert pairs["form1/bare"].a.text.endswith(" = 1\n\nx")
    assert pairs["form1/in_method"].a.text.endswith(" = 1\n\n        x")


def test_an_answer_that_begins_a_line_brings_the_margin(tmp_path):
    """The open last line of the prompt is left empty; an answer may be the margin alone."""
    text = PLAIN.replace("if {{ name }}", "for x in y:\\n").replace('" =="', '"    "')
    text = text.replace('"{{ name }}"', '"x = y\\n"').replace('" ="', '""')
    task = load_task(written(tmp_path, 'frames = "inside"\n' + text))
    pairs = drawn(task, len(task.templates("train")))
    for name, margin in (("in_function", " " * 4), ("in_method", " " * 8)):
        pair = pairs[f"form1/{name}"]
        assert (pair.a.answer, pair.b.answer) == (margin + "    ", margin)
        assert pair.a.text.endswith(f"\n{margin}for x in y:\n")
        assert pair.b.text.endswith(f"\n{margin}x = y\n")


def test_an_answer_within_a_line_is_not_empty(tmp_path):
    """A margin does not help where the prompt does not end its line."""
    text = 'frames = "inside"\n' + PLAIN.replace('" =="', '""')
    with pytest.raises(TaskError, match=r"forms\[1\].a, in frame in_.*the answer is empty"):
        load_task(written(tmp_path, text))


def test_a_task_may_keep_to_some_frames(tmp_path, plain):
    """Those without a margin, or those with one; together they are all of them."""
    kept = {
        choice: {
            template
            for split in SPLITS
            for template in load_task(written(tmp_path, f'frames = "{choice}"\n{PLAIN}')).templates(
                split
            )
        }
        for choice in ("top", "inside")
    }
    assert kept["top"] | kept["inside"] == {t for s in SPLITS for t in plain.templates(s)}
    assert {"form1/bare", "form1/after_loop"} <= kept["top"]
    assert {"form1/in_method", "form1/in_loop"} <= kept["inside"]
    assert not kept["top"] & kept["inside"]


SHIFTED = (
    PLAIN
    + """
[[ood]]
breaks = "the name decides"
a = { prompt = "if x", answer = " ==" }
b = { prompt = "y", answer = " =" }
[[ood]]
a = { prompt = "if x2", answer = " ==" }
b = { prompt = "y2", answer = " =" }
[leaks]
last_token = 0.5
bag_of_tokens = 1
length = 0.72
"""
)


def test_a_task_says_what_its_shifts_break_and_what_leaks(tmp_path, plain):
    """As its file has it; a file need not say."""
    task = load_task(written(tmp_path, SHIFTED))
    assert task.shortcuts == ("the name decides", "")
    assert task.leaks == Leaks(last_token=0.5, bag_of_tokens=1.0, length=0.72)
    assert (plain.shortcuts, plain.leaks) == ((), None)


def test_where_a_pair_is_written_is_no_part_of_it(tmp_path, plain):
    """The same pair read from two files is one; messages name file and key."""
    (pair,) = plain.pairs("test", 1)
    (copy,) = load_task(written(tmp_path, PLAIN, "copy.toml")).pairs("test", 1)
    assert copy == pair
    assert hash(copy) == hash(pair)
    assert repr(copy) == repr(pair)
    assert copy.where("a.answer").endswith(
        f"copy.toml: forms[1].a.answer (template {pair.template})"
    )
    task = load_task(written(tmp_path, line(1), "fixed.jsonl"))
    (fixed,) = task.pairs("test", 1)
    assert fixed.where("b.prompt").endswith("fixed.jsonl: line 1: b.prompt (template t)")


def test_nouns_are_frozen(plain):
    """A task cannot be changed under those who hold it."""
    with pytest.raises(FrozenInstanceError):
        plain.name = "other"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prompt(answer="x"), "either text or tokens"),
        (lambda: Prompt(text="x", tokens=(1,), answer="x"), "either text or tokens"),
        (lambda: Prompt(text="x", answer=1), "answer 1: expected str"),
        (lambda: Prompt(tokens=(1,), answer="x"), "answer 'x': expected int"),
        (lambda: Prompt(text="x", answer=""), "the answer is empty"),
        (lambda: Prompt(text="", answer="x"), "the prompt is empty"),
        (lambda: Prompt(tokens=(), answer=1), "the prompt is empty"),
        (lambda: Prompt(text="\ud800", answer="x"), "half a character"),
    ],
)
def test_a_prompt_that_cannot_be_asked_is_refused(make, message):
    """Exactly one of text and tokens, an answer of its kind, neither empty."""
    with pytest.raises(TaskError, match=message):
        make()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (Prompt(text="x", answer="1"), Prompt(text="y", answer="1"), "both sides answer '1'"),
        (Prompt(text="x", answer="1"), Prompt(text="x", answer="2"), "both sides ask 'x'"),
        (Prompt(tokens=(1,), answer=1), Prompt(tokens=(1,), answer=2), "both sides ask"),
        (Prompt(text="x", answer="1"), Prompt(tokens=(1,), answer=2), "one side is text"),
    ],
)
def test_a_pair_without_a_difference_is_refused(a, b, message):
    """Prompts and answers differ, kinds do not."""
    with pytest.raises(TaskError, match=message):
        Pair(a=a, b=b, template="t")


LEAKS = "[leaks]\nlast_token = 0.5\nbag_of_tokens = 0.5\n"
FORM = """
a = { prompt = "1", answer = "x" }
b = { prompt = "2", answer = "y" }
[[forms]]"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('format = "circuitkit.task/1"', 'format = "other/9"', r"format: got 'other/9'; input sh"),
        ('source = "none"\n', "", "source is missing; add it"),
        ('source = "none"', 'source = "none"\nauthor = "me"', "author: no such key .got 'me'"),
        ('source = "none"', "source = 3", r"source: got 3; input should be a valid string"),
        ('name = "plain"', 'name = "../plain"', r"name: got '../plain'; string should match"),
        ("[[forms]]", "[[others]]", "forms is missing; add it"),
        (', answer = " =="', "", r"forms\[1\].a.answer is missing"),
        ('" =="', '""', r"forms\[1\].a, in frame .*the answer is empty"),
        ('" =="', '" ="', r"forms\[1\], in frame .*both sides answer ' ='"),
        ('"if {{ name }}"', '"{{ name }}"', r"forms\[1\], in frame .*both sides ask"),
        ('"if {{ name }}"', '"{{ nmae }}"', r"forms\[1\].a.prompt: 'nmae' is undefined; known her"),
        ('"if {{ name }}"', '"{{ name"', r"forms\[1\].a.prompt: bad Jinja2 on line 1"),
        ('"{{ integer() }}"', '"{{ integer(9, 2) }}"', r"draw.number: integer\(9, 2\): expected 0"),
        ("number =", "pick =", "draw.pick: a function has this name"),
        ("number =", "frames = 'top'\nnumber =", "draw.frames: a key .* put it above"),
        ("[draw]", "[draw", "not TOML: .*line"),
        ("[draw]", 'frames = "both"\n[draw]', "frames: got 'both'; input should be 'top' or 'ins"),
        ("[draw]", LEAKS + "length = 1.5\n[draw]", "leaks.length: got 1.5; .* less than or equal"),
        ("[draw]", LEAKS + "length = nan\n[draw]", "leaks.length: got nan; input should be"),
        ("[draw]", LEAKS + "length = '1'\n[draw]", "leaks.length: got '1'; input should be a va"),
        ("[draw]", LEAKS + "[draw]", "leaks.length is missing; add it"),
        ("[[forms]]", '[[forms]]\nbreaks = "x"', r"forms\[1\].breaks: no such key"),
        ("[[forms]]", '[[ood]]\nbreaks = ""\n' + FORM, r"ood\[1\].breaks: got ''"),
        ("[[forms]]", "[[ood]]\nbreaks = 3\n" + FORM, r"ood\[1\].breaks: got 3"),
        ('", answer = " =="', '\\n", answer = ""', r"forms\[1\].a, in frame .*the answer is empty"),
    ],
)
def test_a_wrong_file_says_where(tmp_path, old, new, message):
    """File, key, value got, what was expected."""
    assert old in PLAIN
    path = written(tmp_path, PLAIN.replace(old, new, 1))
    with pytest.raises(TaskError, match=rf"mine\.toml: (?s:.)*{message}"):
        load_task(path)


DOUBLED = "{% set x = 'aaaaaaaaaa' %}" + "{% set x = x + x %}" * 60 + "{{ x }}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ ''.__class__.__mro__ }}", "access to .__mro__; templates have no attributes"),
        ("{{ ''['__class__'] }}", r"access to \['__class__'\]: subscripts are whole numbers"),
        ("{{ identifier.__globals__ }}", "access to .__globals__"),
        ("{{ name.format() }}", "access to .format|a call of something else"),
        ("{{ 'a' * 10000000000 }}", r"\* would make more than 20000 characters"),
        ("{{ 10000000000 * 'a' }}", r"\* would make more than 20000 characters"),
        ("{{ 99999999 * 99999999 }}", r"\* would make a number past"),
        ("{{ 9 ** 999999999 }}", "Pow; expected"),
        ("{{ '%1000000000d' % 1 }}", "% formats nothing here"),
        ("{{ 'a' ~ 'b' }}", "Concat; expected"),
        (DOUBLED, r"\+ would make more than 20000 characters"),
        ("{% for i in range(1000000000) %}x{% endfor %}", "range of 1000000000 items; at most"),
        ("{% for i in range(900) %}" + "x" * 40 + "{% endfor %}", "text over 20000 characters"),
        (
            "{% for i in range(9) %}{% for j in range(9) %}{% endfor %}{% endfor %}",
            "a loop within a loop",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "Macro; expected"),
        ("{% include '/etc/passwd' %}", "Include; expected"),
        ("{{ [[1]] }}", "List; expected"),
        ("{{ name|center(1000000000) }}", "the filter 'center'; there are"),
        ("{{ name|random }}", "the filter 'random'|No filter named 'random'"),
        ("{{ lipsum() }}", "'lipsum' is undefined"),
        ("{{ words(0, 100000000) }}", r"words\(0, 100000000\): expected 0 <="),
        ("{{ identifier }}", "prints a method"),
        ("{{ identifier('verb') }}", "expected function, class, field"),
        ("{{ pick() }}", "expected at least one option"),
        ("{{ 1 // 0 }}", "by zero"),
        ("{{ name() }}", "not callable"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply"),
        ("x" * 20_001, "20001 characters; at most 20000"),
        ("{% for i in range(33) %}{{ identifier() }}{% endfor %}", "names are used"),
    ],
)
def test_a_hostile_template_is_refused_at_once(tmp_path, source, message):
    """A stranger's file neither reaches internals nor runs away."""
    with pytest.raises(TaskError, match=message):
        load_task(written(tmp_path, with_prompt(source)))


def test_many_slow_templates_are_given_up(tmp_path, monkeypatch):
    """Each is within its bounds; together they would take for ever."""
    monkeypatch.setattr("circuitkit.task.pair_sources.PATIENCE_SECONDS", 0)
    with pytest.raises(TaskError, match=r"mine\.toml: forms\[1\]\.a\.prompt .*more than 0 s"):
        load_task(written(tmp_path, PLAIN))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for i in range(3) %}{{ i }}{{ '' if loop.last else ', ' }}{% endfor %}", "0, 1, 2"),
        ("{{ ('ab' * 3)|upper }}", "ABABAB"),
        ("{{ 'abc'[1:] + 'd' }}", "bcd"),
        ("{% if 7 % 2 == 1 and not false %}odd{% endif %}", "odd"),
        ("{{ pick(4) + 1 }}", "5"),
    ],
)
def test_what_templates_may_do_they_do(tmp_path, source, text):
    """Loops, conditions, arithmetic, slices."""
    task = load_task(written(tmp_path, with_prompt(source)))
    pairs = [pair for split in ("train", "select", "test") for pair in task.pairs(split, 5)]
    assert all(pair.a.text.endswith(text) for pair in pairs)


def test_what_is_no_task_file_is_refused(tmp_path):
    """Missing, too large, not UTF-8, a folder."""
    with pytest.raises(TaskError, match=r"no such file: .*absent.toml; expected a task file"):
        load_task(tmp_path / "absent.toml")
    with pytest.raises(TaskError, match=r"at most 1,048,576 are read"):
        load_task(written(tmp_path, PLAIN + "#" * 2**20))
    with pytest.raises(TaskError, match=r"not UTF-8 at byte 2"):
        load_task(written(tmp_path, b"# \xff"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(TaskError, match=r"cannot read .*folder.toml"):
        load_task(tmp_path / "folder.toml")


def test_an_unknown_name_is_refused_with_the_nearest():
    """A slip of the keyboard is answered with what was meant."""
    with pytest.raises(TaskError, match=r"no task 'bracket_count'.* names are bracket_counting"):
        load_task("bracket_count")
    with pytest.raises(TaskError, match=r"a \.toml, a \.csv or a \.jsonl file.*if_equals"):
        load_task("zzz.yaml")


def test_an_unknown_split_or_number_is_refused(plain):
    """Not answered with an empty list."""
    with pytest.raises(TaskError, match="no split 'validation'; expected one of train, select"):
        plain.pairs("validation", 1)
    with pytest.raises(TaskError, match="-1 pairs asked for"):
        plain.pairs("test", -1)


def line(i, split="test", template="t", **changes):
    side = {"prompt": [1, 2, i], "answer": 5}
    other = {"prompt": [1, 3, i], "answer": 6}
    return json.dumps({"a": side, "b": other, "template": template, "split": split} | changes)


def test_fixed_pairs_are_read_line_by_line(tmp_path):
    """Text or token ids, in an order drawn from the seed; what comes twice counts once."""
    lines = [line(i) for i in range(30)] + [line(3), "", line(1, "train", "u")]
    task = load_task(written(tmp_path, "\n".join(lines), "fixed.jsonl"))
    assert task.name == "fixed"
    assert task.templates("test") == ("t",)
    assert len(set(task.pairs("test", 30))) == 30
    assert task.pairs("test", 10, 4) == task.pairs("test", 30, 4)[:10]
    assert task.pairs("test", 30, 0) != task.pairs("test", 30, 1)
    assert task.pairs("train", 1)[0].a == Prompt(tokens=(1, 2, 1), answer=5)
    with pytest.raises(TaskError, match="31 pairs of split test asked for, it has 30"):
        task.pairs("test", 31)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no pairs; expected one JSON object a line"),
        ("{", "line 1: not JSON: .*; expected one whole JSON object a line"),
        (f"[{line(1)}]", "a JSON array; expected one JSON object a line.*Convert it.*jq -c"),
        (f"[\n{line(1)},\n{line(2)}\n]\n", "a JSON array; expected one JSON object a line"),
        ("[]", "a JSON array; expected one JSON object a line"),
        ("[" * 100_000, "line 1: not JSON"),
        ("3", "line 1: the line: got 3; input should be a valid dict"),
        (line(1) + "\n" + line(2, split="dev"), "line 2: split: got 'dev'; input should be 'train"),
        (line(1, more=1), "line 1: more: no such key"),
        (line(1, a={"prompt": [-1], "answer": 5}), "line 1: a.prompt.* greater than or equal to 0"),
        (line(1, a={"prompt": "x", "answer": 5}), "line 1: answer 5: expected str"),
        (line(1, b={"prompt": [1], "answer": 5}), "line 1: both sides answer 5"),
        (line(1) + "\n" + line(2, split="train"), "template 't' is in train and in test"),
    ],
)
def test_a_wrong_line_says_where(tmp_path, text, message):
    """File, line, key, value got, what was expected."""
    with pytest.raises(TaskError, match=rf"mine\.jsonl: (?s:.)*{message}"):
        load_task(written(tmp_path, text, "mine.jsonl"))


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, plain):
    """Some editors put one before every text; the hash is of the bytes, so that it shows."""
    mark = "\N{BYTE ORDER MARK}"
    task = load_task(written(tmp_path, mark + line(1), "fixed.jsonl"))
    assert task.pairs("test", 1)[0].a == Prompt(tokens=(1, 2, 1), answer=5)
    marked = load_task(written(tmp_path, mark + PLAIN, "marked.toml"))
    assert marked.pairs("test", 3) == plain.pairs("test", 3)
    assert marked.sha256 != plain.sha256
