"""Laws of numbers in files: what is infinite, no number, or endless is refused where it is read."""

import pytest
from test_cli import cli

from circuitkit.errors import ConfigError, TaskError
from circuitkit.provenance import shown
from circuitkit.task import load_task
from circuitkit.task.templates import MAX_NUMBER
from circuitkit.training import load_config

ENDLESS = "9" * 5000
ENDLESS_HEX = "0x" + "f" * 6000

TASK = """
format = "circuitkit.task/1"
name = "mine"
question = "?"
source = "here"

[draw]
x = {draw}

[[forms]]
a = {{ prompt = "{form}{{{{ x }}}} + ", answer = "1" }}
b = {{ prompt = "{form}{{{{ x }}}} - ", answer = "2" }}
"""

PLACES = ("{}", "integer(0, {})", "5 if {} > 3 else 4", "range({})|length", "pick(1, -{})",
          "'abc'[:{}]")  # fmt: skip


def task(tmp_path, draw='"3"', form=""):
    path = tmp_path / "mine.toml"
    path.write_text(TASK.format(draw=draw, form=form))
    return load_task(path)


def test_ordinary_numbers_are_drawn(tmp_path):
    """Up to the largest there is."""
    found = task(tmp_path, draw=f'"{{{{ integer({MAX_NUMBER}, {MAX_NUMBER}) }}}}"', form="{{ 7 }}")
    assert f"7{MAX_NUMBER} + " in found.pairs("test", 1)[0].a.text


@pytest.mark.parametrize("number", ["1e999", "1e13", str(MAX_NUMBER + 1), ENDLESS, ENDLESS_HEX])
@pytest.mark.parametrize("place", PLACES)
def test_a_number_without_end_in_a_template_is_refused_when_read(tmp_path, place, number):
    """In a draw and in a form: file, key, the template, and what there may be."""
    source = "{{ " + place.format(number) + " }}"
    with pytest.raises(TaskError, match=rf"mine\.toml: draw\.x: .*{MAX_NUMBER}.*\n  in '?\"?"):
        task(tmp_path, draw=f'"{source}"')
    with pytest.raises(TaskError, match=rf"mine\.toml: forms\[1\]\.a\.prompt: .*{MAX_NUMBER}"):
        task(tmp_path, form=source)


@pytest.mark.parametrize(
    ("value", "got"),
    [("1e999", "inf"), ("-inf", "-inf"), ("nan", "nan"), ("3", "3"),
     (ENDLESS_HEX, "a number of thousands of digits")],
)  # fmt: skip
def test_a_draw_that_is_no_text_is_refused(tmp_path, value, got):
    """With file, key and value."""
    with pytest.raises(TaskError, match=rf"mine\.toml: draw\.x: got {got}; .*valid string"):
        task(tmp_path, draw=value)


def test_a_number_that_python_does_not_read_is_not_toml(tmp_path):
    """Nor a traceback."""
    with pytest.raises(TaskError, match=r"mine\.toml: not TOML: Exceeds the limit"):
        task(tmp_path, draw=ENDLESS)
    (tmp_path / "run.toml").write_text(f"seed = {ENDLESS}\n")
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML: Exceeds the limit"):
        load_config(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_text(f"seed = {'[' * 5000}\n")
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML: maximum recursion"):
        load_config(tmp_path / "run.toml")


@pytest.mark.parametrize("answer", ["NaN", "Infinity", "1e999"])
def test_a_fixed_pair_has_whole_numbers(tmp_path, answer):
    """JSON as Python reads it knows others."""
    side = '{"prompt": [1, %s], "answer": 1}'
    pair = f'{{"a": {side % answer}, "b": {side % 2}, "template": "t", "split": "test"}}\n'
    (tmp_path / "mine.jsonl").write_text(pair)
    with pytest.raises(TaskError, match=r"mine\.jsonl: line 1: .*got (nan|inf); .*valid integer"):
        load_task(tmp_path / "mine.jsonl")


FLOATS = (
    "optimizer.lr", "optimizer.eps", "optimizer.weight_decay", "optimizer.max_grad_rms",
    "optimizer.warmup", "sparsity.l0_fraction", "sparsity.anneal_until", "run.stop_at_loss_nats",
    "architecture.norm_eps",
)  # fmt: skip


@pytest.mark.parametrize("value", ["inf", "1e999", "nan", "-inf"])
@pytest.mark.parametrize("key", FLOATS)
def test_a_training_number_is_finite(key, value):
    """Whatever the key: the message names it and what was got."""
    with pytest.raises(ConfigError, match=rf"{key}: .*got (-?inf|nan)"):
        load_config("tinypython-nano", [f"{key}={value}"])


@pytest.mark.parametrize("value", ["inf", "nan", str(2**63), ENDLESS, "[" * 5000])
def test_a_seed_is_a_whole_number_that_torch_takes(value):
    """And nothing longer."""
    with pytest.raises(ConfigError, match=r"seed: Input should be .*; got"):
        load_config("tinypython-nano", [f"seed={value}"])
    assert load_config("tinypython-nano", [f"seed={2**63 - 1}"]).seed == 2**63 - 1


def test_what_was_got_is_shown_in_part():
    """Eighty characters of it, and of what cannot be shown what it is."""
    assert shown("x") == "'x'"
    assert shown("x" * 99) == "'" + "x" * 76 + "..."
    assert shown(int(ENDLESS_HEX, 16)) == "a number of thousands of digits"


COMMANDS = (("extract", "tinypython-nano", "--task", "if_equals"), ("plant", "induction"))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_on_the_command_line_is_one_that_generators_take(tmp_path, command, seed):
    """And is refused with what it may be."""
    ran = cli(*command, "--out", tmp_path / "out", "--seed", seed)
    assert ran.code == 2
    assert "Invalid value for '--seed'" in ran.err
    assert "0<=x<=4294967295" in ran.err
