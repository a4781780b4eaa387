"""Laws of ``tasks check``: what is wrong with a task is found, and said with what to do."""

import json
from itertools import islice

import pytest
import torch
from tiny import tiny_checkpoint, tiny_model

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.competence import ability
from circuitkit.competence.task_check import check_task
from circuitkit.corpora import open_corpus
from circuitkit.corpora.tokenizer import train_tokenizer
from circuitkit.errors import TaskError
from circuitkit.task import builtin_tasks, load_task


def corpus_reader(folder):
    """A random model with a tokenizer of the corpus; ``do_well`` makes it able."""
    tokenizer = train_tokenizer(islice(open_corpus("tinypython", seed=0), 5000), 640)
    save_checkpoint(
        folder,
        tiny_model(vocab_size=tokenizer.get_vocab_size(), n_ctx=128),
        name="reader",
        tokenizer=tokenizer,
        start_token=0,
        reference=torch.zeros(2, 8, dtype=torch.long),
    )
    return folder


def do_well(monkeypatch):
    """Any model answers everything rightly: what is asked about is the task."""
    right = lambda model, pairs, tap: torch.full((2 * len(pairs),), 3.0)  # noqa: E731
    monkeypatch.setattr(ability, "tapped_differences", right)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return load_checkpoint(corpus_reader(tmp_path_factory.mktemp("reader") / "model"))


@pytest.fixture(autouse=True)
def able(monkeypatch):
    do_well(monkeypatch)


PLAIN = """
format = "circuitkit.task/1"
name = "mine"
question = "Which?"
source = "ours"
[draw]
name = "{{ identifier() }}"
other = "{{ identifier() }}"
number = "{{ integer() }}"
[[forms]]
a = { prompt = "if {{ name }}", answer = " ==" }
b = { prompt = "{{ name }}", answer = " =" }
[[forms]]
a = { prompt = "{{ other }} = {{ number }}\\nif {{ name }}", answer = " ==" }
b = { prompt = "{{ other }} = {{ number }}\\n{{ name }}", answer = " =" }
"""


def written(tmp_path, text, name="mine.toml"):
    path = tmp_path / name
    path.write_text(text)
    return load_task(path)


def leaks(last_token, bag_of_tokens, length):
    return (
        f"[leaks]\nlast_token = {last_token}\nbag_of_tokens = {bag_of_tokens}\nlength = {length}\n"
    )


def fixed(tmp_path, pairs):
    """A ``.jsonl`` of letters: split, prompt of a, prompt of b."""
    lines = [
        {
            "a": {"prompt": a, "answer": "i"},
            "b": {"prompt": b, "answer": "j"},
            "template": f"{split}{i}",
            "split": split,
        }
        for i, (split, a, b) in enumerate(pairs)
    ]
    return written(tmp_path, "\n".join(map(json.dumps, lines)), "mine.jsonl")


@pytest.fixture
def letters(tmp_path):
    """A checkpoint that reads letters, one token each, after a start token."""
    return load_checkpoint(tiny_checkpoint(tmp_path / "letters", text=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", builtin_tasks())
def test_a_built_in_task_has_no_problem(checkpoint, name):
    """Single answers, no duplicates, what leaks is declared."""
    assert check_task(checkpoint, load_task(name), n_pairs=64)["problems"] == []


def test_a_share_that_the_file_does_not_declare_is_a_problem(tmp_path, checkpoint):
    """It names the share and what to write; the same file with the figure has none."""
    (problem,) = check_task(checkpoint, written(tmp_path, PLAIN), 64)["problems"]
    assert problem.startswith("bag_of_tokens predicts the answer in 0.9")
    assert "add forms in which both sides hold the same tokens" in problem
    assert "or let the file say so in [leaks]: last_token = 0.50, bag_of_tokens = 0.9" in problem
    measured = check_task(checkpoint, written(tmp_path, PLAIN), 64)["leaks"]
    said = written(tmp_path, PLAIN + leaks(**{k: round(x, 2) for k, x in measured.items()}))
    result = check_task(checkpoint, said, 64)
    assert result["problems"] == []
    assert result["declared_leaks"] == pytest.approx(measured, abs=0.005)


def test_a_last_token_that_tells_is_a_problem(tmp_path, checkpoint):
    """Half of the forms end in a token of their own."""
    text = PLAIN.replace("\\nif {{ name }}", "\\nif {{ name }}(")
    problems = check_task(checkpoint, written(tmp_path, text), 64)["problems"]
    assert any(p.startswith("last_token predicts the answer in 0.7") for p in problems), problems
    assert any("end both prompts in the same token" in p for p in problems)


def test_a_length_that_tells_is_a_problem(tmp_path, checkpoint):
    """Forty words more on one side."""
    text = PLAIN.replace("if {{ name }}", "# {{ words(70, 75) }}\\nif {{ name }}")
    problems = check_task(checkpoint, written(tmp_path, text), 64)["problems"]
    assert any(p.startswith("length predicts the answer in") for p in problems), problems
    assert any("vary the lengths of both prompts" in p for p in problems)


def test_a_wrong_figure_is_a_problem(tmp_path, checkpoint):
    """Off by more than 0.05, either way."""
    measured = check_task(checkpoint, written(tmp_path, PLAIN), 64)["leaks"]
    wrong = {name: share - 0.06 for name, share in measured.items()}
    near = {name: share - 0.04 for name, share in measured.items()}
    problems = check_task(checkpoint, written(tmp_path, PLAIN + leaks(**wrong)), 64)["problems"]
    assert "[leaks] last_token = 0.44 in the file, but 0.50 measured: correct it" in problems
    assert len(problems) == 3
    assert check_task(checkpoint, written(tmp_path, PLAIN + leaks(**near)), 64)["problems"] == []


def test_leaks_of_fixed_pairs_are_told_but_no_problem(tmp_path, letters):
    """Their file has no place to declare them."""
    texts = [f"{x}{y}" for x in "abcdefgh" for y in "abcdefgh"]
    pairs = [
        (split, f"{t}c", f"{t}d") for split, i in (("train", 0), ("test", 1)) for t in texts[i::2]
    ]
    result = check_task(letters, fixed(tmp_path, pairs))
    assert (result["leaks"]["last_token"], result["leaks"]["length"]) == (1.0, 0.5)
    assert result["problems"] == []


def test_prompts_in_two_splits_are_a_problem(tmp_path, letters):
    """Whichever side they are on there; an example is shown."""
    pairs = [("train", "ab", "ba"), ("test", "bc", "cb"), ("ood", "bc", "ab")]
    result = check_task(letters, fixed(tmp_path, pairs))
    assert result["duplicates"] == 2
    (problem,) = [p for p in result["problems"] if p.startswith("duplicates")]
    assert "2 prompts come in two splits, such as 'ab'" in problem


def test_too_few_templates_are_a_problem(tmp_path, letters):
    """One says little about the next."""
    problems = check_task(letters, fixed(tmp_path, [("test", "ab", "ba")]))["problems"]
    assert "1 test templates; fewer than 12 cap the grade: add forms" in problems


def test_templates_that_were_not_asked_are_no_fault_of_the_task(checkpoint):
    """There are more."""
    problems = check_task(checkpoint, load_task("for_while"), 1)["problems"]
    assert "1 of 54 test templates asked: ask for more pairs" in problems
    assert not any("add forms" in problem for problem in problems)


def test_a_second_answer_that_is_not_right_after_the_second_prompt_is_a_problem(
    tmp_path, letters, monkeypatch
):
    """As in files whose foil is any wrong answer; of a built-in task it is none."""

    def only_first(model, pairs, tap):
        return torch.tensor([3.0] * len(pairs) + [-3.0] * len(pairs))

    monkeypatch.setattr(ability, "tapped_differences", only_first)
    problems = check_task(letters, fixed(tmp_path, [("test", "ab", "ba")]))["problems"]
    said = "the second answer (foil) has to be the right one after the second prompt"
    assert [each for each in problems if each.endswith(said)]
    monkeypatch.undo()
    do_well(monkeypatch)
    assert not [p for p in check_task(letters, fixed(tmp_path, [("test", "ab", "ba")]))["problems"]
                if p.endswith(said)]  # fmt: skip


def test_lengths_and_answers_are_counted(tmp_path, letters):
    """Lengths over every split, with the start token; answers of the test split."""
    pairs = [("train", "a", "b"), ("select", "abcdefgh", "b"), ("test", "ab", "ba")]
    result = check_task(letters, fixed(tmp_path, pairs))
    assert result["n_tokens"] == {"min": 2, "median": 2, "max": 9}
    assert result["answers"] == {"i": 0.5, "j": 0.5}


@pytest.mark.parametrize("name", ["bracket_counting", "if_equals"])
def test_no_answer_is_right_in_more_than_half_of_the_prompts(checkpoint, name):
    """Each is the foil of the other side."""
    result = check_task(checkpoint, load_task(name), n_pairs=32)
    assert max(result["answers"].values()) == 0.5
    assert sum(result["answers"].values()) == pytest.approx(1)


WRONG = {
    "two tokens in some frames only": (
        ('{{ name }}", answer = " ="', 'x\\n", answer = "size"'),
        r"forms\[1\].b.answer \(template form1/.*\): the answer ' +size' is 2 tokens .*expected e",
    ),
    "joined to the prompt": (
        ('if {{ name }}", answer = " ==', '{{ name }} = ", answer = "3'),
        r"forms\[1\].a.answer \(template .*\): after its prompt the answer '3' is no token of its",
    ),
    "longer than the context": (
        ("if {{ name }}", "if {{ words(300, 300) }}"),
        r"forms\[1\].a.prompt \(template .*\): a prompt is 3\d\d tokens, but .*at most 128",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_asked_is_refused(tmp_path, checkpoint, name):
    """With file, key, template and value."""
    (old, new), message = WRONG[name]
    assert old in PLAIN
    task = written(tmp_path, PLAIN.replace(old, new, 1))
    with pytest.raises(TaskError, match=rf"mine\.toml: {message}"):
        check_task(checkpoint, task, 64)


def test_a_line_that_cannot_be_asked_is_left_out(tmp_path, letters):
    """With file, line and key; a split of which nothing is left is a problem."""
    task = fixed(tmp_path, [("test", "ab", "ba"), ("train", "abc", "abcdefghi")])
    result = check_task(letters, task)
    assert result["n_pairs"] == 1
    (pair,) = result["unusable"]["pairs"]
    where = "mine.jsonl: line 2: b.prompt (template train1): a prompt is 10 tokens, but"
    assert where in pair["problem"]
    (problem,) = [each for each in result["problems"] if each.startswith("train")]
    assert problem == (
        "train: no pair is left: 1 of 1 pairs of the file cannot be used and are left out: "
        "1 with a prompt that is too long (line 2)"
    )
