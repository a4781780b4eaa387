"""Laws of tasks that ask the same: known by what their pairs turn on, whatever the file says."""

from itertools import combinations

import pytest

from circuitkit.checkpoints import load_checkpoint
from circuitkit.files import shipped_folder
from circuitkit.task import builtin_tasks, load_task
from circuitkit.validation.controls.same_question import SAME, Question

TWINS = {"set_or_string", "set_or_string_fixedvarname"}


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint("tinypython-nano")


def edited(tmp_path, name, change):
    path = tmp_path / "edited.toml"
    path.write_text(change((shipped_folder("tasks") / f"{name}.toml").read_text()))
    return load_task(path)


EDITS = {
    "a comment": lambda text: text + "\n# a remark added later\n",
    "a name": lambda text: text.replace('"indent_for"', '"renamed"'),
    "a question": lambda text: text.replace("question = ", 'question = "Eh?" # '),
    "blank lines": lambda text: text.replace("[[forms]]", "\n\n[[forms]]"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_that_changes_no_question_is_seen_through(tmp_path, edit):
    """Without a model: the same draws, forms and frames ask the same."""
    task = load_task("indent_for")
    other = edited(tmp_path, "indent_for", EDITS[edit])
    assert other.sha256 != task.sha256
    assert other.asks_sha256 == task.asks_sha256
    assert Question(None, task).is_asked_by(other)  # pyright: ignore[reportArgumentType]


def test_a_form_more_is_another_content_and_the_same_question(tmp_path, checkpoint):
    """It is known by its cues, as the model reads them."""
    task = load_task("else_elif")
    more = """
[[forms]]
a = { prompt = "elif {{ name }}", answer = ":" }
b = { prompt = "else:\\n    {{ name }}", answer = " =" }
"""
    other = edited(tmp_path, "else_elif", lambda text: text + more)
    assert other.asks_sha256 != task.asks_sha256
    assert Question(checkpoint, task).is_asked_by(other)


@pytest.mark.slow
def test_of_the_built_in_tasks_only_the_twins_ask_the_same(checkpoint):
    """On all 190 pairs, with nothing near the limit."""
    tasks = {name: load_task(name) for name in builtin_tasks()}
    questions = {name: Question(checkpoint, task) for name, task in tasks.items()}
    shared = {
        frozenset([a, b]): questions[a].shared_by(tasks[b]) for a, b in combinations(tasks, 2)
    }
    assert len(shared) == 190
    assert shared.pop(frozenset(TWINS)) > SAME + 0.2
    assert max(shared.values()) < SAME - 0.2


def test_the_opposite_answers_are_another_question(tmp_path, checkpoint):
    """The same prompts, each answered with the other's answer."""

    def swapped(text):
        text = text.replace('answer = ":"', 'answer = "#"')
        return text.replace('answer = " ="', 'answer = ":"').replace(
            'answer = "#"', 'answer = " ="'
        )

    other = edited(tmp_path, "else_elif", swapped)
    assert not Question(checkpoint, load_task("else_elif")).is_asked_by(other)
