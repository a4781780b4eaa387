"""Prompts for planted models: pairs by template, split by template, and random text.

In: what the two sides of a pair look like around gaps, and a seed. Out: the lines of a
``task.jsonl`` and a reference sample. A template is a layout (the number of fillers in each
gap) and the filler that comes first. Both prompts of a pair have the same fillers, and splits
have no layout in common.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from jaxtyping import Int
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from circuitkit.planted.wiring import FILLERS, N_CTX

GAP = "_"
_BEFORE, _AFTER = range(1, 5), range(4, 10)
_OPENINGS = FILLERS[:6]
_N_PAIRS = {"train": 2, "select": 1, "test": 8, "ood": 1}
"""Pairs of a template: 48 templates in each split."""

_N_SEQUENCES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How many fillers come before the cue and after it, and which of several forms is used.

    Layouts of a split have consecutive turns.
    """

    n_before: int
    n_after: int
    turn: int

    @property
    def before(self) -> str:
        """The gap before the cue."""
        return " ".join([GAP] * self.n_before)

    @property
    def after(self) -> str:
        """The gap after the cue."""
        return " ".join([GAP] * self.n_after)

    def up_to(self, total: int, *parts: str) -> str:
        """The parts, with a last gap that makes them ``total`` tokens long."""
        words = " ".join(parts).split()
        return " ".join([*words, *[GAP] * (total - len(words))])


Sides = Callable[[Layout], tuple[str, str]]
"""The prompts of a pair, ``_`` for a filler: the first answer is right on the first."""

FormOf = Callable[[Layout], str]
"""The form of a layout's prompts, which the names of its templates begin with."""


def task_lines(
    answers: tuple[str, str], sides: Sides, ood: Sides | None, seed: int,
    form: FormOf | None = None,
) -> str:  # fmt: skip
    """The content of a ``task.jsonl``: layouts dealt to the splits in turn."""
    sizes = [(before, after) for before in _BEFORE for after in _AFTER]
    random = Random(f"layouts:{seed}")
    random.shuffle(sizes)
    lines: list[str] = []
    for i, (before, after) in enumerate(sizes):
        layout = Layout(n_before=before, n_after=after, turn=i // 3)
        split = ("train", "select", "test")[i % 3]
        within = f"{form(layout)}/" if form else ""
        lines += _lines(layout, answers, sides, split, random, within)
        if ood is not None and split == "test":
            lines += _lines(layout, answers, ood, "ood", random, within)
    return "".join(line + "\n" for line in lines)


def _lines(
    layout: Layout, answers: tuple[str, str], sides: Sides, split: str, random: Random, within: str
) -> Iterator[str]:
    """The pairs of a layout as lines of the file: each prompt ends with a space."""
    for opening in _OPENINGS:
        template = f"{within}{split}-{layout.n_before}-{layout.n_after}-{opening}"
        for a, b in _prompts(sides(layout), opening, _N_PAIRS[split], random):
            line = {"a": _side(f"{a} ", answers[0]), "b": _side(f"{b} ", answers[1])}
            yield json.dumps({**line, "template": template, "split": split})


def _prompts(
    sides: tuple[str, str], opening: str, n: int, random: Random
) -> Iterator[tuple[str, str]]:
    """Distinct pairs of prompts of a template."""
    seen = set()
    while len(seen) < n:
        words = [random.choice(FILLERS) for _ in range(N_CTX)]
        words[sides[0].split().index(GAP)] = opening
        a, b = (_filled(side, words) for side in sides)
        if a not in seen:
            seen.add(a)
            yield a, b


def _side(prompt: str, answer: str) -> dict[str, str]:
    return {"prompt": prompt, "answer": answer}


def _filled(side: str, words: Sequence[str]) -> str:
    """Fillers for gaps, each by its position, so that the prompts of a pair agree there."""
    return " ".join(words[i] if t == GAP else t for i, t in enumerate(side.split()))


def random_text(n_tokens: int, seed: int) -> Int[Tensor, "n length"]:
    """The reference sample: random sequences, each with all its shifts through the vocabulary.

    So every token is at every position equally often, in each half of the sample too
    (every other sequence), and means are as steady as those of a far larger sample.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = _N_SEQUENCES // (2 * n_tokens), 2, 1, N_CTX
    drawn = torch.randint(n_tokens, shape, generator=generator)
    shifted = (drawn + torch.arange(n_tokens)[:, None]) % n_tokens
    return shifted.transpose(1, 2).reshape(-1, N_CTX)


def word_tokenizer(tokens: Sequence[str], specials: Sequence[str] = ()) -> Tokenizer:
    """One token a word, words parted by spaces; the first special is any unknown word."""
    vocab = {token: i for i, token in enumerate(tokens)}
    unknown = specials[0] if specials else tokens[0]
    tokenizer = Tokenizer(models.WordLevel(vocab=vocab, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(list(specials))
    return tokenizer
