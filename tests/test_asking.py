"""Laws of asking: what a model is asked is what the task says, by ids, or it is refused."""

import json
import re

import pytest
from tiny import random_tokens, tiny_model
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.checkpoints.pair_remarks import remarks, repeated_prompts
from circuitkit.competence.measure import measure_competence
from circuitkit.competence.task_check import check_task
from circuitkit.errors import TaskError
from circuitkit.extraction.extract import run_extraction
from circuitkit.planted import plant, planted_names
from circuitkit.task import SPLITS, builtin_tasks, load_task

NANO = "tinypython-nano"


def words(normalizer=None):
    """One token a word; ``?`` is what is not known."""
    vocab = {word: i for i, word in enumerate(["?", "lo", "mi", "na", "left", "right", "up"])}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocab, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.normalizer = normalizer
    return tokenizer


def letters():
    """A token a letter, and ``ab`` where they meet; what it does not know it drops."""
    vocab = {letter: i for i, letter in enumerate([*"abcdef", "ab"])}
    return Tokenizer(models.BPE(vocab=vocab, merges=[("a", "b")]))


def pieces():
    """What ``letters`` reads, likeliest pieces first, and an unknown one."""
    vocab = [("?", 0.0), *((letter, -1.0) for letter in "abcdef"), ("ab", -0.5)]
    return Tokenizer(models.Unigram(vocab, unk_id=0))


GOOD = {
    words: ("lo", "mi", (" left", " right")),
    letters: ("c", "d", ("e", "f")),
    pieces: ("c", "d", ("e", "f")),
}


def line(a, b, answers, split="test", template=None):
    a, b = ({"prompt": p, "answer": x} for p, x in zip((a, b), answers, strict=True))
    return {"a": a, "b": b, "template": template or f"{split} {a['prompt']}", "split": split}


def written(folder, *lines):
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_task(path)


def good_lines(good):
    """One pair in each split, of a length of its own."""
    (a, b, answers), gap = good, " " if good[0] == "lo" else ""
    return [
        line(gap.join([a] * n), gap.join([b] * n), answers, split)
        for n, split in enumerate(SPLITS, 1)
    ]


def reader(folder, tokenizer=None, start_token=None):
    """A random model that reads with a tokenizer."""
    model = tiny_model()
    save_checkpoint(
        folder / "model", model, name="reader", tokenizer=tokenizer, start_token=start_token,
        reference=random_tokens(model.arch, 20, model.arch.n_ctx),
    )  # fmt: skip
    return load_checkpoint(folder / "model")


CANNOT_BE_ASKED = {
    "melts": (
        letters, ("ca", "da", ("b", "c")),
        r"a\.answer .*: after its prompt the answer 'b' is no token of its own",
    ),
    "an answer that is not known": (
        words, ("lo", "mi", (" oh", " right")),
        r"a\.answer .*: the answer ' oh' is not read as it is written: .*does not know 'oh'",
    ),
    "a word that is not known": (
        words, ("lo oh", "mi oh", (" left", " right")),
        r"a\.prompt .*: the prompt 'lo oh' is not read .* does not know 'oh'",
    ),
    "a piece that is not known": (
        pieces, ("c!d", "cd", ("e", "f")), r"a\.prompt .*'c!d' is not read .* does not know '!'",
    ),
    "a character that is dropped": (
        letters, ("c!d", "cd", ("e", "f")), r"a\.prompt .*'c!d' is not read .*drops 1 of its char",
    ),
    "answers of one id": (
        words, ("lo", "mi", (" left", "  left")),
        r"b\.answer .*: ' left' and '  left' are the same tokens",
    ),
    "prompts of one id": (
        words, ("lo mi", "lo  mi", (" left", " right")),
        r"b\.prompt .*: 'lo mi' and 'lo  mi' are the same tokens",
    ),
    "capitals that are lost": (
        lambda: words(normalizers.Lowercase()), ("LO", "mi", (" left", " right")),
        r"a\.prompt .*: the prompt 'LO' is not read .*normaliser turns it into 'lo'",
    ),
    "accents that are lost": (
        lambda: words(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])),
        ("ló", "mi", (" left", " right")), r"a\.prompt .*'ló' .*normaliser turns it into 'lo'",
    ),
    "an answer that is changed": (
        lambda: words(normalizers.NFKC()), ("lo", "mi", (" ｕp", " right")),
        r"a\.answer .*normaliser turns it into ' up'",
    ),
    "too long": (
        words, ("lo " * 12, "mi", (" left", " right")),
        r"a\.prompt .*: a prompt is 12 tokens, but .* at most 9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("fault", CANNOT_BE_ASKED)
def test_a_pair_that_cannot_be_asked_is_left_out(tmp_path, fault, split):
    """Of its split, and of no other; the check has file, line, key and reason."""
    tokenizer, bad, message = CANNOT_BE_ASKED[fault]
    checkpoint = reader(tmp_path, tokenizer())
    good = good_lines(GOOD.get(tokenizer, GOOD[words]))
    task = written(tmp_path, *good, line(*bad, split, "bad"))
    asked = {each: checkpoint.ask(task, each, 8) for each in SPLITS}
    assert [pair.line for pairs in asked.values() for pair in pairs.pairs] == [1, 2, 3, 4]
    (note,) = remarks(asked)
    assert note.startswith(f"{split}: 1 of 2 pairs of the file cannot be used and are left out: ")
    result = check_task(checkpoint, task, 8)
    (pair,) = result["unusable"]["pairs"]
    assert (pair["line"], pair["split"], f"{pair['reason']} (line 5)" in note) == (5, split, True)
    assert re.search(rf"mine\.jsonl: line 5: {message}", pair["problem"])
    assert note in result["problems"]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("fault", ["melts", "too long", "answers of one id"])
def test_a_split_of_which_nothing_is_left_is_refused(tmp_path, fault, split):
    """By every verb that uses it, ood too, before any search; with file, line and key."""
    tokenizer, bad, message = CANNOT_BE_ASKED[fault]
    checkpoint = reader(tmp_path, tokenizer())
    good = [each for each in good_lines(GOOD[tokenizer]) if each["split"] != split]
    task = written(tmp_path, *good, line(*bad, split, "bad"))
    where = rf"no pair of split {split} is left: 1 of 1 .*mine\.jsonl: line 4: {message}"
    for ask in (
        lambda: checkpoint.ask(task, split, 8),
        lambda: run_extraction(checkpoint, task),
        *([lambda: check_task(checkpoint, task, 8)] if split == "test" else []),
    ):
        with pytest.raises(TaskError, match=where):
            ask()
    (row,) = measure_competence(checkpoint, 8, tasks=[tmp_path / "mine.jsonl"]).tasks
    assert (row.problem is not None) == (split == "test")
    if split != "test":
        problems = check_task(checkpoint, task, 8)["problems"]
        assert any(each.startswith(f"{split}: no pair is left: 1 of 1 pairs") for each in problems)


@pytest.mark.parametrize("tokenizer", GOOD)
def test_what_is_read_as_it_is_written_is_asked(tmp_path, tokenizer):
    """The same pairs without the fault pass."""
    checkpoint = reader(tmp_path, tokenizer())
    task = written(tmp_path, *good_lines(GOOD[tokenizer]))
    assert all(len(checkpoint.ask(task, split, 8)) == 1 for split in SPLITS)


@pytest.mark.parametrize("normalizer", [
    normalizers.NFC(), normalizers.Lowercase(),
    normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace("▁", " ")]),
])  # fmt: skip
def test_a_normaliser_that_changes_nothing_of_a_prompt_is_no_fault(tmp_path, normalizer):
    """What counts is what becomes of this text."""
    checkpoint = reader(tmp_path, words(normalizer))
    assert len(checkpoint.ask(written(tmp_path, *good_lines(GOOD[words])), "test", 8)) == 1


# Copies and contradictions

LEFT_RIGHT = (" left", " right")


def copies(tmp_path, *, blank):
    """Twenty names for one pair, its mirror image, and one pair more; a blank more each time."""
    rest = good_lines(GOOD[words])
    blanks = [" " * (1 + i * blank) for i in range(21)]
    twenty = [line(f"na{s}lo", f"na{s}mi", LEFT_RIGHT, "test", f"t{len(s)}") for s in blanks[:20]]
    mirror = line(f"na{blanks[20]}mi", f"na{blanks[20]}lo", LEFT_RIGHT[::-1], "test", "mirror")
    return written(tmp_path, *rest, *twenty, mirror)


COPIES = {
    False: "test: 20 lines of the file are copies or mirror images of others and count once",
    True: "test: 20 of 22 pairs are copies or mirror images of others and count once: 2 pairs of 2",
}


@pytest.mark.parametrize("blank", COPIES)
def test_copies_and_mirror_images_are_one_pair(tmp_path, blank):
    """Word for word or id for id, whatever their templates are called; and it is said."""
    checkpoint, task = reader(tmp_path, words()), copies(tmp_path, blank=blank)
    asked = checkpoint.ask(task, "test", 512)
    assert (len(asked), len(set(asked.templates))) == (2, 2)
    assert COPIES[blank] in remarks({"test": asked})[0]
    result = check_task(checkpoint, task)
    assert (result["n_pairs"], result["n_templates"]) == (2, 2)
    assert any(COPIES[blank] in problem for problem in result["problems"])


def test_a_copy_does_not_cost_a_pair(tmp_path):
    """As many distinct pairs as asked for, where there are; more begin with the same."""
    checkpoint, task = reader(tmp_path, words()), copies(tmp_path, blank=True)
    for seed in range(5):
        both = checkpoint.ask(task, "test", 2, seed)
        assert len(both) == 2
        assert checkpoint.ask(task, "test", 1, seed).sides()[0] == both.sides()[0]


TWICE = """
format = "circuitkit.task/1"
name = "mine"
question = "Which?"
source = "ours"
"""
FORM = """
[[forms]]
a = { prompt = "if name", answer = " ==" }
b = { prompt = "name", answer = " =" }
"""


def test_a_form_written_twice_is_one_form(tmp_path):
    """Either way round: it has no template of its own, and it is said."""
    path = tmp_path / "mine.toml"
    path.write_text(TWICE + FORM)
    once = load_task(path)
    back = FORM.replace("a =", "c =").replace("b =", "a =").replace("c =", "b =")
    path.write_text(TWICE + FORM + FORM + back)
    checkpoint, task = load_checkpoint(NANO), load_task(path)
    assert all(task.templates(split) == once.templates(split) for split in SPLITS)
    told = "test: 2 forms of the file are copies or mirror images of others and count once"
    assert told in check_task(checkpoint, task, 16)["problems"]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("other", [
    line("lo na", "mi up", (" right", " left"), template="other"),
    line("mi up", "lo  na", (" left", " right"), template="other"),
    line("lo na", "mi up", (" up", " left"), template="other"),
])  # fmt: skip
def test_pairs_with_a_prompt_of_two_answers_are_left_out(tmp_path, split, other):
    """Both of them: by its ids, on either side, with both places."""
    lines = good_lines(GOOD[words])
    bad = line("lo na", "mi na", LEFT_RIGHT, split), {**other, "split": split}
    checkpoint, task = reader(tmp_path, words()), written(tmp_path, *lines, *bad)
    assert len(checkpoint.ask(task, split, 8)) == 1
    unusable = check_task(checkpoint, task)["unusable"]
    assert unusable["reasons"] == {"a prompt with two right answers": 2}
    both = r"line (5|6): [ab]\.answer .*is the right answer, but .* is in .*line (5|6): [ab]\.a"
    assert all(re.search(both, pair["problem"]) for pair in unusable["pairs"])
    with pytest.raises(TaskError, match=r"line (1|2): [ab]\.answer .*is the right answer, but"):
        checkpoint.ask(written(tmp_path, *bad), split, 8)


def test_pairs_that_are_given_are_refused_for_a_contradiction(tmp_path):
    """Whoever gives the pairs themselves gets all of them or an error."""
    checkpoint = reader(tmp_path, words())
    pairs = written(
        tmp_path, line("lo na", "mi na", LEFT_RIGHT),
        line("lo na", "mi up", LEFT_RIGHT[::-1]),
    ).up_to("test", 2)  # fmt: skip
    with pytest.raises(TaskError, match="of the same prompt; expected one right answer"):
        checkpoint.encode(pairs)


def test_a_prompt_in_two_splits_is_said(tmp_path):
    """By its ids: a blank more makes no other prompt."""
    lines = good_lines(GOOD[words])
    lines += [line("na", "up", LEFT_RIGHT, "train"), line(" na", "up up", LEFT_RIGHT, "test")]
    checkpoint, task = reader(tmp_path, words()), written(tmp_path, *lines)
    asked = {split: checkpoint.ask(task, split, 9) for split in SPLITS}
    assert len(repeated_prompts(asked)) == 1
    assert "1 prompts come in two splits" in remarks(asked)[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", builtin_tasks())
def test_a_built_in_task_has_no_copy_and_no_contradiction(name):
    """So that every pair that it is measured by is evidence of its own."""
    checkpoint, task = load_checkpoint(NANO), load_task(name)
    asked = {split: checkpoint.ask(task, split, 96, copies=True) for split in SPLITS}
    assert remarks(asked) == ()
    for split, pairs in asked.items():
        assert checkpoint.ask(task, split, 96).sides() == pairs.sides()
        assert pairs.sides() == checkpoint.encode(task.up_to(split, 96)).sides()


# The start token


def test_a_start_token_that_is_there_is_not_put_there_again(tmp_path):
    """Token ids that begin with it are left as they are, and it is said."""
    checkpoint = reader(tmp_path, start_token=7)
    task = written(
        tmp_path, *[line([7, 1, n], [2, n], (3, 4), split) for n, split in enumerate(SPLITS)]
    )
    asked = checkpoint.ask(task, "test", 8)
    assert [prompt for prompt, _ in asked.sides()] == [(7, 1, 2), (7, 2, 2)]
    told = "test: 1 prompts begin with the start token already; it is not put there again"
    assert told in check_task(checkpoint, task)["problems"]


# Planted models


@pytest.mark.slow
@pytest.mark.parametrize("name", planted_names())
def test_a_planted_task_can_be_asked(tmp_path, name):
    """Its answers are words of their own, no pair comes twice, no prompt in two splits."""
    planted = plant(name)
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "task.jsonl").write_text(planted.task_lines)
    save_checkpoint(
        folder, planted.model, name=name, tokenizer=planted.tokenizer, reference=planted.reference
    )
    result = check_task(load_checkpoint(folder), load_task(folder / "task.jsonl"))
    assert result["problems"] == []
    assert result["duplicates"] == 0
