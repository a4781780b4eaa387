"""Laws of the docs: their tasks work, their commands run, what they list is what there is."""

import re
import shlex
from pathlib import Path

import pytest
from test_cli import cli
from test_readme import test_commands_and_their_options_exist as command_exists
from test_task_check import corpus_reader, do_well
from tiny import tiny_checkpoint

from circuitkit.checkpoints import load_checkpoint
from circuitkit.checkpoints.competence_json import MIN_ACCURACY as ACCURACY
from circuitkit.competence.task_check import check_task
from circuitkit.competence.task_problems import DECLARED_WITHIN, MOST_LEAKS
from circuitkit.statistics.decision import MIN_CLUSTERS
from circuitkit.task import load_task
from circuitkit.task.columns import COLUMNS
from circuitkit.task.formats import TaskFile
from circuitkit.task.inferred_templates import SAME_SHARE
from circuitkit.task.pair_rows import MAX_BYTES, MAX_PAIRS
from circuitkit.task.templates import FILTERS, FUNCTION_NAMES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tasks.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
FILES = {info.split()[1]: text for info, text in BLOCKS if " " in info}
COMMANDS = [line for info, text in BLOCKS if not info for line in text.splitlines()]
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
TEN_LINES, IN_FULL = "loop_or_value.toml", "loop_or_value_in_full.toml"
CSV = "names.csv"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Every file of the page, written where the commands run."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return corpus_reader(tmp_path_factory.mktemp("reader") / "model")


def reading(name, reader, folder):
    """A checkpoint for a file of the page: token ids need no tokenizer."""
    return tiny_checkpoint(folder / "tiny") if name == "ids.jsonl" else reader


def test_every_block_is_known():
    """A file with its name, or commands: nothing on the page goes untested."""
    assert {info.partition(" ")[0] for info, _ in BLOCKS} == {"", "toml", "jsonl", "csv"}
    assert all(Path(name).suffix in (".toml", ".jsonl", ".csv") for name in FILES)
    assert {TEN_LINES, IN_FULL, CSV, "closing.jsonl", "ids.jsonl"} == set(FILES)


def test_ten_lines_are_ten_lines():
    """As the heading has it."""
    assert len(FILES[TEN_LINES].splitlines()) == 10


@pytest.mark.parametrize("name", FILES)
def test_a_task_of_the_page_loads_and_draws(files, name):
    """Distinct pairs in every split that it has."""
    task = load_task(name)
    assert task.name == Path(name).stem
    for split in ("train", "select", "test"):
        assert len(task.pairs(split, 40 if name.endswith("toml") else 1)) > 0


@pytest.mark.parametrize("name", FILES)
def test_a_task_of_the_page_is_shown_and_checked(files, reader, name):
    """By the command line, with a checkpoint that reads it."""
    shown = cli("tasks", "show", name)
    assert shown.code == 0
    assert [line[:16] for line in shown.err.splitlines()] == ["note: names.csv "] * 2 * (
        name == CSV
    )
    checked = cli("tasks", "check", name, "--checkpoint", reading(name, reader, files), "--json")
    assert checked.code == 1, checked.err  # an untrained model
    assert any(problem.startswith("accuracy") for problem in checked.json["problems"])


def test_ten_lines_want_what_the_page_says(files, reader, monkeypatch):
    """Too few templates to be sure of anything, and a bag of tokens that mostly tells."""
    do_well(monkeypatch)
    result = check_task(load_checkpoint(reader), load_task(TEN_LINES))
    assert [problem.partition(" ")[0] for problem in result["problems"]] == [
        "bag_of_tokens", "accuracy", "9",
    ]  # fmt: skip
    assert result["leaks"]["bag_of_tokens"] > 0.8


def test_the_full_task_has_no_problem(files, reader, monkeypatch):
    """Its declared figures are those measured."""
    do_well(monkeypatch)
    result = check_task(load_checkpoint(reader), load_task(IN_FULL))
    assert result["problems"] == [], result["leaks"]
    assert load_task(IN_FULL).shortcuts == (
        "a for before the name means the head of a loop: here that loop has begun",
    )


def test_the_csv_of_the_page_is_read_as_the_page_says(files, reader):
    """Three templates, one a split; the pair that is left out, and where it begins."""
    task = load_task(CSV)
    assert [len(task.templates(split)) for split in ("train", "select", "test")] == [1, 1, 1]
    (pair,) = check_task(load_checkpoint(reader), task)["unusable"]["pairs"]
    assert f"the pair that begins in line {pair['line']}, whose answer ` = 9` is more than" in PROSE
    assert "the answer ' = 9' is" in pair["problem"]


def test_the_page_lists_every_name_of_a_column():
    """And how much a file may hold."""
    for names in COLUMNS.values():
        assert f"| {', '.join(f'`{name}`' for name in names)} |" in PROSE
    assert f"at most {MAX_PAIRS:,} pairs and {MAX_BYTES // 2**20} MiB" in PROSE
    assert SAME_SHARE == 0.5  # "at least half of their words"


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_exists(line):
    """With its options."""
    command_exists(line)


@pytest.mark.parametrize("line", [c for c in COMMANDS if "list" in c or "show" in c])
def test_commands_that_need_no_checkpoint_run(files, line):
    """As they stand."""
    assert cli(*shlex.split(line)[1:]).code == 0


def test_the_page_lists_what_templates_may_use():
    """Every function and filter, and the keys of a task file."""
    for name in FUNCTION_NAMES:
        assert f"`{name}(" in PROSE
    assert ", ".join(f"`{name}`" for name in FILTERS) in PROSE
    keys = re.findall(r"^\| `(\w+)` \|", PROSE, re.MULTILINE)
    assert sorted(keys) == sorted(TaskFile.model_fields)


def test_the_page_has_the_limits_of_the_check():
    """As the code has them."""
    last, bag, length = MOST_LEAKS.values()
    assert f"last token of {last:.2f}, a bag of {bag:.2f} or a length of {length:.2f}" in PROSE
    assert f"off by {DECLARED_WITHIN}" in PROSE
    assert f"below {ACCURACY}" in PROSE
    assert f"fewer than {MIN_CLUSTERS} to test on" in PROSE


def test_every_link_is_there():
    """Relative to the page."""
    links = re.findall(r"\]\(([^)\s]+)\)", PROSE)
    assert links
    assert all((PAGE.parent / link.partition("#")[0]).exists() for link in links)
