"""Laws of the leak tests: planted leaks are found, and nothing is found where none is."""

import json
import time
from random import Random

import pytest

from circuitkit.errors import TaskError
from circuitkit.task import Leaks, load_task
from circuitkit.task.leaks import measure_leaks
from circuitkit.task.words import NAMES

NOISE = 0.06
"""Four standard errors of a share of 1,024 prompts."""


def spell(text):
    """A tokenizer of words: every word, and every sign, is a token."""
    for sign in "()[]{}=,.:'\"\n":
        text = text.replace(sign, f" {sign} ")
    return [sum(ord(letter) * 257**i for i, letter in enumerate(word)) for word in text.split(" ")]


def refuse(text):
    raise AssertionError(f"{text!r} should not be read")


def planted(tmp_path, a, b, answers=("left", "right")):
    """A task with one form, in every frame."""
    path = tmp_path / "planted.toml"
    path.write_text(f"""
format = "circuitkit.task/1"
name = "planted"
question = "Which?"
source = "ours"
[draw]
one = "{{{{ identifier() }}}}"
two = "{{{{ identifier() }}}}"
[[forms]]
a = {{ prompt = "{a}", answer = "{answers[0]}" }}
b = {{ prompt = "{b}", answer = "{answers[1]}" }}
""")
    return load_task(path)


def fixed(tmp_path, draw, splits=("train", "test"), n=512):
    """A task of token ids; ``draw`` makes the two prompts of a pair, a's answer is 1, b's is 2."""
    random = Random(0)
    lines = []
    for split in splits:
        for _ in range(n):
            a, b = draw(random)
            sides = {"a": {"prompt": a, "answer": 1}, "b": {"prompt": b, "answer": 2}}
            lines.append(json.dumps({**sides, "template": split, "split": split}))
    path = tmp_path / "fixed.jsonl"
    path.write_text("\n".join(lines))
    return load_task(path)


def test_a_last_token_that_tells_is_found(tmp_path):
    """Nothing is left to ask; the number of tokens still tells nothing."""
    leaks = measure_leaks(spell, planted(tmp_path, "{{ one }} up", "{{ one }} down"))
    assert leaks == Leaks(last_token=1.0, bag_of_tokens=1.0, length=0.5)


def test_a_word_before_the_end_is_found_in_the_bag(tmp_path):
    """The last token is the same, so it tells nothing at all."""
    leaks = measure_leaks(spell, planted(tmp_path, "up {{ one }}", "down {{ one }}"))
    assert leaks == Leaks(last_token=0.5, bag_of_tokens=1.0, length=0.5)


def test_a_count_is_found_in_the_bag(tmp_path):
    """Two of a word against one; length is blurred by the frames, and tells a little."""
    leaks = measure_leaks(spell, planted(tmp_path, "up up {{ one }}", "up {{ one }}"))
    assert (leaks.last_token, leaks.bag_of_tokens) == (0.5, 1.0)
    assert 0.5 - NOISE < leaks.length < 0.75


def test_order_alone_is_found_by_none(tmp_path):
    """The same tokens in another order tie, and a tie counts half."""
    leaks = measure_leaks(spell, planted(tmp_path, "up down {{ one }}", "down up {{ one }}"))
    assert leaks == Leaks(last_token=0.5, bag_of_tokens=0.5, length=0.5)


def test_a_name_to_copy_is_found_in_the_bag(tmp_path):
    """One weight a token and answer: the only name that occurs is the answer."""
    task = planted(tmp_path, "{{ one }} again", "{{ two }} again", ("{{ one }}", "{{ two }}"))
    assert len({pair.a.answer for pair in task.pairs("test", 512)}) == len(NAMES)
    leaks = measure_leaks(spell, task)
    assert (leaks.last_token, leaks.length) == (0.5, 0.5)
    assert leaks.bag_of_tokens > 0.97


def test_a_name_to_choose_by_place_is_found_by_none(tmp_path):
    """Both names occur on both sides: which is wanted is told by the order alone."""
    sides = "{{ one }} {{ two }} again", "{{ two }} {{ one }} again"
    leaks = measure_leaks(spell, planted(tmp_path, *sides, ("{{ one }}", "{{ two }}")))
    assert leaks == Leaks(last_token=0.5, bag_of_tokens=0.5, length=0.5)


def test_a_length_that_tells_is_found(tmp_path):
    """Odd against even lengths of random tokens: no sum over tokens tells; ids are not encoded."""

    def draw(random):
        lengths = 2 * random.randint(3, 10), 2 * random.randint(3, 10) + 1
        return [[random.randint(10, 40) for _ in range(length)] for length in lengths]

    leaks = measure_leaks(refuse, fixed(tmp_path, draw))
    assert leaks.length == 1.0
    assert leaks.last_token == pytest.approx(0.5, abs=NOISE)
    assert leaks.bag_of_tokens == pytest.approx(0.5, abs=NOISE)


def test_a_new_length_is_taken_for_the_nearest(tmp_path):
    """Long against short, no length of the test split seen in the train split."""
    shift = iter([0] * 50 + [1] * 50)

    def draw(random):
        extra = next(shift)
        lengths = 4 * random.randint(10, 14) + extra, 4 * random.randint(1, 4) + extra
        return [[random.randint(10, 40) for _ in range(length)] for length in lengths]

    assert measure_leaks(refuse, fixed(tmp_path, draw, n=50)).length == 1.0


def test_answers_that_were_never_seen_tie(tmp_path):
    """What was not learned is not guessed."""
    lines = [
        {
            "a": {"prompt": [5, i], "answer": 1 + 2 * (split == "test")},
            "b": {"prompt": [6, i], "answer": 2 + 2 * (split == "test")},
            "template": split,
            "split": split,
        }
        for split in ("train", "test")
        for i in range(20)
    ]
    path = tmp_path / "fixed.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    leaks = measure_leaks(refuse, load_task(path))
    assert leaks == Leaks(last_token=0.5, bag_of_tokens=0.5, length=0.5)


def test_it_is_fitted_on_other_templates_than_it_is_asked_about(tmp_path):
    """A cue of each template's own does not count: here the test split turns it round."""
    turned = iter([False] * 50 + [True] * 50)

    def draw(random):
        cues = (6, 5) if next(turned) else (5, 6)
        return [[cue, *(random.randint(10, 40) for _ in range(4))] for cue in cues]

    assert measure_leaks(refuse, fixed(tmp_path, draw, n=50)).bag_of_tokens < 0.2


def test_the_same_task_gives_the_same_shares(tmp_path):
    """To the last bit, and in under two seconds."""
    task = planted(tmp_path, "{{ one }} up {{ two }}", "{{ one }} {{ two }}")
    begun = time.perf_counter()
    leaks = measure_leaks(spell, task)
    assert time.perf_counter() - begun < 2
    assert measure_leaks(spell, task) == leaks


def test_a_split_without_pairs_is_refused(tmp_path):
    """There is nothing to fit on."""
    task = fixed(tmp_path, lambda _: ([1, 2], [2, 1]), splits=("test",), n=1)
    with pytest.raises(TaskError, match="split train has no pairs"):
        measure_leaks(refuse, task)
