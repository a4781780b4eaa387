"""The example pair of a circuit: the tokens in which its two prompts differ."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from circuitkit.circuit import Side, Surroundings


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownToken:
    """A token that the diagram shows, with its place in the pair."""

    text: str
    where: str


def cues(side: Side, other: Side) -> tuple[int, ...]:
    """The positions of a prompt whose tokens the other prompt of the pair does not share.

    Prompts of one length are compared position by position, others by the tokens that they
    have in common in the same order.
    """
    mine, its = side.tokens, other.tokens
    if len(mine) == len(its):
        return tuple(i for i, (x, y) in enumerate(zip(mine, its, strict=True)) if x != y)
    blocks = SequenceMatcher(None, mine, its, autojunk=False).get_matching_blocks()
    shared = {i for block in blocks for i in range(block.a, block.a + block.size)}
    return tuple(i for i in range(len(mine)) if i not in shared)


def shown_tokens(around: Surroundings, limit: int = 8) -> tuple[ShownToken, ...]:
    """The cue's tokens with entries into the circuit, side a before side b, then the last token.

    When no token of the cue has such an entry, the first four are shown.
    """
    last = dict.fromkeys(around.a.tokens[-1:] + around.b.tokens[-1:])
    in_a = [around.a.tokens[i] for i in cues(around.a, around.b)]
    in_b = [around.b.tokens[i] for i in cues(around.b, around.a)]
    linked = {token for token, _, _ in around.embedding}
    cue = [token for token in dict.fromkeys((*in_a, *in_b)) if token not in last]
    kept = [token for token in cue if token in linked][:limit] or cue[:4]
    where = {token: _where(token, in_a, in_b) for token in kept} | dict.fromkeys(last, "last")
    return tuple(ShownToken(text=token, where=place) for token, place in where.items())


def _where(token: str, in_a: list[str], in_b: list[str]) -> str:
    sides = (token in in_a, token in in_b)
    return {(True, False): "in a", (False, True): "in b"}.get(sides, "in a, b")
