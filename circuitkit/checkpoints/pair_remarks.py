"""Remarks on pairs that can be asked of a checkpoint but are unusual.

In: the encoded pairs of each split. Out: sentences, the same for every verb.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from circuitkit.model import EncodedPairs
from circuitkit.task import Split

Asked = Mapping[Split, EncodedPairs]


def remarks(asked: Asked) -> tuple[str, ...]:
    """Remarks on these pairs."""
    return tuple(_remarks(asked))


def _remarks(asked: Asked) -> Iterator[str]:
    for split, pairs in asked.items():
        yield from (f"{split}: {note}" for note in pairs.notes)
    if repeated := repeated_prompts(asked):
        yield (
            f"duplicates: {len(repeated)} prompts come in two splits, such as {repeated[0]}: "
            "let forms differ, or draw from more"
        )


def repeated_prompts(asked: Asked) -> list[str]:
    """The prompts that come in two splits, whatever their answer, as they are written."""
    shown: dict[tuple[int, ...], str] = {}
    times: Counter[tuple[int, ...]] = Counter()
    for pairs in asked.values():
        prompts = [prompt for prompt, _ in pairs.sides()]
        written = [pair.a for pair in pairs.pairs] + [pair.b for pair in pairs.pairs]
        shown |= {
            prompt: repr(side.text if side.text is not None else list(side.tokens or ()))
            for prompt, side in zip(prompts, written, strict=True)
        }
        times.update(set(prompts))
    return sorted(shown[prompt] for prompt, n in times.items() if n > 1)
