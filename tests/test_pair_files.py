"""Laws of files of pairs: read as written, in any order, or refused with the line."""

import csv
import io
import json
import pickle
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import cli
from tiny import tiny_checkpoint

import circuitkit as ck
from circuitkit.competence.task_check import check_task
from circuitkit.errors import PairError, TaskError
from circuitkit.planted import plant
from circuitkit.task import SPLITS, load_task, pair_rows
from circuitkit.task.columns import COLUMNS
from circuitkit.task.dealt_splits import SHARES, deal
from circuitkit.task.inferred_templates import MOST_WORDS, infer_templates
from circuitkit.task.pair_files import read_pairs
from circuitkit.task.pairs import forms_in, naming_place

HEADER = ("prompt_a", "answer_a", "prompt_b", "answer_b")
SOME = (*HEADER, "clean", "template", "split", "a", "b", "prompt", "answer", "")
NAMES = ("John", "Mary", "Tom", "Ann", "Kim", "Bob Lee", "Sue", "Max")


def as_csv(rows, header=HEADER):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return text.getvalue()


def as_jsonl(rows, header=HEADER):
    return "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)


def written(folder, text, name="mine.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def read(folder, text, name="mine.csv"):
    return read_pairs(text.encode(), folder / name)


def splits_of(found):
    """Every pair of a file with its template and split, in no order."""
    return {
        (frozenset([pair.a, pair.b]), pair.template, split)
        for split, pairs in found.pairs.listed.items()
        for pair in pairs
    }


FORMS = (
    ("Then {0} and {1} went to the shop , {0} paid", " her", " him"),
    ("After lunch {0} saw {1} in the park and {0} smiled at", " her", " him"),
    ("{0} has a book , {1} has none . The book of {0} is", " red", " old"),
    ("Why did {1} not call {0} on the phone ? Ask", " them", " us"),
)


def rows_of(form, n, first=0):
    """Pairs of one form: the names change places."""
    text, right, wrong = FORMS[form]
    both = [(a, b) for a in NAMES for b in NAMES if a < b][first : first + n]
    return [[text.format(a, b), right, text.format(b, a), wrong] for a, b in both]


EVERY = [row for form in range(4) for row in rows_of(form, 20)]

# Read as written


def contradicts(rows):
    """Whether one prompt has two answers in rows of text."""
    asked = [side for row in rows for side in (row[:2], row[2:])]
    return len({prompt for prompt, _ in asked}) < len(set(asked))


verbatim = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
odd = st.sampled_from(["None", "NA", "nan", "null", " ", '"', ",", "a\nb", "\r\n", "'", ";", "\t"])
text_rows = st.lists(
    st.tuples(verbatim | odd, verbatim | odd, verbatim | odd, verbatim | odd).filter(
        lambda row: row[0] != row[2] and row[1] != row[3]
    ),
    min_size=3,
    max_size=8,
).filter(lambda rows: not contradicts(rows))


@settings(max_examples=60)
@given(rows=text_rows)
def test_a_csv_and_a_jsonl_of_the_same_pairs_are_one_task(tmp_path_factory, rows):
    """Any text comes through as it is, with the same templates and splits, in the same order."""
    folder = tmp_path_factory.getbasetemp()
    a, b = read_or_few(folder, as_csv(rows)), read_or_few(folder, as_jsonl(rows), "mine.jsonl")
    assert (a is None) == (b is None) == (len({frozenset([r[:2], r[2:]]) for r in rows}) < 3)
    if a is None or b is None:
        return
    assert a.pairs.listed == b.pairs.listed
    assert a.pairs.asks() == b.pairs.asks()
    texts = {side.text for found in a.pairs.listed.values() for p in found for side in (p.a, p.b)}
    assert texts == {row[i] for row in rows for i in (0, 2)}


def read_or_few(folder, text, name="mine.csv"):
    """None where there are fewer than three different pairs."""
    try:
        return read(folder, text, name)
    except TaskError:
        return None


@settings(max_examples=25)
@given(rows=st.permutations(EVERY), mirrored=st.sets(st.integers(0, len(EVERY) - 1)))
def test_the_order_of_rows_and_sides_has_no_influence(tmp_path_factory, rows, mirrored):
    """On templates, on splits, on what is asked."""
    folder = tmp_path_factory.getbasetemp()
    turned = [row[2:] + row[:2] if i in mirrored else row for i, row in enumerate(rows)]
    assert splits_of(read(folder, as_csv(turned))) == splits_of(read(folder, as_csv(EVERY)))
    assert read(folder, as_csv(rows)).pairs.asks() == read(folder, as_csv(EVERY)).pairs.asks()


def test_the_order_of_rows_has_no_influence_on_what_is_drawn(tmp_path):
    """Nor on which of two copies of a pair is kept: the same pairs come in the same order."""
    rows = [[*row, f"t{i % 6}"] for i, row in enumerate(EVERY)]
    rows += [[*row[:4], "t9"] for row in rows[:3]] + [
        [*row[2:4], *row[:2], "t0"] for row in rows[3:5]
    ]
    header = (*HEADER, "template")
    one = load_task(written(tmp_path, as_csv(rows, header), "one.csv"))
    two = load_task(written(tmp_path, as_csv(rows[::-1], header), "two.csv"))
    for split in SHARES:
        for seed in (0, 1):
            assert one.up_to(split, 5, seed) == two.up_to(split, 5, seed)


def test_the_name_of_the_file_has_no_influence(tmp_path):
    """The copy in a circuit's folder is the same task; its hash is that of the bytes."""
    mine = load_task(written(tmp_path, as_csv(EVERY)))
    copy = load_task(written(tmp_path, as_csv(EVERY), "task.csv"))
    assert copy.sha256 == mine.sha256
    assert copy.origin == mine.origin
    assert load_task(written(tmp_path, as_csv(EVERY[:-1]), "less.csv")).sha256 != mine.sha256


def test_templates_and_splits_that_are_given_are_kept(tmp_path):
    """Then nothing is added, and there is no note."""
    rows = [[*row, f"t{i % 6}", SPLITS[i % 3]] for i, row in enumerate(EVERY)]
    task = load_task(written(tmp_path, as_csv(rows, (*HEADER, "template", "split"))))
    assert (task.notes, task.source) == ((), "mine.csv")
    assert {split: set(task.templates(split)) for split in SPLITS[:3]} == {
        "train": {"t0", "t3"}, "select": {"t1", "t4"}, "test": {"t2", "t5"}
    }  # fmt: skip


def test_a_row_of_several_lines_is_named_by_its_first(tmp_path):
    """As an editor counts them."""
    rows = [["a\nb\nc", "x", "a\nb\nd", "y"], *EVERY[:5]]
    found = read(tmp_path, as_csv(rows))
    assert sorted(p.line for pairs in found.pairs.listed.values() for p in pairs)[:2] == [2, 7]


@pytest.mark.parametrize("names", list(zip(*(COLUMNS[part] for part in HEADER), strict=False)))
def test_the_names_of_others_are_read(tmp_path, names):
    """Of columns and of keys; capitals and blanks around them do not count."""
    spelled = [f" {name.upper()}" for name in names]
    for header in (names, spelled):
        assert splits_of(read(tmp_path, as_csv(EVERY, header))) == splits_of(
            read(tmp_path, as_jsonl(EVERY, header), "mine.jsonl")
        )


def test_token_ids_have_templates_and_splits_too(tmp_path):
    """In a JSONL, whose numbers are ids."""
    rows = [[[n, 7, form, form + 20], 1, [n + 1, 7, form, form + 20], 2]
            for form in (3, 4, 5) for n in range(10, 18, 2)]  # fmt: skip
    found = read(tmp_path, as_jsonl(rows), "ids.jsonl")
    labels = {pair.template for pairs in found.pairs.listed.values() for pair in pairs}
    assert labels == {"… 7 3 23", "… 7 4 24", "… 7 5 25"}


# Templates


def labels(rows):
    pairs = [pair_rows._row(pair_rows._nested(dict(zip(HEADER, r, strict=True)), ""), 1, "").pair()
             for r in rows]  # fmt: skip
    return infer_templates(pairs)


@pytest.mark.parametrize("form", range(4))
def test_prompts_of_one_form_are_one_template(form):
    """Though names have one word or two, and come once or twice."""
    assert len(set(labels(rows_of(form, 20)))) <= 2


def test_prompts_of_different_forms_are_different_templates():
    """No label has pairs of two forms, and it says what they share."""
    found = labels(EVERY)
    by_form = [set(found[20 * form : 20 * form + 20]) for form in range(4)]
    assert sum(map(len, by_form)) == len(set(found))
    assert any("Then … and … went to the shop , … paid" in label for label in by_form[0])


def test_prompts_with_nothing_in_common_are_templates_of_their_own():
    """And two with less than half of their words in common."""
    rows = [["one two three", "x", "four five six", "y"], ["seven two eight", "x", "nine", "y"]]
    assert len(set(labels(rows))) == 2


def test_labels_are_short_printable_and_distinct():
    """Whatever the prompts hold; of a long one the last words count."""
    long = [" ".join(f"{word}{i}" for i in range(300)) for word in ("left", "right")]
    found = labels([[text, "x", text + "\n\t\x00", "y"] for text in long])
    assert len(set(found)) == 2
    assert all(len(label) <= 80 and label.isprintable() for label in found)
    assert MOST_WORDS < 300


def test_labels_that_read_alike_are_told_apart():
    """A line break and the two signs that it is shown as are two templates."""
    found = labels([[f"q{end}b c {i} {side}", "x", f"q{end}b c {i} or {side}", "y"]
                    for end in ("\n", "\\n") for i, side in enumerate("lr")])  # fmt: skip
    assert len(set(found[:2])) == len(set(found[2:])) == 1
    assert found[0] != found[2]


def test_a_slash_in_a_prompt_makes_no_form():
    """Only templates that a file gives are FORM/FRAME."""
    found = labels([[f"open /tmp/{i} as", " a", f"close /tmp/{i} as", " b"] for i in range(4)])
    assert forms_in(found) == []


def test_one_form_makes_every_pair_a_template_and_says_so(tmp_path):
    """There is nothing else to part it by: the note says what the splits share."""
    task = load_task(written(tmp_path, as_csv(rows_of(0, 12))))
    n_templates = [len(task.templates(split)) for split in SPLITS]
    assert sorted(n_templates) == [0, 3, 4, 5]
    assert "every pair counts as a template of its own" in task.notes[0]
    assert "say nothing about prompts of another form" in task.notes[0]


def test_inferred_templates_in_two_given_splits_are_parted_and_it_is_said(tmp_path):
    """The splits are the user's; intervals are over templates all the same."""
    rows = [[*row, ("train", "select", "test")[i % 3]] for i, row in enumerate(EVERY)]
    task = load_task(written(tmp_path, as_csv(rows, (*HEADER, "split"))))
    every = [template for split in SPLITS for template in task.templates(split)]
    assert len(set(every)) == len(every)
    assert "come in more than one split of mine.csv" in task.notes[1]


# Splits


def test_contradictions_are_left_out_wherever_dealing_would_put_them(tmp_path):
    """Both rows, in every file: not by the split that each would fall into."""
    for i in range(8):
        rows = [*EVERY, [*EVERY[i][:1], EVERY[i][3], EVERY[i][2], EVERY[i][1]]]
        found = read(tmp_path, as_csv(rows))
        lines = {i + 2, len(EVERY) + 2}
        assert {u.line for u in found.pairs.unusable} == lines
        assert {u.reason for u in found.pairs.unusable} == {"a prompt with two right answers"}
        assert f"2 of {len(rows)} pairs of the file cannot be used" in found.notes[0]


def test_contradictions_between_given_splits_stay(tmp_path):
    """The splits are the user's, who asks each by itself."""
    header, row = (*HEADER, "split"), EVERY[0]
    rows = [[*each, SPLITS[i % 3]] for i, each in enumerate(EVERY)]
    rows.append([row[0], row[3], row[2], row[1], SPLITS[1]])
    assert read(tmp_path, as_csv(rows, header)).pairs.unusable == ()


def test_pairs_that_share_a_prompt_are_in_one_split(tmp_path):
    """Several corruptions of one clean prompt: no prompt of a split is in another."""
    rows = [
        [f"the {clean} cat saw", "one", f"the {clean} dog {i} saw", "two"]
        for clean in range(12) for i in range(4)
    ]  # fmt: skip
    found = read(tmp_path, as_csv(rows))
    prompts = [
        {side.text for pair in pairs for side in (pair.a, pair.b)}
        for pairs in found.pairs.listed.values() if pairs
    ]  # fmt: skip
    assert len(prompts) == 3
    assert sum(map(len, prompts)) == len(set.union(*prompts))
    assert all(len(found.pairs.templates(split)) >= 3 for split in SHARES)


def test_where_all_pairs_hang_together_it_is_said(tmp_path):
    """A ring of prompts cannot be dealt apart."""
    rows = [[f"the {i} cat", "one", f"the {(i + 1) % 9} cat", "one "] for i in range(9)]
    rows = [[a, f"w{i}", b, f"w{(i + 1) % 9}"] for i, (a, _, b, _) in enumerate(rows)]
    found = read(tmp_path, as_csv(rows))
    assert any("splits share prompts too: what is tested is not new" in n for n in found.notes)


def test_copies_are_counted_once_where_splits_are_dealt(tmp_path):
    """The note says how many pairs each split holds."""
    found = read(tmp_path, as_csv([*EVERY, *EVERY]))
    held = {split: len(found.pairs.listed[split]) for split in SHARES}
    shown = ", ".join(f"{n} to {split}" for split, n in held.items())
    assert found.notes[-1].endswith(f"pairs: {shown}")


def test_line_ends_of_windows_change_nothing(tmp_path):
    """Also inside a value; in a file with both kinds, each stands as it is written."""
    rows = [["a\n" + row[0], row[1], "a\n" + row[2], row[3]] for row in EVERY]
    unix, windows = (
        as_csv(rows),
        as_csv(rows).replace("\r\n", "\n").replace("\n", "\r\n"),
    )
    assert splits_of(read(tmp_path, unix)) == splits_of(read(tmp_path, windows))
    mixed = unix.replace("\n", "\r\n", 1)
    assert splits_of(read(tmp_path, mixed)) == splits_of(read(tmp_path, unix))


def test_a_key_that_comes_twice_is_refused(tmp_path):
    """JSON would keep the last and say nothing."""
    line = '{"clean": "x", "clean": "y", "answer": "1", "corrupt": "z", "foil": "2"}'
    with pytest.raises(TaskError, match="line 1: not JSON: key 'clean' is there twice"):
        read(tmp_path, line, "mine.jsonl")


def test_blanks_around_a_template_are_no_part_of_it(tmp_path):
    """One name, one template."""
    rows = [[*row, f"t{i % 6}" + " " * (i % 2)] for i, row in enumerate(EVERY)]
    found = read(tmp_path, as_csv(rows, (*HEADER, "template")))
    every = {t for split in SPLITS for t in found.pairs.templates(split)}
    assert every == {f"t{i}" for i in range(6)}


def test_an_ending_is_read_in_capitals_and_others_are_named(tmp_path):
    """Not taken for the name of a built-in task."""
    upper = load_task(written(tmp_path, as_csv(EVERY), "MINE.CSV"))
    assert upper.origin == load_task(written(tmp_path, as_csv(EVERY))).origin
    with pytest.raises(TaskError, match=r"mine\.tsv is a file, but no task file by its ending"):
        load_task(written(tmp_path, as_csv(EVERY), "mine.tsv"))


@settings(max_examples=60)
@given(sizes=st.dictionaries(st.text(max_size=5), st.integers(1, 30), min_size=3, max_size=40))
def test_splits_are_dealt_whole_and_near_their_shares(sizes):
    """Off by no more than the largest template; each split has one."""
    dealt = deal(sizes)
    assert set(dealt) == set(sizes)
    assert set(dealt.values()) == set(SHARES)
    n = Counter()
    for template, split in dealt.items():
        n[split] += sizes[template]
    for split, share in SHARES.items():
        assert abs(n[split] - sum(sizes.values()) * share / 10) <= max(sizes.values())
    assert deal(dict(reversed(sizes.items()))) == dealt


# What cannot be used

BAD_ROWS = {
    "the same answer on both sides": ["p", " x", "q", " x"],
    "the same prompt on both sides": ["p", " x", "p", " y"],
    "an empty prompt or answer": ["", " x", "q", " y"],
    "a prompt or answer that is too long": ["p " * 50_001, " x", "q", " y"],
}


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_rows_that_ask_nothing_are_left_out_with_their_line(tmp_path, reason):
    """The others stay as they are without them."""
    found = read(tmp_path, as_csv([*EVERY, BAD_ROWS[reason]]))
    assert splits_of(found) == splits_of(read(tmp_path, as_csv(EVERY)))
    (left_out,) = found.pairs.unusable
    assert (left_out.line, left_out.reason) == (82, reason)
    assert found.notes[0] == (
        f"mine.csv: 1 of 81 pairs of the file cannot be used and are left out: "
        f"1 with {reason} (line 82)"
    )


def test_a_file_of_which_nothing_can_be_used_is_refused(tmp_path):
    """With the reasons, and the first row in full."""
    message = (
        r"mine\.csv: 4 of 4 pairs .*left out: 1 with .*\(line 2\), .*The first: .*line 2: both"
    )
    with pytest.raises(TaskError, match=message):
        read(tmp_path, as_csv(list(BAD_ROWS.values())))


HEAD = ",".join(HEADER) + "\n"
ROW = "p,x,q,y\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no pairs; expected a header and one row a line"),
        (HEAD, "no pairs; expected a header"),
        (ROW + ROW, r"line 1: columns 'p', 'x', 'q', 'y'; expected two prompts .*'p' is not known"),
        ("clean,corrupt,label\n", r"'label' is not known; .*answer_a is missing \(known as answ"),
        (HEAD.replace("a,", "a,clean,", 1), "'prompt_a' and 'clean' are both prompt_a; keep one"),
        ("," + HEAD, r"one has no name \(an index that pandas wrote\? write with index=False\)"),
        (HEAD.replace(",", ";"), "one column, 'prompt_a;answer_a;.*expected commas between"),
        (HEAD + "p,x,q\n", "line 2: 3 values, expected 4, one for each column: quote"),
        (HEAD + ROW + '"p,x,q,y\n' + ROW, "line 3: not CSV: unexpected end of data; expected"),
        (HEAD + 'p"q",x,"q"r,y\n', "line 2: not CSV"),
        (HEAD + "p" * 200_000 + ",x,q,y\n", "line 2: not CSV: field larger than field limit"),
        (HEAD[:-1] + ",split\np,x,q,y,dev\n", "line 2: split: got 'dev'; input should be 'train'"),
        (HEAD[:-1] + ",split\np,x,q,y,\n", "line 2: split is empty; give one in every row"),
        (HEAD[:-1] + ",template\np,x,q,y,\n", "line 2: template is empty; give one in every"),
        (HEAD[:-1] + ",template\np,x,q,y,t\nr,x,s,y,u\n", "2 templates and no splits; expected at"),
        (HEAD + ROW, "1 templates and no splits; expected at least 3 to deal to train, select, te"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_pairs_is_refused(tmp_path, text, message):
    """With file, line, what was found, and what was expected."""
    with pytest.raises(TaskError, match=rf"mine\.csv(?s:.)*{message}"):
        read(tmp_path, text)


GIVEN = {"a": {"prompt": "p", "answer": "x"}, "b": {"prompt": "q", "answer": "y"}}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"clean": "p", "answer": "x"}], "line 1: keys 'clean', 'answer'; .*prompt_b is missing"),
        ([{"clean": 3, "answer": "x", "corrupt": "q", "foil": "y"}], "line 1: a.prompt.*got 3"),
        ([GIVEN | {"template": "t"}, GIVEN], "line 2: template is missing, but line 1 gives one"),
        ([GIVEN | {"split": "test"}, GIVEN], "line 2: split is missing, but line 1 gives one"),
        ([GIVEN | {"a": {"prompt": "p", "answer": 5}}], "line 1: answer 5: expected str"),
    ],
)
def test_lines_that_are_no_pairs_are_refused(tmp_path, lines, message):
    """With file, line and key."""
    with pytest.raises(TaskError, match=rf"mine\.jsonl: {message}"):
        read(tmp_path, "\n".join(map(json.dumps, lines)), "mine.jsonl")


def test_too_many_pairs_are_refused(tmp_path, monkeypatch):
    """Before they are all in memory; and so is a file that is too large."""
    monkeypatch.setattr(pair_rows, "MAX_PAIRS", 50)
    with pytest.raises(TaskError, match="more than 50 pairs; expected at most that many"):
        read(tmp_path, as_csv(EVERY))
    monkeypatch.setattr("circuitkit.task.tasks.MAX_PAIR_BYTES", 1000)
    with pytest.raises(TaskError, match="at most 1,000 are read"):
        load_task(written(tmp_path, as_csv(EVERY)))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SOME), inner),
    max_leaves=6,
)


@settings(max_examples=150)
@given(
    lines=st.lists(st.dictionaries(st.sampled_from(SOME), json_values), max_size=4),
    data=st.binary(max_size=60),
    text=st.text(st.sampled_from('",;pqxy1\n\r \t{}[]'), max_size=60),
)
def test_any_bytes_are_a_task_or_an_error_that_names_the_file(tmp_path_factory, lines, data, text):
    """Never a crash, whatever a file holds."""
    folder = tmp_path_factory.getbasetemp()
    half = json.dumps(
        {"prompt_a": "\ud800", "answer_a": "x", "prompt_b": "y", "template": "\udfff"}
    )
    for name, held in (
        ("mine.jsonl", "\n".join([*map(json.dumps, lines), half]).encode()),
        ("mine.jsonl", data), ("mine.csv", data), ("mine.csv", (HEAD + text).encode()),
        ("mine.csv", text.encode()), ("mine.jsonl", text.encode()),
    ):  # fmt: skip
        try:
            found = read_pairs(held, folder / name)
        except TaskError as error:
            assert name in str(error)  # noqa: PT017
        else:
            assert any(found.pairs.listed.values())


def test_half_a_character_is_left_out(tmp_path):
    """Where a program cut a text: no tokenizer reads it."""
    half = dict(zip(HEADER, ["\ud800", "x", "q", "y"], strict=True))
    found = read(tmp_path, as_jsonl(EVERY) + json.dumps(half), "mine.jsonl")
    assert [pair.line for pair in found.pairs.unusable] == [81]
    with pytest.raises(TaskError, match=r"line 1: template: .*half a character at 0"):
        read(tmp_path, json.dumps(GIVEN | {"template": "\udfff"}), "mine.jsonl")


def test_an_error_of_a_pair_keeps_its_reason():
    """In another process too, and with its place before it."""
    error = pickle.loads(pickle.dumps(PairError("too long", "a prompt that is too long")))
    assert (str(error), error.reason) == ("too long", "a prompt that is too long")
    with pytest.raises(PairError, match="line 3: too long") as caught, naming_place("line 3"):
        raise error
    assert caught.value.reason == error.reason


# A checkpoint is asked

LETTERS = [
    [f"{x}{form}{y}", "i", f"{y}{form}{x}", "j"]
    for form in ("abc", "bcd", "cde", "def") for x, y in ("ab", "cd", "ef", "gh", "ac", "bd")
]  # fmt: skip
WRONG_LETTERS = [["ab", "ij", "ba", "j"], ["abcdefghij", "i", "b", "j"]]


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A checkpoint that reads letters, one token each, at most nine."""
    return ck.load_checkpoint(tiny_checkpoint(tmp_path_factory.mktemp("letters"), text=True))


def test_the_check_lists_what_cannot_be_asked_and_keeps_the_rest(tmp_path, letters):
    """Rows that ask nothing and those that this checkpoint cannot read, with line and reason."""
    rows = [*LETTERS, *WRONG_LETTERS, ["a", "i", "b", "i"]]
    result = check_task(letters, load_task(written(tmp_path, as_csv(rows))))
    unusable = result["unusable"]
    assert unusable["reasons"] == {
        "the same answer on both sides": 1, "an answer that is not one token": 1,
        "a prompt that is too long": 1,
    }  # fmt: skip
    assert sorted(pair["line"] for pair in unusable["pairs"]) == [26, 27, 28]
    assert result["n_pairs"] > 0
    assert [p for p in result["problems"] if "(line 26)" in p]


def test_what_is_left_out_depends_on_the_checkpoint_alone(tmp_path, letters):
    """Not on how many pairs are asked for, nor on the seed; and every one left can be asked."""
    task = load_task(written(tmp_path, as_csv([*LETTERS, *WRONG_LETTERS])))
    usable = letters.usable(task)
    assert usable.sha256 == task.sha256
    assert letters.usable(usable).origin == usable.origin
    for split in SPLITS[:3]:
        every = set(usable.origin.listed[split])
        for n, seed in ((2, 0), (50, 1)):
            asked = set(letters.ask(task, split, n, seed).pairs)
            assert asked <= every
            assert len(asked) == min(n, len(every))


def test_built_in_tasks_have_nothing_to_leave_out():
    """One template that cannot be asked is an error of the task: all of it is refused."""
    task = load_task("for_while")
    checkpoint = ck.load_checkpoint("tinypython-nano")
    assert checkpoint.usable(task) is task
    assert task.origin.left_out("train") == ""


def test_the_commands_read_a_csv(tmp_path, letters):
    """In words and as JSON; notes say what the file does not give."""
    path = written(tmp_path, as_csv([*LETTERS, *WRONG_LETTERS]))
    shown = cli("tasks", "show", path)
    assert shown.code == 0, shown.err
    assert "note: mine.csv gives no templates: " in shown.err
    assert "source: mine.csv, templates inferred and splits dealt by template" in shown.out
    assert len(cli("tasks", "show", path, "--json").json["notes"]) == 2
    checked = cli("tasks", "check", path, "--checkpoint", letters.path)
    assert checked.code == 1
    assert "  1 with a prompt that is too long, such as\n    " in checked.out
    as_json = cli("tasks", "check", path, "--checkpoint", letters.path, "--json").json
    assert [pair["line"] for pair in as_json["unusable"]["pairs"]] == [26, 27]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A wired model, and its task as a table of clean and corrupt prompts, one row too long."""
    folder = tmp_path_factory.mktemp("planted")
    plant("neuron_chain").save(folder)
    lines = [json.loads(line) for line in (folder / "task.jsonl").read_text().splitlines()]
    rows = [
        [line[side][key] for side in "ab" for key in ("prompt", "answer")]
        + [line["template"], line["split"]]
        for line in lines
    ]
    too_long = [" ".join([rows[0][0]] * 9), *rows[0][1:4], "long", "train"]
    header = ("clean", "answer", "corrupt", "foil", "template", "split")
    written(folder, as_csv([*rows, too_long], header), "pairs.csv")
    return folder


@pytest.mark.slow
def test_a_circuit_is_found_from_a_csv_and_its_folder_holds_the_file(planted, tmp_path):
    """The circuit that was planted; what was left out is said and recorded."""
    out = tmp_path / "found"
    ran = cli("extract", planted, "--task", planted / "pairs.csv", "--out", out,
              "--rung", "smallest", "--restarts", 1, "-q")  # fmt: skip
    assert ran.code == 0, ran.err
    said = "cannot be used and are left out: 1 with a prompt that is too long"
    assert said in ran.err
    assert said in json.loads((out / "pruning.json").read_text())["remarks"][0]
    truth = json.loads((planted / "truth.json").read_text())
    found = {str(node) for node in ck.Circuit.load(out).nodes}
    assert found in [set(each["nodes"]) for each in truth["circuits"]]
    assert (out / "task.csv").read_bytes() == (planted / "pairs.csv").read_bytes()
    copied = ck.CircuitFolder(out).task
    assert copied.sha256 == ck.Circuit.load(out).task.sha256
    assert copied.origin == load_task(planted / "pairs.csv").origin


def test_a_carriage_return_in_a_prompt_is_said(tmp_path):
    """It is kept, since a task may be about it; one kind of line end within a file is none."""
    rows = [(f"{name} saw\r\n", "a", f"{name} heard", "b") for name in NAMES]
    found = load_task(written(tmp_path, as_csv(rows), "returns.csv"))
    assert any("8 of 16 prompts hold a carriage return" in note for note in found.notes)
    plain = as_csv([(a.strip(), *rest) for a, *rest in rows]).replace("\n", "\r\n")
    found = load_task(written(tmp_path, plain, "plain.csv"))
    assert not any("carriage return" in note for note in found.notes)


def test_quotes_after_a_blank_are_refused_and_doubled_ones_are_text(tmp_path):
    """``a, "b"`` by hand has the blank and the quotes in its second value, which nobody means."""
    head = ",".join(HEADER)
    by_hand = f'{head}\n"for item", in, "item", =\n'
    with pytest.raises(TaskError, match=r"line 2: in ' \"item\"' the quotes come after a blank"):
        load_task(written(tmp_path, by_hand))
    rows = [('say "a" or', " x", ' "item"', " y"), (" 'a'", " x", ' "', " y")]
    found = pair_rows.read_rows(as_csv(rows).encode(), tmp_path / "mine.csv")
    assert [row.fields.b.prompt for row in found] == [' "item"', ' "']
