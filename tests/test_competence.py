"""Laws of the competence table: what a model does is measured, judged, saved and read again."""

import json
import shutil

import pytest
import torch
from pydantic import ValidationError
from test_cli import cli, letter_task
from tiny import tiny_checkpoint, tiny_model, token_task
from tokenizers import Tokenizer, models

from circuitkit.checkpoints import (
    bundled,
    bundled_checkpoints,
    convert_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from circuitkit.checkpoints.competence_json import (
    FILE,
    MAX_LOSS_NATS,
    MIN_ACCURACY,
    Competence,
    Interval,
    TaskCompetence,
    does_task,
)
from circuitkit.checkpoints.competence_json import MIN_ACCURACY as ACCURACY
from circuitkit.cli.checkpoint_text import competence_lines
from circuitkit.competence import ability
from circuitkit.competence import measure as measuring
from circuitkit.competence.measure import measure_competence
from circuitkit.competence.task_check import check_task
from circuitkit.errors import CheckpointError, TaskError, UsageError
from circuitkit.task import builtin_tasks, load_task

NANO = "tinypython-nano"


def interval(mean, low=None, high=None):
    return Interval(
        mean=mean, low=mean if low is None else low, high=mean if high is None else high
    )


def row(task="if_equals", right=1.0, **changes):
    """A task with a loss of 0.1, done if all is right."""
    plain = {
        "task": task,
        "sha256": "0" * 64,
        "n_pairs": 8,
        "n_templates": 4,
        "loss_nats": interval(0.1),
        "accuracy": interval(right),
        "does": right >= MIN_ACCURACY,
        "problem": None,
    }
    return TaskCompetence(**{**plain, **changes})


def table(*rows, sha256="0" * 64):
    return Competence(checkpoint="mine", sha256=sha256, n_pairs=8, tasks=rows or (row(),))


def unasked(task="var_if"):
    return row(task, loss_nats=None, accuracy=None, does=False, problem="no tokenizer.json")


# The measurement


def test_the_figures_are_those_of_tasks_check():
    """Loss, accuracy, templates, pairs: the same pairs, put to the same weights."""
    checkpoint = load_checkpoint(NANO)
    (found,) = measure_competence(checkpoint, 64, tasks=["if_equals"]).tasks
    checked = check_task(checkpoint, load_task("if_equals"), 64)
    for name in ("loss_nats", "accuracy"):
        assert getattr(found, name).model_dump() == pytest.approx(checked[name], abs=1e-6)
    assert (found.n_pairs, found.n_templates) == (64, checked["n_templates"])
    assert found.sha256 == load_task("if_equals").sha256


def test_leaks_are_not_measured(monkeypatch):
    """They cost time and do not depend on the weights."""

    def measured(*_):
        raise AssertionError("leaks were measured")

    monkeypatch.setattr("circuitkit.task.leaks.measure_leaks", measured)
    monkeypatch.setattr("circuitkit.competence.task_check.measure_leaks", measured)
    assert measure_competence(load_checkpoint(NANO), 8, tasks=["if_equals"]).tasks


@pytest.mark.parametrize("right", [True, False])
def test_a_model_that_is_always_right_does_the_task_and_its_opposite_does_not(
    tmp_path, monkeypatch, right
):
    """The loss is the softplus of the difference, to either side."""
    sign = 1.0 if right else -1.0
    answered = lambda model, pairs, tap: torch.full((2 * len(pairs),), 5 * sign)  # noqa: E731
    monkeypatch.setattr(ability, "tapped_differences", answered)
    folder = tiny_checkpoint(tmp_path / "m", text=True)
    task = letter_task(tmp_path / "mine.jsonl")
    (found,) = measure_competence(load_checkpoint(folder), 12, tasks=[task]).tasks
    assert found.accuracy.mean == right
    assert found.loss_nats.mean == pytest.approx(0.0067 if right else 5.0067, abs=1e-4)
    assert not found.does  # three templates, all right: the lower bound is far below 0.90


def test_a_task_that_cannot_be_asked_stands_there_and_stops_no_other(tmp_path):
    """Text without a tokenizer; the task of token ids behind it is measured."""
    folder = tiny_checkpoint(tmp_path / "m")
    text = letter_task(tmp_path / "text.jsonl")
    ids = token_task(tmp_path / "ids.jsonl", load_checkpoint(folder).architecture)
    first, second = measure_competence(load_checkpoint(folder), 12, tasks=[text, ids]).tasks
    assert "no tokenizer.json" in first.problem
    assert (first.loss_nats, first.accuracy, first.does) == (None, None, False)
    assert second.problem is None
    assert second.n_pairs == 12
    assert (second.loss_nats.low, second.loss_nats.high) == (None, None)  # a single template


def test_answers_that_are_not_one_token_are_a_reason_without_a_path(tmp_path):
    """A tokenizer of ten letters: the reason names file and key, not a machine."""
    folder = tiny_checkpoint(tmp_path / "m", text=True, n_ctx=256)
    (found,) = measure_competence(load_checkpoint(folder), 8, tasks=["single_double_quote"]).tasks
    assert found.problem.startswith("single_double_quote.toml: forms[")
    assert "is 0 tokens for this checkpoint" in found.problem


def test_answers_that_join_their_prompt_are_a_reason(tmp_path):
    """A token of both: the model never saw the prompt end there."""
    vocab = {letter: i for i, letter in enumerate("|abcdefghij")} | {"ai": 11}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("a", "i")]))
    model = tiny_model(vocab_size=12)
    save_checkpoint(tmp_path / "m", model, name="m", tokenizer=tokenizer, start_token=0)
    task = letter_task(tmp_path / "mine.jsonl")
    (found,) = measure_competence(load_checkpoint(tmp_path / "m"), 12, tasks=[task]).tasks
    assert "after its prompt the answer 'i' is no token of its own" in found.problem


def test_a_wrong_task_file_is_an_error_and_no_row(tmp_path):
    """It is not the checkpoint that is at fault."""
    (tmp_path / "bad.toml").write_text("format = 1")
    with pytest.raises(TaskError, match=r"bad\.toml"):
        measure_competence(load_checkpoint(NANO), 8, tasks=[tmp_path / "bad.toml"])


def test_progress_is_told_task_by_task(tmp_path):
    """From none to all."""
    folder, told = tiny_checkpoint(tmp_path / "m", text=True), []
    task = letter_task(tmp_path / "mine.jsonl")
    progress = lambda *seen: told.append(seen)  # noqa: E731
    measure_competence(load_checkpoint(folder), 4, tasks=[task], progress=progress)
    assert told == [("tasks", 0, 1), ("tasks", 1, 1)]


# The judgement


@pytest.mark.parametrize(
    ("loss", "low", "does"),
    [
        (MAX_LOSS_NATS, MIN_ACCURACY, True),
        (MAX_LOSS_NATS + 1e-9, 1.0, False),
        (0.0, MIN_ACCURACY - 1e-9, False),
    ],
)
def test_both_bounds_are_asked_for(loss, low, does):
    """Mean loss at most 0.35, accuracy's lower bound at least 0.90; its mean counts for nothing."""
    assert (MIN_ACCURACY, MAX_LOSS_NATS) == (0.90, 0.35)
    assert does_task(interval(loss, high=9.0), interval(1.0, low=low)) is does


def test_a_model_that_does_a_task_is_competent():
    """The bound of the accuracy is the one that the claim has."""
    assert MIN_ACCURACY == ACCURACY


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"does": False}, "does = False contradicts"),
        ({"accuracy": interval(0.5)}, "does = True contradicts"),
        ({"loss_nats": None}, "or a problem instead of both"),
        ({"problem": "why"}, "or a problem instead of both"),
        ({"loss_nats": None, "accuracy": None, "does": False}, "or a problem instead of both"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(changes, says):
    """Its judgement follows from its figures, which are there or have a reason not to be."""
    with pytest.raises(ValidationError, match=says):
        row(**changes)


# The file


def test_a_table_is_read_as_it_was_written(tmp_path):
    """And the checkpoint beside it is still one."""
    folder = tiny_checkpoint(tmp_path / "m")
    before = load_checkpoint(folder)
    saved = table(row("a"), row("b", 0.5), unasked("c"))
    saved.save(folder)
    assert Competence.load(folder) == saved
    assert (saved.done, saved.not_done) == (["a"], ["b", "c"])
    assert load_checkpoint(folder) == before
    assert not list(folder.glob("*.part"))


def test_no_file_is_no_table(tmp_path):
    """None, and no error."""
    assert Competence.load(tmp_path) is None


DAMAGE = {
    "not JSON": (lambda found: None, "Invalid JSON"),
    "an unknown key": (lambda found: found.update(best=True), "best"),
    "another format": (lambda found: found.update(format="circuitkit.task/1"), "format"),
    "no tasks": (lambda found: found.update(tasks=[]), "tasks"),
    "a task twice": (lambda found: found["tasks"].append(found["tasks"][0]), "is there twice"),
    "a number as text": (lambda found: found.update(n_pairs="8"), "n_pairs"),
    "a judgement of its own": (
        lambda found: found["tasks"][0].update(does=False), "does = False contradicts"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_wrong_file_is_refused(tmp_path, name):
    """With what is wrong and what to do."""
    damage, says = DAMAGE[name]
    found = json.loads(table().to_json())
    damage(found)
    (tmp_path / FILE).write_text("{" if name == "not JSON" else json.dumps(found))
    with pytest.raises(CheckpointError, match=rf"competence\.json: .*{says}.*delete it, or"):
        Competence.load(tmp_path)


def test_a_bundled_table_is_of_its_checkpoint_and_of_the_tasks_as_they_are():
    """Whoever changes either measures again: ``circuitkit checkpoints NAME --save``."""
    hashes = {name: load_task(name).sha256 for name in builtin_tasks()}
    for name, folder in bundled_checkpoints().items():
        found = Competence.load(folder)
        if found is not None:
            assert found.sha256 == load_checkpoint(folder).sha256, f"{name}: other weights"
            assert {r.task: r.sha256 for r in found.tasks} == hashes, f"{name}: other tasks"


# The command


@pytest.fixture
def two_tasks(monkeypatch):
    """Two built-in tasks instead of twenty."""
    monkeypatch.setattr(measuring, "builtin_tasks", lambda: ("if_equals", "var_swap"))


def test_the_table_is_printed(two_tasks):
    """A line a task, the sum in the last one, progress on stderr."""
    ran = cli("checkpoints", NANO, "--pairs", 64)
    assert ran.code == 0
    *_, last = ran.out.splitlines()
    (line,) = [line for line in ran.out.splitlines() if line.startswith("if_equals")]
    assert line.split()[-1] in ("yes", "no")
    assert last == f"does {sum(x.endswith('  yes') for x in ran.out.splitlines())} of 2"
    assert "tasks: 0 of 2" in ran.err
    assert max(map(len, ran.out.splitlines())) <= 100
    assert cli("checkpoints", NANO, "--pairs", 8, "-q").err == ""


def test_the_table_is_printed_and_saved_as_json(tmp_path, two_tasks):
    """The same bytes in ``competence.json``, and again the next time."""
    folder = shutil.copytree(bundled_checkpoints()[NANO], tmp_path / "mine")
    ran = cli("checkpoints", folder, "--pairs", 16, "--json", "--save", "-q")
    told = "note: replaced: a table of up to 512 test pairs a task\n"
    assert (ran.code, ran.err) == (0, told)
    assert ran.out == (folder / FILE).read_text()
    assert list(ran.json) == ["format", "checkpoint", "sha256", "n_pairs", "tasks"]
    assert list(ran.json["tasks"][0]) == [
        "task", "sha256", "n_pairs", "n_templates", "loss_nats", "accuracy", "does", "problem",
    ]  # fmt: skip
    assert list(ran.json["tasks"][0]["accuracy"]) == ["mean", "low", "high"]
    assert ran.json["sha256"] == load_checkpoint(folder).sha256
    assert cli("checkpoints", folder, "--pairs", 16, "--json", "-q").out == ran.out


def test_a_damaged_table_is_replaced(tmp_path, two_tasks):
    """As its message says: measure again, and save."""
    folder = shutil.copytree(bundled_checkpoints()[NANO], tmp_path / "mine")
    (folder / FILE).write_text("{")
    assert convert_checkpoint(folder, tmp_path / "other").name == NANO
    assert cli("checkpoints", folder, "--pairs", 16, "--save", "-q").code == 0
    assert Competence.load(folder).n_pairs == 16


def test_a_checkpoint_that_cannot_be_asked_is_exit_code_0(tmp_path, two_tasks):
    """The table says why."""
    ran = cli("checkpoints", tiny_checkpoint(tmp_path / "m"), "-q")
    assert ran.code == 0
    assert ran.out.count("cannot be asked: ") == 2
    assert ran.out.endswith("does 0 of 2\n")


@pytest.mark.parametrize("option", [("--save",), ("--pairs", "8")])
def test_options_of_a_measurement_ask_for_a_checkpoint(option):
    """Without one there is nothing to measure."""
    ran = cli("checkpoints", *option)
    assert (ran.code, ran.out) == (2, "")
    assert f"{option[0]} is for measuring one checkpoint, but none is named" in ran.err


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A folder of bundled checkpoints with one in it."""
    monkeypatch.setattr(bundled, "_FOLDER", tmp_path)
    return tiny_checkpoint(tmp_path / "tiny")


def test_the_list_says_which_tasks_are_done(library):
    """And which not."""
    sha256 = load_checkpoint(library).sha256
    table(row("a"), row("b", 0.5), row("c"), sha256=sha256).save(library)
    assert "  does 2 of 3 tasks; not b\n" in cli("checkpoints").out
    (listed,) = cli("checkpoints", "--json").json
    assert (listed["tasks_done"], listed["tasks_not_done"]) == (["a", "c"], ["b"])


def test_what_is_not_known_is_in_neither_list(library):
    """Text and JSON say so of each; a smaller table in place of a larger one is told."""
    checkpoint = load_checkpoint(library)
    unknown = row("b", accuracy=Interval(mean=1.0, low=None, high=None), does=False)
    table(row("a"), unknown, row("c", 0.5), sha256=checkpoint.sha256).save(library)
    assert "  does 1 of 3 tasks; not c; not known: b\n" in cli("checkpoints").out
    (listed,) = cli("checkpoints", "--json").json
    lists = [listed[f"tasks_{kind}"] for kind in ("done", "not_done", "not_known")]
    assert lists == [["a"], ["c"], ["b"]]


@pytest.mark.parametrize(
    "wrong", [{"tasks": []}, {"n_pairs": 0}, {"tasks": ["if_equals", "if_equals"]}], ids=str
)
def test_nothing_to_measure_is_refused_before_any_work(wrong):
    """No task, no pair, one name twice."""
    with pytest.raises(UsageError, match="expected at least one pair, and tasks of different"):
        measure_competence(load_checkpoint("tinypython-nano"), **wrong)


@pytest.mark.parametrize("measured", [True, False])
def test_the_list_says_nothing_of_other_weights(library, measured):
    """A table of other weights is as good as none."""
    if measured:
        table().save(library)
    assert "  tasks not measured for these weights" in cli("checkpoints").out
    (listed,) = cli("checkpoints", "--json").json
    assert (listed["tasks_done"], listed["tasks_not_done"]) == (None, None)


def test_a_wrong_table_is_one_message(library):
    """Exit code 2."""
    (library / FILE).write_text("{")
    ran = cli("checkpoints")
    assert (ran.code, ran.out) == (2, "")
    assert "competence.json: " in ran.err


def test_what_too_few_templates_say_is_not_called_no():
    """Without a lower bound nothing is known, whatever the mean."""
    open_row = row(accuracy=Interval(mean=1.0, low=None, high=None), does=False)
    *lines, last = competence_lines(table(open_row))
    assert "not known: too few templates asked" in "\n".join(lines)
    assert last == "does 0 of 1; of 1 it is not known"
    assert "not known" not in "\n".join(competence_lines(table(row(right=0.5))))
